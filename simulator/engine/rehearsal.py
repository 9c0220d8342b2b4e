"""Slots played once and repeated: what a team of ranks does in a slot is the same whenever it does it undisturbed.

A *team* is all rank classes that meet in the collectives of a slot. If all of them begin the slot at the same tick with idle
lanes, and all that the slot starts ends in it, nothing outside reaches in but by links that are full. So the slot is
*rehearsed*: simulated instruction by instruction on a clock and a network of its own. After that, and whenever the team
comes to the same blocks again, it takes one event a rank. Time is counted in whole ticks from the beginning of
the slot, so the repetition is the very same to the tick; its spans, books and traffic enter the record as if it had been played.

Slots are played as ever if the team doesn't arrive together, a lane is still busy, or a collective reaches in from outside
or out of it (the parameters of a first micro-batch, the gradients of a last one).

Traffic of a rehearsed slot may meet that of others on a link (:mod:`simulator.engine.watch`). While they fit side by side,
both go on as if alone; from the moment they would not, the slot is played after all (:mod:`simulator.engine.performance`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
from simpy.events import Event

from simulator.engine.performance import Ensemble, Performance, Role, Unlike
from simulator.engine.rank import Rank, World
from simulator.engine.recorder import Recorder
from simulator.engine.repetition import Repetition
from simulator.engine.watch import Traffic, Watch
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from workloads.instructions import Block, HostWork, Instruction, Slot, Start, Wait

Team = tuple[int, ...]  # rank classes, ascending


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A slot of a team, played once; ``starts`` are the moments from which on it was repeated to its end [ps]."""

    roles: dict[int, Role]
    traffic: Traffic
    recorder: Recorder
    history: History
    starts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """A team at the threshold of a slot."""

    waiting: dict[int, Event] = field(default_factory=dict)
    decided: bool = False


class Rehearsals:
    """Decides for every slot whether it is played or repeated, and keeps what was rehearsed.

    ``isolated``: traffic of repeated slots and of others never feel each other, even where they would fill a link.
    ``repeated`` counts the slots of rank classes that were not played; ``events`` those of all ensembles.
    """

    def __init__(self, world: World, network: FluidNetwork, *, isolated: bool = False) -> None:
        self.repeated = 0
        self.events = 0
        self._clock = world.clock
        self._folding = world.folding
        self._network = network
        self._recorder = world.recorder
        self._watch = None if isolated else Watch(world.clock, network, self._interrupt)
        self._ranks: dict[int, Rank] = {}
        self._teams: dict[tuple[int, tuple[int, ...]], Team] = {}
        self._rehearsed: dict[tuple[Team, tuple[int, ...]], Rehearsal] = {}
        self._numbers: dict[int, int] = {}
        self._scripts: dict[tuple[Instruction, ...], int] = {}
        self._gatherings: dict[tuple[Team, int], _Gathering] = {}
        self._under_way: dict[Performance, Rehearsal] = {}

    def attend(self, ranks: dict[int, Rank]) -> None:
        """The ranks of the step, by class."""
        self._ranks = ranks

    def enter(self, rank: Rank, slot: Slot, turn: int) -> Generator[Event, Performance | None, Performance | None]:
        """A rank is ready for its slot, the ``turn``-th that it comes to: what it takes part in, or None if it is to play."""
        blocks = tuple(rank.block(work) for work in slot)
        scene = tuple([self._number(block) for block in blocks])
        team = self._team(rank.rank_class, blocks, scene)
        if not team:
            return None
        if len(team) == 1:
            return self._begin(team, scene, slot) if rank.is_quiet else None
        gathering = self._gatherings.setdefault((team, turn), _Gathering())
        if gathering.decided:
            return None
        event = gathering.waiting[rank.rank_class] = self._clock.event()
        if len(gathering.waiting) == 1:
            self._clock.at_tick_end(lambda: self._decide(gathering, team, scene, slot))
        performance = yield event
        return performance

    def _decide(self, gathering: _Gathering, team: Team, scene: tuple[int, ...], slot: Slot) -> None:
        """The instant at which the first of the team arrived is over: who is here?"""
        gathering.decided = True
        together = len(gathering.waiting) == len(team) and all(self._ranks[key].is_quiet for key in team)
        performance = self._begin(team, scene, slot) if together else None
        for event in gathering.waiting.values():
            event.succeed(performance)

    def _begin(self, team: Team, scene: tuple[int, ...], slot: Slot) -> Performance:
        rehearsal = self._rehearsed.get((team, scene))
        if rehearsal is None:
            rehearsal = self._rehearsed[team, scene] = self._rehearse(team, slot)
        performance = Performance(self._clock, rehearsal.roles, slot)
        performance.on_end = lambda: self._end(performance)
        self._under_way[performance] = rehearsal
        if self._watch:
            self._watch.begin(performance, rehearsal.traffic)
        return performance

    def _interrupt(self, performance: Performance) -> None:
        """The slot can't go on as rehearsed."""
        assert self._watch
        self._watch.end(performance, self._under_way[performance].traffic)
        performance.interrupt(self._ensemble(tuple(performance.ends), performance.slot), self._network)

    def _end(self, performance: Performance) -> None:
        """Write down what happened."""
        rehearsal = self._under_way.pop(performance)
        ensemble = performance.ensemble
        if ensemble is None:
            if self._watch:
                self._watch.end(performance, rehearsal.traffic)
            rehearsal.starts.append(performance.start)
            self.repeated += len(rehearsal.roles)
        else:
            self._recorder.repeat(ensemble.recorder, (performance.start,))
            self._network.history.repeat(ensemble.network.history, (performance.start,))
            self.events += ensemble.clock.events

    def _number(self, block: Block) -> int:
        """The same for all blocks of the same instructions: stages of the same layers are rehearsed once."""
        number = self._numbers.get(id(block))
        if number is None:
            number = self._numbers[id(block)] = self._scripts.setdefault(block.instructions, len(self._scripts))
        return number

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

    def _ensemble(self, team: Team, slot: Slot, twins: dict[int, tuple[int, ...]] | None = None) -> Ensemble:
        return Ensemble([self._ranks[key] for key in team], slot, self._network, twins)

    def _twins(self, team: Team, slot: Slot) -> dict[int, tuple[int, ...]]:
        """One of each sort of ranks in a team, and the others: alike are those of one speed that meet in the same collectives."""
        sorts: dict[tuple[object, ...], list[int]] = {}
        for key in team:
            rank = self._ranks[key]
            steps = (step for work in slot for step in rank.block(work).instructions if isinstance(step, Start))
            met = {step.communication: self._folding.collective(key, step.communication).key for step in steps}
            sorts.setdefault((id(rank.world), *(id(rank.block(work)) for work in slot), *met.values()), []).append(key)
        return {keys[0]: tuple(keys[1:]) for keys in sorts.values()}

    def _rehearse(self, team: Team, slot: Slot) -> Rehearsal:
        twins = self._twins(team, slot)
        ensemble = self._ensemble(tuple(twins), slot, twins)
        try:
            ensemble.clock.run()
        except Unlike:
            self.events += ensemble.clock.events
            ensemble = self._ensemble(team, slot)
            ensemble.clock.run()
        self.events += ensemble.clock.events
        history = ensemble.network.history
        return Rehearsal(ensemble.roles(), Traffic.of(history, self._network.shares), ensemble.recorder, history)

    def spread(self, repetition: Repetition) -> None:
        """Let what was repeated have begun as often as it did."""
        for rehearsal in self._rehearsed.values():
            rehearsal.starts[:] = repetition.moments(np.array(rehearsal.starts, dtype=np.int64)).tolist()

    def record(self) -> None:
        """Write down all that was repeated."""
        for rehearsal in self._rehearsed.values():
            if rehearsal.starts:
                self._recorder.repeat(rehearsal.recorder, rehearsal.starts)
                self._network.history.repeat(rehearsal.history, rehearsal.starts)


def _is_closed(block: Block) -> bool:
    """Whether a block waits for all that it starts, and for nothing else."""
    pending: set[str] = set()
    for step in block.instructions:
        if isinstance(step, Start | HostWork):
            pending.add(step.token)
        elif isinstance(step, Wait):
            if step.token not in pending:
                return False
            pending.remove(step.token)
    return not pending
