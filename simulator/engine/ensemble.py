"""A team in one slot on a clock of its own, and what of it goes on when ranks that did the same no longer do.

Ranks that meet in the same collectives and compute at the same speed are *twins*: one of them acts, and stands for the others
for as long as all send and receive at the same rates. On the network of the step that may end in the middle of a slot. Then
everybody acts, from the beginning of the slot on: when collectives ended and how fast they went until now is known, and
nothing else reached in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from simulator.engine.accounts import Mark, SlotAccounts, SlotBooks, Waiting
from simulator.engine.clock import Clock
from simulator.engine.course import Began, Course, Ended, NotingRendezvous, Rates
from simulator.engine.rank import Rank, Steps, World
from simulator.engine.recorder import Recorder
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Slot, Work

if TYPE_CHECKING:
    from simulator.engine.pause import Pause

#: Rates closer than this are the same but for rounding: a billionth of a slowdown is far below a tick.
ALIKE = 1e-12

Groups = Mapping[int, tuple[int, ...]]  # a rank class that acts: those that it stands for
Entered = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Role:
    """What one rank class did in a slot [ps since it began]: its end, the span of each work, and the books."""

    end: int
    works: tuple[tuple[int, int], ...]
    books: SlotBooks


class Actor(Rank):
    """A rank that plays one slot and nothing else."""

    def __init__(self, world: World, rank: Rank) -> None:
        self.books = SlotAccounts(rank.rank_class, world.recorder)
        super().__init__(world, rank.rank_class, rank.program, self.books, rank)
        self.books.places = self.places
        self._spans: dict[Work, tuple[int, int]] = {}

    def perform(self, slot: Slot) -> Steps:
        """The slot's works, without what they receive and send."""
        yield from self.play(slot)
        self.finished = self.world.clock.now

    def go_on(self, slot: Slot, mark: Mark, opening: tuple[int, tuple[Waiting, ...]]) -> Steps:
        """The same from a pause now: where it was, and what its books said."""
        (work,) = slot
        self.books.opening, self.books.parts, self.books.idle_since = opening, dict(mark.parts), mark.time
        yield from self._execute(self.block(work), 0, optimizer=False, first=mark.places[0])
        self.finished = self.world.clock.now
        self.note_work(work, 0, self.finished)

    def note_work(self, work: Work, start: int, end: int) -> None:
        self._spans[work] = (start, end)

    def ended(self, slot: Slot) -> tuple[int | None, ...]:
        """When each work ended; None if it has not yet."""
        return tuple(self._spans[work][1] if work in self._spans else None for work in slot)

    def role(self, slot: Slot) -> Role:
        """What it did, once it has."""
        return Role(self.finished, tuple(self._spans[work] for work in slot), self.books.closed())


class Unlike(Exception):
    """Ranks that were taken for twins send or receive at different rates."""


class Ensemble:
    """Ranks of a team from the beginning of a slot on. ``ranks``: all that may come, by class. Who acts comes by :meth:`join`.

    Raises Unlike as soon as twins send or receive at different rates. ``script``: an ensemble whose course is followed until
    :meth:`move`.
    """

    def __init__(
        self,
        ranks: Mapping[int, Rank],
        slot: Slot,
        network: FluidNetwork,
        script: Ensemble | None = None,
        *,
        anew: bool = False,
    ) -> None:
        """``anew``: on the links of a network that knows no rates yet, so that nothing depends on what was solved before."""
        self.slot = slot
        self.clock = Clock()
        self.recorder = Recorder()
        apart = network.anew if anew else network.apart
        self.network: FluidNetwork = script.network if script else apart(self.clock)
        self.actors: dict[int, Actor] = {}
        self.ends: dict[int, Event] = {}
        self._ranks = ranks
        self.groups: dict[int, tuple[int, ...]] = {}  # who acts, and for whom
        self._actor_of: dict[int, int] = {}
        self._joined: dict[int, int] = {}
        self._weights: dict[int, int] = {}
        self._worlds: dict[int, World] = {}
        self._single = script is not None
        self._stage: _Stage = _Stage(self.clock, self.network, script._stage if script else None)
        self.course = Course()
        self._rendezvous = NotingRendezvous(self.clock, self._stage, self._weights, self.course)
        if script is None:
            self.network.on_rates = self.refresh

    def join(self, groups: Groups) -> None:
        """These begin the slot now."""
        if self._single:
            groups = dict.fromkeys((member for key, others in groups.items() for member in (key, *others)), ())
        for key, others in groups.items():
            actor = self._cast(key, others)
            self._joined[key] = self.clock.now
            self.ends[key] = self.clock.process(actor.perform(self.slot))

    def _cast(self, key: int, others: tuple[int, ...]) -> Actor:
        """Who acts for these."""
        rank = self._ranks[key]
        self.groups[key] = others
        self._weights[key] = 1 + len(others)
        for member in (key, *others):
            self._actor_of[member] = key
        actor = self.actors[key] = Actor(self._world(rank.world), rank)
        return actor

    def resume(self, pause: Pause) -> None:
        """Begin in the middle: as after a pause of the slot that was rehearsed by the same, who came together."""
        self.clock.advance(pause.time)
        self.recorder = pause.recorder.another()
        self.course.moments += pause.course.moments
        self.course.begun = pause.course.begun
        self.network.history.repeat(pause.history, (0,))
        self._stage.recall(pause.course)
        for key, others in pause.groups.items():
            actor, mark = self._cast(key, others), pause.marks[key]
            self._joined[key] = 0
            self.ends[key] = self.clock.process(actor.go_on(self.slot, mark, pause.openings[key]))

    def _world(self, world: World) -> World:
        """The world of the step as it is inside."""
        found = self._worlds.get(id(world))
        if found is None:
            found = self._worlds[id(world)] = replace(
                world,
                clock=self.clock,
                network=self._stage,
                rendezvous=self._rendezvous,
                recorder=self.recorder,
                rehearsals=None,
            )
        return found

    def refresh(self, rank_classes: Iterable[int]) -> None:
        """Payload rates of these ranks changed."""
        rate_of, actor_of = self._stage.rates.get, self._actor_of
        rates: dict[int, float] = {}
        for key in {actor_of[key] for key in rank_classes if key in actor_of}:
            rate = rates[key] = rate_of(key, 0.0)
            for other in self.groups[key]:
                if abs(rate_of(other, 0.0) - rate) > ALIKE * rate:
                    raise Unlike
        self._stage.note(rates)
        self.course.note(self.clock.now, Rates(rates))
        for key in rates:
            self.actors[key].compute.refresh()

    def state(self) -> tuple[object, ...] | None:
        """When who began, and all that came of collectives so far; None where that was taken over from others."""
        if self._single:
            return None
        return tuple(self._joined.items()), self.course.state()

    def leave(self, key: int) -> dict[int, Role]:
        """What an actor did, and all that it stood for."""
        role = self.actors[key].role(self.slot)
        return dict.fromkeys((key, *self.groups[key]), role)

    def roles(self) -> dict[int, Role]:
        """What everybody did. Raises IdentityBroken if somebody is still at it."""
        if self._rendezvous.unmet or not all(end.processed for end in self.ends.values()):
            raise IdentityBroken(f"rank classes {list(self.actors)} never come to the end of {self.slot}")
        return {member: role for key in self.actors for member, role in self.leave(key).items()}

    def record_twins(self) -> None:
        """Write down for twins what their actors did."""
        for key, others in self.groups.items():
            if others:
                self.recorder.copy(key, others)

    def move(self, live: FluidNetwork, began: int, entered: Entered) -> None:
        """Put what is under way on the network of the step; ``entered`` calls a function on this ensemble's time."""
        self._stage.move(live, began, entered)

    def apart(self, live: FluidNetwork, began: int, entered: Entered) -> Ensemble:
        """The same at this moment with nobody standing for others, on the network of the step."""
        other = Ensemble(self._ranks, self.slot, live, script=self)
        clock = other.clock
        for key, offset in self._joined.items():
            group = {key: self.groups[key]}
            if offset:
                clock.call_at(offset, lambda group=group: other.join(group))  # type: ignore[misc]
            else:
                other.join(group)
        for offset, rates in self._stage.noted:
            clock.call_at(offset, lambda rates=rates: clock.at_tick_end(lambda: other._follow(rates, self.groups)))  # type: ignore[misc]
        clock.advance(self.clock.now, hold=True)
        other.move(live, began, entered)
        other.refresh(tuple(other.actors))
        return other

    def _follow(self, rates: Mapping[int, float], groups: Groups) -> None:
        """Rates that actors of the script had from now on were those of all they stood for."""
        for key, rate in rates.items():
            for member in (key, *groups[key]):
                self._stage.scripted[member] = rate
                if member in self.actors:
                    self.actors[member].compute.refresh()


@dataclass(slots=True, eq=False)
class _Flight:
    """A collective of an ensemble under way: ``event`` fires at its end; ``ended`` says when it did [ps], -1 before."""

    event: Event
    ended: int = -1

    def land(self, now: int) -> None:
        self.ended = now
        self.event.succeed()


class _Stage:
    """The network as an ensemble sees it: its own, and from some moment on that of the step; and what came of it so far.

    ``rates``: payload bytes per second by rank class, on the network that it sees at the moment.
    """

    def __init__(self, clock: Clock, own: FluidNetwork, script: _Stage | None) -> None:
        self.flights: dict[int, deque[_Flight]] = {}  # by operation, in order
        self.noted: list[tuple[int, dict[int, float]]] = []  # rates of actors from a moment on
        self.scripted: dict[int, float] = {}
        self._clock = clock
        self._own = own
        self._script = dict(script.flights) if script else None
        self._followed = script is not None
        self._live: FluidNetwork | None = None
        self.rates: Mapping[int, float] = self.scripted if script else own.rates
        self._entered: Entered | None = None
        self._by_event: dict[int, _Flight] = {}
        self._early: list[tuple[OperationClass, _Flight]] = []

    def recall(self, course: Course) -> None:
        """What came of it before a pause, when nothing was under way."""
        flights: dict[int, _Flight] = {}
        for time, what in course.moments:
            if isinstance(what, Began):
                flights[what.number] = flight = _Flight(self._clock.event())
                self.flights.setdefault(what.operation, deque()).append(flight)
            elif isinstance(what, Ended):
                flights[what.number].ended = time
            else:
                self.noted.append((time, what.of))

    def note(self, rates: dict[int, float]) -> None:
        """Rates of actors changed."""
        self.noted.append((self._clock.now, rates))

    def move(self, live: FluidNetwork, began: int, entered: Entered) -> None:
        """From now on it is the network of the step."""
        self._live, self._entered, self.rates = live, entered, live.rates
        if self._followed:
            self._followed = False  # what is under way is there already
            for operation, flight in self._early:
                self._launch_live(operation, flight)
        else:
            live.adopt(self._own, began, lambda done: _Relay(self._by_event[id(done)], self._clock, entered))

    def launch(self, operation: OperationClass) -> Any:
        known = self._script.get(operation.key) if self._script else None
        if known:
            return self._replayed(known.popleft())
        if self._followed or self._live is not None:
            flight = _Flight(self._clock.event())
            if self._followed:  # at the very tick at which the script ends
                self._early.append((operation, flight))
            else:
                self._launch_live(operation, flight)
        else:
            done = self._own.launch(operation)
            flight = self._by_event[id(done)] = _Flight(done)
            done.callbacks.append(lambda _event: setattr(flight, "ended", self._clock.now))
        self.flights.setdefault(operation.key, deque()).append(flight)
        return flight.event

    def _launch_live(self, operation: OperationClass, flight: _Flight) -> None:
        assert self._live is not None and self._entered is not None
        relay = _Relay(flight, self._clock, self._entered)
        self._live.launch(operation).callbacks.append(lambda _event: relay.succeed())

    def launch_together(self, operations: Any, ended: Any) -> None:
        raise IdentityBroken("nothing is sent to another stage within a slot")

    def _replayed(self, flight: _Flight) -> Event:
        """A collective that the script knows: it ends when it did, or will."""
        event = self._clock.event()
        if flight.ended < 0:
            flight.event = event
        else:
            self._clock.call_at(flight.ended, lambda: self._clock.at_tick_end(lambda: _succeed(event)))
        return event

    def memory_rate(self, rank_class: int) -> float:
        return self.rates.get(rank_class, 0.0)


def _succeed(event: Event) -> None:
    event.succeed()


@dataclass(frozen=True, slots=True)
class _Relay:
    """Lets a collective of an ensemble end from outside."""

    flight: _Flight
    clock: Clock
    entered: Entered

    def succeed(self) -> None:
        self.entered(lambda: self.flight.land(self.clock.now))
