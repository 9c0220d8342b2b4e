"""Slots played once and repeated: what a team of ranks does in a slot is the same whenever it does it undisturbed.

A *team* is all rank classes that meet in the collectives of a slot. If all of them begin the slot at the same tick with idle
lanes, and all that the slot starts ends in it, nothing outside reaches in but by links that are full. So the slot is
*rehearsed*: simulated instruction by instruction on a clock and a network of its own. After that, and whenever the team
comes to the same blocks again, it takes one event for all who end it together. Time is counted in whole ticks from the
beginning of the slot, so the repetition is the very same to the tick; its spans, books and traffic enter the record as if it
had been played.

If the team doesn't arrive together, those who are there begin to play, and the others join. Everybody plays alone if a
lane is still busy, or a collective reaches in from outside or out of it (the parameters of a first micro-batch, the
gradients of a last one).

Traffic of a rehearsed slot may meet that of others on a link (:mod:`simulator.engine.watch`). While they fit side by side,
both go on as if alone; from the moment they would not, the slot is played after all (:mod:`simulator.engine.performance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.engine.alike import KEPT, Keepsake, likeness
from simulator.engine.cohort import Cohort
from simulator.engine.ensemble import Ensemble, Groups, Role, Unlike
from simulator.engine.performance import Performance
from simulator.engine.rank import Rank, World
from simulator.engine.recorder import Recorder
from simulator.engine.repetition import Repetition
from simulator.engine.watch import Traffic, Watch
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from workloads.instructions import Block, HostWork, Slot, Start, Wait

Team = tuple[int, ...]  # rank classes, ascending
Scene = tuple[int, ...]  # numbers of the blocks of a slot


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A slot of a team, played once; ``starts`` are the moments from which on it was repeated to its end [ps].

    ``groups``: who acted, and for whom.
    """

    roles: dict[int, Role]
    groups: Groups
    traffic: Traffic
    recorder: Recorder
    history: History
    starts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """A team at the threshold of a slot."""

    waiting: list[Rank] = field(default_factory=list)
    decided: bool = False
    performance: Performance | None = None  # that whoever comes later joins


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
        self._scenes: dict[int, list[tuple[tuple[Block, ...], Scene]]] = {}  # of every slot, by identity of the program
        self._teams: dict[tuple[int, Scene], Team] = {}
        self._rehearsed: dict[tuple[Team, Scene], Rehearsal] = {}
        self._numbers: dict[int, int] = {}
        self._gatherings: dict[tuple[Team, int], _Gathering] = {}
        self._under_way: dict[Performance, list[Rehearsal]] = {}

    def attend(self, ranks: dict[int, Rank]) -> None:
        """The ranks of the step, by class."""
        self._ranks = ranks

    def enter(self, cohort: Sequence[Rank], slot: Slot) -> bool:
        """A cohort is ready for its slot. Those who leave the slot together go on as a new one.

        False for a single rank that is to play the slot itself.
        """
        if len(cohort) == 1:
            (rank,) = cohort
            team = self._team(rank)
            if len(team) > 1:
                self._gather(team, cohort, slot, rank.turn)
            elif team and rank.is_quiet:
                self._begin([self._rehearsal(team, slot)], slot)
            else:
                return False
            return True
        teams: dict[Team, list[Rank]] = {}
        for rank in cohort:
            teams.setdefault(self._team(rank), []).append(rank)
        alone = [rank for team in teams if len(team) == 1 for rank in teams[team]]
        self._play([*teams.pop((), ()), *(rank for rank in alone if not rank.is_quiet)])
        for team, ranks in teams.items():
            if len(team) > 1:
                self._gather(team, ranks, slot, cohort[0].turn)
        self._begin_alone([rank for rank in alone if rank.is_quiet], slot)
        return True

    def _play(self, ranks: Sequence[Rank]) -> None:
        for rank in ranks:
            self._clock.process(Cohort(rank.world, [rank]).play())

    def _gather(self, team: Team, ranks: Sequence[Rank], slot: Slot, turn: int) -> None:
        """Some of a team have come to a slot: wait for the rest until the end of the instant."""
        gathering = self._gatherings.setdefault((team, turn), _Gathering())
        if gathering.decided and gathering.performance is None:
            self._play(ranks)
            return
        first = not gathering.waiting
        gathering.waiting += ranks
        if gathering.decided:
            if first:
                self._clock.at_tick_end(lambda: self._join(gathering, team, slot))
        elif len(gathering.waiting) == len(team):
            self._decide(gathering, team, slot, turn)
        elif first:
            self._clock.at_tick_end(lambda: self._decide(gathering, team, slot, turn))

    def _decide(self, gathering: _Gathering, team: Team, slot: Slot, turn: int) -> None:
        """All of the team are here, or the instant at which the first of it arrived is over."""
        if gathering.decided:
            return
        gathering.decided = True
        here = gathering.waiting
        if len(here) == len(team) and all(rank.is_quiet for rank in here):
            self._begin([self._rehearsal(team, slot)], slot)
        elif all(self._ranks[key].comes_quiet_to(turn) for key in team):
            performance = gathering.performance = Performance(self._clock, team, slot, self._leave, self._end)
            self._under_way[performance] = []
            ensemble = Ensemble(self._ranks, slot, self._network)
            ensemble.join(self._present(here, team, slot))
            performance.play(ensemble, self._network)
            for rank in here:
                rank.performance = performance
        else:
            self._play(here)
        here.clear()

    def _join(self, gathering: _Gathering, team: Team, slot: Slot) -> None:
        """More of the team have come at this instant, to a slot that others are playing."""
        performance, here = gathering.performance, gathering.waiting
        assert performance is not None
        for rank in here:
            rank.performance = performance
        performance.join(self._present(here, team, slot))
        here.clear()

    def _present(self, ranks: Sequence[Rank], team: Team, slot: Slot) -> Groups:
        """Twins among those who are here."""
        here = {rank.rank_class for rank in ranks}
        groups = ([key for key in (first, *others) if key in here] for first, others in self._twins(team, slot).items())
        return {group[0]: tuple(group[1:]) for group in groups if group}

    def _begin_alone(self, ranks: Sequence[Rank], slot: Slot) -> None:
        """Ranks that meet nobody in a slot. Those that send nothing go through it as one."""
        silent = []
        for rank in ranks:
            rehearsal = self._rehearsal((rank.rank_class,), slot)
            if rehearsal.traffic.loads:
                self._begin([rehearsal], slot)
            else:
                silent.append(rehearsal)
        if silent:
            self._begin(silent, slot)

    def _begin(self, rehearsals: list[Rehearsal], slot: Slot) -> None:
        """Repeat what was rehearsed, from now on; of several rehearsals none has any traffic."""
        roles = rehearsals[0].roles
        if len(rehearsals) > 1:
            roles = {key: role for rehearsal in rehearsals for key, role in rehearsal.roles.items()}
        performance = Performance(self._clock, tuple(roles), slot, self._leave, self._end)
        performance.repeat(roles)
        for key in roles:
            self._ranks[key].performance = performance
        self._under_way[performance] = rehearsals
        if self._watch:
            self._watch.begin(performance, rehearsals[0].traffic)

    def _leave(self, performance: Performance, roles: dict[int, Role]) -> None:
        """Whoever ends a slot together goes on together."""
        together: dict[int, list[Rank]] = {}  # ranks that have leapt over rounds are further on than those that still will
        for key, role in roles.items():
            rank = self._ranks[key]
            rank.leave(performance.start, role)
            together.setdefault(rank.position, []).append(rank)
        step = len(performance.slot) + 1
        for ranks in together.values():
            cohort = Cohort(ranks[0].world, ranks)
            if performance.ensemble is None:
                cohort.walk(step)
            else:  # once the ensemble has come to rest
                self._clock.call_at(self._clock.now, lambda cohort=cohort: cohort.walk(step))  # type: ignore[misc]

    def _interrupt(self, performance: Performance) -> None:
        """The slot can't go on as rehearsed."""
        assert self._watch
        (rehearsal,) = self._under_way[performance]
        self._watch.end(performance, rehearsal.traffic)
        performance.play(self._ensemble(rehearsal.groups, performance.slot), self._network)

    def _end(self, performance: Performance) -> None:
        """Write down what happened."""
        rehearsals = self._under_way.pop(performance)
        ensemble = performance.ensemble
        if ensemble is None:
            if self._watch:
                self._watch.end(performance, rehearsals[0].traffic)
            for rehearsal in rehearsals:
                rehearsal.starts.append(performance.start)
                self.repeated += len(rehearsal.roles)
        else:
            ensemble.record_twins()
            self._recorder.repeat(ensemble.recorder, (performance.start,))
            self._network.history.repeat(ensemble.network.history, (performance.start,))
            self.events += performance.events + ensemble.clock.events

    def _scene(self, rank: Rank) -> tuple[tuple[Block, ...], Scene]:
        """What a rank is to do in the slot that it is in."""
        found = self._scenes.get(id(rank.program))
        if found is None:
            number = self._number
            found = [(blocks, tuple([number(block) for block in blocks])) for blocks in rank.blocks]
            self._scenes[id(rank.program)] = found
        return found[rank.position]

    def _number(self, block: Block) -> int:
        """The same for all blocks of the same instructions: stages of the same layers are rehearsed once."""
        number = self._numbers.get(id(block))
        if number is None:
            number = self._numbers[id(block)] = KEPT.script(block.instructions)
        return number

    def _team(self, rank: Rank) -> Team:
        """Everybody who meets in these blocks; nobody if a collective reaches in or out of them."""
        blocks, scene = self._scene(rank)
        found = self._teams.get((rank.rank_class, scene))
        if found is None:
            found = self._found_team(rank.rank_class, blocks) if all(_is_closed(block) for block in blocks) else ()
            for member in found or (rank.rank_class,):
                self._teams[member, scene] = found
        return found

    def _found_team(self, rank_class: int, blocks: Sequence[Block]) -> Team:
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

    def _ensemble(self, groups: Groups, slot: Slot) -> Ensemble:
        """These, at the beginning of a slot."""
        ensemble = Ensemble(self._ranks, slot, self._network)
        ensemble.join(groups)
        return ensemble

    def _twins(self, team: Team, slot: Slot) -> Groups:
        """One of each sort of ranks in a team, and the others: alike are those of one speed that meet in the same collectives."""
        sorts: dict[tuple[object, ...], list[int]] = {}
        for key in team:
            rank = self._ranks[key]
            steps = (step for work in slot for step in rank.block(work).instructions if isinstance(step, Start))
            met = {step.communication: self._folding.collective(key, step.communication).key for step in steps}
            sorts.setdefault((id(rank.world), *(id(rank.block(work)) for work in slot), *met.values()), []).append(key)
        return {keys[0]: tuple(keys[1:]) for keys in sorts.values()}

    def _rehearsal(self, team: Team, slot: Slot) -> Rehearsal:
        """What a team does in a slot if it begins together; of ranks that meet nobody, what the first alike of them did."""
        _, scene = self._scene(self._ranks[team[0]])
        found = self._rehearsed.get((team, scene))
        if found is None:
            found = self._rehearse(team, slot) if len(team) > 1 else self._alone(team[0], slot)
            self._rehearsed[team, scene] = found
        return found

    def _alone(self, rank_class: int, slot: Slot) -> Rehearsal:
        """The same of a rank class that meets nobody."""
        blocks, scene = self._scene(self._ranks[rank_class])
        asked = {step.communication: None for block in blocks for step in block.instructions if isinstance(step, Start)}
        operations = [self._folding.collective(rank_class, communication) for communication in asked]
        alike = likeness(operations, rank_class, self._folding.link_classes)
        if alike is None:
            return self._rehearse((rank_class,), slot)
        key = (self._ranks[rank_class].world.device, scene, alike)
        kept = KEPT.find(key)
        if kept is None:
            kept = self._kept_of(rank_class, slot, operations)
            KEPT.keep(key, kept)
        shares = self._network.shares
        shares.know(self._folding.link_classes)
        history = kept.history(shares, operations)
        traffic = Traffic.of(history, shares)
        return Rehearsal({rank_class: kept.role}, {rank_class: ()}, traffic, kept.recorder.of_another(rank_class), history)

    def _kept_of(self, rank_class: int, slot: Slot, operations: Sequence[OperationClass]) -> Keepsake:
        """A rehearsal of one rank class on a network that knows nothing else."""
        ensemble = Ensemble(self._ranks, slot, self._network, anew=True)
        ensemble.join({rank_class: ()})
        ensemble.clock.run()
        self.events += ensemble.clock.events
        network = ensemble.network
        return Keepsake.of(ensemble.roles()[rank_class], ensemble.recorder, network.history, network.shares, operations)

    def _rehearse(self, team: Team, slot: Slot) -> Rehearsal:
        groups = self._twins(team, slot)
        ensemble = self._ensemble(groups, slot)
        try:
            ensemble.clock.run()
        except Unlike:
            self.events += ensemble.clock.events
            groups = dict.fromkeys(team, ())
            ensemble = self._ensemble(groups, slot)
            ensemble.clock.run()
        self.events += ensemble.clock.events
        history = ensemble.network.history
        ensemble.record_twins()
        return Rehearsal(ensemble.roles(), groups, Traffic.of(history, self._network.shares), ensemble.recorder, history)

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
