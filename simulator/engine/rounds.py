"""Rounds of a schedule that go as the round before them are left out: how a step reaches its steady state and skips it.

A schedule repeats itself: after so many slots every rank runs the same blocks on the next micro-batches. Once everything that
may decide how the step goes on (who is where in which slot since when, what is on its way on which link with how many bytes
left, which messages are unread, what is still to be booked) is again what it was a round ago, the step will go through the same
round again as long as the schedules repeat themselves: nothing else decides. So all ranks leap over these rounds at once, and
what happened in one of them has happened in each (:mod:`simulator.engine.repetition`).

A slot that had to be taken up in the middle, for links would have been overfull, goes on from all that its collectives have done
so far, when they began, ended and at which rates: that is compared too.

Left out: steps in which, whenever the first rank comes to a slot, some rank plays one into which a collective of another slot
reaches, or one whose twins were told apart in its course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from simulator.engine.clock import Clock
from simulator.engine.itinerary import itinerary
from simulator.engine.post import Post
from simulator.engine.rank import Rank
from simulator.engine.rehearsal import Rehearsals
from simulator.engine.repetition import Ints, Repetition
from simulator.network.fluid import FluidNetwork


@dataclass(frozen=True, slots=True)
class Cycle:
    """From slot ``start`` to ``end`` (not included) a schedule repeats itself every ``slots``, ``micro_batches`` further on."""

    start: int
    end: int
    slots: int
    micro_batches: int

    def of(self, micro_batches: int) -> Cycle:
        """The same in longer rounds, of a multiple of its micro-batches."""
        return Cycle(self.start, self.end, self.slots * (micro_batches // self.micro_batches), micro_batches)

    def repeats(self, position: int, rounds: int) -> int:
        """How often the last ``rounds`` come again for a rank in the slot at ``position``; 0 if they were not in the cycle."""
        length = self.slots * rounds
        return (self.end - 1 - position) // length if self.start <= position - length else 0


def cycle_of(scenes: Sequence[object], micro_batches: Sequence[int]) -> Cycle | None:
    """The cycle around the middle of a schedule that lasts longest: slots of equal scenes, their micro-batches as far apart.

    >>> cycle_of("ffffbfbfbfbfbbb", [0, 1, 2, 3, 0, 4, 1, 5, 2, 6, 3, 7, 4, 5, 6])
    Cycle(start=3, end=13, slots=2, micro_batches=1)
    """
    numbers: dict[object, int] = {}
    scene: Ints = np.array([numbers.setdefault(each, len(numbers)) for each in scenes], dtype=np.int64)
    batch: Ints = np.array(micro_batches, dtype=np.int64)
    middle, found = len(scene) // 2, Cycle(0, 0, 1, 1)
    for later in np.flatnonzero(scene[middle + 1 :] == scene[middle]) + middle + 1 if len(scene) else ():
        slots, step = int(later) - middle, int(batch[later] - batch[middle])
        again = slice(int(later), int(later) + slots)  # the first round, and the one that is to repeat it
        if step <= 0 or again.stop > len(scene) or not np.array_equal(scene[again], scene[middle : int(later)]):
            continue
        if np.array_equal(batch[again], batch[middle : int(later)] + step):
            alike = (scene[slots:] == scene[:-slots]) & (batch[slots:] - batch[:-slots] == step)
            unlike = np.flatnonzero(~alike)
            place = int(np.searchsorted(unlike, middle))
            start = int(unlike[place - 1]) + 1 if place else 0
            end = (int(unlike[place]) if place < len(unlike) else len(alike)) + slots
            if end - start > found.end - found.start:
                found = Cycle(start, end, slots, step)
    return found if found.end else None


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment at which a round began, and what was booked until then."""

    rounds: int
    time: int
    books: list[dict[str, float]]
    completed: dict[int, int]
    repeated: int


class Rounds:
    """Looks at the step once a round of its first rank; ``repetition`` is what was left out, None while nothing."""

    def __init__(self, clock: Clock, network: FluidNetwork, post: Post, rehearsals: Rehearsals, ranks: Sequence[Rank]):
        self.repetition: Repetition | None = None
        self._clock = clock
        self._network = network
        self._post = post
        self._rehearsals = rehearsals
        self._ranks = ranks
        self._seen: dict[tuple[object, ...], _Mark] = {}
        self._rounds = 0
        self._phase = 0  # slot of its round at which the first rank is looked at
        alike = {id(rank.program): rank for rank in ranks}
        by_program = {key: _cycle(rank) for key, rank in alike.items()}
        found = [by_program[id(rank.program)] for rank in ranks]
        cycles = [cycle for cycle in found if cycle is not None]
        if len(cycles) < len(found):
            return
        self._micro_batches = lcm(*(cycle.micro_batches for cycle in cycles))
        self._cycles = [cycle.of(self._micro_batches) for cycle in cycles]
        if all(cycle.end - cycle.start >= 3 * cycle.slots for cycle in self._cycles):
            ranks[0].on_slot = self._begin

    def _begin(self, rank: Rank) -> None:
        """The first rank comes to a slot."""
        self._rounds, phase = divmod(rank.position - self._cycles[0].start, self._cycles[0].slots)
        if phase == self._phase and self._rounds >= 0:
            self._clock.at_tick_end(self._look, last=True)

    def _look(self) -> None:
        """The instant is over: is everything as it was at an earlier round?"""
        if self._clock.next_at == self._clock.now:
            self._clock.at_tick_end(self._look, last=True)
            return
        state = self._state()
        if state is None:
            self._phase = (self._phase + 1) % self._cycles[0].slots
            return
        now = _Mark(
            self._rounds,
            self._clock.now,
            [dict(rank.accounts.parts) for rank in self._ranks],
            dict(self._network.history.completed),
            self._rehearsals.repeated,
        )
        earlier = self._seen.setdefault(state, now)
        if earlier is not now:
            self._leap(earlier, now)

    def _state(self) -> tuple[object, ...] | None:
        """All that may decide how the step goes on, counted from now and from this round."""
        now, rounds = self._clock.now, self._rounds
        micro_batch = rounds * self._micro_batches
        ranks = []
        for rank, cycle in zip(self._ranks, self._cycles, strict=True):
            state = rank.state(now, rounds * cycle.slots, micro_batch)
            if state is None:
                return None
            ranks.append(state)
        return *ranks, self._network.state(), self._post.state(now, micro_batch)

    def _leap(self, earlier: _Mark, now: _Mark) -> None:
        """Leave out as many repetitions of what lies between two marks as all schedules have."""
        rounds = now.rounds - earlier.rounds
        pairs = list(zip(self._ranks, self._cycles, strict=True))
        times = min(cycle.repeats(rank.position, rounds) for rank, cycle in pairs)
        self._ranks[0].on_slot = None
        self._seen.clear()
        if times < 1:
            return
        micro_batches = rounds * self._micro_batches
        for rank, cycle in pairs:
            rank.leap(times * rounds * cycle.slots, times * micro_batches)
        for rank, before, after in zip(self._ranks, earlier.books, now.books, strict=True):
            for part, value in after.items():
                rank.accounts.parts[part] += times * (value - before[part])
        completed = self._network.history.completed
        for key, count in now.completed.items():
            completed[key] += times * (count - earlier.completed.get(key, 0))
        self._rehearsals.repeated += times * (now.repeated - earlier.repeated)
        self.repetition = Repetition(earlier.time, now.time, times, micro_batches)


def _cycle(rank: Rank) -> Cycle | None:
    """How the schedule of a rank repeats itself: same works, same blocks, micro-batches as far apart within a slot."""
    route = itinerary(rank)
    firsts = [works[0][1] for works in route.works]
    cells = [tuple([(cell, batch - first) for cell, batch in works]) for works, first in zip(route.works, firsts, strict=True)]
    return cycle_of(list(zip(route.scene, cells, strict=True)), firsts)
