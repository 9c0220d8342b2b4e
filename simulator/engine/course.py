"""What the collectives of a rehearsed slot did, moment by moment.

A rank by itself hears from the others only through collectives: when they begin and end, and how fast they go. Where that is
known already, the rank needs neither the others nor a network (:mod:`simulator.engine.follower`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from simulator.engine.clock import Clock
from simulator.engine.lanes import NOBODY, Meeting, Rendezvous
from simulator.network.contract import Network


@dataclass(frozen=True, slots=True)
class Began:
    """A collective took the lanes of all its participants; ``number`` counts those of the course.

    ``by``: who asked for it last, if it was that for which it waited; else it waited for a collective before it.
    """

    number: int
    operation: int
    chain: int
    by: int = NOBODY


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

    def state(self) -> tuple[object, ...]:
        """All moments so far, to compare."""
        return tuple([(time, tuple(what.of.items()) if isinstance(what, Rates) else what) for time, what in self.moments])

    def waits_for(self, those: Collection[int]) -> bool:
        """Whether it is only for ``those`` of who acts that collectives wait: the others may as well come earlier."""
        return all(what.by in those for _, what in self.moments if isinstance(what, Began) and what.by != NOBODY)

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
        course.note(clock.now, Began(number, meeting.operation.key, meeting.chain, meeting.last))
        done = self._network.launch(meeting.operation)
        done.callbacks.append(lambda _event: course.note(clock.now, Ended(number)))
        for lane, ticket in meeting.members:
            lane.begin(meeting.chain, ticket, done)
