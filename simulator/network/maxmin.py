"""Max-min fair rates, exactly: by local minima (numpy, and plain Python for a handful of flows), and by the textbook.

Rates x of flows with weights w share links of capacity c, ``load[e, f]`` being what a unit of x_f puts on link e. The
max-min allocation is the one feasible x whose levels x / w, sorted, are lexicographically largest; it is unique. All flows
that cross the link with the least level c / sum(load w) are frozen at that level, and so on. A link need not be the least of
all: it is enough that no flow on it crosses a lesser one, for then nothing frozen elsewhere can touch it first. Freezing
all such local minima at once is exact and takes few rounds. A rate cap is a link of the flow's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt

from topologies.fabric import Floats, Ints

#: Levels closer than this are one level: sums in another order differ by as much.
TIE = 1e-12

#: Loads from which it pays to look only near the water, and from which compiling that pays (measured).
MANY = 20_000
COMPILED = 2_000_000

Row = tuple[Sequence[int], Sequence[float], float, float]  # links, load on each, weight, rate cap


@dataclass(frozen=True, slots=True)
class Loads:
    """A sparse matrix [links x flows]: ``load[i]`` of flow ``flow[i]`` on link ``link[i]``, each pair at most once."""

    flow: Ints
    link: Ints
    load: Floats
    flows: int
    links: int

    def select(self, keep: npt.NDArray[np.bool_]) -> Loads:
        """The same for some of the flows, renumbered."""
        place = np.cumsum(keep) - 1
        kept = keep[self.flow]
        return Loads(place[self.flow[kept]], self.link[kept], self.load[kept], int(keep.sum()), self.links)

    def on_links(self, rates: Floats) -> Floats:
        """What these rates put on each link [links]."""
        used: Floats = np.bincount(self.link, weights=self.load * rates[self.flow], minlength=self.links).astype(np.float64)
        return used


Solver = Literal["rounds", "numpy", "numba"]


def max_min(
    loads: Loads,
    capacity: Floats,
    weight: Floats | None = None,
    rate_cap: Floats | None = None,
    *,
    solver: Solver | None = None,
) -> Floats:
    """Max-min fair rates [flows]; a flow without links or cap gets inf.

    ``solver``: local minima in ``rounds`` over all that is left, the same near the water in ``numpy``
    (:mod:`simulator.network.maxmin_many`), or compiled by ``numba``. They differ in the last digits. By default the number of
    loads decides, and numba is taken from :data:`COMPILED` loads on where it is installed.
    """
    weights = np.ones(loads.flows) if weight is None else weight
    caps = np.full(loads.flows, math.inf) if rate_cap is None else rate_cap
    chosen = solver or _usual(len(loads.load))
    if chosen == "rounds":
        return _in_rounds(loads, capacity, weights, caps)
    flow, link, load, limits = loads.flow, loads.link, loads.load, capacity.astype(np.float64)
    capped = np.flatnonzero(np.isfinite(caps))  # each has a link of its own
    if len(capped):
        flow = np.concatenate((flow, capped))
        link = np.concatenate((link, loads.links + np.arange(len(capped), dtype=np.int64)))
        load = np.concatenate((load, np.ones(len(capped))))
        limits = np.concatenate((limits, caps[capped]))
    if weight is not None:
        load = load * weights[flow]
    if chosen == "numba":
        from simulator.network.maxmin_compiled import rise
    else:
        from simulator.network.maxmin_many import rise
    level: Floats = rise(flow, link, load, loads.flows, limits, TIE)
    return np.minimum(level * weights, caps)


def _usual(loads: int) -> Solver:
    if loads < MANY:
        return "rounds"
    return "numba" if loads >= COMPILED and find_spec("numba") is not None else "numpy"


def _in_rounds(loads: Loads, capacity: Floats, weights: Floats, caps: Floats) -> Floats:
    rates = np.zeros(loads.flows)
    left = capacity.astype(np.float64)
    flow, link, load = loads.flow, loads.link, loads.load
    open_flow = np.ones(loads.flows, dtype=bool)
    while open_flow.any():
        demand = np.bincount(link, weights=load * weights[flow], minlength=loads.links)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where(demand > 0.0, np.maximum(left, 0.0) / demand, math.inf)
        own = caps / weights
        np.minimum.at(own, flow, level[link])
        least = np.full(loads.links, math.inf)
        np.minimum.at(least, link, own[flow])
        local = level <= least * (1.0 + TIE)
        frozen = open_flow & (own >= (caps / weights) * (1.0 - TIE))
        frozen[flow[local[link]]] = True
        rates[frozen] = own[frozen] * weights[frozen]
        done = frozen[flow]
        left -= np.bincount(link[done], weights=load[done] * rates[flow[done]], minlength=loads.links)
        open_flow &= ~frozen
        flow, link, load = flow[~done], link[~done], load[~done]
    return rates


def max_min_few(rows: Sequence[Row], capacity: Mapping[int, float]) -> list[float]:
    """The same for a handful of flows, without numpy's overhead; ``rows`` name their links, ``capacity`` knows each."""
    rates = [0.0] * len(rows)
    left = {link: capacity[link] for links, _, _, _ in rows for link in links}
    waiting = list(range(len(rows)))
    while waiting:
        demand: dict[int, float] = {}
        for index in waiting:
            links, load, weight, _ = rows[index]
            for link, amount in zip(links, load, strict=True):
                demand[link] = demand.get(link, 0.0) + amount * weight
        level = {link: max(left[link], 0.0) / wanted for link, wanted in demand.items()}
        own: dict[int, float] = {}
        least = dict.fromkeys(level, math.inf)
        for index in waiting:
            links, _, weight, cap = rows[index]
            lowest = own[index] = min([level[link] for link in links], default=math.inf)
            lowest = own[index] = min(lowest, cap / weight)
            for link in links:
                least[link] = min(least[link], lowest)
        local = {link for link, height in level.items() if height <= least[link] * (1.0 + TIE)}
        still = []
        for index in waiting:
            links, load, weight, cap = rows[index]
            if own[index] < cap / weight * (1.0 - TIE) and local.isdisjoint(links):
                still.append(index)
                continue
            rate = rates[index] = own[index] * weight
            for link, amount in zip(links, load, strict=True):
                left[link] -= amount * rate
        waiting = still
    return rates


def water_filling(loads: Loads, capacity: Floats, weight: Floats | None = None, rate_cap: Floats | None = None) -> Floats:
    """The textbook: raise all levels together, freeze whoever meets a full link, repeat. Slow; the others are held to it."""
    weights = np.ones(loads.flows) if weight is None else weight
    caps = np.full(loads.flows, math.inf) if rate_cap is None else rate_cap
    matrix = np.zeros((loads.links, loads.flows))
    np.add.at(matrix, (loads.link, loads.flow), loads.load)
    rates = np.zeros(loads.flows)
    growing = np.ones(loads.flows, dtype=bool)
    level = 0.0
    while growing.any():
        demand = matrix[:, growing] @ weights[growing]
        spare = capacity - matrix[:, ~growing] @ rates[~growing]
        used = demand > 0.0
        heights = np.append(spare[used] / demand[used], (caps / weights)[growing])
        level = max(level, float(heights.min(initial=math.inf)))
        full = np.zeros(loads.links, dtype=bool)
        full[used] = spare[used] <= demand[used] * level * (1.0 + TIE)
        frozen = growing & ((matrix[full] > 0.0).any(axis=0) | (caps / weights <= level * (1.0 + TIE)) | math.isinf(level))
        rates[frozen] = level * weights[frozen]
        growing &= ~frozen
    return rates


def is_max_min(
    loads: Loads,
    capacity: Floats,
    rates: Floats,
    weight: Floats | None = None,
    rate_cap: Floats | None = None,
    tolerance: float = 1e-9,
) -> bool:
    """Certificate: no link is above capacity, and each flow is at its cap or crosses a full link on which no level is higher."""
    weights = np.ones(loads.flows) if weight is None else weight
    caps = np.full(loads.flows, math.inf) if rate_cap is None else rate_cap
    used = loads.on_links(rates)
    if np.any(used > capacity * (1.0 + tolerance)) or np.any(rates > caps * (1.0 + tolerance)) or np.any(rates < 0.0):
        return False
    full = used >= capacity * (1.0 - tolerance)
    levels = rates / weights
    highest = np.zeros(loads.links)
    np.maximum.at(highest, loads.link, levels[loads.flow])
    stopped = rates >= caps * (1.0 - tolerance)
    tight = full[loads.link] & (levels[loads.flow] >= highest[loads.link] * (1.0 - tolerance))
    stopped[loads.flow[tight]] = True
    return bool(stopped.all())
