"""Max-min fair rates of very many flows, in numpy: the water rises mark by mark, and only links near it are looked at.

Local minima (:mod:`simulator.network.maxmin`) need many rounds where many flows share a link, and each round looks at all that
is left. Whether a link of level l is a local minimum depends on the links of lower level alone. So take those below a mark,
freeze local minima among them until none is left below it, and raise the mark: the same flows freeze at the same levels, and
a round costs what is near the water. Levels only rise, so a link that leaves the window does not come back under its mark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topologies.fabric import Floats, Ints

#: Links of a window: this part of those left, and at least so many (measured: fewer cost rounds, more cost work a round).
PART, FEWEST = 1 / 48, 256

#: What subtracting may have lost of a sum, relative to the sum before anything was subtracted.
LOST = 1e-12

#: A mark lies above the level it is set by, so that what was lost does not keep that level's links from it.
SLACK = 1e-9


@dataclass(slots=True, eq=False)
class _Side:
    """Entries of the matrix sorted by one of its sides: those of item i are ``start[i]`` to ``start[i + 1]``."""

    start: Ints
    other: npt.NDArray[np.int32]
    load: Floats  # per unit of level

    @classmethod
    def of(cls, own: Ints, other: Ints, load: Floats, count: int) -> _Side:
        start = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(own, minlength=count), out=start[1:])
        if np.all(own[1:] >= own[:-1]):
            return cls(start, other.astype(np.int32), load)
        order = np.argsort(own.astype(np.uint16) if count < 2**16 else own.astype(np.uint32), kind="stable")
        return cls(start, other[order].astype(np.int32), load[order])

    def entries(self, items: Ints) -> tuple[Ints, Ints]:
        """The places of all entries of some items, and how many each has."""
        counts = self.start[items + 1] - self.start[items]
        ends = np.cumsum(counts)
        places = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
        places += np.repeat(self.start[items] - ends + counts, counts)
        return places, counts


def rise(flow: Ints, link: Ints, load: Floats, flows: int, capacity: Floats, tie: float) -> Floats:
    """The level of each flow; ``load`` [entries] is what a flow at level 1 puts on the link. Flows without links get inf."""
    water = _Water(flow, link, load, flows, capacity)
    while (near := water.window()) is not None:
        water.fill(*near, tie)
    return water.level


class _Water:
    """What is left of the links while flows freeze."""

    def __init__(self, flow: Ints, link: Ints, load: Floats, flows: int, capacity: Floats) -> None:
        links = len(capacity)
        self._of_link = _Side.of(link, flow, load, links)
        self._of_flow = _Side.of(flow, link, load, flows)
        self._left = capacity.astype(np.float64)
        self._first = np.bincount(link, weights=load, minlength=links)
        self._demand = self._first.copy()
        self._open_entries = np.diff(self._of_link.start)
        self._own = np.full(flows, math.inf)
        self._place = np.zeros(flows, dtype=np.int64)
        self.open = np.ones(flows, dtype=bool)
        self.level: Floats = np.full(flows, math.inf)

    def window(self) -> tuple[Ints, float] | None:
        """The links that may be below the next mark, and the mark; None where nothing is left."""
        live = np.flatnonzero(self._open_entries)
        if not len(live):
            return None
        lost = LOST * self._first[live]
        least = np.maximum(self._left[live], 0.0) / (self._demand[live] + lost)
        chosen = max(FEWEST, int(len(live) * PART))
        if chosen >= len(live):
            return live, math.inf
        mark = float(np.partition(least, chosen)[chosen]) * (1.0 + SLACK)
        return live[least <= mark], mark

    def fill(self, near: Ints, mark: float, tie: float) -> None:
        """Freeze local minima among these links until none of them is below the mark."""
        places, counts = self._of_link.entries(near)
        flow, load = self._of_link.other[places], self._of_link.load[places]
        keep = self.open[flow]
        while True:
            # Links without open flows, and those that are above the mark, are done with.
            counts = _counts(keep, counts)
            flow, load = flow[keep], load[keep]
            some = counts > 0
            near, counts = near[some], counts[some]
            if not len(near):
                return
            starts = np.cumsum(counts) - counts
            demand = np.add.reduceat(load, starts)
            level = np.maximum(self._left[near], 0.0) / demand
            below = level <= mark
            if not below.all():
                self._demand[near], self._first[near] = demand, demand  # made anew, so nothing of them is lost
                if not below.any():
                    return
                keep = np.repeat(below, counts)
                near, counts, level, flow, load = near[below], counts[below], level[below], flow[keep], load[keep]
                starts = np.cumsum(counts) - counts
            each = np.repeat(level, counts)
            own = self._own
            own[flow] = math.inf
            np.minimum.at(own, flow, each)
            met = own[flow]
            least = np.minimum.reduceat(met, starts)
            local = np.repeat(level <= least * (1.0 + tie), counts)
            self._freeze(flow[local], met[local])
            keep = self.open[flow]

    def _freeze(self, flow: npt.NDArray[np.int32], level: Floats) -> None:
        self.level[flow] = level
        flow = flow[_last_of_each(flow, self._place)]
        self.open[flow] = False
        flows = flow.astype(np.int64)
        places, counts = self._of_flow.entries(flows)
        links, load = self._of_flow.other[places], self._of_flow.load[places]
        np.subtract.at(self._left, links, load * np.repeat(self.level[flows], counts))
        np.subtract.at(self._demand, links, load)
        np.subtract.at(self._open_entries, links, 1)


def _last_of_each(items: npt.NDArray[np.int32], place: Ints) -> npt.NDArray[np.bool_]:
    """Where each item occurs last: a ``unique`` without a sort; ``place`` is room to work in."""
    here = np.arange(len(items), dtype=np.int64)
    place[items] = here
    last: npt.NDArray[np.bool_] = place[items] == here
    return last


def _counts(keep: npt.NDArray[np.bool_], counts: Ints) -> Ints:
    """How many entries of each link are kept."""
    running = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(keep)))
    ends = np.cumsum(counts)
    kept: Ints = running[ends] - running[ends - counts]
    return kept
