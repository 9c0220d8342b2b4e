"""Classes of flows, links and ranks read off the loads themselves: for fabrics of which no symmetry is known.

A user's own graph declares nothing, and what its nodes and links look like proves nothing (a ring of 4 beside a ring of 8:
every node looks like every other, yet an all-to-all loads their links with 2 and 8). What theorem 1 of docs/network.md asks for
can be had by refinement of what flows put on links: begin with one colour for all that have the same size, capacity or
stage, and split colours until

- links of one colour carry the same sum of each colour of flows;
- flows of one colour cross links of the same colours, between ranks of the same colours;
- ranks of one colour take part in the same colours of operations, and these hold the same colours of ranks.

The result is checked, sum by sum: colours are told apart by hashes of multisets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.network.contract import FlowClass, LinkClass, OperationClass, RankClass
from simulator.network.fold import Fold
from simulator.network.unfolded import Send
from simulator.spec.errors import IdentityBroken, InputError
from topologies.fabric import Floats, Ints
from workloads.instructions import Communication

Marks = npt.NDArray[np.uint64]
Question = Communication | tuple[int, float]  # a collective, or a send to (pipeline rank, payload)

#: Sums closer than this are one sum: they differ by the order of adding up.
SAME = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """All flows of all operations, and which links they load (``at``: flow, ``on``: link)."""

    flows: list[FlowClass]
    operation: Ints
    phase: Ints
    source: Ints
    target: Ints
    at: Ints
    on: Ints
    load: Floats
    member: Ints  # ranks of operations: rank class ``member[i]`` takes part in operation ``takes[i]``
    takes: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Colours:
    """A colour of every flow, link, rank class and operation, counted from 0."""

    flow: Ints
    link: Ints
    rank: Ints
    operation: Ints

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(int(column.max(initial=-1)) + 1 for column in (self.flow, self.link, self.rank, self.operation))


class CoarseFold:
    """Another folding of the same ``operations`` of a fold, with one class for all that loads make identical.

    It knows these operations and no others. Exact: max-min rates of the fold are constant on its classes.
    """

    def __init__(self, fold: Fold, operations: Sequence[Communication | Send]) -> None:
        self.fabric = fold.fabric
        questions = _questions(fold, operations)
        made = list({operation.key: operation for operation, _ in questions.values()}.values())
        place = {operation.key: index for index, operation in enumerate(made)}
        asked = {operation.key: number for operation, number in questions.values()}
        parts = _parts(made, place)
        colours = _refine(parts, _start(fold, parts, made, [asked[operation.key] for operation in made]))
        sums = _sums(parts, colours)
        self.rank_classes = _merged_ranks(fold, colours.rank)
        self._links = _merged_links(fold, colours.link)
        self._operations = _merged_operations(parts, colours, made, sums, self.rank_classes)
        self._answers = {
            (int(colours.rank[rank_class]), question): self._operations[int(colours.operation[place[operation.key]])]
            for (rank_class, question), (operation, _) in questions.items()
        }

    @property
    def link_classes(self) -> tuple[LinkClass, ...]:
        """The classes of the links that the operations use."""
        return self._links

    @property
    def operations(self) -> tuple[OperationClass, ...]:
        """The operation classes, by key."""
        return self._operations

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        """The class of the collective that ``rank_class`` takes part in."""
        return self._answer(rank_class, communication)

    def send(self, rank_class: int, target_pp_rank: int, payload: float) -> OperationClass:
        """Point to point from every rank of the class to its counterpart in another stage."""
        return self._answer(rank_class, (target_pp_rank, payload))

    def _answer(self, rank_class: int, question: Question) -> OperationClass:
        found = self._answers.get((rank_class, question))
        if found is None:
            raise InputError("only the operations it was made of have classes", got=question, do="Name all of them at the start.")
        return found


def _questions(fold: Fold, operations: Sequence[Communication | Send]) -> dict[tuple[int, Question], tuple[OperationClass, int]]:
    """What each rank class asks, and the fold's answer with the number of the operation asked for."""
    found: dict[tuple[int, Question], tuple[OperationClass, int]] = {}
    for number, operation in enumerate(operations):
        for rank in fold.rank_classes:
            if not isinstance(operation, Send):
                found[rank.key, operation] = (fold.collective(rank.key, operation), number)
            elif rank.pp_rank == operation.source:
                question = (operation.target, operation.payload)
                found[rank.key, question] = (fold.send(rank.key, *question), number)
    return found


def _parts(made: Sequence[OperationClass], place: dict[int, int]) -> _Parts:
    rows = [
        (place[operation.key], index, flow)
        for operation in made
        for index, phase in enumerate(operation.phases)
        for flow in phase
        if flow.size > 0.0
    ]
    flows = [flow for _, _, flow in rows]
    none = [np.empty(0, dtype=np.int64)]
    return _Parts(
        flows=flows,
        operation=np.array([row[0] for row in rows], dtype=np.int64),
        phase=np.array([row[1] for row in rows], dtype=np.int64),
        source=np.array([flow.source_class for flow in flows], dtype=np.int64),
        target=np.array([flow.target_class for flow in flows], dtype=np.int64),
        at=np.repeat(np.arange(len(flows), dtype=np.int64), [len(flow.links) for flow in flows]),
        on=np.concatenate([*none, *(flow.links for flow in flows)]),
        load=np.concatenate([np.empty(0), *(flow.load for flow in flows)]),
        member=np.concatenate([*none, *(np.array(each.participants, dtype=np.int64) for each in made)]),
        takes=np.repeat(np.arange(len(made), dtype=np.int64), [len(each.participants) for each in made]),
    )


def _start(fold: Fold, parts: _Parts, made: Sequence[OperationClass], asked: Sequence[int]) -> _Colours:
    """What differs by itself: sizes, capacities, stages, speeds, latencies."""
    links = [(link.tier, link.capacity, link.relaxed) for link in fold.link_classes]
    flows = [(flow.size, flow.weight, flow.rate_cap) for flow in parts.flows]
    ranks = [(rank.pp_rank, rank.speed) for rank in fold.rank_classes]
    operations = [(number, each.latency, each.algorithm, each.rung) for number, each in zip(asked, made, strict=True)]
    return _Colours(_join(_numbered(flows), parts.phase), _numbered(links), _numbered(ranks), _numbered(operations))


def _refine(parts: _Parts, colours: _Colours) -> _Colours:
    """Split colours until nothing tells two of one colour apart."""
    flows, links = len(parts.flows), len(colours.link)
    ranks, operations = len(colours.rank), len(colours.operation)
    per_source = np.array([flow.flows_per_source for flow in parts.flows])
    per_target = np.array([flow.flows_per_target for flow in parts.flows])
    while True:
        before = colours.counts
        link = _join(colours.link, _weighed(parts.on, colours.flow[parts.at], parts.load, links))
        flow = _join(colours.flow, _weighed(parts.at, link[parts.on], None, flows))
        flow = _join(flow, colours.operation[parts.operation], colours.rank[parts.source], colours.rank[parts.target])
        operation = _join(colours.operation, _weighed(parts.takes, colours.rank[parts.member], None, operations))
        rank = _join(
            colours.rank,
            _weighed(parts.source, flow, per_source, ranks),
            _weighed(parts.target, flow, per_target, ranks),
            _weighed(parts.member, operation[parts.takes], np.ones(len(parts.member)), ranks),
        )
        colours = _Colours(flow, link, rank, operation)
        if colours.counts == before:
            return _Colours(*(_numbered(column.tolist()) for column in (flow, link, rank, operation)))  # by first met


def _weighed(owner: Ints, colour: Ints, amount: Floats | None, owners: int) -> Ints:
    """A number per owner: equal where the sums of ``amount`` over each colour are (None: where the same colours occur)."""
    if not len(owner):
        return np.zeros(owners, dtype=np.int64)
    width = int(colour.max()) + 1
    pairs, place = np.unique(owner * width + colour, return_inverse=True)
    value = np.zeros(len(pairs), dtype=np.int64)
    if amount is not None:
        totals = np.bincount(place, weights=amount)
        height = np.floor(np.log10(totals))
        _, value = np.unique(np.round(totals / 10.0**height / SAME / 10.0) * 10.0**height, return_inverse=True)
    mark = _mixed(_mixed((pairs % width).astype(np.uint64)) + value.astype(np.uint64))
    starts = np.flatnonzero(np.diff(pairs // width, prepend=-1))
    found = np.zeros(owners, dtype=np.uint64)
    found[(pairs // width)[starts]] = np.add.reduceat(mark, starts)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _mixed(numbers: Marks) -> Marks:
    """Numbers without any pattern left in them (the finaliser of splitmix64)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _join(first: Ints, *others: Ints) -> Ints:
    """Colours of all columns together, numbered from 0."""
    for other in others:
        first = np.unique(first * (int(other.max(initial=0)) + 1) + other, return_inverse=True)[1].astype(np.int64)
    return first


def _numbered(values: Sequence[object]) -> Ints:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _sums(parts: _Parts, colours: _Colours) -> dict[int, tuple[Ints, Floats]]:
    """For each colour of flows the colours of links it is on and what it puts on one link of each.

    Raises IdentityBroken where links or flows of one colour are not alike, as theorem 1 needs.
    """
    flow_colours, link_colours = colours.counts[0], colours.counts[1]
    pairs, place = np.unique(parts.on * flow_colours + colours.flow[parts.at], return_inverse=True)
    totals = np.bincount(place, weights=parts.load, minlength=len(pairs))
    link, flow = pairs // max(flow_colours, 1), pairs % max(flow_colours, 1)
    both, group = np.unique(flow * link_colours + colours.link[link], return_inverse=True)
    alike = np.bincount(group)
    lowest, highest = np.full(len(both), np.inf), np.zeros(len(both))
    np.minimum.at(lowest, group, totals)
    np.maximum.at(highest, group, totals)
    flow, link = both // max(link_colours, 1), both % max(link_colours, 1)
    crossing = np.unique(parts.at * link_colours + colours.link[parts.on])
    crossed = np.bincount(_place(both, colours.flow[crossing // link_colours] * link_colours + crossing % link_colours))
    if (
        np.any(highest > lowest * (1.0 + 1e-9))
        or np.any(alike != np.bincount(colours.link)[link])
        or np.any(crossed != np.bincount(colours.flow)[flow])
    ):
        raise IdentityBroken("classes of flows by refinement do not load the links of a class alike")
    starts = np.searchsorted(flow, np.arange(flow_colours + 1))
    return {
        colour: (link[starts[colour] : starts[colour + 1]], highest[starts[colour] : starts[colour + 1]])
        for colour in range(flow_colours)
    }


def _place(ordered: Ints, values: Ints) -> Ints:
    return np.searchsorted(ordered, values).astype(np.int64)


def _merged_ranks(fold: Fold, colour: Ints) -> tuple[RankClass, ...]:
    groups = _by_colour(colour)
    found = []
    for key, members in enumerate(groups):
        first = fold.rank_classes[members[0]]
        size = sum(fold.rank_classes[member].size for member in members)
        found.append(RankClass(key, first.representative, size, first.pp_rank, first.speed))
    return tuple(found)


def _merged_links(fold: Fold, colour: Ints) -> tuple[LinkClass, ...]:
    found = []
    for key, members in enumerate(_by_colour(colour)):
        first = fold.link_classes[members[0]]
        size = sum(fold.link_classes[member].size for member in members)
        found.append(LinkClass(key, first.tier, first.capacity, size, first.called, first.relaxed))
    return tuple(found)


def _by_colour(colour: Ints) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(int(colour.max(initial=-1)) + 1)]
    for place, each in enumerate(colour.tolist()):
        groups[each].append(place)
    return groups


def _merged_operations(
    parts: _Parts,
    colours: _Colours,
    made: Sequence[OperationClass],
    sums: dict[int, tuple[Ints, Floats]],
    ranks: Sequence[RankClass],
) -> tuple[OperationClass, ...]:
    phases = [[[] for _ in made[members[0]].phases] for members in _by_colour(colours.operation)]  # type: list[list[list[FlowClass]]]
    for colour, members in enumerate(_by_colour(colours.flow)):
        first = parts.flows[members[0]]
        count = sum(parts.flows[member].count for member in members)
        source, target = int(colours.rank[first.source_class]), int(colours.rank[first.target_class])
        links, load = sums[colour]
        merged = FlowClass(
            links=links,
            load=load,
            size=first.size,
            count=count,
            source_class=source,
            flows_per_source=count / ranks[source].size,
            target_class=target,
            flows_per_target=count / ranks[target].size,
            weight=first.weight,
            rate_cap=first.rate_cap,
        )
        phases[int(colours.operation[parts.operation[members[0]]])][int(parts.phase[members[0]])].append(merged)
    found = []
    for key, members in enumerate(_by_colour(colours.operation)):
        first_made = made[members[0]]
        found.append(
            replace(
                first_made,
                key=key,
                phases=tuple(tuple(phase) for phase in phases[key]),
                participants=tuple(sorted({int(colours.rank[rank]) for rank in first_made.participants})),
                bytes_sent=sum(made[member].bytes_sent for member in members),
            )
        )
    return tuple(found)
