"""A rehearsed slot under way: one event a rank as long as nothing reaches in, played from the middle on once something does.

Where links would be overfull if the slot went on as rehearsed, the rehearsal is taken up again at that very moment: a second
one is run to there on a clock of its own, what it has on its links moves to the network of the step, and both clocks go on
in step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simpy.events import Event

from simulator.engine.accounts import SlotAccounts, SlotBooks
from simulator.engine.clock import Call, Clock
from simulator.engine.lanes import Rendezvous
from simulator.engine.rank import Rank, Steps, World
from simulator.engine.recorder import Recorder
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Slot, Work

#: Rates closer than this are the same but for rounding: a billionth of a slowdown is far below a tick.
ALIKE = 1e-12


@dataclass(frozen=True, slots=True)
class Role:
    """What one rank class did in a slot [ps since it began]: its end, the span of each work, and the books."""

    end: int
    works: tuple[tuple[int, int], ...]
    books: SlotBooks


class Actor(Rank):
    """A rank that plays one slot and nothing else."""

    def __init__(self, world: World, rank: Rank) -> None:
        self._books = SlotAccounts(rank.rank_class, world.recorder)
        super().__init__(world, rank.rank_class, rank.program, self._books, rank)
        self._spans: dict[Work, tuple[int, int]] = {}

    def perform(self, slot: Slot) -> Steps:
        """The slot's works, without what they receive and send."""
        yield from self.play(slot)
        self.finished = self.world.clock.now

    def note_work(self, work: Work, start: int, end: int) -> None:
        self._spans[work] = (start, end)

    def role(self, slot: Slot) -> Role:
        """What it did, once it has."""
        return Role(self.finished, tuple(self._spans[work] for work in slot), self._books.closed())


class Unlike(Exception):
    """Ranks that were taken for twins send or receive at different rates."""


class Ensemble:
    """A team on a clock and a network of its own, at the beginning of a slot.

    ``twins``: rank classes of the team that ``ranks`` leaves out, by the one that stands for them: they meet in the same
    collectives and compute at the same speed. Raises Unlike as soon as they send or receive at different rates.
    """

    def __init__(
        self, ranks: list[Rank], slot: Slot, network: FluidNetwork, twins: Mapping[int, tuple[int, ...]] | None = None
    ) -> None:
        self.twins = dict(twins or {})
        self.clock = Clock()
        self.recorder = Recorder()
        self.network = network.apart(self.clock)
        self._stage = _Stage(self.clock, self.network)
        present = frozenset(rank.rank_class for rank in ranks)
        self.rendezvous = Rendezvous(self.clock, self._stage, present)
        self.actors: dict[int, Actor] = {}
        for rank in ranks:
            world = replace(
                rank.world,
                clock=self.clock,
                network=self._stage,
                rendezvous=self.rendezvous,
                recorder=self.recorder,
                rehearsals=None,
            )
            self.actors[rank.rank_class] = Actor(world, rank)
        self.network.on_rates = self.refresh
        self.slot = slot
        self.ends = {key: self.clock.process(actor.perform(slot)) for key, actor in self.actors.items()}

    def refresh(self, rank_classes: tuple[int, ...]) -> None:
        """Payload rates of these ranks changed."""
        for key in rank_classes:
            if key in self.actors:
                self.actors[key].compute.refresh()
        for key, others in self.twins.items():
            rate = self.network.memory_rate(key)
            if any(abs(self.network.memory_rate(other) - rate) > ALIKE * rate for other in others):
                raise Unlike

    def roles(self) -> dict[int, Role]:
        """What everybody did. Raises IdentityBroken if somebody is still at it."""
        if self.rendezvous.unmet or not all(end.processed for end in self.ends.values()):
            raise IdentityBroken(f"rank classes {list(self.actors)} never come to the end of {self.slot}")
        roles = {key: actor.role(self.slot) for key, actor in self.actors.items()}
        for key, others in self.twins.items():
            for other in others:
                roles[other] = roles[key]
                self.recorder.copy(key, other)
        return roles

    def move(self, live: FluidNetwork, began: int, entered: Callable[[Callable[[], None]], None]) -> None:
        """Put what is under way on the network of the step; ``entered`` calls a function on this ensemble's time."""
        self._stage.move(live, entered)
        live.adopt(self.network, began, lambda done: _Relay(done, entered))


class _Stage:
    """The network as an ensemble sees it: its own, and from some moment on that of the step."""

    def __init__(self, clock: Clock, own: FluidNetwork) -> None:
        self._clock = clock
        self._own = own
        self._live: FluidNetwork | None = None
        self._entered: Callable[[Callable[[], None]], None] | None = None

    def move(self, live: FluidNetwork, entered: Callable[[Callable[[], None]], None]) -> None:
        self._live, self._entered = live, entered

    def launch(self, operation: OperationClass) -> Any:
        if self._live is None or self._entered is None:
            return self._own.launch(operation)
        relay = _Relay(self._clock.event(), self._entered)
        self._live.launch(operation).callbacks.append(lambda _event: relay.succeed())
        return relay.event

    def memory_rate(self, rank_class: int) -> float:
        return (self._live or self._own).memory_rate(rank_class)


@dataclass(frozen=True, slots=True)
class _Relay:
    """Lets an event of an ensemble's clock succeed from outside."""

    event: Event
    entered: Callable[[Callable[[], None]], None]

    def succeed(self) -> None:
        self.entered(self._succeed)

    def _succeed(self) -> None:
        self.event.succeed()


class Performance:
    """One slot of a team from ``start`` [ps] on. Each rank's event of ``ends`` fires with its role when it is through."""

    def __init__(self, clock: Clock, roles: dict[int, Role], slot: Slot) -> None:
        self._clock = clock
        self.start = clock.now
        self.slot = slot
        self.ends: dict[int, Event] = {key: clock.event() for key in roles}
        self.ensemble: Ensemble | None = None
        self._calls: list[Call] = []
        self._bridge: Call | None = None
        self._pending = len(roles)
        self.on_end: Callable[[], None] = _nothing
        by_end: dict[int, dict[int, Role]] = {}
        for key, role in roles.items():
            by_end.setdefault(role.end, {})[key] = role
        for end, together in by_end.items():
            self._calls.append(clock.call_at(self.start + end, lambda together=together: self._finish(together)))  # type: ignore[misc]

    @property
    def offset(self) -> int:
        """Ticks since it began."""
        return self._clock.now - self.start

    def interrupt(self, ensemble: Ensemble, live: FluidNetwork) -> None:
        """Go on with an ensemble instead of the rehearsal, from now on."""
        for call in self._calls:
            call.cancel()
        self.ensemble = ensemble
        ensemble.clock.advance(self.offset)
        for key, end in ensemble.ends.items():
            if self.ends[key].triggered:
                continue
            if end.processed:
                self._finish({key: ensemble.actors[key].role(self.slot)})
            else:
                assert end.callbacks is not None
                end.callbacks.append(lambda _event, key=key: self._finish({key: ensemble.actors[key].role(self.slot)}))  # type: ignore[misc]
        ensemble.move(live, self.start, self._entered)
        self._cross()

    def _entered(self, function: Callable[[], None]) -> None:
        """Call a function of the ensemble now, on its own clock."""
        assert self.ensemble is not None
        self.ensemble.clock.advance(self.offset)
        function()
        self._cross()

    def refresh(self, rank_class: int) -> None:
        """Payload rates of a rank changed."""
        ensemble = self.ensemble
        if ensemble is not None:
            self._entered(lambda: ensemble.refresh((rank_class,)))

    def _cross(self) -> None:
        """Keep one event on the clock of the step: when something next happens in the ensemble."""
        assert self.ensemble is not None
        if self._bridge is not None:
            self._bridge.cancel()
        time = self.ensemble.clock.next_at
        self._bridge = None if time is None else self._clock.call_at(self.start + time, self._step)

    def _step(self) -> None:
        self._bridge = None
        self._entered(_nothing)

    def _finish(self, roles: dict[int, Role]) -> None:
        self._pending -= len(roles)
        if not self._pending:
            self.on_end()
        for key, role in roles.items():
            self.ends[key].succeed(role)


def _nothing() -> None:
    """Done."""
