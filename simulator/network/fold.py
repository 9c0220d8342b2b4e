"""Ranks, links and flows folded by the symmetries that a fabric and a plan share.

All ranks of a class do the same thing at the same time, so one representative sends, the fabric's own router routes only
its flows, and what they put on a link class is spread over its links. Max-min rates of the folded problem are those of
the full one (docs/network.md has the proof). Defects of the fabric leave fewer symmetries and more classes.
``symmetric=False`` is the same code with nothing folded: every rank, link and flow by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from simulator.network.boxes import box_of
from simulator.network.collectives.choice import SKEWED, candidates, pattern_of
from simulator.network.collectives.dimensions import axes_of
from simulator.network.collectives.library import Libraries, Library
from simulator.network.collectives.pattern import Exchange, Pattern
from simulator.network.contract import LinkClass, OperationClass, Placement, RankClass
from simulator.network.course import Course, Need, Run, between_domains, fastest
from simulator.network.courses import Courses
from simulator.network.links import LinkTable, NamedLink, touched
from simulator.network.orbits import Orbits
from simulator.network.order import require_order
from simulator.network.paths import Path, Paths
from simulator.network.placement import refine
from simulator.network.rungs import judge
from simulator.network.unlike import tell_apart
from simulator.spec.errors import IdentityBroken, InputError, NotModelled
from topologies.fabric import Defect, Fabric, Floats, Ints
from workloads.axes import offset, position, size_of
from workloads.instructions import Communication

FREE = Libraries(Library.plain())

#: What a library runs a send to another stage as: it goes to the neighbour in a ring.
SEND = "send-recv"

#: What libraries run round rings: between a rank and the network there is one connection at a time, whoever is in the group.
#: An all-to-all has as many as it has peers.
ONE_CONNECTION = ("all-gather", "reduce-scatter", "all-reduce", "broadcast")

#: Classes of ranks that a fold makes at most.
CLASS_LIMIT = 4096

#: Classes of pairs that a fold routes at most; each takes about a kilobyte and 0.1 ms.
FLOW_LIMIT = 60_000

#: Ranks of groups that are remembered at a time.
KNOWN_MEMBERS = 1 << 20


class Fold:
    """Folding of one fabric under one plan; operations are made once and remembered.

    ``libraries`` run the operations (none: bytes and wire alone). ``algorithms`` overrides their choice of algorithm
    ("all-reduce" or "all-reduce:tp" -> name in collectives.choice).
    ``ordered`` names the groups whose collectives go along a ring or by halving: their ranks may turn but not be swapped.

    ``loads`` is the class of load of each position of an expert-parallel group (``ep``); empty: they are all alike.

    Dead devices are left out of all groups. ``relaxed`` defects of the fabric are not told apart: every link that could be
    exchanged for a degraded one but for the defect gets no more than that has left (see :mod:`simulator.network.ladder`).
    NotModelled beyond ``class_limit`` classes of ranks or ``flow_limit`` classes of pairs.
    """

    def __init__(
        self,
        fabric: Fabric,
        groups: Placement,
        symmetric: bool = True,
        *,
        libraries: Libraries = FREE,
        algorithms: Mapping[str, str] | None = None,
        ordered: Sequence[str] = (),
        class_limit: int = CLASS_LIMIT,
        flow_limit: int = FLOW_LIMIT,
        relaxed: Sequence[Defect] = (),
        loads: Sequence[int] = (),
    ) -> None:
        self.fabric = fabric
        self.groups = groups
        self.libraries = libraries
        self.algorithms = dict(algorithms or {})
        self.domain = scale_up_domain(fabric)
        self._stages = groups.runs_of("pp")
        self.pp = size_of(self._stages)
        cuts = (self.domain,)
        parts = refine(fabric.dimensions, groups, boundaries=cuts, ordered=ordered, symmetric=symmetric, class_limit=class_limit)
        self.relaxed = _checked(fabric, relaxed)
        active = [defect for defect in fabric.defects if defect not in self.relaxed]
        self.loads = tuple(loads)
        self._ep = ep = groups.runs_of("ep") if self.loads else ()
        self.orbits = Orbits(fabric, parts, active, lambda found: tell_apart(found, ep, self.loads))
        self.rank_classes = self._rank_classes(class_limit if symmetric else fabric.ranks)
        self._links = LinkTable(self.orbits, self.rank_classes, touched(fabric, self.relaxed))
        self._paths = Paths(self.orbits, self._links)
        self._routed = Courses(self.rank_classes, self._paths, self.domain, flow_limit if symmetric else fabric.ranks**2)
        self.axes = axes_of(fabric)
        self._network = between_domains(fabric)
        self._courses: dict[tuple[object, ...], Course] = {}
        self._seconds: dict[tuple[object, ...], list[Floats]] = {}
        self._needs: dict[tuple[Course, str], Need] = {}
        self._participants: dict[tuple[str, int], tuple[int, ...]] = {}
        self._operations: dict[tuple[object, ...], OperationClass] = {}
        self._made: list[OperationClass] = []
        self._flow_classes = 0
        self._met: tuple[LinkClass, ...] = ()
        self._members_of: dict[tuple[str, int], Ints] = {}
        self._unsized: dict[Communication, Communication] = {}

    def _rank_classes(self, limit: int) -> tuple[RankClass, ...]:
        orbits, fabric = self.orbits, self.fabric
        if len(orbits.representatives) > limit:
            raise NotModelled(
                f"the faults of {fabric.name} and unequal loads leave {len(orbits.representatives)} different classes of ranks, "
                f"the limit is {limit}. Use fewer chips, leave out faults, or let fewer ranks differ in load."
            )
        slowest = np.ones(len(orbits.representatives))
        if fabric.speed is not None:
            alive = fabric.alive
            np.minimum.at(slowest, orbits.rank_class[alive], fabric.speed[alive])
        return tuple(
            RankClass(key, rank, size, int(position(self._stages, rank)), speed, self._load_class(rank))
            for key, (rank, size, speed) in enumerate(
                zip(orbits.representatives.tolist(), orbits.rank_class_sizes.tolist(), slowest.tolist(), strict=True)
            )
        )

    def _load_class(self, rank: int) -> int:
        return self.loads[int(position(self._ep, rank))] if self.loads else 0

    @property
    def link_classes(self) -> tuple[LinkClass, ...]:
        """The link classes met so far; operations not asked for yet may add more."""
        if len(self._met) < len(self._links.classes):
            self._met = tuple(self._links.classes)
        return self._met

    @property
    def operations(self) -> tuple[OperationClass, ...]:
        """The operation classes made so far, by key."""
        return tuple(self._made)

    @property
    def flow_class_count(self) -> int:
        """Flow classes of all the operations made so far."""
        return self._flow_classes

    def capacity(self, link_class: int) -> float:
        """Raw capacity of one link of the class [B/s]."""
        return self._links.classes[link_class].capacity

    def link_named(self, name: str) -> NamedLink:
        """A link by its name, ``tail->head``, or ``device ports out`` (``in``). TopologyError for a name that no link has."""
        return self._links.named(name)

    def held_down_by(self, defect: Defect) -> set[int]:
        """The link classes met so far of which a link that this defect weakens is the weakest."""
        return self._links.weakest_in(touched(self.fabric, [defect]))

    def path(self, source: int, target: int) -> Path:
        """What a flow between two ranks loads, if an operation has it."""
        return self._paths.between(source, target)

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        """The class of the collective that ``rank_class`` takes part in (the same object for every participant)."""
        key = (rank_class, communication)
        operation = self._operations.get(key)
        if operation is None:
            participants = self._group(communication.group, rank_class)
            self._require_told_apart(
                self._members(communication.group, self.rank_classes[rank_class].representative), communication
            )
            operation = self._collective(participants, communication)
            for participant in participants:
                self._operations[participant, communication] = operation
        return operation

    def route_all(self, group: str) -> None:
        """Find the ways of a direct exchange within all groups at once: quicker than for one class of groups at a time."""
        members = self._members(group, self.rank_classes[0].representative)
        box = None if self.fabric.dead else box_of(self.orbits, members)
        if box:
            self._routed.route_all(box)

    def route_sends(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Find the ways of all sends from one stage to another at once: quicker than for one class of ranks at a time."""
        self._routed.route(
            (rank_class, self._counterpart(rank_class, target))
            for source, target in pairs
            for rank_class in self.rank_classes
            if rank_class.pp_rank == source != target
        )

    def _counterpart(self, source: RankClass, target_pp_rank: int) -> Ints:
        """Whom the representative of a class sends to in another stage."""
        target = source.representative + offset(self._stages, target_pp_rank) - offset(self._stages, source.pp_rank)
        return np.array([target], dtype=np.int64)

    def send(self, rank_class: int, target_pp_rank: int, payload: float) -> OperationClass:
        """Point to point from every rank of the class to its counterpart in another stage. Participants: the sender."""
        key = (rank_class, target_pp_rank, payload)
        operation = self._operations.get(key)
        if operation is None:
            source = self.rank_classes[rank_class]
            if not 0 <= target_pp_rank < self.pp:
                raise InputError(f"there are {self.pp} pipeline ranks", got=target_pp_rank, do="Count them from 0.")
            run = None
            if target_pp_rank != source.pp_rank and payload > 0:
                course = self._send_course(rank_class, target_pp_rank)
                need = partial(self._send_need, rank_class, target_pp_rank)
                run = fastest((course,), self.libraries.of(SEND), SEND, payload, self._network, need)
            name = f"send {source.pp_rank}->{target_pp_rank}"
            operation = self._operation(name, "pp", (rank_class,), run, payload)
            self._operations[key] = operation
        return operation

    def _require_told_apart(self, members: Ints, communication: Communication) -> None:
        """Ranks of one class are loaded alike, or one of them would stand for others that it is not like."""
        skew = communication.skew
        if skew is None or len(skew.send) != len(members):
            return  # the algorithm refuses loads of another size
        seen: dict[int, tuple[float, float]] = {}
        for rank_class, figures in zip(
            self.orbits.rank_class[members].tolist(), zip(skew.send, skew.receive, strict=True), strict=True
        ):
            if seen.setdefault(rank_class, figures) != figures:
                raise IdentityBroken(f"{communication.name}: rank class {rank_class} holds ranks of unequal loads")

    def _members(self, group: str, rank: int) -> Ints:
        """The ranks of the group of ``rank`` that are alive, ascending."""
        known = self._members_of.get((group, rank))
        if known is None:
            if len(self._members_of) * max(map(len, self._members_of.values()), default=0) > KNOWN_MEMBERS:
                self._members_of.clear()
            known = self._members_of[group, rank] = self._alive_members(group, rank)
        return known

    def _alive_members(self, group: str, rank: int) -> Ints:
        members = np.asarray(self.groups.members(group, rank), dtype=np.int64)
        if np.any(members[1:] <= members[:-1]):
            members = np.sort(members)
        return members[self.orbits.rank_class[members] >= 0] if self.fabric.dead else members

    def _group(self, group: str, rank_class: int) -> tuple[int, ...]:
        """The rank classes of the groups that a rank class is in, ascending."""
        found = self._participants.get((group, rank_class))
        if found is None:
            members = self._members(group, self.rank_classes[rank_class].representative)
            met = np.zeros(len(self.rank_classes), dtype=bool)
            met[self.orbits.rank_class[members]] = True
            found = tuple(np.flatnonzero(met).tolist())
            self._participants.update({(group, participant): found for participant in found})
        return found

    def _collective(self, participants: tuple[int, ...], communication: Communication) -> OperationClass:
        members = self._members(communication.group, self.rank_classes[participants[0]].representative)
        run = None
        if len(members) > 1 and communication.payload > 0:
            library = self.libraries.of(communication.collective, communication.deduplicate)
            names = candidates(library, communication, members, self.domain, self.algorithms, self.axes)
            courses = [self._course_of(participants, communication, name) for name in names]

            need = partial(self._need, participants, communication, library)
            run = fastest(courses, library, communication.collective, communication.payload, self._network, need)
        return self._operation(communication.name, communication.kind, participants, run, communication.payload)

    def _course_of(self, participants: tuple[int, ...], communication: Communication, algorithm: str) -> Course:
        """What the participants do under one algorithm; the same for every payload."""
        key = (participants, self._without_size(communication), algorithm)
        course = self._courses.get(key)
        if course is None:
            if communication.skew is not None and algorithm not in SKEWED:
                raise NotModelled(
                    f"{communication.name}: {algorithm} with unequal loads is not modelled. Choose {' or '.join(SKEWED)}"
                    " (network.algorithms), or a balanced router."
                )
            course = self._new_course(participants, communication, algorithm)
            if communication.collective in ONE_CONNECTION:
                course = replace(course, phases=tuple(phase.as_one() for phase in course.phases))
            self._courses[key] = course
        return course

    def _without_size(self, communication: Communication) -> Communication:
        """What all communications have in common that only differ in name and bytes."""
        found = self._unsized.get(communication)
        if found is None:
            found = self._unsized[communication] = replace(communication, name="", kind="", payload=1.0)
        return found

    def _new_course(self, participants: tuple[int, ...], communication: Communication, algorithm: str) -> Course:
        one = replace(communication, payload=1.0)
        patterns: dict[int, Pattern] = {}
        for participant in participants:
            rank = self.rank_classes[participant].representative
            members = self._members(communication.group, rank)
            patterns[participant] = pattern = pattern_of(algorithm, members, rank, one, self.domain, self.axes)
            if algorithm == "direct" and communication.skew is None and not self.fabric.dead:
                box = box_of(self.orbits, members)
                if box and self._routed.takes(communication.name, box, whole=len(members) == self.fabric.ranks):
                    return self._routed.exchange(communication.name, box, participants, pattern)
            require_order(self.orbits, members, pattern, communication)
        return self._routed.course(communication.name, algorithm, patterns)

    def _need(self, participants: tuple[int, ...], communication: Communication, library: Library, course: Course) -> Need:
        """What a course needs of its links while all groups of its stages do the same on links that are whole.

        So neither the folding nor a weak link elsewhere changes what a library loses or chooses.
        """
        known = self._needs.get((course, library.name))
        if known is None:
            known = self._needs[course, library.name] = self._new_need(participants, communication, library, course)
        return known

    def _new_need(self, participants: tuple[int, ...], communication: Communication, library: Library, course: Course) -> Need:
        stages = frozenset(self.rank_classes[participant].pp_rank for participant in participants)
        key = (stages, self._without_size(communication), course.algorithm, library.name)
        seconds = self._seconds.get(key)
        if seconds is None:
            groups = {self._group(communication.group, each.key): each for each in self.rank_classes if each.pp_rank in stages}
            together = []
            for group, rank in groups.items():
                members = self._members(communication.group, rank.representative)
                if len(members) > 1:
                    names = candidates(library, communication, members, self.domain, self.algorithms, self.axes)
                    name = course.algorithm if course.algorithm in names else names[0]
                    together.append(self._course_of(group, communication, name))
            seconds = self._seconds[key] = self._links.seconds([each.phases for each in together])
        return self._links.need(course.phases, seconds)

    def _send_course(self, rank_class: int, target_pp_rank: int) -> Course:
        key = ("send", rank_class, target_pp_rank)
        course = self._courses.get(key)
        if course is None:
            source = self.rank_classes[rank_class]
            pattern = Pattern(((Exchange(self._counterpart(source, target_pp_rank), 1.0),),))
            course = self._courses[key] = self._routed.course("send", "ring", {rank_class: pattern})
        return course

    def _send_need(self, rank_class: int, target_pp_rank: int, course: Course) -> Need:
        """What a send needs of its links while the whole stage sends."""
        stage = self.rank_classes[rank_class].pp_rank
        key = ("send", stage, target_pp_rank)
        seconds = self._seconds.get(key)
        if seconds is None:
            senders = [each.key for each in self.rank_classes if each.pp_rank == stage]
            together = [self._send_course(sender, target_pp_rank).phases for sender in senders]
            seconds = self._seconds[key] = self._links.seconds(together)
        return self._links.need(course.phases, seconds)

    def _operation(self, name: str, kind: str, participants: tuple[int, ...], run: Run | None, payload: float) -> OperationClass:
        """A new operation class; without a run one that sends nothing."""
        phases = run.course.sized(payload) if run else ()
        operation = OperationClass(
            key=len(self._made),
            name=name,
            kind=kind,
            phases=phases,
            latency=run.latency if run else 0.0,
            participants=participants,
            bytes_sent=sum(phase.bytes_sent for phase in phases),
            algorithm=run.course.algorithm if run else "none",
            rung=judge(phases, self._links.classes) if self.relaxed else "exact",
            library=run.library if run else "",
            protocol=run.protocol if run else "",
            fill=run.fill if run else 0.0,
        )
        self._made.append(operation)
        self._flow_classes += sum(map(len, phases))
        return operation


def scale_up_domain(fabric: Fabric) -> int:
    """Ranks of one scale-up domain: what the tiers below the first scale-out tier join; all if there is none."""
    inside = [tier.units for tier in fabric.tiers if not tier.scale_out]
    if len(inside) == len(fabric.tiers):
        return fabric.ranks
    return max(inside, default=1)


def _checked(fabric: Fabric, relaxed: Sequence[Defect]) -> tuple[Defect, ...]:
    """What is dead changes routes, so only what is weak or slow can be relaxed."""
    for defect in relaxed:
        if defect not in fabric.defects or defect.left <= 0.0:
            names = "->".join(fabric.node_name(node) for node in defect.nodes)
            raise InputError("only a degraded defect of the fabric can be relaxed", got=f"{defect.kind} {names}")
    return tuple(relaxed)
