"""The folded network under observation: the rate of every flow class at every moment, and when each ends."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from simulator.network.contract import FlowClass, OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.maxmin import Loads, is_max_min
from simulator.network.transfers import Transfer
from tests.network.doubles import Clock
from topologies.fabric import Ints

Row = tuple[int, int, int]  # launch, phase, pattern
SECONDS = 1e-12


class Watched(FluidNetwork):
    """Notes, whenever rates change, how many flow classes of each pattern run and how fast; asserts that it is max-min."""

    def __init__(self, clock: Clock, fold: Fold) -> None:
        super().__init__(clock, fold)
        self.clock = clock
        self.times: list[int] = []
        self.states: list[tuple[Counter[Row], dict[Row, float]]] = []
        self.launches: dict[int, int] = {}  # id of an event -> number of the launch
        self._events: list[object] = []  # kept, so that ids stay their own

    def launch(self, operation: OperationClass) -> object:
        done = super().launch(operation)
        self.launches[id(done)] = len(self._events)
        self._events.append(done)
        return done

    def _wake(self) -> None:
        super()._wake()
        now = self.clock.now
        counts: Counter[Row] = Counter()
        rates: dict[Row, float] = {}
        for transfer, shape, speeds in self.at_rates():
            assert isinstance(transfer, Transfer)
            for pattern, speed in zip(self.shares.shapes[shape], speeds, strict=True):
                row = (self.launches[id(transfer.done)], transfer.phase, pattern)
                counts[row] += 1
                assert rates.setdefault(row, speed / SECONDS) == speed / SECONDS
        self._certify(counts, rates)
        if self.times and self.times[-1] == now:
            self.times.pop()
            self.states.pop()
        self.times.append(now)
        self.states.append((counts, rates))

    def _certify(self, counts: Counter[Row], rates: dict[Row, float]) -> None:
        """The certificate of the folded problem: what all that runs puts on the link classes."""
        if not rates:
            return
        rows = [(row, self.shares.patterns[row[2]].row) for row, times in counts.items() for _ in range(times)]
        loads = Loads(
            flow=np.repeat(np.arange(len(rows)), [len(pattern[0]) for _, pattern in rows]),
            link=np.concatenate([np.array(pattern[0], dtype=np.int64) for _, pattern in rows]),
            load=np.concatenate([np.array(pattern[1]) for _, pattern in rows]),
            flows=len(rows),
            links=len(self.folding.link_classes),
        )
        capacity = np.array([link.capacity for link in self.folding.link_classes])
        weight, cap = (np.array([pattern[column] for _, pattern in rows]) for column in (2, 3))
        assert is_max_min(loads, capacity, np.array([rates[row] for row, _ in rows]), weight, cap)

    def ends(self, launch: int, phase: int, flows: Sequence[FlowClass], kind: str) -> list[float]:
        """When the flow classes of one phase of a launch ended [s]: of those with one pattern, smaller ones first."""
        patterns = [self.shares.pattern(flow, kind) for flow in flows]
        found = [0.0] * len(flows)
        for pattern in set(patterns):
            places = sorted((place for place, each in enumerate(patterns) if each == pattern), key=lambda at: flows[at].size)
            row = (launch, phase, pattern)
            running = [state[0].get(row, 0) for state in self.states]
            begun = next(at for at, count in enumerate(running) if count)
            for time, (before, after) in zip(self.times[begun + 1 :], pairwise(running[begun:]), strict=True):
                for place in places[len(places) - before : len(places) - after]:
                    found[place] = time * SECONDS
        return found

    def rates(
        self, launch: int, phase: int, flows: Sequence[FlowClass], kind: str, moments: Sequence[float]
    ) -> list[list[float]]:
        """[moments][flows] rates [B/s] at some moments [s]; 0 where nothing of that pattern runs."""
        rows = [(launch, phase, self.shares.pattern(flow, kind)) for flow in flows]
        found = []
        for moment in moments:
            state = self.states[bisect_right(self.times, moment / SECONDS) - 1][1]
            found.append([state.get(row, 0.0) for row in rows])
        return found


def classes(fold: Fold, source: Ints, target: Ints) -> list[tuple[int, int]]:
    """The class of each pair of ranks: (class of the source, number of its path)."""
    found: dict[tuple[int, int], int] = {}
    keys = []
    of = fold.orbits.rank_class
    order = np.argsort(source, kind="stable")
    named: list[tuple[int, int]] = [(0, 0)] * len(source)
    starts = np.flatnonzero(np.diff(source[order], prepend=-1))
    for chosen in np.split(order, starts[1:]):
        rank = int(source[chosen[0]])
        codes = fold.orbits.pair_codes(rank, target[chosen])
        for place, code in zip(chosen.tolist(), codes.tolist(), strict=True):
            key = (int(of[rank]), code)
            if key not in found:
                found[key] = fold.path(rank, int(target[place])).number
                keys.append(key)
            named[place] = (int(of[rank]), found[key])
    return named
