"""Expert dispatch and combine with one copy of a token per scale-up domain, forwarded inside (as DeepEP does).

The payload P counts one copy per chosen expert: tokens x top_k x hidden x bytes. Over the scale-out one copy per distinct
domain travels, P / top_k for all tokens of a rank; it arrives at the sender's counterpart and is forwarded to each of the
experts' ranks of that domain as a copy of its own. With a balanced router a token's experts lie in

    D = m (1 - (1 - 1/m)^top_k)    distinct domains on average, m = min(G, max_domains),

each of the G domains as often as the others, so D / G x P / top_k goes to each counterpart; inside, a rank hands on
P / g to each of the g - 1 others, whoever sent it. Combine is the same backwards.

Leaves out: an expert is never chosen twice for one token, so D is a little larger than these independent draws give
(below 1% from 32 experts a domain); merging copies inside a domain.
"""

from __future__ import annotations

from simulator.network.collectives.hierarchical import cut_by_domain, two_levels
from simulator.network.collectives.pattern import Pattern
from simulator.spec.errors import InputError
from topologies.fabric import Ints
from workloads.instructions import Communication


def one_copy_per_domain(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """Scale-out copies to the counterparts and forwarded copies inside, at once; see the module."""
    if communication.top_k < 1:
        raise InputError(
            f"{communication.name}: one copy per domain needs the experts per token",
            got=communication.top_k,
            do="Set top_k of the communication.",
        )
    cut = cut_by_domain(members, rank, communication, domain)
    copies = distinct_domains(cut.across, communication.top_k, communication.max_domains)
    outside = copies / cut.across * communication.payload / communication.top_k
    return Pattern((two_levels(cut, communication.payload / cut.within, outside, 1),))


def distinct_domains(domains: int, top_k: int, limit: int = 0) -> float:
    """Domains that the ``top_k`` experts of a token lie in, on average; the router looks at ``limit`` at most (0: all).

    >>> distinct_domains(8, 8, 4)
    3.59954833984375
    """
    among = min(domains, limit) if limit else domains
    return among * (1.0 - (1.0 - 1.0 / among) ** top_k)
