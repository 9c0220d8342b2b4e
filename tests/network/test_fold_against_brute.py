"""Folding against every flow by itself on random machines: rates at every moment and every flow's end.

A case is a shape with random faults under a random plan, with operations of different symmetry that begin at different
times and overlap; sizes, weights and caps are equal, or differ from class to class at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.network.contract import FlowClass, OperationClass
from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.network.matrix import matrix_transfer
from simulator.network.unfolded import Flows, Send, routed, unfolded
from tests.network import fabrics
from tests.network.brute import play
from tests.network.doubles import Clock
from tests.network.faulty import FAULTS, hurt, weakened
from tests.network.systems import about
from tests.network.watched import Watched, classes
from tests.topologies.machines import whole
from topologies.fabric import Defect, Fabric, Floats, Ints
from workloads.groups import Groups
from workloads.instructions import Communication

SMALL: dict[str, Callable[[], Fabric]] = {
    "star 16, 3 planes": lambda: fabrics.star(16, 5.0, planes=3, efficiency=0.8),
    "mesh 4x4": lambda: fabrics.mesh((4, 4), (1.0, 0.7), ports=3.0),
    "mesh 2x2x4": lambda: fabrics.mesh((2, 2, 4), (1.0, 1.3, 0.4), efficiency=0.9),
    "torus 4x4": lambda: fabrics.torus((4, 4)),
    "clos 8x4, tight ports": lambda: fabrics.clos(8, 4, 2.0, 3.0, planes=3, spines=2, ports=1.7),
    "rails 6x4": lambda: fabrics.rails(6, 4, 8.0, 1.0, ports=6.0),
    "mesh 4x4x4": lambda: fabrics.mesh((4, 4, 4), (1.0, 1.0, 0.6)),
    "torus 4x8": lambda: fabrics.torus((4, 8)),
    "boards, cabinets, pod": lambda: whole("boards, cabinets, pod"),
    "two-level Clos of dies": lambda: whole("two-level Clos of dies"),
    "three-level Clos": lambda: whole("three-level Clos"),
    "rails, shared spine": lambda: whole("rails, shared spine"),
    "torus 4x2x6": lambda: whole("torus 4x2x6"),
    "dragonfly": lambda: whole("dragonfly"),
    "UB-Mesh": lambda: whole("UB-Mesh"),
    "rails over a Clos of dies": lambda: whole("rails over a Clos of dies"),
}
LARGE: dict[str, Callable[[], Fabric]] = {
    "mesh 4x4x8": lambda: fabrics.mesh((4, 4, 8), (1.0, 1.0, 0.6), ports=5.0),
    "torus 8x16": lambda: fabrics.torus((8, 16)),
    "clos 8x16": lambda: fabrics.clos(8, 16, 2.0, 9.0, planes=2, spines=3),
    "rails 8x16": lambda: fabrics.rails(8, 16, 8.0, 1.0, ports=6.0),
    "mesh 8x8x4": lambda: fabrics.mesh((8, 8, 4), (1.0, 1.0, 0.6)),
    "clos 16x16": lambda: fabrics.clos(16, 16, 2.0, 18.0, planes=2, spines=2),
    "rails 8x64": lambda: fabrics.rails(8, 64, 8.0, 1.0),
    "mesh 8x8x8": lambda: fabrics.mesh((8, 8, 8), (1.0, 0.8, 0.6)),
}


SKEWS = ("none", "sizes", "weights", "everything")


@dataclass(frozen=True)
class Case:
    """One machine, its faults, a plan, some operations, and what differs between their flows: all from the name and the seed."""

    name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.name}, {self.seed}: faults {self.faults}, skew {self.skew}"

    @property
    def faults(self) -> str:
        return FAULTS[self.seed // 4 % 4]

    @property
    def skew(self) -> str:
        return SKEWS[self.seed % 4]

    @property
    def large(self) -> bool:
        return self.name in LARGE

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, *self.name.encode()])

    def fabric(self) -> Fabric:
        return hurt((LARGE if self.large else SMALL)[self.name](), self.faults, self.seed)


#: Seeds whose fold has at most two thirds as many classes as there are flows, and few enough flows to go through one by one.
SEEDS: dict[str, tuple[int, ...]] = {
    "star 16, 3 planes": (1, 20, 10, 15),
    "mesh 4x4": (0, 6, 8, 13),
    "mesh 2x2x4": (1, 4, 26, 15),
    "torus 4x4": (1, 14),
    "clos 8x4, tight ports": (0, 5, 8, 14),
    "rails 6x4": (0, 4, 25, 14),
    "mesh 4x4x4": (2, 5, 8, 13),
    "torus 4x8": (0, 45),
    "boards, cabinets, pod": (3, 4, 9, 13),
    "two-level Clos of dies": (1, 7, 40, 12),
    "three-level Clos": (0, 6, 11, 13),
    "rails, shared spine": (0, 4, 10, 30),
    "torus 4x2x6": (0, 15),
    "dragonfly": (0, 53, 153, 47),
    "UB-Mesh": (2, 39, 12),
    "rails over a Clos of dies": (0, 21, 8, 12),
    "mesh 4x4x8": (0, 6, 8, 13),
    "torus 8x16": (0, 15),
    "clos 8x16": (0, 5, 11, 14),
    "rails 8x16": (0, 7, 10, 13),
    "mesh 8x8x4": (1, 4, 26, 15),
    "clos 16x16": (0, 5, 10, 15),
    "rails 8x64": (0, 5, 11, 14),
    "mesh 8x8x8": (0, 5, 10, 15),
}
CASES = [Case(name, seed) for name, seeds in SEEDS.items() for seed in seeds]
assert len(CASES) >= 60


def plan(ranks: int, random: np.random.Generator, largest: int) -> Groups:
    """A legal plan at random, its expert groups of at most ``largest`` ranks."""
    while True:
        tp, cp, pp, etp = (int(random.choice(sizes)) for sizes in ((1, 2, 4, 3), (1, 1, 2), (1, 1, 2, 4), (1, 1, 2)))
        ep = int(random.choice((2, 4, 6, 8, 16)))
        if ranks % (tp * cp * pp) == 0 and ranks // pp % (etp * ep) == 0 and etp * ep <= largest:
            return Groups(tp, cp, ranks // (tp * cp * pp), pp, etp, ep)


def traffic(groups: Groups, random: np.random.Generator, scale: float, alive: bool, large: bool) -> list[Communication | Send]:
    """Some operations over different axes, payloads between 100 and 1,000 ``scale``."""
    choices = [
        ("all-to-all", "ep", "ep"),
        ("all-gather", "tp", "tp"),
        ("reduce-scatter", "dp_cp", "dp"),
        ("all-reduce", "expert_dp", "dp"),
        ("all-reduce", "tp", "tp"),
        ("all-gather", "cp", "cp"),
        ("all-to-all", "stage", "ep"),
    ]
    if large:
        choices = [choice for choice in choices if groups.size(choice[1]) <= 16]
    kept = random.permutation(len(choices))[: int(random.integers(2, 5))]
    found: list[Communication | Send] = []
    for place in sorted(kept.tolist()):
        collective, group, kind = choices[place]
        payload = scale * float(random.integers(100, 1000))
        found.append(Communication(f"{group} {collective}", kind, collective, group, payload))
    if groups.pp > 1 and alive:
        found += [Send(0, 1, scale * 150.0), Send(groups.pp - 1, 0, scale * 70.0)]
    return found


def skewed(case: Case, keys: list[tuple[object, ...]]) -> dict[tuple[object, ...], tuple[float, float, float]]:
    """(size factor, weight, cap as a fraction of a link) for each class of flows, by the case's kind of skew."""
    random, kind = case.random, case.skew
    found = {}
    for key in keys:
        factor = float(random.choice((0.5, 1.0, 2.0))) if kind in ("sizes", "everything") else 1.0
        weight = float(random.choice((1.0, 2.0, 3.5))) if kind in ("weights", "everything") else 1.0
        cap = float(random.choice((math.inf, 0.05, 0.02))) if kind == "everything" else math.inf
        found[key] = (factor, weight, cap)
    return found


@dataclass(frozen=True, slots=True)
class Folded:
    """A class of flows of one launch, and which single flows it stands for."""

    launch: int
    phase: int
    flow: FlowClass
    flows: Ints


def dressed(
    fold: Fold, each: Flows, operations: list[Communication | Send], case: Case, unit: float
) -> tuple[list[tuple[int, OperationClass]], list[Folded], Floats, Floats, Floats]:
    """The operation classes with their skew, what their flow classes stand for, and every flow's size, weight and cap."""
    named = classes(fold, each.source, each.target)
    rows: dict[tuple[object, ...], list[int]] = {}
    sizes = map(about, each.size.tolist())
    for place, key in enumerate(zip(each.operation.tolist(), each.phase.tolist(), sizes, named, strict=True)):
        rows.setdefault(key, []).append(place)
    skew = skewed(case, list(rows))
    size, weight, cap = each.size.copy(), np.ones(len(each.size)), np.full(len(each.size), math.inf)
    for key, places in rows.items():
        factor, weight[places], fraction = skew[key]
        size[places] *= factor
        cap[places] = fraction * unit
    made: list[tuple[int, OperationClass]] = []
    folded: list[Folded] = []
    for number, operation in enumerate(operations):
        for whole_class in asked(fold, operation):
            phases = []
            for phase, flows in enumerate(whole_class.phases):
                changed = []
                for flow in flows:
                    key = (number, phase, about(flow.size), (flow.source_class, flow.path))
                    places = np.array(rows[key], dtype=np.int64)
                    assert len(places) == flow.count
                    factor, heavy, fraction = skew[key]
                    changed.append(replace(flow, size=flow.size * factor, weight=heavy, rate_cap=fraction * unit))
                    folded.append(Folded(len(made), phase, changed[-1], places))
                phases.append(tuple(changed))
            made.append((number, replace(whole_class, phases=tuple(phases))))
    return made, folded, size, weight, cap


def asked(fold: Fold, operation: Communication | Send) -> list[OperationClass]:
    """The operation classes of one operation that have bytes to move."""
    found = {}
    for rank in fold.rank_classes:
        if not isinstance(operation, Send):
            made = fold.collective(rank.key, operation)
        elif rank.pp_rank == operation.source:
            made = fold.send(rank.key, operation.target, operation.payload)
        else:
            continue
        found[made.key] = made
    return [made for made in found.values() if made.phases]


def together(fabric: Fabric, groups: Groups, each: Flows, operations: list[Communication | Send]) -> Ints:
    """The group that each flow belongs to: its lowest rank."""
    found = np.empty(len(each.source), dtype=np.int64)
    for place, (number, source) in enumerate(zip(each.operation.tolist(), each.source.tolist(), strict=True)):
        operation = operations[number]
        found[place] = source if isinstance(operation, Send) else int(groups.members(operation.group, source).min())
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_flow_has_its_rate_at_every_moment_and_its_end(case: Case) -> None:
    """All rates and ends within 1e-10, the certificate true on both sides whenever rates change."""
    fabric, random = case.fabric(), case.random
    groups = plan(fabric.ranks, random, 16 if case.large else 64)
    unit = float(fabric.capacity.max())
    operations = traffic(groups, random, unit, not fabric.dead, case.large)
    fold = Fold(fabric, groups)
    fold.orbits.check()
    each = unfolded(fabric, groups, operations)
    for operation in operations:
        asked(fold, operation)
    made, folded, size, weight, cap = dressed(fold, each, operations, case, unit)
    assert sum(len(part.flows) for part in folded) == len(each.size) >= 1.5 * len(folded)
    begin = [float(second) for second in random.integers(0, 600, len(operations))]
    clock = Clock()
    network = Watched(clock, fold)
    for number, operation in made:
        clock.call_at(int(begin[number] * 1e12), lambda operation=operation: network.launch(replace(operation, latency=0.0)))
    order = sorted(range(len(made)), key=lambda place: (begin[made[place][0]], place))  # launches are numbered as they come
    launch = {place: number for number, place in enumerate(order)}
    clock.run()
    ends, history = play(each, together(fabric, groups, each, operations), size, weight, cap, begin)
    found = np.full(len(ends), math.nan)
    moments = [interval for interval in history if interval.end - interval.start > 1e-9 * interval.end]
    rates = np.zeros((len(moments), len(ends)))
    middle = [(interval.start + interval.end) / 2 for interval in moments]
    for place, (_, operation) in enumerate(made):
        mine = [part for part in folded if part.launch == place]
        for phase in range(len(operation.phases)):
            parts = [part for part in mine if part.phase == phase]
            flows = [part.flow for part in parts]
            for part, end in zip(parts, network.ends(launch[place], phase, flows, operation.kind), strict=True):
                found[part.flows] = end
            at = np.array(network.rates(launch[place], phase, flows, operation.kind, middle)).reshape(len(middle), len(parts))
            for column, part in enumerate(parts):
                rates[:, part.flows] = at[:, column : column + 1]
    assert np.max(np.abs(found / ends - 1.0)) <= 1e-10
    for row, interval in zip(rates, moments, strict=True):
        assert np.max(np.abs(row[interval.flows] / interval.rates - 1.0)) <= 1e-10


@pytest.mark.parametrize("seed", range(8))
def test_a_matrix_without_any_symmetry_ends_when_the_last_of_its_flows_does(seed: int) -> None:
    """All-to-all-v on faulty machines: the drain of :mod:`simulator.network.matrix` against every flow by itself."""
    name = list(SMALL)[seed]
    fabric = hurt(SMALL[name](), FAULTS[seed % 4], seed)
    random = np.random.default_rng(seed)
    matrix = random.integers(1, 1000, (fabric.ranks, fabric.ranks)) * float(fabric.capacity.max())
    sparse = random.random(matrix.shape) < min(1.0, 400 / fabric.ranks**2)  # some pairs send nothing
    dead = [device for device in fabric.dead if device < fabric.ranks]
    matrix[~sparse] = 0.0
    matrix[dead, :] = 0.0
    matrix[:, dead] = 0.0
    np.fill_diagonal(matrix, 0.0)
    source, target = np.nonzero(matrix)
    zero = np.zeros(len(source), dtype=np.int64)
    each = routed(fabric, zero, zero, source, target, matrix[source, target])
    ends, _ = play(each, zero, each.size, np.ones(len(source)), np.full(len(source), math.inf), [0.0])
    moved = matrix_transfer(fabric, matrix, fabric.ranks)
    assert moved.rung == "exact"
    assert moved.seconds == pytest.approx(float(ends.max()), rel=1e-10)


def test_a_fold_that_overlooks_a_fault_would_be_caught() -> None:
    """The same comparison on a fold which takes a weak link for whole finds rates that are off."""
    fabric = fabrics.mesh((4, 4), (1.0, 0.7))
    faulty = weakened(fabric, [Defect("link", (int(fabric.tail[5]), int(fabric.head[5])), 0.3)])
    groups, operations = Groups(1, 1, 16, 1), [Communication("all", "ep", "all-to-all", "stage", 160.0)]
    blind = Fold(replace(fabric, router=faulty.router), groups)
    each = unfolded(faulty, groups, operations)
    ends, _ = play(each, np.zeros(len(each.size), dtype=np.int64), each.size, np.ones(240), np.full(240, math.inf), [0.0])
    assert isolated_time(blind.collective(0, operations[0]), blind.link_classes) < 0.9 * float(ends.max())
