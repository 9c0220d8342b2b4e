"""Links on which rehearsed slots and other traffic meet: when would they be overfull?

The traffic of a rehearsed slot is a step function of time on each link class. As long as it fits beside what the network of
the step carries there, both go on as if alone, and by theorem 4 of docs/network.md that is what they would do together. The
first moment at which it does not fit is when the rehearsed slots on that link must be played.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from itertools import pairwise

from simulator.engine.clock import Call, Clock
from simulator.engine.performance import Performance
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from simulator.network.shares import OVER, Shares

Load = tuple[list[int], list[float]]  # from each time [ps since the slot began] on: wire bytes/s on one link


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a rehearsed slot puts on one link of each class, and its peak there."""

    loads: dict[int, Load]
    peaks: dict[int, float]

    @classmethod
    def of(cls, history: History, shares: Shares) -> Traffic:
        """Read off the history of a rehearsal."""
        changes: dict[int, dict[int, float]] = {}
        for start, end, share in zip(history.start, history.end, history.share, strict=True):
            for link, amount in shares.shares[share].use:
                times = changes.setdefault(link, {})
                times[start] = times.get(start, 0.0) + amount
                times[end] = times.get(end, 0.0) - amount
        loads = {link: _stacked(times) for link, times in changes.items()}
        return cls(loads, {link: max(values) for link, (_, values) in loads.items()})


class Watch:
    """Knows the rehearsed slots under way; calls ``interrupt`` for those on a link from the moment it would be overfull."""

    def __init__(self, clock: Clock, network: FluidNetwork, interrupt: Callable[[Performance], None]) -> None:
        self._clock = clock
        self._network = network
        self._interrupt = interrupt
        self._on: dict[int, dict[Performance, Traffic]] = {}
        self._peaks: dict[int, float] = {}  # of all of them together, if they met
        self._checks: dict[int, Call] = {}
        network.on_use = self._used

    def begin(self, performance: Performance, traffic: Traffic) -> None:
        """A rehearsed slot begins."""
        for link in traffic.loads:
            self._on.setdefault(link, {})[performance] = traffic
            self._add_up(link)
        self._used(traffic.loads.keys())

    def end(self, performance: Performance, traffic: Traffic) -> None:
        """It is over, or no longer goes as rehearsed."""
        for link in traffic.loads:
            self._on[link].pop(performance, None)
            self._add_up(link)

    def _add_up(self, link: int) -> None:
        self._peaks[link] = sum(traffic.peaks[link] for traffic in self._on[link].values())

    def _used(self, links: Set[int]) -> None:
        capacity, use, peaks = self._network.shares.capacity, self._network.use, self._peaks
        for link in links & peaks.keys():
            if peaks[link] > capacity[link] * OVER - use(link):
                self._look(link)

    def _look(self, link: int) -> None:
        """Interrupt whoever is on the link if it is overfull; else look again when it would be."""
        performances = self._on[link]
        if not performances:
            return
        room = self._network.shares.capacity[link] * OVER - self._network.use(link)
        if self._peaks[link] <= room:
            return
        now = self._clock.now
        if len(performances) == 1:
            ((performance, traffic),) = performances.items()
            moment = _first_above(traffic.loads[link], room, performance.offset, performance.start)
        else:
            moment = _first_together(
                [(traffic.loads[link], performance.start) for performance, traffic in performances.items()], room, now
            )
        if moment is None:
            return
        if moment <= now:
            for performance in list(performances):
                self._interrupt(performance)
            return
        pending = self._checks.get(link)
        if pending is not None:
            pending.cancel()
        self._checks[link] = self._clock.call_at(moment, lambda: self._look(link))


def _stacked(changes: dict[int, float]) -> Load:
    """Changes by time as a step function; what rounding leaves of nothing is nothing."""
    times = sorted(changes)
    values, value = [], 0.0
    highest = 0.0
    for time in times:
        value += changes[time]
        highest = max(highest, value)
        values.append(value if value > 1e-9 * highest else 0.0)
    return times, values


def _first_above(load: Load, room: float, offset: int, start: int) -> int | None:
    """The first moment, ``offset`` ticks after ``start`` or later, at which a load is above ``room``."""
    times, values = load
    for (time, until), value in zip(pairwise(times), values, strict=False):
        if until > offset and value > room:
            return start + max(time, offset)
    return None


def _first_together(loads: list[tuple[Load, int]], room: float, now: int) -> int | None:
    """The first moment, now or later, at which several loads that began at different times are above ``room`` together."""
    changes: dict[int, float] = {}
    for (times, values), start in loads:
        before = 0.0
        for time, value in zip(times, values, strict=True):
            moment = max(now, start + time)
            changes[moment] = changes.get(moment, 0.0) + value - before
            before = value
    value = 0.0
    for moment in sorted(changes):
        value += changes[moment]
        if value > room:
            return moment
    return None
