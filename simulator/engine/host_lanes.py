"""A rank's work with its host: copies each way and updates by the host's processors, beside everything else.

A copy takes bytes over the rate that large copies reach on the link of the chip, an update the bytes of state over the rate at
which the host's processors get through them. Each lane serves in order; a work that comes after another of any lane waits at the
head of its own. Copies draw their bytes from the chip's memory, and slow down what is bound by it; they take no cores.

Leaves out: chips of a host that want its memory at different times (each has its share all along), the start of a copy, links
that the copies share with a network card.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulator.engine.accounts import Accounts
from simulator.engine.clock import PICOSECONDS, Clock
from simulator.engine.host import HostRates
from simulator.engine.lanes import Ticket
from simulator.engine.recorder import LANES, Recorder
from workloads.instructions import HostLane, HostWork

KIND = "host"


class HostLanes:
    """The three lanes of a rank. ``draws``: called with the change in bytes per second taken from the chip's memory."""

    def __init__(
        self, clock: Clock, rates: HostRates, accounts: Accounts, recorder: Recorder, draws: Callable[[float], None]
    ) -> None:
        self._clock = clock
        self._rates = rates
        self._rank_class = accounts.rank_class
        self._recorder = recorder
        self._draws = draws
        self._asked = 0  # for, and not over
        self._queues: dict[HostLane, deque[tuple[HostWork, Ticket, Ticket | None]]] = {lane: deque() for lane in HostLane}
        self._busy: set[HostLane] = set()

    @property
    def is_idle(self) -> bool:
        """Nothing under way and nothing asked for."""
        return not self._asked

    def submit(self, work: HostWork, after: Ticket | None) -> Ticket:
        """Queue a work behind those of its lane; ``after``: what must be done before it begins."""
        now = self._clock.now
        ticket = Ticket(self._clock.event(), KIND, joined=now, arrived=now)
        self._queues[work.lane].append((work, ticket, after))
        self._asked += 1
        if len(self._queues[work.lane]) == 1 and work.lane not in self._busy:
            self._next(work.lane)
        return ticket

    def _next(self, lane: HostLane) -> None:
        """Begin the first of a lane, or do so when what it comes after is done."""
        if not self._queues[lane]:
            return
        work, ticket, after = self._queues[lane][0]
        self._busy.add(lane)
        if after is None or after.done.processed:
            self._begin(work, ticket)
            return
        assert after.done.callbacks is not None
        after.done.callbacks.append(lambda _event: self._begin(work, ticket))

    def _begin(self, work: HostWork, ticket: Ticket) -> None:
        self._queues[work.lane].popleft()
        rate = self._rates.rate(work.lane)
        start = self._clock.now
        drawn = 0.0 if work.lane is HostLane.UPDATE else rate
        self._draws(drawn)
        self._clock.call_at(start + round(work.amount / rate * PICOSECONDS), lambda: self._finish(work, ticket, start, drawn))

    def _finish(self, work: HostWork, ticket: Ticket, start: int, drawn: float) -> None:
        self._draws(-drawn)
        self._recorder.add(self._rank_class, LANES.index(work.lane), work.name, start, self._clock.now)
        self._busy.discard(work.lane)
        self._asked -= 1
        ticket.done.succeed()
        self._next(work.lane)
