"""What the collectives of a rehearsed slot did, moment by moment, and a rank that goes through the slot beside it.

A rank by itself hears from the others only through collectives: when they begin and end, and how fast they go. Where that is
known already, the rank needs neither the others nor a network.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from simpy.events import Event

from simulator.engine.clock import Clock
from simulator.engine.lanes import CommunicationLane, Meeting, Rendezvous, Ticket
from simulator.network.contract import Network, OperationClass
from simulator.spec.errors import IdentityBroken


@dataclass(frozen=True, slots=True)
class Began:
    """A collective took the lanes of all its participants; ``number`` counts those of the course."""

    number: int
    operation: int
    chain: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last byte of a collective arrived."""

    number: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Payload rates of some who act, from now on [B/s]."""

    of: dict[int, float]


@dataclass(slots=True)
class Course:
    """``moments``: what happened to collectives, in the order in which it did, and when [ps since the slot began]."""

    moments: list[tuple[int, Began | Ended | Rates]] = field(default_factory=list)
    begun: int = 0
    _told: dict[int, list[tuple[int, Began | Ended | float]]] = field(default_factory=dict)

    def note(self, now: int, what: Began | Ended | Rates) -> None:
        """It happened now."""
        self.moments.append((now, what))

    def told(self, twin: int) -> list[tuple[int, Began | Ended | float]]:
        """What one hears of it who is like ``twin``: begins, ends, and changes of its own rate [B/s]; once all is noted."""
        found = self._told.get(twin)
        if found is None:
            found = self._told[twin] = []
            rate = 0.0
            for time, what in self.moments:
                if not isinstance(what, Rates):
                    found.append((time, what))
                elif what.of.get(twin, rate) != rate:
                    rate = float(what.of[twin])
                    found.append((time, rate))
        return found


class NotingRendezvous(Rendezvous):
    """Writes down when collectives begin and end."""

    def __init__(self, clock: Clock, network: Network, weights: dict[int, int], course: Course) -> None:
        super().__init__(clock, network, weights)
        self._course = course

    def begin(self, meeting: Meeting) -> None:
        course, clock = self._course, self._clock
        number, course.begun = course.begun, course.begun + 1
        course.note(clock.now, Began(number, meeting.operation.key, meeting.chain))
        done = self._network.launch(meeting.operation)
        done.callbacks.append(lambda _event: course.note(clock.now, Ended(number)))
        for lane, ticket in meeting.members:
            lane.begin(meeting.chain, ticket, done)


class OutOfStep(Exception):
    """A rank cannot go by a course: it is not ready when a collective begins."""


class ToldRendezvous(Rendezvous):
    """Of a single rank, for whom all begins and ends when it is told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, RatesOnly())
        self._asked: dict[tuple[int, int], deque[Meeting]] = {}
        self._under_way: dict[int, Event] = {}

    def join(self, operation: OperationClass, chain: int, lane: CommunicationLane, ticket: Ticket) -> Meeting:
        meeting = Meeting(operation, chain, [(lane, ticket)])
        self._asked.setdefault((operation.key, chain), deque()).append(meeting)
        return meeting

    def tell(self, what: Began | Ended) -> None:
        """It happens now. Raises OutOfStep if this rank had not asked for it, or its lane is not free."""
        if isinstance(what, Ended):
            self._under_way.pop(what.number).succeed()
            return
        asked = self._asked.get((what.operation, what.chain))
        if not asked:
            raise OutOfStep
        meeting = asked.popleft()
        ((lane, ticket),) = meeting.members
        if not lane.is_free_for(meeting):
            raise OutOfStep
        done = self._under_way[what.number] = self._clock.event()
        lane.begin(meeting.chain, ticket, done)


class RatesOnly:
    """A network of which only the rate of one rank is known; ``rate`` in and out of it [B/s]."""

    def __init__(self) -> None:
        self.rate = 0.0

    def memory_rate(self, rank_class: int) -> float:
        return self.rate

    def launch(self, operation: OperationClass) -> Any:
        raise IdentityBroken("a rank that goes by the course of others launches nothing itself")

    def launch_together(self, operations: Any, ended: Any) -> None:
        raise IdentityBroken("nothing is sent to another stage within a slot")
