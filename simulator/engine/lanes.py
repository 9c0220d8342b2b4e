"""The lanes of a rank: one that computes, one for each kind of communication; each serves in order of arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simpy.events import Event

from simulator.engine.accounts import Accounts
from simulator.engine.clock import Clock
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Run, Segment
from simulator.engine.spans import UNNUMBERED
from simulator.network.contract import Cancellable, Network, OperationClass

NOBODY = -1  # in place of a rank class


@dataclass(slots=True)
class Ticket:
    """A collective on its way: ``done`` fires at its end. ``name`` and ``micro_batch`` as a recorder takes them.

    ``joined``: when this rank had asked for it and its lane was free; ``arrived``: when everybody's were [ps].
    """

    done: Event
    kind: str
    joined: int
    name: str = ""
    micro_batch: int = UNNUMBERED
    arrived: int = -1


class ComputeLane:
    """Runs segments one after the other; slows down while communication takes cores and memory bandwidth."""

    def __init__(self, clock: Clock, accounts: Accounts, contention: Callable[[], tuple[float, float]]) -> None:
        self._clock = clock
        self._accounts = accounts
        self._contention = contention
        self._queue: deque[tuple[Segment, Event, bool]] = deque()
        self._run: Run | None = None
        self._done: tuple[Event, bool] | None = None  # of what runs
        self._call: Cancellable | None = None

    def submit(self, segment: Segment, optimizer: bool = False) -> Event:
        """Queue a segment; the event fires when it has run."""
        done: Event = self._clock.event()
        self._queue.append((segment, done, optimizer))
        if self._run is None:
            self._next()
        return done

    def refresh(self) -> None:
        """What communication takes may have changed."""
        run = self._run
        if run is not None and run.turn(self._clock.now, self._contention()):
            assert self._call is not None
            self._call.cancel()
            self._call = self._clock.call_at(run.end, self._finish)

    def _next(self) -> None:
        if not self._queue:
            return
        now = self._clock.now
        self._accounts.close_idle(now)
        segment, done, optimizer = self._queue.popleft()
        self._done = done, optimizer
        run = self._run = Run(segment, now, self._contention())
        self._call = self._clock.call_at(run.end, self._finish)

    def _finish(self) -> None:
        assert self._run is not None and self._done is not None
        done, optimizer = self._done
        self._accounts.book(self._run, self._clock.now, optimizer=optimizer)
        self._run = self._call = None
        done.succeed()
        self._next()


@dataclass(slots=True, eq=False)
class Meeting:
    """One collective of a class, from the first participant that wants it to its end.

    ``complete``: since when everybody does [ps], -1 while not; ``last``: who came last, if nobody had to wait for lanes then.
    """

    operation: OperationClass
    chain: int
    members: list[tuple[CommunicationLane, Ticket]]
    weight: int = 0
    complete: int = -1
    last: int = NOBODY

    @property
    def can_begin(self) -> bool:
        """Everybody wants it, has nothing before it in this chain, and a free lane."""
        return self.complete >= 0 and all(lane.is_free_for(self) for lane, _ in self.members)


class Rendezvous:
    """Where the participants of a collective meet: it begins when all have asked for it and their lanes are free.

    Lanes are taken all at once. Ranks whose two chains ask in different orders would otherwise wait for each other for
    ever, each holding its lane for what the other has not come to. And they are taken at the end of an instant, when all
    who ask at it have: which chain's collective goes first must not hang on which rank's turn it was to be simulated.
    """

    def __init__(self, clock: Clock, network: Network, weights: Mapping[int, int] | None = None) -> None:
        """``weights``: how many rank classes each one that comes stands for, itself included. None: everybody comes."""
        self._clock = clock
        self._network = network
        self._weights = weights
        self._ready: list[Meeting] = []  # complete, and perhaps free to begin since this instant
        self._counts: dict[tuple[int, int, int], int] = {}
        self._pending: dict[tuple[int, int, int], Meeting] = {}

    def join(self, operation: OperationClass, chain: int, lane: CommunicationLane, ticket: Ticket) -> Meeting:
        """Ask for a collective; the n-th time that a participant's chain does is everybody's n-th time."""
        expected = len(operation.participants)
        weight = 1 if self._weights is None else self._weights[lane.rank_class]
        if weight >= expected:
            return Meeting(operation, chain, [(lane, ticket)], complete=self._clock.now)
        asked = (operation.key, chain, lane.rank_class)
        turn = self._counts[asked] = self._counts.get(asked, 0) + 1
        key = (operation.key, chain, turn)
        meeting = self._pending.get(key)
        if meeting is None:
            meeting = self._pending[key] = Meeting(operation, chain, [])
        meeting.members.append((lane, ticket))
        meeting.weight += weight
        if meeting.weight == expected:
            del self._pending[key]
            meeting.complete = self._clock.now
        return meeting

    def offer(self, meeting: Meeting) -> None:
        """It can begin now, unless others take its lanes."""
        if not self._ready:
            self._clock.at_tick_end(self._begin_ready, last=True)
        if meeting not in self._ready:
            self._ready.append(meeting)

    def _begin_ready(self) -> None:
        """All who ask at this instant have."""
        ready, self._ready = self._ready, []
        for meeting in sorted(ready, key=_turn):
            if meeting.can_begin:
                self.begin(meeting)

    def begin(self, meeting: Meeting) -> None:
        """Take the lanes of all participants and put the bytes on their way."""
        done = self._network.launch(meeting.operation)
        for lane, ticket in meeting.members:
            lane.begin(meeting.chain, ticket, done)

    @property
    def unmet(self) -> int:
        """Collectives that not everybody asked for: a deadlock if the simulation has ended."""
        return len(self._pending)


class CommunicationLane:
    """Runs the collectives of one kind, one at a time: in order within a chain, else in the order they are complete."""

    def __init__(
        self,
        clock: Clock,
        rendezvous: Rendezvous,
        accounts: Accounts,
        recorder: Recorder,
        kind: str,
        activity: Callable[[str, int], None],
    ) -> None:
        self.rank_class = accounts.rank_class
        self._clock = clock
        self._rendezvous = rendezvous
        self._recorder = recorder
        self._kind = kind
        self._lane = LANES.index(kind)
        self._activity = activity
        self._queues: dict[int, deque[Meeting]] = {}
        self._running: Ticket | None = None
        self._asked = 0  # for, and not over
        self._free_since = 0

    def submit(self, operation: OperationClass, name: str, chain: int = 0, micro_batch: int = UNNUMBERED) -> Ticket:
        """Queue a collective of a chain; its ticket says when it is done."""
        ticket = Ticket(self._clock.event(), self._kind, self._clock.now, name, micro_batch)
        meeting = self._rendezvous.join(operation, chain, self, ticket)
        self._queues.setdefault(chain, deque()).append(meeting)
        self._asked += 1
        if meeting.can_begin:
            meeting.last = self.rank_class
            self._rendezvous.offer(meeting)
        return ticket

    @property
    def is_idle(self) -> bool:
        """Nothing under way and nothing asked for."""
        return not self._asked

    def is_free_for(self, meeting: Meeting) -> bool:
        """Whether the lane is idle and the meeting the next of its chain."""
        return self._running is None and self._queues[meeting.chain][0] is meeting

    def begin(self, chain: int, ticket: Ticket, done: Event) -> None:
        """Occupy the lane until ``done``."""
        self._queues[chain].popleft()
        self._running = ticket
        # Behind what the lane still carried, this rank was not ready itself.
        ticket.joined = max(ticket.joined, self._free_since)
        ticket.arrived = self._clock.now
        self._activity(self._kind, +1)
        assert done.callbacks is not None
        done.callbacks.append(lambda _event: self._finish(ticket))

    def _finish(self, ticket: Ticket) -> None:
        self._activity(self._kind, -1)
        self._recorder.add(self.rank_class, self._lane, ticket.name, ticket.arrived, self._clock.now, ticket.micro_batch)
        self._running = None
        self._asked -= 1
        self._free_since = self._clock.now
        ticket.done.succeed()
        for queue in self._queues.values():
            if queue and queue[0].can_begin:
                self._rendezvous.offer(queue[0])


def _turn(meeting: Meeting) -> tuple[int, int]:
    """Which goes first where several want the same lane: who was complete first, at one instant the first chain's."""
    return meeting.complete, meeting.chain
