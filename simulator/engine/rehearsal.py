"""Slots played once and repeated: what a team of ranks does in a slot is the same whenever it does it undisturbed.

A *team* is all rank classes that meet in the collectives of a slot. If all of them begin the slot at the same tick with idle
lanes, and all that the slot starts ends in it, nothing outside reaches in but by links that are full. So the slot is
*rehearsed*: simulated instruction by instruction on a clock and a network of its own. After that, and whenever the team
comes to the same blocks again, it takes one event a rank. Time is counted in whole ticks from the beginning of
the slot, so the repetition is the very same to the tick; its spans, books and traffic enter the record as if it had been played.

Slots are played as ever if the team doesn't arrive together, a lane is still busy, or a collective reaches in from outside
or out of it (the parameters of a first micro-batch, the gradients of a last one).

What is left to certify is that traffic of a rehearsed slot and traffic of others never fill a link together. By theorem 4 of
docs/network.md it suffices to look at the sums afterwards: see :func:`simulator.run.simulate`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from simpy.events import Event

from simulator.engine.accounts import SlotAccounts, SlotBooks
from simulator.engine.clock import Clock
from simulator.engine.lanes import Rendezvous
from simulator.engine.rank import Rank, World
from simulator.engine.recorder import Recorder
from simulator.network.fluid import FluidNetwork, History
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Block, Slot, Start, Wait, Work

Team = tuple[int, ...]  # rank classes, ascending


@dataclass(frozen=True, slots=True)
class Role:
    """What one rank class does in a rehearsed slot [ps since it began]: the span of each work, and the books."""

    end: int
    works: tuple[tuple[int, int], ...]
    books: SlotBooks


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A slot of a team, played once; ``starts`` are the moments at which it was repeated [ps]."""

    roles: dict[int, Role]
    recorder: Recorder
    history: History
    events: int
    starts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """A team at the threshold of a slot."""

    waiting: dict[int, Event] = field(default_factory=dict)
    decided: bool = False


class Rehearsals:
    """Decides for every slot whether it is played or repeated, and keeps what was rehearsed."""

    def __init__(self, world: World, network: FluidNetwork) -> None:
        self._clock = world.clock
        self._folding = world.folding
        self._network = network
        self._ranks: dict[int, Rank] = {}
        self._teams: dict[tuple[int, tuple[int, ...]], Team] = {}
        self._rehearsed: dict[tuple[Team, tuple[int, ...]], Rehearsal] = {}
        self._gatherings: dict[tuple[Team, int], _Gathering] = {}

    def attend(self, ranks: dict[int, Rank]) -> None:
        """The ranks of the step, by class."""
        self._ranks = ranks

    def enter(self, rank: Rank, slot: Slot, position: int) -> Generator[Event, Rehearsal | None, Rehearsal | None]:
        """A rank is ready for its slot at ``position`` of its schedule: a rehearsal if it may repeat one, None if it is to play."""
        blocks = tuple(rank.block(work) for work in slot)
        scene = tuple(id(block) for block in blocks)
        team = self._team(rank.rank_class, blocks, scene)
        if not team:
            return None
        if len(team) == 1:
            return self._repeat(team, scene, slot) if rank.is_quiet else None
        gathering = self._gatherings.setdefault((team, position), _Gathering())
        if gathering.decided:
            return None
        event = gathering.waiting[rank.rank_class] = self._clock.event()
        if len(gathering.waiting) == 1:
            self._clock.at_tick_end(lambda: self._decide(team, position, scene, slot))
        rehearsal = yield event
        return rehearsal

    def _decide(self, team: Team, position: int, scene: tuple[int, ...], slot: Slot) -> None:
        """The instant at which the first of the team arrived is over: who is here?"""
        gathering = self._gatherings[team, position]
        together = len(gathering.waiting) == len(team) and all(self._ranks[key].is_quiet for key in team)
        if together:
            del self._gatherings[team, position]
        gathering.decided = True
        rehearsal = self._repeat(team, scene, slot) if together else None
        for event in gathering.waiting.values():
            event.succeed(rehearsal)

    def _repeat(self, team: Team, scene: tuple[int, ...], slot: Slot) -> Rehearsal:
        rehearsal = self._rehearsed.get((team, scene))
        if rehearsal is None:
            rehearsal = self._rehearsed[team, scene] = self._rehearse(team, slot)
        rehearsal.starts.append(self._clock.now)
        return rehearsal

    def _team(self, rank_class: int, blocks: Sequence[Block], scene: tuple[int, ...]) -> Team:
        """Everybody who meets in these blocks; nobody if a collective reaches in or out of them."""
        found = self._teams.get((rank_class, scene))
        if found is None:
            found = self._gather(rank_class, blocks) if all(_is_closed(block) for block in blocks) else ()
            for member in found or (rank_class,):
                self._teams[member, scene] = found
        return found

    def _gather(self, rank_class: int, blocks: Sequence[Block]) -> Team:
        asked = {step.communication: None for block in blocks for step in block.instructions if isinstance(step, Start)}
        found = {rank_class}
        new = [rank_class]
        while new:
            member = new.pop()
            for communication in asked:
                others = set(self._folding.collective(member, communication).participants) - found
                found |= others
                new += others
        stages = {self._folding.rank_classes[member].pp_rank for member in found}
        return tuple(sorted(found)) if len(stages) == 1 else ()

    def _rehearse(self, team: Team, slot: Slot) -> Rehearsal:
        clock, recorder = Clock(), Recorder()
        network = self._network.apart(clock)
        rendezvous = Rendezvous(clock, network)
        actors = {}
        for key in team:
            rank = self._ranks[key]
            world = replace(
                rank.world, clock=clock, network=network, rendezvous=rendezvous, recorder=recorder, rehearsals=None
            )
            actors[key] = Actor(world, rank)

        def on_rates(rank_classes: tuple[int, ...]) -> None:
            for key in rank_classes:
                actors[key].compute.refresh()

        network.on_rates = on_rates
        for actor in actors.values():
            clock.process(actor.rehearse(slot))
        clock.run()
        if rendezvous.unmet or any(actor.finished < 0 or not actor.is_quiet for actor in actors.values()):
            raise IdentityBroken(f"rank classes {team} never came to the end of a slot ({slot}) rehearsed alone")
        roles = {key: actor.role() for key, actor in actors.items()}
        return Rehearsal(roles, recorder, network.history, clock.events)

    def record(self, recorder: Recorder) -> None:
        """Write down all that was repeated."""
        for rehearsal in self._rehearsed.values():
            recorder.repeat(rehearsal.recorder, rehearsal.starts)
            self._network.history.repeat(rehearsal.history, rehearsal.starts)

    @property
    def events(self) -> int:
        """Events of all rehearsals."""
        return sum(rehearsal.events for rehearsal in self._rehearsed.values())

    @property
    def repeated(self) -> int:
        """Slots that were not played, over all rank classes."""
        return sum(len(rehearsal.starts) * len(rehearsal.roles) for rehearsal in self._rehearsed.values())


class Actor(Rank):
    """A rank that plays one slot and nothing else."""

    def __init__(self, world: World, rank: Rank) -> None:
        self._books = SlotAccounts(rank.rank_class, world.recorder)
        super().__init__(world, rank.rank_class, rank.program, self._books)
        self._spans: dict[Work, tuple[int, int]] = {}
        self._slot_played: Slot = ()
        self.finished = -1

    def rehearse(self, slot: Slot) -> Generator[Event, None, None]:
        """The slot's works, without what they receive and send."""
        yield from self.play(slot)
        self._slot_played = slot
        self.finished = self.world.clock.now

    def note_work(self, work: Work, start: int, end: int) -> None:
        self._spans[work] = (start, end)

    def role(self) -> Role:
        """What it did."""
        return Role(self.finished, tuple(self._spans[work] for work in self._slot_played), self._books.closed())


def _is_closed(block: Block) -> bool:
    """Whether a block waits for all that it starts, and for nothing else."""
    pending: set[str] = set()
    for step in block.instructions:
        if isinstance(step, Start):
            pending.add(step.token)
        elif isinstance(step, Wait):
            if step.token not in pending:
                return False
            pending.remove(step.token)
    return not pending
