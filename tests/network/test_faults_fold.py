"""Folding of faulty fabrics against every flow by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.network.maxmin import is_max_min, max_min
from simulator.network.orbits import Orbits
from simulator.network.placement import refine
from simulator.network.unfolded import Send, unfolded
from simulator.spec.errors import InputError, NotModelled
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.faulty import random_defects, weakened
from tests.network.systems import FABRICS, launch_all, plans, rates_of_each_flow, system
from topologies.fabric import Defect
from workloads.groups import Groups

MORE = {
    **FABRICS,
    "mesh 4x4x4": lambda: fabrics.mesh((4, 4, 4), (1.0, 1.0, 0.6)),
    "torus 4x8": lambda: fabrics.torus((4, 8)),
    "clos 8x8": lambda: fabrics.clos(8, 8, 2.0, 9.0, planes=2, spines=3),
    "rails 4x8, ports": lambda: fabrics.rails(4, 8, 8.0, 1.0, ports=6.0),
}
CASES = [
    (name, plan, 17 * number + seed)
    for number, name in enumerate(MORE)
    for seed, plan in enumerate(plans(MORE[name]().ranks)[: 6 if MORE[name]().ranks <= 24 else 3])
]
assert len(CASES) >= 60


@pytest.mark.parametrize(("name", "groups", "seed"), CASES, ids=str)
def test_rates_on_a_faulty_fabric_equal_those_of_every_flow_by_itself(name: str, groups: Groups, seed: int) -> None:
    whole = MORE[name]()
    fabric = weakened(whole, random_defects(whole, seed))
    operations = [
        communication("all-to-all", "ep", 7.0),
        communication("all-gather", "tp", 2.0),
        communication("reduce-scatter", "dp_cp", 11.0),
        communication("all-to-all", "stage", 5.0),
        *([Send(0, 1, 3.0)] if groups.pp > 1 and not fabric.dead else []),
    ]
    algorithms = dict.fromkeys(("all-gather", "reduce-scatter"), "direct")
    fold = Fold(fabric, groups, algorithms=algorithms)
    fold.orbits.check()
    folded = launch_all(fold, operations)
    each = unfolded(fabric, groups, operations, algorithms)
    tagged = [(number, flow) for number, phases in enumerate(folded) for flow in (phases[0] if phases else ())]
    rates = max_min(*system(fold, [flow for _, flow in tagged]))
    chosen = np.flatnonzero(each.phase == 0)
    assert sum(flow.count for _, flow in tagged) == len(chosen)
    loads, _ = each.select(chosen)
    found = rates_of_each_flow(fold, rates, tagged, each, chosen.tolist())
    assert np.max(np.abs(found / max_min(loads, each.capacity) - 1.0)) <= 1e-10
    assert is_max_min(loads, each.capacity, found)


def link(fabric, place: int, left: float) -> Defect:  # type: ignore[no-untyped-def]
    return Defect("link", (int(fabric.tail[place]), int(fabric.head[place])), left)


def sole(fabric) -> Groups:  # type: ignore[no-untyped-def]
    return Groups(1, 1, fabric.ranks, 1)


def everyone(fold: Fold) -> float:
    """Seconds of an all-to-all of a byte a pair over all living ranks, alone."""
    payload = float(len(fold.fabric.alive))
    operation = fold.collective(0, communication("all-to-all", "dp", payload))
    return isolated_time(operation, fold.link_classes)


def test_one_weak_link_of_a_mesh_leaves_the_classes_of_its_ends() -> None:
    """Three dimensions where both ends agree fall into 1 + rest, the one where they differ into 1 + 1 + rest."""
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0))
    fold = Fold(weakened(mesh, [link(mesh, 0, 0.5)]), sole(mesh))
    assert [part.classes for part in fold.orbits.parts] == [3, 2, 2]
    assert sorted(rank.size for rank in fold.rank_classes) == sorted(a * b * c for a in (1, 1, 2) for b in (1, 3) for c in (1, 3))
    everyone(fold)
    assert fold.flow_class_count == 10 * 5 * 5 - 12  # pairs of equal coordinates everywhere are a rank and itself


def test_a_fault_that_a_whole_board_shares_splits_the_boards_only() -> None:
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0))
    fold = Fold(weakened(mesh, [Defect("chip", (chip,), 0.8) for chip in range(4, 8)]), sole(mesh))
    assert [part.classes for part in fold.orbits.parts] == [1, 2, 2]
    assert [(rank.representative, rank.size, rank.speed) for rank in fold.rank_classes] == [
        (0, 12, 1.0),
        (4, 4, 0.8),
        (16, 36, 1.0),
        (20, 12, 1.0),
    ]


def test_equal_faults_may_be_exchanged_and_different_ones_not() -> None:
    star = fabrics.star(8)
    alike = Fold(weakened(star, [Defect("chip", (2,), 0.8), Defect("chip", (5,), 0.8)]), sole(star))
    assert [rank.size for rank in alike.rank_classes] == [6, 2]
    apart = Fold(weakened(star, [Defect("chip", (2,), 0.8), Defect("chip", (5,), 0.7)]), sole(star))
    assert [(rank.size, rank.speed) for rank in apart.rank_classes] == [(6, 1.0), (1, 0.8), (1, 0.7)]


def test_a_fault_on_a_turning_dimension_holds_it_still() -> None:
    torus = fabrics.torus((4, 6))
    fold = Fold(weakened(torus, [link(torus, 0, 0.5)]), sole(torus))
    assert len(fold.rank_classes) == 24
    row = [Defect("chip", (chip,), 0.5) for chip in range(4)]
    assert [rank.size for rank in Fold(weakened(torus, row), sole(torus)).rank_classes] == [4] * 6


def test_dead_chips_are_in_no_class_and_in_no_group() -> None:
    star = fabrics.star(6)
    fabric = weakened(star, [Defect("chip", (0,), 0.0)])
    fold = Fold(fabric, sole(star))
    assert [(rank.representative, rank.size) for rank in fold.rank_classes] == [(1, 5)]
    assert everyone(fold) == pytest.approx(4.0)
    assert fold.orbits.rank_class[0] == -1


def test_only_what_is_weak_can_be_relaxed() -> None:
    star = fabrics.star(6)
    fabric = weakened(star, [Defect("chip", (0,), 0.0), link(star, 4, 0.5)])
    with pytest.raises(InputError, match="only a degraded defect"):
        Fold(fabric, sole(star), relaxed=[fabric.defects[0]])
    with pytest.raises(InputError, match="only a degraded defect"):
        Fold(fabric, sole(star), relaxed=[link(star, 6, 0.5)])


def test_too_many_classes_are_refused_before_they_are_made() -> None:
    mesh = fabrics.mesh((4, 4), (1.0, 1.0))
    fabric = weakened(mesh, [link(mesh, place, 0.5) for place in (0, 40, 70)])
    with pytest.raises(NotModelled, match="more than 20 classes of pairs"):
        everyone(Fold(fabric, sole(mesh), flow_limit=20))
    with pytest.raises(NotModelled, match="classes of ranks, the limit is 3"):
        Fold(fabric, sole(mesh), class_limit=3)


def test_undeclared_weak_links_are_found_by_counting() -> None:
    mesh = fabrics.mesh((4, 4), (1.0, 1.0))
    fabric = replace(weakened(mesh, [link(mesh, 0, 0.5)]), defects=())
    with pytest.raises(Exception, match="or the links as defects"):
        Orbits(fabric, refine(fabric.dimensions, sole(mesh))).check()
