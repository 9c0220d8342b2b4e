"""Expert dispatch and combine with one copy of a token per scale-up domain, forwarded inside (as DeepEP does).

The payload P counts one copy per chosen expert: tokens x top_k x hidden x bytes. Over the scale-out one copy per distinct
domain travels, P / top_k for all tokens of a rank; it arrives at the sender's counterpart and is forwarded to each of the
experts' ranks of that domain as a copy of its own. With a balanced router a token's experts lie in

    D = m (1 - (1 - 1/m)^top_k)    distinct domains on average, m = min(G, max_domains),

each of the G domains as often as the others, so D / G x P / top_k goes to each counterpart; inside, a rank hands on
P / g to each of the g - 1 others, whoever sent it. Combine is the same backwards.

**Domains that hold different numbers of the group's ranks** (groups of 32 over domains of 72: 32, or 8 and 24). With n_d ranks in
domain d a token has an expert there with probability

    p_d = 1 - (1 - n_d / n)^top_k,

so each rank outside sends p_d P / top_k to d, and gets as much back from d in a combine. Counterparts are the ranks of d
whose place modulo the greatest common divisor of all n_d is the sender's, each with an equal share: every rank of d lets in
as much as the others. Inside, P / n_d goes to each of the n_d - 1 others, as before.

Leaves out: an expert is never chosen twice for one token, so D is a little larger than these independent draws give
(below 1% from 32 experts a domain); merging copies inside a domain.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.network.collectives.hierarchical import two_levels
from simulator.network.collectives.pattern import Exchange, Pattern, levels
from simulator.spec.errors import InputError, NotModelled
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
    cut = levels(members, rank, domain)
    if cut is None:
        return Pattern((_unequal(members, rank, communication, domain),))
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


def _unequal(members: Ints, rank: int, communication: Communication, domain: int) -> tuple[Exchange, ...]:
    """What one rank sends where domains hold other places of the group; the way to the farthest domain is waited for."""
    payload, own = communication.payload, rank // domain
    homes, counts = np.unique(members // domain, return_counts=True)
    if communication.max_domains and communication.max_domains < len(homes):
        raise NotModelled(
            f"{communication.name}: a router that looks at {communication.max_domains} of {len(homes)} domains is modelled where "
            f"all of them hold the same places of a group; those of {communication.group} hold {counts.tolist()} ranks. "
            "Choose a group size that the domain divides or is divided by, or a router without the limit."
        )
    inside = members[members // domain == own]
    common = math.gcd(*counts.tolist())
    rail = int(np.searchsorted(inside, rank)) % common
    exchanges = [Exchange(inside[inside != rank], payload / len(inside))]
    for home in sorted(homes[homes != own].tolist(), key=lambda home: -abs(home - own)):
        there = members[members // domain == home]
        peers = there[np.arange(len(there)) % common == rail]
        crossing = len(inside) if communication.collective == "combine" else len(there)  # whose experts the tokens chose
        copies = 1.0 - (1.0 - crossing / len(members)) ** communication.top_k
        share = copies * payload / communication.top_k / (crossing // common)
        exchanges.append(Exchange(peers, share, steps=1 if len(exchanges) == 1 else 0))
    return tuple(exchanges)
