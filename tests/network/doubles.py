"""A clock without SimPy, and one-line communications, for tests of the network alone."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from workloads.instructions import Communication


class Call:
    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        self.function = None


class Done:
    """An event: remembers when it succeeded and calls who waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.time: int | None = None
        self.callbacks: list[Callable[[], None]] = []

    def succeed(self) -> None:
        assert self.time is None
        self.time = self.clock.now
        for callback in self.callbacks:
            self.clock.call_at(self.clock.now, callback)


class Clock:
    """Events in order of time, then of asking."""

    def __init__(self) -> None:
        self.now = 0
        self.pending: list[tuple[int, int, Call]] = []
        self.serial = count()

    def call_at(self, time: int, function: Callable[[], None]) -> Call:
        assert time >= self.now
        call = Call(function)
        heapq.heappush(self.pending, (time, next(self.serial), call))
        return call

    def event(self) -> Done:
        return Done(self)

    def live(self) -> int:
        return sum(call.function is not None for _, _, call in self.pending)

    def run(self) -> None:
        while self.pending:
            time, _, call = heapq.heappop(self.pending)
            if call.function is not None:
                self.now = time
                call.function()


def run_at(clock: Clock, network: FluidNetwork, starts: list[tuple[int, OperationClass]]) -> list[Done]:
    """Launch operations at set times [ps] and run until all is done; their events, in the order given."""
    events: list[Done | None] = [None] * len(starts)

    def launch(place: int, operation: OperationClass) -> None:
        events[place] = network.launch(operation)

    for place, (time, operation) in enumerate(starts):
        clock.call_at(time, lambda place=place, operation=operation: launch(place, operation))
    clock.run()
    assert all(event is not None and event.time is not None for event in events)
    return [event for event in events if event is not None]


def communication(collective: str, group: str, payload: float, kind: str = "", **extra: int | bool) -> Communication:
    return Communication(f"{group} {collective}", kind or group[:2], collective, group, payload, **extra)  # type: ignore[arg-type]
