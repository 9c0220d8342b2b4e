"""The lanes of a rank: one that computes, one for each kind of communication; each serves in order of arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simpy.events import Event

from simulator.engine.accounts import Accounts
from simulator.engine.clock import PICOSECONDS, Call, Clock
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Segment, advance, elapsed_at
from simulator.network.contract import Network, OperationClass

COMPUTE = LANES.index("compute")


@dataclass(slots=True)
class Ticket:
    """A collective on its way: ``done`` fires at its end; ``joined`` and ``arrived`` are set as it gets under way [ps]."""

    done: Event
    kind: str
    joined: int = -1
    arrived: int = -1


class ComputeLane:
    """Runs segments one after the other; slows down while communication takes cores and memory bandwidth."""

    def __init__(
        self, clock: Clock, accounts: Accounts, recorder: Recorder, contention: Callable[[], tuple[float, float]]
    ) -> None:
        self._clock = clock
        self._accounts = accounts
        self._contention = contention
        self._recorder = recorder
        self._queue: deque[tuple[Segment, Event, bool]] = deque()
        self._running: tuple[Segment, Event, bool] | None = None
        self._call: Call | None = None
        self._started = 0
        self._updated = 0
        self._position = 0.0
        self._table: list[float] = []
        self._taken = (0.0, 0.0)  # cores, memory bandwidth

    def submit(self, segment: Segment, optimizer: bool = False) -> Event:
        """Queue a segment; the event fires when it has run."""
        done = self._clock.event()
        self._queue.append((segment, done, optimizer))
        if self._running is None:
            self._next()
        return done

    def refresh(self) -> None:
        """What communication takes may have changed."""
        if self._running is None:
            return
        taken = self._contention()
        if taken == self._taken:
            return
        now = self._clock.now
        self._position = advance(self._table, self._position, now - self._updated)
        self._updated = now
        self._taken = taken
        self._schedule()

    def _next(self) -> None:
        if not self._queue:
            return
        now = self._clock.now
        self._accounts.close_idle(now)
        self._running = self._queue.popleft()
        self._started = self._updated = now
        self._position = 0.0
        self._taken = self._contention()
        self._schedule()

    def _schedule(self) -> None:
        assert self._running is not None
        self._table = self._running[0].table(*self._taken)
        left = self._table[-1] - elapsed_at(self._table, self._position)
        if self._call is not None:
            self._call.cancel()
        self._call = self._clock.call_at(self._clock.now + round(left), self._finish)

    def _finish(self) -> None:
        assert self._running is not None
        segment, done, optimizer = self._running
        now = self._clock.now
        self._book(segment, now - self._started, optimizer)
        self._recorder.add(self._accounts.rank_class, COMPUTE, segment.name, self._started, now)
        self._accounts.idle_since = now
        self._running = self._call = None
        done.succeed()
        self._next()

    def _book(self, segment: Segment, duration: int, optimizer: bool) -> None:
        parts = self._accounts.parts
        if optimizer:
            parts["optimizer"] += duration
            return
        parts["arithmetic"] += segment.arithmetic * PICOSECONDS
        parts["memory_stall"] += segment.stall * PICOSECONDS
        parts["overhead"] += segment.overhead * PICOSECONDS
        # The remainder is what contention added; rounding to ticks may leave it a tick below zero.
        parts["interference"] += duration - segment.total * PICOSECONDS


class Rendezvous:
    """Where the participants of a collective meet: it begins when the last one arrives."""

    def __init__(self, clock: Clock, network: Network) -> None:
        self._clock = clock
        self._network = network
        self._counts: dict[tuple[int, int], int] = {}
        self._pending: dict[tuple[int, int], list[Callable[[Event, int], None]]] = {}

    def join(self, operation: OperationClass, rank_class: int, begin: Callable[[Event, int], None]) -> None:
        """``begin(done, arrived)`` is called for every participant once all are there."""
        if len(operation.participants) <= 1:
            begin(self._network.launch(operation), self._clock.now)
            return
        turn = self._counts.get((operation.key, rank_class), 0)
        self._counts[operation.key, rank_class] = turn + 1
        waiting = self._pending.setdefault((operation.key, turn), [])
        waiting.append(begin)
        if len(waiting) == len(operation.participants):
            del self._pending[operation.key, turn]
            done = self._network.launch(operation)
            for callback in waiting:
                callback(done, self._clock.now)

    @property
    def unmet(self) -> int:
        """Collectives that somebody joined and never began: a deadlock if the simulation has ended."""
        return len(self._pending)


class CommunicationLane:
    """Runs the collectives of one kind, one at a time, in the order they were started."""

    def __init__(
        self,
        clock: Clock,
        rendezvous: Rendezvous,
        accounts: Accounts,
        recorder: Recorder,
        kind: str,
        activity: Callable[[str, int], None],
    ) -> None:
        self._clock = clock
        self._rendezvous = rendezvous
        self._accounts = accounts
        self._recorder = recorder
        self._kind = kind
        self._lane = LANES.index(kind)
        self._activity = activity
        self._queue: deque[tuple[OperationClass, str, Ticket]] = deque()
        self._busy = False

    def submit(self, operation: OperationClass, name: str) -> Ticket:
        """Queue a collective; its ticket says when it is done."""
        ticket = Ticket(self._clock.event(), self._kind)
        self._queue.append((operation, name, ticket))
        if not self._busy:
            self._next()
        return ticket

    def _next(self) -> None:
        if not self._queue:
            return
        self._busy = True
        operation, name, ticket = self._queue.popleft()
        ticket.joined = self._clock.now

        def begin(done: Event, arrived: int) -> None:
            ticket.arrived = arrived
            self._activity(self._kind, +1)
            assert done.callbacks is not None
            done.callbacks.append(lambda _event: self._finish(name, ticket))

        self._rendezvous.join(operation, self._accounts.rank_class, begin)

    def _finish(self, name: str, ticket: Ticket) -> None:
        self._activity(self._kind, -1)
        self._recorder.add(self._accounts.rank_class, self._lane, name, ticket.arrived, self._clock.now)
        self._busy = False
        ticket.done.succeed()
        self._next()
