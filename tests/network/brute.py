"""Every flow by itself, in time: which rate each has at each moment and when it ends, without any folding.

Floats for time, one entry a flow, rates solved anew over all flows under way whenever one begins or ends. The phases of a
group follow each other; the groups know nothing of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.maxmin import Loads, is_max_min, max_min
from simulator.network.unfolded import Flows
from topologies.fabric import Floats, Ints

#: Ends closer than this times the time that has passed are one end.
TOGETHER = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``start`` to ``end`` [s] the ``flows`` run at ``rates`` [B/s]."""

    start: float
    end: float
    flows: Ints
    rates: Floats


def play(
    flows: Flows, group: Ints, size: Floats, weight: Floats, cap: Floats, begin: Sequence[float]
) -> tuple[Floats, list[Interval]]:
    """When each flow ends [s], and all that happened; operation i moves its first byte at ``begin[i]``.

    ``group`` numbers the groups within each operation. Asserts the max-min certificate in every interval.
    """
    count = len(size)
    number = np.unique(np.stack((flows.operation, group), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    stages: dict[tuple[int, int], Ints] = {}
    for key in sorted({*zip(number.tolist(), flows.phase.tolist(), strict=True)}):
        stages[key] = np.flatnonzero((number == key[0]) & (flows.phase == key[1]))
    waiting: dict[int, int] = {}
    starts: list[tuple[float, Ints]] = [
        (begin[int(flows.operation[of[0]])], of) for (_, phase), of in stages.items() if not phase
    ]
    starts.sort(key=lambda entry: entry[0])
    ends, left = np.full(count, math.nan), size.astype(np.float64)
    active, history, now = np.zeros(count, dtype=bool), [], 0.0
    while starts or active.any():
        while starts and starts[0][0] <= now * (1 + TOGETHER):
            _, those = starts.pop(0)
            active[those] = True
            waiting[int(number[those[0]])] = len(those)
        chosen = np.flatnonzero(active)
        loads = flows.loads.select(active)
        rates = max_min(loads, flows.capacity, weight[chosen], cap[chosen])
        assert is_max_min(loads, flows.capacity, rates, weight[chosen], cap[chosen])
        needed = left[chosen] / rates
        step = min(needed.min(initial=math.inf), starts[0][0] - now if starts else math.inf)
        if len(chosen):
            history.append(Interval(now, now + step, chosen, rates))
        now += step
        left[chosen] -= rates * step
        over = chosen[needed <= step + now * TOGETHER]
        active[over] = False
        ends[over] = now
        for owner, ended in zip(*np.unique(number[over], return_counts=True), strict=True):
            waiting[int(owner)] -= int(ended)
            if not waiting[int(owner)]:
                phase = int(flows.phase[over[number[over] == owner][0]]) + 1
                if (int(owner), phase) in stages:
                    starts.insert(0, (now, stages[int(owner), phase]))
    return ends, history


def dense_rates(loads: Loads, capacity: Floats) -> Floats:
    """The same rates by raising all levels together, one freezing at a time: no code shared with the solvers."""
    matrix = np.zeros((loads.links, loads.flows))
    np.add.at(matrix, (loads.link, loads.flow), loads.load)
    rates, rising = np.zeros(loads.flows), np.ones(loads.flows, dtype=bool)
    while rising.any():
        demand, spare = matrix[:, rising].sum(axis=1), capacity - matrix @ np.where(rising, 0.0, rates)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where(demand > 0, spare / demand, math.inf)
        full = int(np.argmin(level))
        frozen = rising & (matrix[full] > 0)
        rates[frozen] = level[full]
        rising &= ~frozen
    return rates
