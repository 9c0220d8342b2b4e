"""What teams do in the slots that they come to: who meets whom, who is like whom, and each slot played once.

A *team* is all rank classes that meet in the collectives of a slot, a *scene* what a rank does in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from simulator.engine.accounts import Mark
from simulator.engine.alike import KEPT, Keepsake, likeness
from simulator.engine.course import Course
from simulator.engine.ensemble import Ensemble, Groups, Role, Unlike
from simulator.engine.head_start import HeadStart, follow
from simulator.engine.itinerary import itinerary
from simulator.engine.kindred import Deeds, Kind, Precedent, kind_of
from simulator.engine.pause import Pause, last_pause
from simulator.engine.rank import Rank
from simulator.engine.recorder import Recorder
from simulator.engine.watch import Traffic
from simulator.network.contract import Folding, OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from workloads.instructions import Block, HostWork, Slot, Start, Wait

Team = tuple[int, ...]  # rank classes, ascending
Scene = tuple[int, ...]  # numbers of the blocks of a slot
Play = tuple[Scene, ...]  # of a team: what each of its programs is to do in a slot
Offsets = Mapping[int, int]  # how long after the first of a team each of those came that did not come with it [ps]
TOGETHER: Offsets = {}


@dataclass(frozen=True, slots=True)
class Cast:
    """A team in a slot. ``groups``: one of each sort of its ranks, and the others like it.

    ``begins_together``: nothing of it touches anything outside before all are there.
    """

    groups: Groups
    begins_together: bool


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A slot of a team, played once; ``starts`` are the moments from which on it was repeated to its end [ps].

    ``groups``: who acted, and for whom; ``marks`` of each of those. ``late``: the starts when some had come before; ``heads`` of
    these, by the place of their twin in the team and how early they were, known to all teams that are alike. ``offsets``: of a
    team that came one after the other, and whose slot cannot be told from how it goes when all come together.
    """

    roles: dict[int, Role]
    groups: Groups
    traffic: Traffic
    recorder: Recorder
    history: History
    course: Course = field(default_factory=Course)
    marks: dict[int, dict[int, Mark]] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    heads: dict[tuple[int, int], HeadStart | None] = field(default_factory=dict)
    offsets: Offsets = field(default_factory=dict)
    pauses: dict[int, Pause | None] = field(default_factory=dict)
    _parts: dict[tuple[tuple[int, int], ...], tuple[Recorder, list[int]]] = field(default_factory=dict)

    @property
    def parts(self) -> Collection[tuple[Recorder, list[int]]]:
        """What was written down of it where some had come before, and from when on [ps]: what those did then is not in it."""
        return self._parts.values()

    def after(self, merged: Mapping[int, int]) -> tuple[Recorder, list[int]]:
        """That part in which some are missing until they did as their twins [ps]."""
        key = tuple(merged.items())
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = self.recorder.without(merged), []
        return found


class Repertoire:
    """Keeps what was rehearsed; ``events`` counts those of the rehearsals and of ranks followed by themselves."""

    def __init__(self, folding: Folding, network: FluidNetwork) -> None:
        self.events = 0
        self._folding = folding
        self._network = network
        self._ranks: Mapping[int, Rank] = {}
        self._scenes: dict[int, list[tuple[tuple[Block, ...], Scene]]] = {}  # of every slot, by identity of the program
        self._teams: dict[tuple[int, Scene], Team] = {}
        self._programs: dict[Team, tuple[Rank, ...]] = {}  # a rank of each program in a team
        self._casts: dict[tuple[object, ...], Cast] = {}
        self._rehearsed: dict[tuple[object, ...], Rehearsal] = {}  # by team, play, and when each came if not together
        self._kinds: dict[tuple[Team, Play], tuple[Kind | None, tuple[OperationClass, ...]]] = {}
        self._precedents: dict[Kind, Precedent] = {}
        self._numbers: dict[int, int] = {}

    def attend(self, ranks: Mapping[int, Rank]) -> None:
        """The ranks of the step, by class."""
        self._ranks = ranks

    @property
    def rehearsed(self) -> Collection[Rehearsal]:
        """Everything that was rehearsed."""
        return self._rehearsed.values()

    def cast(self, team: Team, slot: Slot) -> Cast:
        """How a team goes through a slot that it is in, or comes to."""
        key = (team, *[id(rank.block(work)) for rank in self._of_each_program(team) for work in slot])
        found = self._casts.get(key)
        if found is None:
            found = self._casts[key] = Cast(self._twins(team, slot), self._waits_for_all(team, slot))
        return found

    def _of_each_program(self, team: Team) -> tuple[Rank, ...]:
        """A rank of each program in a team."""
        programs = self._programs.get(team)
        if programs is None:
            ranks = [self._ranks[key] for key in team]
            programs = self._programs[team] = tuple({id(rank.program): rank for rank in ranks}.values())
        return programs

    def _play(self, team: Team) -> Play:
        """What everybody in a team is to do in the slot that they are in: the first may do the same while others do not."""
        return tuple([self._scene(rank)[1] for rank in self._of_each_program(team)])

    def _scene(self, rank: Rank) -> tuple[tuple[Block, ...], Scene]:
        """What a rank is to do in the slot that it is in."""
        found = self._scenes.get(id(rank.program))
        if found is None:
            route = itinerary(rank)
            scenes = [(scene.blocks, tuple([self._number(block) for block in scene.blocks])) for scene in route.scenes]
            found = self._scenes[id(rank.program)] = [scenes[place] for place in route.scene]
        return found[rank.position]

    def _number(self, block: Block) -> int:
        """The same for all blocks of the same instructions: stages of the same layers are rehearsed once."""
        number = self._numbers.get(id(block))
        if number is None:
            number = self._numbers[id(block)] = KEPT.script(block.instructions)
        return number

    def team(self, rank: Rank) -> Team:
        """Everybody who meets in these blocks; nobody if a collective reaches in or out of them."""
        blocks, scene = self._scene(rank)
        found = self._teams.get((rank.rank_class, scene))
        if found is None:
            found = self._found_team(rank.rank_class, blocks) if all(_is_closed(block) for block in blocks) else ()
            for member in found or (rank.rank_class,):
                self._teams[member, scene] = found
        return found

    def _found_team(self, rank_class: int, blocks: Sequence[Block]) -> Team:
        asked = {communication: None for block in blocks for communication in block.communications}
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

    def present(self, ranks: Sequence[Rank], team: Team, slot: Slot) -> Groups:
        """Twins among those who are here."""
        return _among({rank.rank_class for rank in ranks}, self.cast(team, slot).groups)

    def ensemble(self, groups: Groups, slot: Slot, offsets: Offsets = TOGETHER) -> Ensemble:
        """These, at the beginning of a slot; nobody stands for others who come at another moment."""
        ensemble = Ensemble(self._ranks, slot, self._network)
        if not offsets:
            ensemble.join(groups)
            return ensemble
        coming: dict[int, set[int]] = {}
        for key in (member for first, others in groups.items() for member in (first, *others)):
            coming.setdefault(offsets.get(key, 0), set()).add(key)
        for offset, here in coming.items():
            some = _among(here, groups)
            if offset:
                ensemble.clock.call_at(offset, lambda some=some: ensemble.join(some))  # type: ignore[misc]
            else:
                ensemble.join(some)
        return ensemble

    def ensemble_at(self, rehearsal: Rehearsal, slot: Slot, offsets: Offsets, moment: int) -> Ensemble:
        """Those of a rehearsal, to be played on from a moment: from the last pause before it, or from the beginning."""
        pause = None if offsets else last_pause(rehearsal, slot, self._ranks, moment)
        if pause is None:
            return self.ensemble(rehearsal.groups, slot, offsets)
        ensemble = Ensemble(self._ranks, slot, self._network)
        ensemble.resume(pause)
        return ensemble

    def rehearsal(self, team: Team, slot: Slot) -> Rehearsal:
        """What a team does in a slot if it begins together; of ranks that meet nobody, what the first alike of them did."""
        key = team, self._play(team)
        found = self._rehearsed.get(key)
        if found is None:
            found = self._rehearsed[key] = self._of_team(team, slot) if len(team) > 1 else self._alone(team[0], slot)
        return found

    def staggered(self, team: Team, slot: Slot, early: Mapping[int, int]) -> Rehearsal:
        """What a team does in a slot, from the moment at which the first came, if it comes so long before the last one [ps]."""
        key = team, self._play(team), *(early[member] for member in team)
        found = self._rehearsed.get(key)
        if found is None:
            longest = max(early.values())
            offsets = {member: longest - early[member] for member in team if early[member] < longest}
            found = self._rehearsed[key] = self._of_team(team, slot, offsets)
        return found

    def _alone(self, rank_class: int, slot: Slot) -> Rehearsal:
        """The same of a rank class that meets nobody."""
        blocks, scene = self._scene(self._ranks[rank_class])
        asked = {communication: None for block in blocks for communication in block.communications}
        operations = [self._folding.collective(rank_class, communication) for communication in asked]
        alike = likeness(operations, rank_class, self._folding.link_classes)
        if alike is None:
            return self._of_team((rank_class,), slot)
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

    def _of_team(self, team: Team, slot: Slot, offsets: Offsets = TOGETHER) -> Rehearsal:
        """What a team does that meets in a slot: what the first alike of them in this step did."""
        kind, operations = self._kind(team)
        if kind is not None:
            kind = kind, tuple(offsets.get(member, 0) for member in team)
        shares = self._network.shares
        precedent = self._precedents.get(kind) if kind is not None else None
        if precedent is None:
            deeds = self._rehearse(team, slot, offsets)
            precedent = Precedent(team, operations, deeds)
            if kind is not None:
                self._precedents[kind] = precedent
        else:
            shares.know(self._folding.link_classes)
            deeds = precedent.told_of(team, operations, shares)
        return Rehearsal(
            roles=deeds.roles,
            groups=deeds.groups,
            traffic=Traffic.of(deeds.history, shares),
            recorder=deeds.recorder,
            history=deeds.history,
            course=deeds.course,
            marks=deeds.marks,
            heads=precedent.heads,
            offsets=offsets,
        )

    def _kind(self, team: Team) -> tuple[Kind | None, tuple[OperationClass, ...]]:
        """All that decides how a team goes through the slot that it is in."""
        key = team, self._play(team)
        found = self._kinds.get(key)
        if found is None:
            ranks = [self._ranks[key] for key in team]
            scenes = [self._scene(rank) for rank in ranks]
            blocks, numbers = [blocks for blocks, _ in scenes], [scene for _, scene in scenes]
            found = self._kinds[key] = kind_of(ranks, blocks, numbers, self._folding.link_classes)
        return found

    def _rehearse(self, team: Team, slot: Slot, offsets: Offsets) -> Deeds:
        groups = self.cast(team, slot).groups
        ensemble = self.ensemble(groups, slot, offsets)
        try:
            ensemble.clock.run()
        except Unlike:
            self.events += ensemble.clock.events
            ensemble = self.ensemble(dict.fromkeys(team, ()), slot, offsets)
            ensemble.clock.run()
        self.events += ensemble.clock.events
        ensemble.record_twins()
        marks = {key: actor.books.marks for key, actor in ensemble.actors.items()}
        return Deeds(ensemble.roles(), ensemble.groups, ensemble.recorder, ensemble.network.history, ensemble.course, marks)

    def heads(self, rehearsal: Rehearsal, early: Mapping[int, int], slot: Slot) -> dict[int, HeadStart] | None:
        """What those did who came early; None if that can't be told from how the slot goes when all come together."""
        found = {}
        groups = {key: (key, *others) for key, others in rehearsal.groups.items()}
        places = {key: place for place, key in enumerate(sorted(early))}
        last = {key for key, group in groups.items() if not all(early[member] for member in group)}
        if not rehearsal.course.waits_for(last):
            return None  # collectives would begin earlier, for those who hold them up came before the last one
        for key, group in groups.items():
            for member in group:
                if early[member]:
                    head = self._head(rehearsal, member, key, places[key], early[member], slot)
                    if head is None:
                        return None
                    found[member] = head
        return found

    def _head(self, rehearsal: Rehearsal, member: int, twin: int, place: int, early: int, slot: Slot) -> HeadStart | None:
        if (place, early) not in rehearsal.heads:
            rank = self._ranks[member]
            head, events = follow(rank, slot, early, rehearsal.course, twin, rehearsal.marks[twin])
            self.events += events
            rehearsal.heads[place, early] = head
        return rehearsal.heads[place, early]

    def _twins(self, team: Team, slot: Slot) -> Groups:
        """One of each sort of ranks in a team, and the others: alike are those of one speed that meet in the same collectives."""
        sorts: dict[tuple[object, ...], list[int]] = {}
        for key in team:
            rank = self._ranks[key]
            asked = (communication for work in slot for communication in rank.block(work).communications)
            met = {communication: self._folding.collective(key, communication).key for communication in asked}
            sorts.setdefault((id(rank.world), *(id(rank.block(work)) for work in slot), *met.values()), []).append(key)
        return {keys[0]: tuple(keys[1:]) for keys in sorts.values()}

    def _waits_for_all(self, team: Team, slot: Slot) -> bool:
        """Whether nothing that ranks of a team do in a slot touches anything outside before all of them are there."""
        steps = ((key, step) for key in team for work in slot for step in self._ranks[key].block(work).instructions)
        for key, step in steps:
            if isinstance(step, HostWork):
                return False
            if isinstance(step, Start) and len(self._folding.collective(key, step.communication).participants) < len(team):
                return False
        return True


def _among(here: Collection[int], groups: Groups) -> Groups:
    """Those of some groups that are here."""
    found = ([key for key in (first, *others) if key in here] for first, others in groups.items())
    return {group[0]: tuple(group[1:]) for group in found if group}


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
