"""The ladder: all told apart, then limits left out, then the makespan alone, each as exact as it says."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.network.drain import drain, isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.ladder import best_fold, overrun
from simulator.network.usage import Usage
from simulator.spec.errors import NotModelled
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from tests.network.faulty import weakened
from topologies.fabric import Defect, Fabric
from workloads.groups import Groups

ALL = communication("all-to-all", "dp", 64.0)


def scattered(fabric: Fabric, count: int, left: float, seed: int = 3) -> Fabric:
    """The fabric with some weak links anywhere."""
    chosen = np.random.default_rng(seed).choice(len(fabric.tail), count, replace=False)
    ends = [(int(fabric.tail[place]), int(fabric.head[place])) for place in chosen]
    return weakened(fabric, [Defect("link", nodes, left) for nodes in ends])


def sole(fabric: Fabric) -> Groups:
    return Groups(1, 1, fabric.ranks, 1)


def seconds(fold: Fold) -> float:
    return isolated_time(fold.collective(0, ALL), fold.link_classes)


def test_few_defects_are_all_told_apart() -> None:
    fabric = scattered(fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0)), 1, 0.5)
    fold = best_fold(fabric, sole(fabric), [ALL])
    assert fold.relaxed == ()
    assert fold.collective(0, ALL).rung == "exact"


def test_limits_that_never_bind_are_left_out_and_the_ends_of_all_flows_are_exact() -> None:
    """Ports are the bottleneck: eight links at 90% change nothing, and three classes of flows say so."""
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0), ports=1.5)
    fabric = scattered(mesh, 8, 0.9)
    fold = best_fold(fabric, sole(fabric), [ALL], flow_limit=200)
    assert set(fold.relaxed) == set(fabric.defects)
    operation = fold.collective(0, ALL)
    assert (operation.rung, fold.flow_class_count) == ("exact", 7)
    plain = Fold(fabric, sole(fabric), symmetric=False)
    every = plain.collective(0, ALL)
    ends = drain(every.phases[0], plain.link_classes)[1]
    assert len(ends) == 64 * 63
    ours = {
        flow.path: end for flow, end in zip(operation.phases[0], drain(operation.phases[0], fold.link_classes)[1], strict=True)
    }
    for flow, end in zip(every.phases[0], ends, strict=True):
        path = fold.path(flow.source_class, flow.target_class)  # every rank is a class of its own there
        assert ours[path.number] == pytest.approx(end, rel=1e-10)


def test_only_the_defects_that_bind_are_taken_back() -> None:
    """One link at 10% is the bottleneck, the others are never full."""
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0), ports=1.5)
    fabric = scattered(mesh, 5, 0.9)
    worst = Defect("link", (0, 1), 0.1)
    fabric = weakened(mesh, [*fabric.defects, worst])
    fold = best_fold(fabric, sole(fabric), [ALL], flow_limit=300)
    assert set(fold.relaxed) == set(fabric.defects) - {worst}
    assert fold.collective(0, ALL).rung == "exact"
    plain = Fold(fabric, sole(fabric), symmetric=False)
    assert seconds(fold) == pytest.approx(seconds(plain), rel=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_where_too_many_bind_the_last_byte_is_still_exact(seed: int) -> None:
    for fabric in (
        scattered(fabrics.mesh((4, 4, 4), (1.0, 0.8, 1.0)), 9, 0.4, seed),
        scattered(fabrics.torus((4, 6)), 4, 0.5, seed),
        scattered(fabrics.clos(4, 6, 2.0, 3.0), 5, 0.3, seed),
    ):
        fold = best_fold(fabric, sole(fabric), [ALL], flow_limit=150)
        plain = Fold(fabric, sole(fabric), symmetric=False)
        assert seconds(fold) == pytest.approx(seconds(plain), rel=1e-10)
        if fold.relaxed:
            assert fold.collective(0, ALL).rung in ("exact", "makespan-only")
    assert fold.collective(0, ALL).algorithm == "direct"


def test_unequal_sizes_on_links_that_bind_are_approximate() -> None:
    fabric = scattered(fabrics.rails(4, 6, 2.0, 1.0), 20, 0.4)
    call = communication("combine", "dp", 24.0, top_k=4, deduplicate=True)
    fold = best_fold(fabric, sole(fabric), [call, ALL], flow_limit=100)
    assert fold.collective(0, call).rung == "approximate"
    assert fold.collective(0, ALL).rung == "makespan-only"


def test_alone_nothing_is_told_apart_that_need_not_be() -> None:
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0), ports=1.5)
    fabric = weakened(mesh, [Defect("link", (0, 1), 0.9), Defect("chip", (5,), 0.5)])
    assert best_fold(fabric, sole(fabric), [ALL]).relaxed == ()
    fold = best_fold(fabric, sole(fabric), [ALL], alone=True)
    assert fold.relaxed == fabric.defects
    assert [rank.speed for rank in fold.rank_classes] == [0.5]
    assert seconds(fold) == pytest.approx(seconds(Fold(fabric, sole(fabric))), rel=1e-12)


def test_scattered_deaths_are_refused_with_the_bound() -> None:
    mesh = fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0))
    fabric = weakened(mesh, [Defect("link", ends, 0.0) for ends in ((0, 1), (21, 22), (42, 58))])
    with pytest.raises(NotModelled, match="more than 300 classes of pairs"):
        best_fold(fabric, sole(fabric), [ALL], flow_limit=300)


def test_more_flow_classes_than_can_be_simulated_are_refused_with_what_to_do() -> None:
    """Classes of pairs count once, those of flows with each operation: the second one is too many."""
    fabric = scattered(fabrics.mesh((4, 4, 4), (1.0, 1.0, 1.0)), 1, 0.0)
    groups, half = sole(fabric), communication("all-to-all", "dp", 32.0)
    one = best_fold(fabric, groups, [ALL]).flow_class_count
    assert best_fold(fabric, groups, [ALL, half], total_limit=2 * one).flow_class_count == 2 * one
    with pytest.raises(NotModelled, match=rf"more than {2 * one - 1} of flows.* Take fewer defects"):
        best_fold(fabric, groups, [ALL, half], total_limit=2 * one - 1)


@pytest.mark.parametrize(("left", "met"), [(0.9, False), (0.3, True)])
def test_a_run_tells_whether_limits_that_were_left_out_were_met(left: float, met: bool) -> None:
    fabric = scattered(fabrics.mesh((4, 4), (1.0, 1.0), ports=2.0), 3, left)
    fold = Fold(fabric, Groups(4, 1, 4, 1), relaxed=fabric.defects)
    calls = [communication("all-to-all", "tp", 8.0), communication("all-gather", "dp", 9.0)]
    clock = Clock()
    network = FluidNetwork(clock, fold)
    run_at(clock, network, [(0, fold.collective(0, call)) for call in calls])
    found = overrun(fold, Usage(network))
    assert {link.capacity for link in found} == ({left} if met else set())
    assert {fold.collective(0, call).rung for call in calls} <= {"exact", "makespan-only"}
