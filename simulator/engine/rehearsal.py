"""Slots played once and repeated: what a team of ranks does in a slot is the same whenever it does it undisturbed.

A *team* (:mod:`simulator.engine.repertoire`) is all rank classes that meet in the collectives of a slot. If all of them begin
the slot at the same tick with idle lanes, and all that the slot starts ends in it, nothing outside reaches in but by links that
are full. So the slot is *rehearsed*: simulated instruction by instruction on a clock and a network of its own. After that, and
whenever the team comes to the same blocks again, it takes one event for all who end it together. Time is counted in whole ticks
from the beginning of the slot, so the repetition is the very same to the tick; its spans, books and traffic enter the record as
if it had been played.

If the team doesn't arrive together and nothing can begin before all are there, the slot goes as rehearsed from then on, and
those who came earlier are followed by themselves (:mod:`simulator.engine.head_start`); where that cannot be told so, the slot is
rehearsed by when each came. If something can begin, those who are there begin to play, and the others join. Everybody plays alone
if a lane is still busy, or a collective reaches in from outside or out of it (the parameters of a first micro-batch, the
gradients of a last one).

Traffic of a rehearsed slot may meet that of others on a link (:mod:`simulator.engine.watch`). While they fit side by side,
both go on as if alone; from the moment they would not, the slot is played after all (:mod:`simulator.engine.performance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.engine.cohort import Cohort
from simulator.engine.ensemble import Ensemble, Role
from simulator.engine.performance import Performance
from simulator.engine.rank import Rank, World
from simulator.engine.repertoire import Rehearsal, Repertoire, Team
from simulator.engine.repetition import Repetition
from simulator.engine.watch import Watch
from simulator.network.fluid import FluidNetwork
from workloads.instructions import Slot


@dataclass(slots=True)
class _Gathering:
    """A team at the threshold of a slot."""

    waiting: list[Rank] = field(default_factory=list)
    came: dict[int, int] = field(default_factory=dict)  # by rank class: when [ps]
    decided: bool = False
    patient: bool = False  # nothing can begin before all are there
    performance: Performance | None = None  # that whoever comes later joins


class Rehearsals:
    """Decides for every slot whether it is played or repeated, and keeps what was rehearsed.

    ``isolated``: traffic of repeated slots and of others never feel each other, even where they would fill a link.
    ``repeated`` counts the slots of rank classes that were not played.
    """

    def __init__(self, world: World, network: FluidNetwork, *, isolated: bool = False) -> None:
        self.repeated = 0
        self._events = 0
        self._clock = world.clock
        self._network = network
        self._repertoire = Repertoire(world.folding, network)
        self._recorder = world.recorder
        self._watch = None if isolated else Watch(world.clock, network, self._interrupt)
        self._ranks: dict[int, Rank] = {}
        self._gatherings: dict[tuple[Team, int], _Gathering] = {}
        self._under_way: dict[Performance, list[Rehearsal]] = {}

    @property
    def events(self) -> int:
        """Of all ensembles, and of ranks by themselves."""
        return self._events + self._repertoire.events

    def attend(self, ranks: dict[int, Rank]) -> None:
        """The ranks of the step, by class."""
        self._ranks = ranks
        self._repertoire.attend(ranks)

    def enter(self, cohort: Sequence[Rank], slot: Slot) -> bool:
        """A cohort is ready for its slot. Those who leave the slot together go on as a new one.

        False for a single rank that is to play the slot itself.
        """
        if len(cohort) == 1:
            (rank,) = cohort
            team = self._repertoire.team(rank)
            if len(team) > 1:
                self._gather(team, cohort, slot, rank.turn)
            elif team and rank.is_quiet:
                self._begin([self._repertoire.rehearsal(team, slot)], slot)
            else:
                return False
            return True
        teams: dict[Team, list[Rank]] = {}
        for rank in cohort:
            teams.setdefault(self._repertoire.team(rank), []).append(rank)
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
        if gathering.decided and gathering.performance is None and not gathering.patient:
            self._play(ranks)
            return
        first = not gathering.waiting
        gathering.waiting += ranks
        gathering.came.update(dict.fromkeys((rank.rank_class for rank in ranks), self._clock.now))
        if gathering.patient:
            if len(gathering.waiting) == len(team):
                self._begin_late(gathering, team, slot)
        elif gathering.decided:
            if first:
                self._clock.at_tick_end(lambda: self._join(gathering, team, slot), last=True)
        elif len(gathering.waiting) == len(team):
            self._decide(gathering, team, slot, turn)
        elif first:
            self._clock.at_tick_end(lambda: self._decide(gathering, team, slot, turn), last=True)

    def _decide(self, gathering: _Gathering, team: Team, slot: Slot, turn: int) -> None:
        """All of the team are here, or the instant at which the first of it arrived is over."""
        if gathering.decided:
            return
        gathering.decided = True
        here = gathering.waiting
        if len(here) == len(team) and all(rank.is_quiet for rank in here):
            self._begin([self._repertoire.rehearsal(team, slot)], slot)
        elif all(self._ranks[key].comes_quiet_to(turn) for key in team):
            if self._repertoire.cast(team, slot).begins_together:
                gathering.patient = True
                return
            performance = gathering.performance = Performance(self._clock, team, slot, self._leave, self._end)
            self._under_way[performance] = []
            ensemble = Ensemble(self._ranks, slot, self._network)
            ensemble.join(self._repertoire.present(here, team, slot))
            performance.play(ensemble, self._network)
            for rank in here:
                rank.performance = performance
        else:
            self._play(here)
        here.clear()

    def _begin_late(self, gathering: _Gathering, team: Team, slot: Slot) -> None:
        """The last of a team has come to a slot in which nothing could begin without it."""
        now = self._clock.now
        early = {key: now - came for key, came in gathering.came.items()}
        rehearsal = self._repertoire.rehearsal(team, slot)
        performance = Performance(self._clock, team, slot, self._leave, self._end)
        for key in team:
            self._ranks[key].performance = performance
        heads = self._repertoire.heads(rehearsal, early, slot)
        if heads is None:
            rehearsal = self._repertoire.staggered(team, slot, early)
            performance.start -= max(early.values())
            performance.offsets = rehearsal.offsets
            performance.repeat(rehearsal.roles)
        else:
            performance.heads = heads
            roles = rehearsal.roles
            performance.repeat({key: heads[key].before(role) if key in heads else role for key, role in roles.items()})
        self._under_way[performance] = [rehearsal]
        if self._watch:
            self._watch.begin(performance, rehearsal.traffic)

    def _play_apart(self, performance: Performance, rehearsal: Rehearsal) -> None:
        """The slot of ranks that came one after the other is played, as from the first one's coming on."""
        early = {key: performance.early(key) for key in performance.rank_classes}
        longest = max(early.values())
        performance.start -= longest
        performance.heads = {}
        performance.offsets = {key: longest - before for key, before in early.items() if before < longest}
        self._take_up(performance, rehearsal)

    def _take_up(self, performance: Performance, rehearsal: Rehearsal) -> None:
        """The slot is played from now on."""
        repertoire, offsets, moment = self._repertoire, performance.offsets, performance.offset
        performance.play(repertoire.ensemble_at(rehearsal, performance.slot, offsets, moment), self._network)

    def _join(self, gathering: _Gathering, team: Team, slot: Slot) -> None:
        """More of the team have come at this instant, to a slot that others are playing."""
        performance, here = gathering.performance, gathering.waiting
        assert performance is not None
        for rank in here:
            rank.performance = performance
        performance.join(self._repertoire.present(here, team, slot))
        here.clear()

    def _begin_alone(self, ranks: Sequence[Rank], slot: Slot) -> None:
        """Ranks that meet nobody in a slot. Those that send nothing go through it as one."""
        silent = []
        for rank in ranks:
            rehearsal = self._repertoire.rehearsal((rank.rank_class,), slot)
            if len(rehearsal.traffic.links):
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

    def _leave(self, performance: Performance, roles: Mapping[int, Role]) -> None:
        """Whoever ends a slot together goes on together."""
        if len(roles) == 1 and performance.ensemble is None:
            ((key, role),) = roles.items()
            rank = self._ranks[key]
            rank.leave(performance.start, role)
            Cohort(rank.world, [rank]).walk(len(performance.slot) + 1)
            return
        together: dict[int, list[Rank]] = {}  # ranks that have leapt over rounds are further on than those that still will
        for key, role in roles.items():
            rank, head = self._ranks[key], performance.heads.get(key)
            rank.leave(performance.start, head.before(role) if head and performance.ensemble else role)
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
        if any(head.merged >= performance.offset for head in performance.heads.values()):
            self._play_apart(performance, rehearsal)
        else:
            self._take_up(performance, rehearsal)

    def _end(self, performance: Performance) -> None:
        """Write down what happened."""
        rehearsals = self._under_way.pop(performance)
        ensemble = performance.ensemble
        if ensemble is None:
            if self._watch:
                self._watch.end(performance, rehearsals[0].traffic)
            for rehearsal in rehearsals:
                starts = rehearsal.late if performance.heads else rehearsal.starts
                starts.append(performance.start)
                self.repeated += len(rehearsal.roles)
            if performance.heads:
                _, starts = rehearsals[0].after(_merged(performance))
                starts.append(performance.start)
                self._record_heads(performance)
        else:
            ensemble.record_twins()
            if performance.heads:
                self._recorder.repeat(ensemble.recorder.without(_merged(performance)), (performance.start,))
                self._record_heads(performance)
            else:
                self._recorder.repeat(ensemble.recorder, (performance.start,))
            self._network.history.repeat(ensemble.network.history, (performance.start,))
            self._events += performance.events + ensemble.clock.events

    def _record_heads(self, performance: Performance) -> None:
        """Write down what those did by themselves who came early, until they did as their twins."""
        for key, head in performance.heads.items():
            self._recorder.repeat(head.recorder, (performance.start - head.early,), key)

    def spread(self, repetition: Repetition) -> None:
        """Let what was repeated have begun as often as it did."""
        for rehearsal in self._repertoire.rehearsed:
            for starts in (rehearsal.starts, rehearsal.late, *(starts for _, starts in rehearsal.parts)):
                starts[:] = repetition.moments(np.array(starts, dtype=np.int64)).tolist()

    def record(self) -> None:
        """Write down all that was repeated."""
        for rehearsal in self._repertoire.rehearsed:
            self._recorder.repeat(rehearsal.recorder, rehearsal.starts)
            for recorder, starts in rehearsal.parts:
                self._recorder.repeat(recorder, starts)
            starts = [*rehearsal.starts, *rehearsal.late]
            if starts:
                self._network.history.repeat(rehearsal.history, starts)


def _merged(performance: Performance) -> dict[int, int]:
    """When those who came early to a slot did as their twins."""
    return {key: head.merged for key, head in performance.heads.items()}
