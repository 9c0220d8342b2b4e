"""Recursive halving and doubling: log2 n rounds, each with one partner, half the bytes of the round before."""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from topologies.fabric import Ints
from workloads.instructions import Communication


def halving_doubling(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """Reduce-scatter halves (far partner and payload / 2 first), all-gather doubles, all-reduce does both."""
    size = len(members)
    if size & (size - 1) or communication.collective not in ("all-gather", "reduce-scatter", "all-reduce"):
        what = f"{communication.collective} of {size}"
        rule = f"halving-doubling needs an all-gather, reduce-scatter or all-reduce of 2^k ranks, not {what}"
        raise refusal(communication, rule)
    place = int(np.searchsorted(members, rank))
    halving = []
    reach, payload = size // 2, communication.payload / 2
    while reach:
        partner = place ^ reach
        halving.append((Exchange(members[partner : partner + 1], payload),))
        reach, payload = reach // 2, payload / 2
    doubling = halving[::-1]
    phases = {"reduce-scatter": halving, "all-gather": doubling, "all-reduce": halving + doubling}
    return Pattern(tuple(phases[communication.collective]), survives="flips")
