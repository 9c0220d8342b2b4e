"""Trees: a binomial one whose messages are whole, and the double binary tree of NCCL, pipelined.

**Binomial**: in round r ranks that differ in bit r meet; a reduction climbs in ceil(log2 n) rounds, a broadcast goes down in as
many, S bytes a message: 2 ceil(log2 n) (alpha + S / B) for an all-reduce.

**Double binary**: two trees over the domains of the group, each for half of the bytes, so laid out that a domain which is
inside one of them is a leaf of the other. Along a tree the bytes go up reduced and come down; inside a domain the ranks
pass them on in a chain, one chain for each rail with S / g. A domain inside a tree sends one half up and two down, as a leaf one
half up: 2 S in all (S where there are only two domains), so each rank sends

    inside 2 (g - 1) / g S, outside 2 S / g    (all-reduce), half of each for a broadcast.

The busiest domain's bytes stand for every domain's and are spread evenly over the others, which keeps every
symmetry. Steps: 2 (g - 1) inside and 2 ceil(log2 G) outside.

Leaves out: that the roots of the two trees send less; which pairs of domains are neighbours in a tree.
"""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.hierarchical import cut_by_domain
from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from topologies.fabric import Ints
from workloads.instructions import Communication

ROUNDS = {"all-reduce": 2, "broadcast": 1}


def double_tree(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """Chains inside, two trees across; inside one domain two trees over its ranks."""
    rounds = _rounds(communication)
    cut = cut_by_domain(members, rank, communication, domain)
    payload = communication.payload
    if cut.across == 1:
        total, steps = across(payload, cut.within, rounds)
        return Pattern(((Exchange(cut.inner, total / len(cut.inner), steps),),))
    total, steps = across(payload / cut.within, cut.across, rounds)
    exchanges = []
    if len(cut.inner):
        exchanges.append(Exchange(cut.inner, rounds * payload / cut.within, rounds * (cut.within - 1), relayed=True))
    exchanges.append(Exchange(cut.outer, total / len(cut.outer), steps))
    return Pattern((tuple(exchanges),))


def across(payload: float, nodes: int, rounds: int) -> tuple[float, int]:
    """Bytes that the busiest of ``nodes`` sends along both trees, and the steps.

    >>> across(8.0, 16, 2), across(8.0, 2, 2)
    ((16.0, 8), (8.0, 2))
    """
    return payload * rounds * (0.5 if nodes == 2 else 1.0), rounds * depth(nodes)


def binomial(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """Messages of the whole payload from the first rank of the group (its root), or to it and back."""
    rounds = _rounds(communication)
    place = int(np.searchsorted(members, rank))
    size = len(members)
    down: list[tuple[Exchange, ...]] = []
    up: list[tuple[Exchange, ...]] = []
    for level in reversed(range(depth(size))):
        reach = 1 << level
        child = place + reach
        sends = place % (2 * reach) == 0 and child < size
        down.append((Exchange(members[child : child + 1], communication.payload),) if sends else ())
        climbs = place % (2 * reach) == reach
        up.append((Exchange(members[place - reach : place - reach + 1], communication.payload),) if climbs else ())
    return Pattern(tuple(up[::-1] + down if rounds == 2 else down), survives="nothing")


def depth(nodes: int) -> int:
    """ceil(log2 n): rounds until all n have met."""
    return (nodes - 1).bit_length()


def _rounds(communication: Communication) -> int:
    if communication.collective not in ROUNDS:
        raise refusal(communication, f"a tree does an all-reduce or a broadcast, not {communication.collective}")
    return ROUNDS[communication.collective]
