"""The one door to SimPy: integer picoseconds, a fixed order of ties, cheap cancellable calls.

Integer time makes a trajectory the same on every machine: no two events are ordered by the last bit of a float. Events of
one instant happen in the order in which they were scheduled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from heapq import heappush
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


class Call(Event):
    """A function that will be called at a set time, unless cancelled first.

    An event that is put in SimPy's queue as it is made: a ``Timeout`` with a callback costs twice as much, and calls are half
    of all events.
    """

    def __init__(self, environment: simpy.Environment, time: int, function: Callable[[], None]) -> None:
        self.env = environment
        self.callbacks = [self._fire]
        self._value = None
        self._ok = True
        self._defused = False
        self._function: Callable[[], None] | None = function
        # What ``environment.schedule`` does, without a call of its own: half of all that the clock does is to schedule calls.
        heappush(environment._queue, (max(time, environment._now), NORMAL, next(environment._eid), self))

    def cancel(self) -> None:
        """Forget it; the clock passes over the empty event."""
        self._function = None

    def _fire(self, _event: Event) -> None:
        if self._function is not None:
            self._function()


class Clock:
    """Simulated time. ``now`` is in picoseconds."""

    def __init__(self) -> None:
        self._environment = simpy.Environment(initial_time=0)
        self._at_tick_end: list[Callable[[], None]] = []

    @property
    def now(self) -> int:
        return self._environment._now  # type: ignore[return-value]

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
        return Call(self._environment, time, function)

    def at_tick_end(self, function: Callable[[], None]) -> None:
        """Call ``function`` when nothing else is left to happen at this instant."""
        if not self._at_tick_end:
            self.call_at(self.now, self._end_tick)
        self._at_tick_end.append(function)

    def _end_tick(self) -> None:
        if self._environment.peek() <= self.now:
            self.call_at(self.now, self._end_tick)
            return
        functions, self._at_tick_end = self._at_tick_end, []
        for function in functions:
            function()

    @property
    def next_at(self) -> int | None:
        """When the next thing happens; None if nothing is left to."""
        time = self._environment.peek()
        return None if time == math.inf else int(time)

    def advance(self, time: int) -> None:
        """Let everything up to ``time`` happen, that instant included; it is ``time`` then."""
        environment = self._environment
        while environment.peek() <= time:
            environment.step()
        environment._now = time

    def run(self) -> None:
        """Until nothing is left to happen. Events are many and leave little garbage."""
        with seldom():
            self._environment.run()

    def run_until(self, event: Event) -> bool:
        """Until an event has happened; False if nothing is left to happen before it does."""
        while not event.processed:
            if self._environment.peek() == math.inf:
                return False
            self._environment.step()
        return True
