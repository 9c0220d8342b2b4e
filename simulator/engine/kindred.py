"""Teams that are alike in a slot: what one of them did there, told of another.

Around a fault every stage has teams of many rank classes, and but for one or two stages they are the same teams: as many ranks,
on the same chips, in the same blocks, whose collectives load links of their own in the same way. All that decides the course of
a slot is then the same but for the names of links, ranks and operations (:mod:`simulator.engine.alike` says it of one rank class
by itself), so it is rehearsed once in a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np

from simulator.engine.accounts import Mark
from simulator.engine.alike import Keepsake
from simulator.engine.course import Began, Course, Ended, Rates
from simulator.engine.ensemble import Groups, Role
from simulator.engine.head_start import HeadStart
from simulator.engine.rank import Rank
from simulator.engine.recorder import Recorder
from simulator.network.contract import LinkClass, OperationClass
from simulator.network.history import History
from simulator.network.numbering import places
from simulator.network.phase import Phase
from simulator.network.shares import Shares
from topologies.fabric import Ints
from workloads.instructions import Block, Start

Kind = tuple[object, ...]


def kind_of(
    team: Sequence[Rank], blocks: Sequence[Sequence[Block]], scenes: Sequence[tuple[int, ...]], link_classes: Sequence[LinkClass]
) -> tuple[Kind | None, tuple[OperationClass, ...]]:
    """All that decides how a team goes through ``blocks`` (of each rank; ``scenes`` their numbers), and its operations in order.

    Equal for two teams: what the one does, the other does, rank for rank and operation for operation. None if somebody outside
    is in an operation.
    """
    numbers: dict[int, int] = {}  # of operations, by key
    operations: list[OperationClass] = []
    members = []
    for rank, own, scene in zip(team, blocks, scenes, strict=True):
        asked = []
        for block in own:
            for step in block.instructions:
                if isinstance(step, Start):
                    operation = rank.operation(step)
                    number = numbers.setdefault(operation.key, len(operations))
                    if number == len(operations):
                        operations.append(operation)
                    asked.append(number)
        members.append((rank.world.device, scene, tuple(asked)))
    place = {rank.rank_class: number for number, rank in enumerate(team)}
    if not all(participant in place for operation in operations for participant in operation.participants):
        return None, ()
    met = [(operation.kind, operation.latency, tuple(place[key] for key in operation.participants)) for operation in operations]
    flows = _flows(operations, [rank.rank_class for rank in team], link_classes)
    return (None if flows is None else (*members, *met, flows)), tuple(operations)


def _flows(operations: Sequence[OperationClass], team: Sequence[int], link_classes: Sequence[LinkClass]) -> bytes | None:
    """A digest of all flows: ranks by their place in the team, links numbered as they are met; None with flows of others."""
    number: Ints = np.full(len(link_classes), -1, dtype=np.int64)
    place: Ints = np.full(max(team) + 1, -1, dtype=np.int64)
    place[np.array(team)] = np.arange(len(team))
    digest = blake2b(digest_size=32)
    links: list[Ints] = []
    count = 0
    for operation in operations:
        for phase in map(Phase.of, operation.phases):
            first, _ = places(phase.links)
            met = phase.links[first]
            new = met[number[met] < 0]
            number[new] = np.arange(count, count + len(new))
            count += len(new)
            links.append(new)
            source, per_source, target, per_target = phase.ranks
            if max(source.max(initial=0), target.max(initial=0)) >= len(place):
                return None
            ends = place[source], place[target]
            if min(end.min(initial=0) for end in ends) < 0:
                return None
            digest.update(b"%d %d;" % (len(phase.size), len(phase.links)))
            figures = phase.load, phase.size, phase.weight, phase.rate_cap, per_source, per_target
            for column in (phase.starts, number[phase.links], *figures, *ends):
                digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(b".")
    digest.update(np.array([link_classes[link].capacity for new in links for link in new.tolist()]).tobytes())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Deeds:
    """What a team did in a slot: roles, who acted for whom, spans, traffic, collectives, and marks of those who acted."""

    roles: dict[int, Role]
    groups: Groups
    recorder: Recorder
    history: History
    course: Course
    marks: dict[int, dict[int, Mark]]


@dataclass(slots=True)
class Precedent:
    """The first of some teams that are alike; ``operations`` and ``deeds`` are its own.

    ``heads``: what those of any of them did who came early, by the place of their twin in the team and how early they were.
    """

    team: tuple[int, ...]
    operations: tuple[OperationClass, ...]
    deeds: Deeds
    heads: dict[tuple[int, int], HeadStart | None] = field(default_factory=dict)
    _kept: Keepsake | None = None

    def told_of(self, team: Sequence[int], operations: Sequence[OperationClass], shares: Shares) -> Deeds:
        """What another team does, whose operations are these; rates are solved on its own links."""
        own = self.deeds
        if self._kept is None:
            role = own.roles[self.team[0]]
            self._kept = Keepsake.of(role, own.recorder, own.history, shares, self.operations)
        other = dict(zip(self.team, team, strict=True))
        keys = {one.key: another.key for one, another in zip(self.operations, operations, strict=True)}
        return Deeds(
            roles={other[key]: role for key, role in own.roles.items()},
            groups={other[key]: tuple(other[twin] for twin in twins) for key, twins in own.groups.items()},
            recorder=replace(own.recorder, rank_class=[other[key] for key in own.recorder.rank_class]),
            history=self._kept.history(shares, operations),
            course=_renamed(own.course, other, keys),
            marks={other[key]: marks for key, marks in own.marks.items()},
        )


def _renamed(course: Course, other: Mapping[int, int], operations: Mapping[int, int]) -> Course:
    """The same course, ranks and operations under other names."""
    moments: list[tuple[int, Began | Ended | Rates]] = []
    for time, what in course.moments:
        if isinstance(what, Began):
            moments.append((time, Began(what.number, operations[what.operation], what.chain, other.get(what.by, what.by))))
        elif isinstance(what, Rates):
            moments.append((time, Rates({other[key]: rate for key, rate in what.of.items()})))
        else:
            moments.append((time, what))
    return Course(moments, course.begun)
