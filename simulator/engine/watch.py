"""Links on which rehearsed slots and other traffic meet: when would they be overfull?

The traffic of a rehearsed slot is a step function of time on each link class. As long as it fits beside what the network of
the step carries there, both go on as if alone, and by theorem 4 of docs/network.md that is what they would do together. The
first moment at which it does not fit is when the rehearsed slots on that link must be played.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simulator.engine.clock import Call, Clock
from simulator.engine.performance import Performance
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from simulator.network.shares import Shares
from topologies.fabric import Floats, Ints

Load = tuple[list[int], list[float]]  # from each time [ps since the slot began] on: wire bytes/s on one link


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """What a rehearsed slot puts on one link of each class in ``links``, ascending, and its peaks there.

    From ``time[i]`` [ps since the slot began] on, until the next, ``value[i]`` wire bytes/s; those of ``links[j]`` are entries
    ``starts[j]`` to ``starts[j + 1]``. ``met``: the links as a set.
    """

    links: Ints
    peaks: Floats
    starts: Ints
    time: Ints
    value: Floats
    met: frozenset[int]
    _loads: dict[int, Load] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History, shares: Shares) -> Traffic:
        """Read off the history of a rehearsal."""
        held = [shares.shares[share] for share in history.share]
        if not held:
            none: Ints = np.empty(0, dtype=np.int64)
            return cls(none, np.empty(0), np.zeros(1, dtype=np.int64), none, np.empty(0), frozenset())
        lengths = [len(share.links) for share in held]
        link = np.tile(np.concatenate([share.links for share in held]), 2)
        amount = np.concatenate([share.amounts for share in held])
        columns = (np.array(column, dtype=np.int64) for column in (history.start, history.end))
        moment = np.concatenate([np.repeat(column, lengths) for column in columns])
        stacked = _stacked(link, moment, np.concatenate((amount, -amount)))
        return cls(*stacked, frozenset(stacked[0].tolist()))

    def load(self, link: int) -> Load:
        """What it puts on one link of a class that it uses."""
        found = self._loads.get(link)
        if found is None:
            place = int(np.searchsorted(self.links, link))
            span = slice(int(self.starts[place]), int(self.starts[place + 1]))
            found = self._loads[link] = self.time[span].tolist(), self.value[span].tolist()
        return found


class Watch:
    """Knows the rehearsed slots under way; calls ``interrupt`` for those on a link from the moment it would be overfull."""

    def __init__(self, clock: Clock, network: FluidNetwork, interrupt: Callable[[Performance], None]) -> None:
        self._clock = clock
        self._network = network
        self._interrupt = interrupt
        self._under_way: dict[Performance, Traffic] = {}
        self._peaks: Floats = np.empty(0)  # by link class: of all of them together, if they met
        self._met: dict[int, dict[Performance, Load]] = {}  # on links that were looked at: who is there
        self._moments: dict[int, int] = {}  # when links are to be looked at again
        self._checks: dict[int, tuple[Call, set[int]]] = {}  # the same by moment
        network.on_use = self._used

    def begin(self, performance: Performance, traffic: Traffic) -> None:
        """A rehearsed slot begins."""
        self._under_way[performance] = traffic
        for link in self._met.keys() & traffic.met:
            self._met[link][performance] = traffic.load(link)
        self._reach()
        self._peaks[traffic.links] += traffic.peaks
        self._used(traffic.links)

    def _reach(self) -> None:
        """Keep account of all links that are known by now."""
        missing = len(self._network.shares.limits) - len(self._peaks)
        if missing:
            self._peaks = np.concatenate((self._peaks, np.zeros(missing)))

    def end(self, performance: Performance, traffic: Traffic) -> None:
        """It is over, or no longer goes as rehearsed."""
        del self._under_way[performance]
        for link in self._met.keys() & traffic.met:
            del self._met[link][performance]
        if self._under_way:
            self._peaks[traffic.links] -= traffic.peaks
        else:
            self._peaks[:] = 0.0

    def _used(self, links: Ints) -> None:
        if not self._under_way:
            return
        self._reach()
        peaks = self._peaks[links]
        near = (peaks > 0.0) & (peaks > self._network.room(links))
        if np.count_nonzero(near):
            for link in sorted(set(links[near].tolist())):
                self._look(link)

    def _look(self, link: int) -> None:
        """Interrupt whoever is on the link if it is overfull; else look again when it would be."""
        found = self._met.get(link)
        if found is None:
            on = [(performance, traffic) for performance, traffic in self._under_way.items() if link in traffic.met]
            found = self._met[link] = {performance: traffic.load(link) for performance, traffic in on}
        if not found:
            return
        room = float(self._network.shares.limits[link]) - self._network.use(link)
        if self._peaks[link] <= room:
            return
        now = self._clock.now
        if len(found) == 1:
            ((performance, load),) = found.items()
            moment = _first_above(load, room, performance.offset, performance.start)
        else:
            moment = _first_together([(load, performance.start) for performance, load in found.items()], room, now)
        if moment is None:
            return
        if moment <= now:
            for performance in list(found):
                self._interrupt(performance)
            return
        self._look_again(link, moment)

    def _look_again(self, link: int, moment: int) -> None:
        """Look at the link then and not before: one event for all links that are looked at together."""
        before = self._moments.get(link)
        if before == moment:
            return
        if before is not None:
            call, links = self._checks[before]
            links.remove(link)
            if not links:
                call.cancel()
                del self._checks[before]
        self._moments[link] = moment
        check = self._checks.get(moment)
        if check is None:
            check = self._checks[moment] = self._clock.call_at(moment, lambda: self._check(moment)), set()
        check[1].add(link)

    def _check(self, moment: int) -> None:
        _, links = self._checks.pop(moment)
        for link in links:
            del self._moments[link]
        for link in sorted(links):
            self._look(link)


def _stacked(link: Ints, moment: Ints, change: Floats) -> tuple[Ints, Floats, Ints, Ints, Floats]:
    """Changes on links as step functions: links, peaks, starts, times, values; what rounding leaves of nothing is nothing."""
    order = np.lexsort((moment, link))
    link, moment, change = link[order], moment[order], change[order]
    first = np.flatnonzero(np.append(True, (link[1:] != link[:-1]) | (moment[1:] != moment[:-1])))  # of those of one moment
    change = np.add.reduceat(change, first)
    links, starts = np.unique(link[first], return_index=True)
    value = np.cumsum(change)
    before = np.append(0.0, value)[starts]
    lengths = np.diff(np.append(starts, len(first)))
    value -= np.repeat(before, lengths)
    peaks = np.maximum.reduceat(value, starts)
    value[value <= 1e-9 * np.repeat(peaks, lengths)] = 0.0
    return links, peaks, np.append(starts, len(first)).astype(np.int64), moment[first], value


def _first_above(load: Load, room: float, offset: int, start: int) -> int | None:
    """The first moment, ``offset`` ticks after ``start`` or later, at which a load is above ``room``."""
    times, values = load
    for place in range(max(0, bisect_right(times, offset) - 1), len(times) - 1):
        if values[place] > room:
            return start + max(times[place], offset)
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
