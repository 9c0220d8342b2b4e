"""The one door to SimPy: integer picoseconds, a fixed order of ties, cheap cancellable calls.

Integer time makes a trajectory the same on every machine: no two events are ordered by the last bit of a float. Events of
one instant happen in the order in which they were scheduled.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, Event, Process

from simulator.engine.garbage import seldom

PICOSECONDS = 1_000_000_000_000  # per second


def picoseconds(seconds: float) -> int:
    """Seconds to the clock's ticks, to the nearest.

    >>> picoseconds(1.5e-6)
    1500000
    """
    return round(seconds * PICOSECONDS)


class Call:
    """A function that will be called at a set time, unless cancelled first. ``function``: None once it is.

    It stands in SimPy's queue, but is no event of SimPy's: nobody waits for it, and calls are more than half of all that happens.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Forget it; the clock passes over the empty call."""
        self.function = None


class Clock:
    """Simulated time. ``now`` is in picoseconds; only the clock sets it."""

    def __init__(self) -> None:
        self._environment = simpy.Environment(initial_time=0)
        self._queue: list[tuple[int, int, int, Any]] = self._environment._queue  # type: ignore[assignment]
        self._numbers = self._environment._eid
        self.now = 0
        self._at_tick_end: list[Callable[[], None]] = []
        self._last_of_tick: list[Callable[[], None]] = []
        self._end: Call | None = None  # of this instant, in the queue

    @property
    def events(self) -> int:
        """How many events were scheduled so far."""
        # SimPy numbers its events with an itertools.count; its repr reads it without consuming a number.
        return int(repr(self._environment._eid)[6:-1])

    def event(self) -> Event:
        """An event that somebody will let succeed."""
        return Event(self._environment)

    def process(self, generator: Generator[Event, Any, Any]) -> Process:
        """Start a process; it is itself an event that fires when the process ends."""
        return self._environment.process(generator)

    def all_of(self, events: Iterable[Event]) -> Event:
        """Fires when all of them have."""
        return self._environment.all_of(list(events))

    def call_at(self, time: int, function: Callable[[], None]) -> Call:
        """Call ``function`` at ``time`` (not before now)."""
        call = Call(function)
        # What ``environment.schedule`` does, without a call of its own.
        heappush(self._queue, (time if time > self.now else self.now, NORMAL, next(self._numbers), call))
        return call

    def at_tick_end(self, function: Callable[[], None], *, last: bool = False) -> None:
        """Call ``function`` when nothing else is left to happen at this instant; ``last``: nor what others do when it ends."""
        (self._last_of_tick if last else self._at_tick_end).append(function)
        self._await_end()

    def _await_end(self) -> None:
        if self._end is None:
            self._end = self.call_at(self.now, self._end_tick)

    def _end_tick(self) -> None:
        self._end = None
        if self._queue and self._queue[0][0] <= self.now:
            self._await_end()
            return
        functions, self._at_tick_end = self._at_tick_end, []
        if not functions:
            functions, self._last_of_tick = self._last_of_tick, []
        for function in functions:
            function()
        if self._at_tick_end or self._last_of_tick:
            self._await_end()

    @property
    def is_ending(self) -> bool:
        """Whether nothing is left of this instant but what waits for all others (``last``)."""
        queue = self._queue
        if self._end is None or self._at_tick_end or queue[0][3] is not self._end:
            return False
        return all(event[0] > self.now for event in queue[1:3])  # of a heap the next is one of these

    def end_tick(self) -> None:
        """Call what waits for all others, which now are through."""
        self._happen()

    @property
    def next_at(self) -> int | None:
        """When the next thing happens; None if nothing is left to."""
        return self._queue[0][0] if self._queue else None

    def advance(self, time: int, *, hold: bool = False) -> None:
        """Let everything up to ``time`` happen, that instant included; it is ``time`` then.

        ``hold``: all of that instant but what comes last, for on another clock it is not over.
        """
        queue = self._queue
        while queue and queue[0][0] <= time:
            if hold and self.now == time and self.is_ending:
                break
            self._happen()
        self._environment._now = self.now = time

    def run(self) -> None:
        """Until nothing is left to happen. Events are many and leave little garbage."""
        with seldom():
            while self._queue:
                self._happen()

    def run_until(self, event: Event) -> bool:
        """Until an event has happened; False if nothing is left to happen before it does."""
        while not event.processed:
            if not self._queue:
                return False
            self._happen()
        return True

    def _happen(self) -> None:
        """The next thing: a call of ours, or an event, which is SimPy's to process."""
        queue, environment = self._queue, self._environment
        self.now, _, _, what = queue[0]
        if what.__class__ is Call:
            heappop(queue)
            environment._now = self.now
            if what.function is not None:
                what.function()
        else:
            environment.step()
