"""Expert dispatch and combine with one copy of a token per scale-up domain, forwarded inside to each rank once (as DeepEP does).

The payload P counts one copy per chosen expert: tokens x top_k x hidden x bytes. Over the scale-out one copy per distinct
domain travels, P / top_k for all tokens of a rank; it arrives at the sender's counterpart and is forwarded to each of the
ranks of that domain that hold any of its experts. With a balanced router a token's experts lie in

    D = m (1 - (1 - 1/m)^top_k)    distinct domains on average, m = min(G, max_domains),

each of the G domains as often as the others, so D / G x P / top_k goes to each counterpart; inside, a rank hands on
f P / g to each of the g - 1 others, whoever sent it, where f = r (1 - (1 - 1/r)^top_k) / top_k is what is left of a copy for each
expert once those for the same of the r = m g ranks are one. Combine is the same backwards: a rank adds up its experts' outputs.
Within one domain f P / n goes to each of the others.

**Domains that hold different numbers of the group's ranks** (groups of 32 over domains of 72: 32, or 8 and 24). With n_d ranks in
domain d a token has an expert there with probability

    p_d = 1 - (1 - n_d / n)^top_k,

so each rank outside sends p_d P / top_k to d, and gets as much back from d in a combine. Counterparts are the ranks of d
whose place modulo the greatest common divisor of all n_d is the sender's, each with an equal share: every rank of d lets in
as much as the others. Inside, f P / n_d goes to each of the n_d - 1 others, as before.
With a skew, position s sends send[s] of a rank's tokens, and domain G gets the share Q = sum of receive over it. The router
looks at G for pi = min(1, m Q / sum Q) of the tokens (for all of them where m is no limit), and sends there, of the tokens it
looks at, those of which at least one copy goes there:

    copies to G = payload / top_k x send[s] x pi (1 - (1 - Q / pi)^top_k).

Inside, a rank hands on what the sources at its own place of all domains send: payload x (sum of their send) x receive[d], of
which (1 - (1 - q)^top_k) / (top_k q) is left, q = receive[d] / pi.
Only where all domains hold the same places of a group. Of an exchange that is one of several (``whole``: waves of experts) a
token still crosses once for all of them: its copies are those of the whole, in this part's share of what the domain receives.

Leaves out: an expert is never chosen twice for one token, so D and f are a little larger than these independent draws give
(below 1% from 32 experts a domain).
"""

from __future__ import annotations

import math

import numpy as np

from simulator.network.collectives.hierarchical import cut_by_domain, two_levels
from simulator.network.collectives.pattern import Exchange, Levels, Pattern, levels
from simulator.spec.errors import InputError, NotModelled
from topologies.fabric import Floats, Ints
from workloads.instructions import Communication, Skew


def one_copy_per_domain(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """Scale-out copies to the counterparts and forwarded copies inside, at once; see the module."""
    if communication.top_k < 1:
        raise InputError(
            f"{communication.name}: one copy per domain needs the experts per token",
            got=communication.top_k,
            do="Set top_k of the communication.",
        )
    if communication.skew is not None:
        return _skewed(members, rank, communication, cut_by_domain(members, rank, communication, domain))
    cut = levels(members, rank, domain)
    if cut is None:
        return Pattern((_unequal(members, rank, communication, domain),))
    copies = distinct_domains(cut.across, communication.top_k, communication.max_domains)
    outside = copies / cut.across * communication.payload / communication.top_k
    among = min(cut.across, communication.max_domains) if communication.max_domains else cut.across
    inside = communication.payload / cut.within * merged(1.0 / (among * cut.within), communication.top_k)
    return Pattern((two_levels(cut, inside, outside, 1),))


def merged(drawn: float, top_k: int) -> float:
    """What is left of a copy for each expert when all that go to one rank are one; ``drawn``: the rank's share of the draws.

    >>> merged(1 / 8, 8), merged(1.0, 8)
    (0.6563910841941833, 0.125)
    """
    return float((1.0 - (1.0 - drawn) ** top_k) / (top_k * drawn)) if drawn > 0.0 else 1.0


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
    exchanges = [Exchange(inside[inside != rank], payload / len(inside) * merged(1.0 / len(members), communication.top_k))]
    for home in sorted(homes[homes != own].tolist(), key=lambda home: -abs(home - own)):
        there = members[members // domain == home]
        peers = there[np.arange(len(there)) % common == rail]
        crossing = len(inside) if communication.collective == "combine" else len(there)  # whose experts the tokens chose
        copies = 1.0 - (1.0 - crossing / len(members)) ** communication.top_k
        share = copies * payload / communication.top_k / (crossing // common)
        exchanges.append(Exchange(peers, share, steps=1 if len(exchanges) == 1 else 0))
    return tuple(exchanges)


def domain_copies(receive: Floats, top_k: int, limit: int = 0) -> Floats:
    """Tokens of which a copy goes to each domain, over all tokens; ``receive`` [domains] is each one's share of the copies.

    With equal shares they sum to :func:`distinct_domains`.

    >>> float(domain_copies(np.full(8, 1 / 8), 8, 4).sum()) == distinct_domains(8, 8, 4)
    True
    """
    looked_at = _looked_at(receive, limit)
    drawn = np.divide(receive, looked_at, out=np.zeros(len(receive)), where=looked_at > 0.0)
    return np.asarray(looked_at * (1.0 - (1.0 - np.minimum(drawn, 1.0)) ** top_k), dtype=np.float64)


def _looked_at(receive: Floats, limit: int) -> Floats:
    """Share of the tokens for which the router looks at each domain."""
    if 0 < limit < len(receive) and receive.sum() > 0.0:
        return np.asarray(np.minimum(1.0, limit * receive / receive.sum()), dtype=np.float64)
    return np.ones(len(receive))


def left_of_copies(skew: Skew, communication: Communication, domains: int) -> Floats:
    """:func:`merged` for each position of a skew, [positions]; the parts of an exchange share the copies of the whole."""
    receive = np.array(skew.whole or skew.receive)
    looked_at = _looked_at(receive.reshape(domains, -1).sum(axis=1), communication.max_domains)
    drawn = receive / np.repeat(np.maximum(looked_at, 1e-300), len(receive) // domains)
    return np.array([merged(min(float(each), 1.0), communication.top_k) for each in drawn])


def _skewed(members: Ints, rank: int, communication: Communication, cut: Levels) -> Pattern:
    """The same two exchanges when sources and targets differ; a combine is a dispatch turned round."""
    skew = communication.skew
    assert skew is not None
    if len(skew.send) != len(members):
        raise InputError(f"{communication.name}: a group of {len(members)} ranks has as many loads", got=len(skew.send))
    send, receive = (np.array(figures).reshape(cut.across, cut.within) for figures in (skew.send, skew.receive))
    home, place = divmod(int(np.searchsorted(members, rank)), cut.within)
    copies = _copies(skew, receive.sum(axis=1), communication)
    by_place = send.sum(axis=0)
    left = left_of_copies(skew, communication, cut.across).reshape(cut.across, cut.within)
    one, whole = communication.payload / communication.top_k, communication.payload
    if communication.collective == "combine":
        outside, inside = one * copies[home] * send[:, place], whole * left[home, place] * receive[home, place] * by_place
    else:
        outside, inside = one * send[home, place] * copies, whole * by_place[place] * left[home] * receive[home]
    exchanges = []
    if len(cut.inner):
        exchanges.append(Exchange.of_sizes(cut.inner, np.delete(inside, place)))
    if len(cut.outer):
        exchanges.append(Exchange.of_sizes(cut.outer, np.delete(outside, home)))
    return Pattern((tuple(exchanges),))


def _copies(skew: Skew, receive: Floats, communication: Communication) -> Floats:
    """Tokens of which a copy goes to each domain; ``receive`` [domains] is each one's share of the copies of experts."""
    if not skew.whole:
        return domain_copies(receive, communication.top_k, communication.max_domains)
    whole = np.array(skew.whole).reshape(len(receive), -1).sum(axis=1)
    part = np.divide(receive, whole, out=np.zeros(len(receive)), where=whole > 0.0)
    return np.asarray(domain_copies(whole, communication.top_k, communication.max_domains) * part, dtype=np.float64)
