"""Who gets what while a given set of flows is under way: solved once, remembered for good.

Rates depend on what flows load, not on how many bytes they have left; a step of a training job meets few different sets,
each very often. A *pattern* is a flow class without its size, a *shape* the patterns of flows that run together, a *share*
the solved rates of some shapes that compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.network.maxmin import Loads, Row, max_min, max_min_few
from simulator.network.numbering import places
from simulator.network.phase import Phase
from simulator.spec.errors import IdentityBroken
from topologies.fabric import Floats, Ints

#: Non-zero loads, and flows of a shape, up to which plain Python beats numpy (measured).
FEW = 100
MANY = 48
SHORT = 16
"""Links of a share up to which they are gone through one by one: quicker than as arrays (measured)."""
OVER = 1.0 + 1e-9


#: A figure for each of some flows, in the form that is quicker to count with.
Column = Sequence[float] | Floats


def column(values: Sequence[float]) -> Column:
    """These figures: an array, if they are many."""
    return np.array(values) if len(values) >= MANY else values


def pairs(links: Ints, amounts: Floats) -> list[tuple[int, float]]:
    """Each link with what is on it."""
    return list(zip(links.tolist(), amounts.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A flow class without its size."""

    row: Row
    kind: str
    ends: tuple[tuple[int, float], ...]  # (rank class, payload at one of its ranks per unit of payload rate)
    loads: tuple[Ints, Floats]  # those of the row as arrays


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The rates of some competing shapes.

    ``speeds[i]`` are those of the flows of ``shapes[i]`` [B/ps]; ``amounts`` are wire bytes/s on one link of each class in
    ``links``; ``ranks`` is (rank class, payload bytes/s in and out of one rank). ``few``: links and amounts in pairs, if they are
    few; else None.
    """

    key: int
    shapes: tuple[int, ...]
    speeds: tuple[Column, ...]
    links: Ints
    amounts: Floats
    ranks: tuple[tuple[int, float], ...]
    few: Sequence[tuple[int, float]] | None

    @property
    def use(self) -> Sequence[tuple[int, float]]:
        """(link class, wire bytes/s on one of its links)."""
        return self.few or pairs(self.links, self.amounts)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An operation ready to run: for each phase, its flows in parts that share no link: (shape, payload bytes of each flow)."""

    latency: int  # ps
    phases: tuple[tuple[tuple[int, Column], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A phase in parts that share no link: shape and places of its flows. ``settled``: whatever their bytes.

    ``phase`` is kept, so that no other is made where it was.
    """

    parts: tuple[tuple[int, Sequence[int]], ...]
    settled: bool
    phase: Phase


class Shares:
    """Patterns, shapes and shares met so far, on growing link classes."""

    def __init__(self) -> None:
        self.patterns: list[Pattern] = []
        self.shapes: list[tuple[int, ...]] = []
        self.links: list[frozenset[int]] = []  # of each shape
        self.kinds: list[dict[str, set[int]]] = []  # of each shape: who sends over which of its links
        self.shares: list[Share] = []
        self.capacity: dict[int, float] = {}
        self.limits: Floats = np.empty(0)  # by link class: more than this is too much [B/s]
        self._pattern_ids: dict[tuple[object, ...], int] = {}
        self._ways: dict[tuple[object, ...], int] = {}  # patterns by the number that the fold has for their way
        self._cuts: dict[tuple[int, int, str], _Cut] = {}
        self._divisions: dict[tuple[tuple[int, ...], bytes, bytes], list[list[int]]] = {}
        self._shape_ids: dict[tuple[int, ...], int] = {}
        self._solved: dict[tuple[int, ...], Share] = {}
        self._lefts: dict[tuple[int, ...], int] = {}  # what is left of a shape, by it and by what is left of it

    def plan(self, operation: OperationClass, link_classes: Sequence[LinkClass]) -> Plan:
        """Intern an operation's flows and cut each phase into parts that share no link."""
        self.know(link_classes)
        return Plan(round(operation.latency * 1e12), tuple(self._sized(phase, operation.kind) for phase in operation.phases))

    def _sized(self, flows: Sequence[FlowClass], kind: str) -> tuple[tuple[int, Column], ...]:
        """The parts of a phase: (shape, payload bytes of each flow). What only differs in bytes is cut once."""
        phase = Phase.of(flows)
        some = phase.size > 0.0
        if not some.all():
            cut = self._cut(Phase.of([flow for flow, sends in zip(phase, some.tolist(), strict=True) if sends]), kind)
        else:
            key = (id(phase.path), id(phase.weight), kind)
            known = self._cuts.get(key)
            cut = known or self._cut(phase, kind)
            if known is None and phase is flows and cut.settled:
                self._cuts[key] = cut
        sizes = (phase.size if some.all() else phase.size[some]).tolist()
        return tuple((shape, column([sizes[place] for place in places])) for shape, places in cut.parts)

    def _cut(self, phase: Phase, kind: str) -> _Cut:
        """Group the flows of a phase by shared links."""
        numbers, sizes = self._numbers(phase, kind), phase.size.tolist()
        order = sorted(range(len(numbers)), key=lambda place: (numbers[place], sizes[place]))
        parts = tuple([(self.shape(tuple([numbers[place] for place in part])), part) for part in self._divided(order, phase)])
        return _Cut(parts, len(set(numbers)) == len(numbers), phase)

    def _numbers(self, phase: Phase, kind: str) -> list[int]:
        """The pattern of every flow of a phase."""
        columns = (phase.path, phase.weight, phase.rate_cap, phase.ranks[1], phase.ranks[3])
        sources, targets, starts = (column.tolist() for column in (phase.ranks[0], phase.ranks[2], phase.starts))
        found: list[int] = []
        for place, way in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            number = self._ways.get((kind, *way)) if way[0] >= 0 else None
            if number is None:
                path, weight, rate_cap, per_source, per_target = way
                span = slice(starts[place], starts[place + 1])
                ends = sources[place], per_source, targets[place], per_target
                number = self._known(path, (phase.links[span], phase.load[span]), weight, rate_cap, ends, kind)
            found.append(number)
        return found

    def know(self, link_classes: Sequence[LinkClass]) -> None:
        """Take in link classes that were met since; they only become more."""
        if len(link_classes) > len(self.capacity):
            for link_class in link_classes[len(self.capacity) :]:
                self.capacity[link_class.key] = link_class.capacity
            self.limits = np.array([link_class.capacity for link_class in link_classes]) * OVER

    def together(self, plans: Sequence[Plan]) -> tuple[Plan, list[int]]:
        """Plans of one flow each and one latency as one plan, and the places of these in the order of its flows."""
        flows: list[tuple[int, float, int]] = []
        for place, plan in enumerate(plans):
            ((shape, (size,)),) = plan.phases[0]
            flows.append((self.shapes[shape][0], size, place))
        flows.sort()
        shape = self.shape(tuple(pattern for pattern, _, _ in flows))
        return Plan(plans[0].latency, (((shape, column([size for _, size, _ in flows])),),)), [place for _, _, place in flows]

    def shape(self, patterns: tuple[int, ...]) -> int:
        """Number of a shape, from its patterns in ascending order."""
        found = self._shape_ids.get(patterns)
        if found is None:
            found = self._shape_ids[patterns] = len(self.shapes)
            self.shapes.append(patterns)
            kinds: dict[str, set[int]] = {}
            for pattern in patterns:
                kinds.setdefault(self.patterns[pattern].kind, set()).update(self.patterns[pattern].row[0])
            self.kinds.append(kinds)
            self.links.append(frozenset().union(*kinds.values()))
        return found

    def share(self, shapes: tuple[int, ...]) -> Share:
        """Rates of these shapes (ascending) competing with each other and nobody else."""
        found = self._solved.get(shapes)
        if found is None:
            found = self._solved[shapes] = self._solve(shapes)
            self.shares.append(found)
        return found

    def left(self, shape: int, places: Sequence[int]) -> int:
        """Number of what is left of a shape: its patterns at these places, which ascend."""
        key = (shape, *places)
        found = self._lefts.get(key)
        if found is None:
            patterns = self.shapes[shape]
            found = self._lefts[key] = self.shape(tuple([patterns[place] for place in places]))
        return found

    def pattern(self, flow: FlowClass, kind: str) -> int:
        """Number of a flow class without its size."""
        ends = flow.source_class, flow.flows_per_source, flow.target_class, flow.flows_per_target
        return self._known(flow.path, (flow.links, flow.load), flow.weight, flow.rate_cap, ends, kind)

    def pattern_at(self, flows: Sequence[FlowClass], place: int, kind: str) -> int:
        """The same of one flow class of a phase, which need not be made for that."""
        if not isinstance(flows, Phase):
            return self.pattern(flows[place], kind)
        path, weight, rate_cap = int(flows.path[place]), float(flows.weight[place]), float(flows.rate_cap[place])
        source, per_source, target, per_target = flows.ranks
        ends = int(source[place]), float(per_source[place]), int(target[place]), float(per_target[place])
        span = slice(int(flows.starts[place]), int(flows.starts[place + 1]))
        return self._known(path, (flows.links[span], flows.load[span]), weight, rate_cap, ends, kind)

    def _known(
        self,
        path: int,
        loads: tuple[Ints, Floats],
        weight: float,
        rate_cap: float,
        ends: tuple[int, float, int, float],
        kind: str,
    ) -> int:
        if path < 0:
            return self._pattern(loads, weight, rate_cap, ends, kind)
        way = (kind, path, weight, rate_cap, ends[1], ends[3])
        found = self._ways.get(way)
        if found is None:
            found = self._ways[way] = self._pattern(loads, weight, rate_cap, ends, kind)
        return found

    def _pattern(
        self, loads: tuple[Ints, Floats], weight: float, rate_cap: float, ends: tuple[int, float, int, float], kind: str
    ) -> int:
        links, load = tuple(loads[0].tolist()), tuple(loads[1].tolist())
        amounts: dict[int, float] = {}
        if kind != "pp":  # between stages the copy engines carry it: see docs/decisions/0012
            for rank_class, amount in (ends[:2], ends[2:]):
                amounts[rank_class] = amounts.get(rank_class, 0.0) + amount
        key = (links, load, weight, rate_cap, kind, *amounts.items())
        found = self._pattern_ids.get(key)
        if found is None:
            found = self._pattern_ids[key] = len(self.patterns)
            self.patterns.append(Pattern((links, load, weight, rate_cap), kind, tuple(amounts.items()), loads))
        return found

    def _divided(self, order: Sequence[int], phase: Phase) -> Sequence[Sequence[int]]:
        """Places of the flows of a phase, in this order, grouped by shared links.

        Stages do the same on links of their own: all that matters is which flows have which in common, so it is found once.
        """
        _, number = places(phase.links)
        key = (tuple(order), phase.starts.tobytes(), number.astype(np.int32).tobytes())
        found = self._divisions.get(key)
        if found is None:
            edges, links = phase.starts.tolist(), number.tolist()
            found = self._divisions[key] = _parts(order, [links[start:end] for start, end in pairwise(edges)])
        return found

    def _solve(self, shapes: tuple[int, ...]) -> Share:
        patterns = [self.patterns[pattern] for shape in shapes for pattern in self.shapes[shape]]
        solve = self._few if sum([len(pattern.row[0]) for pattern in patterns]) <= FEW else self._many
        rates, links, amounts = solve(patterns)
        ranks: dict[int, float] = {}
        for pattern, rate in zip(patterns, rates, strict=True):
            for rank_class, amount in pattern.ends:
                ranks[rank_class] = ranks.get(rank_class, 0.0) + amount * rate
        speeds, start = [], 0
        for shape in shapes:
            end = start + len(self.shapes[shape])
            speeds.append(column([rate * 1e-12 for rate in rates[start:end]]))
            start = end
        few = pairs(links, amounts) if len(links) <= SHORT else None
        return Share(len(self.shares), shapes, tuple(speeds), links, amounts, tuple(ranks.items()), few)

    def _few(self, patterns: Sequence[Pattern]) -> tuple[list[float], Ints, Floats]:
        """Max-min rates of these, their links and what those carry [B/s]: the same as :meth:`_many`, one by one."""
        rates = max_min_few([pattern.row for pattern in patterns], self.capacity)
        carried: dict[int, float] = {}
        for pattern, rate in zip(patterns, rates, strict=True):
            for link, load in zip(pattern.row[0], pattern.row[1], strict=True):
                carried[link] = carried.get(link, 0.0) + load * rate
        links = sorted(carried)
        over = [link for link in links if carried[link] > self.capacity[link] * OVER]
        _require_sound(over, min(rates))
        return rates, np.array(links, dtype=np.int64), np.array([carried[link] for link in links])

    def _many(self, patterns: Sequence[Pattern]) -> tuple[list[float], Ints, Floats]:
        lengths = [len(pattern.loads[0]) for pattern in patterns]
        flow = np.repeat(np.arange(len(patterns), dtype=np.int64), lengths)
        load = np.concatenate([pattern.loads[1] for pattern in patterns])
        crossed = np.concatenate([pattern.loads[0] for pattern in patterns])
        if (crossed[1:] > crossed[:-1]).all():
            links, link = crossed, np.arange(len(crossed), dtype=np.int64)
        else:
            links, link = np.unique(crossed, return_inverse=True)
        loads = Loads(flow, link, load, len(patterns), len(links))
        capacity = np.array([self.capacity[link] for link in links.tolist()])
        weight, rate_cap = np.array([pattern.row[2] for pattern in patterns]), np.array([pattern.row[3] for pattern in patterns])
        rates = max_min(loads, capacity, weight, rate_cap)
        amounts = loads.on_links(rates)
        _require_sound(links[amounts > self.limits[links]].tolist(), float(rates.min()))
        return rates.tolist(), links, amounts


def _parts(order: Sequence[int], crossed: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of flows, in this order, grouped by shared links; ``crossed``: those at each place."""
    part_on: dict[int, int] = {}  # by link: a flow that stands for all that are found to share links with it
    stands: list[int] = []  # for each flow one that it shares links with, itself if it stands for the others

    def standing(flow: int) -> int:
        while stands[flow] != flow:
            stands[flow] = flow = stands[stands[flow]]
        return flow

    for flow, place in enumerate(order):
        stands.append(flow)
        for link in crossed[place]:
            other = part_on.setdefault(link, flow)
            if other != flow:
                stands[standing(other)] = flow
                part_on[link] = flow
    parts: dict[int, list[int]] = {}
    for flow, place in enumerate(order):
        parts.setdefault(standing(flow), []).append(place)
    return [parts[flow] for flow in sorted(parts)]


def _require_sound(over: Sequence[int], least: float) -> None:
    """Rates fill no link class beyond what it has, and stop no flow."""
    if over or least <= 0.0:
        raise IdentityBroken(f"max-min rates overload link classes {list(over)} or stop a flow (least rate {least} B/s)")
