"""Closed forms of faulty machines: 8,192 chips of a four-dimensional mesh, a slow port under a switch and under a Clos.

m bytes a pair, b bandwidth of one link, q the fraction of it that a fault leaves. In a mesh of sides k_i each link of dimension i
carries N / k_i flows of an all-to-all, so T = m N / (k b) for the smallest side.
"""

from __future__ import annotations

from functools import cache

import pytest

from simulator.network.drain import bound, drain, isolated_time
from simulator.network.fold import Fold
from simulator.network.ladder import best_fold
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.faulty import weakened
from tests.topologies.machines import machine, tier
from topologies.fabric import Defect, Fabric
from workloads.groups import Groups

GB = 1e9
CHIPS = 8192


@cache
def mesh() -> Fabric:
    """8 x 8 x 8 x 16 chips, every link 1 GB/s."""
    sides = {"a": 8, "b": 8, "c": 8, "d": 16}
    return machine(**{name: tier("mesh", k, f"{k - 1} GB/s", efficiency=1.0) for name, k in sides.items()}).fabric(CHIPS)


def seconds(fabric: Fabric, fold: Fold) -> float:
    """An all-to-all of 1 GB a pair, without latency, by letting all flows end and by its busiest link."""
    operation = fold.collective(0, communication("all-to-all", "dp", len(fabric.alive) * GB))
    assert operation.rung in ("exact", "makespan-only")
    found = isolated_time(operation, fold.link_classes) - operation.latency
    assert found == pytest.approx(bound(operation, fold.link_classes) - operation.latency, rel=1e-9)
    return found


def all_told_apart(fabric: Fabric) -> Fold:
    return Fold(fabric, Groups(1, 1, fabric.ranks, 1))


def test_4_whole() -> None:
    fold = all_told_apart(mesh())
    assert seconds(mesh(), fold) == pytest.approx(CHIPS / 8, rel=1e-9)
    assert fold.flow_class_count == 15


@pytest.mark.parametrize("left", [0.5, 0.25])
def test_8_one_link_at_a_fraction_of_a_critical_dimension(left: float) -> None:
    fabric = mesh().with_faults([{"link": "c0.b0.a0.chip0->c0.b0.a0.chip1", "capacity": left}])
    fold = all_told_apart(fabric)
    assert seconds(fabric, fold) == pytest.approx(1024 / left, rel=1e-9)
    assert fold.flow_class_count == 5**3 * 10 - 24  # pairs of (class, class, equal?) a dimension, less each rank with itself


def test_8_one_link_at_half_where_the_others_are_twice_as_busy() -> None:
    """A link of the side of 16 carries 512 flows, half of a critical one."""
    fabric = mesh().with_faults([{"link": "c0.b0.a0.chip0->c1.b0.a0.chip0", "capacity": 0.5}])
    assert seconds(fabric, all_told_apart(fabric)) == pytest.approx(1024, rel=1e-9)
    few = best_fold(fabric, Groups(1, 1, CHIPS, 1), [communication("all-to-all", "dp", CHIPS * GB)], alone=True)
    assert seconds(fabric, few) == pytest.approx(1024, rel=1e-9)


@pytest.mark.parametrize(
    ("link", "expected"),
    [("c0.b0.a0.chip0->c0.b0.a0.chip1", 1058.9583333333333), ("c0.b0.a0.chip0->c1.b0.a0.chip0", 1041.4166666666667)],
)
def test_9_one_dead_link_one_direction_rerouted_over_equal_costs(link: str, expected: float) -> None:
    fabric = mesh().with_faults([{"link": link, "capacity": 0}])
    assert seconds(fabric, all_told_apart(fabric)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("left", [0.5, 0.2])
def test_10_a_slow_port_under_a_switch_delays_what_it_carries_and_nobody_else(left: float) -> None:
    n, m, b = 12, 3.0, 4.0
    star = fabrics.star(n, b)
    fabric = weakened(star, [Defect("link", (0, n), left)])
    fold = all_told_apart(fabric)
    phase = fold.collective(0, communication("all-to-all", "dp", m * n)).phases[0]
    total, ends = drain(phase, fold.link_classes)
    assert total == pytest.approx((n - 1) * m / (left * b), rel=1e-9)
    others = [end for flow, end in zip(phase, ends, strict=True) if flow.source_class != fold.orbits.rank_class[0]]
    assert max(others) <= (n - 1) * m / b * (1 + 1e-9)


def test_10_a_slow_port_under_a_clos() -> None:
    """Uplinks carry p (n - p) / U = 24 x 8 / 16 seconds, a chip 31; the slow chip 31 / q."""
    whole = fabrics.clos(8, 4, 1.0, 16.0, planes=1)
    (up,) = [int(head) for tail, head in zip(whole.tail, whole.head, strict=True) if tail == 0]
    fabric = weakened(whole, [Defect("link", (0, up), 0.5)])
    assert seconds_of(whole) == pytest.approx(31.0, rel=1e-9)
    assert seconds_of(fabric) == pytest.approx(62.0, rel=1e-9)


def seconds_of(fabric: Fabric) -> float:
    fold = all_told_apart(fabric)
    return isolated_time(fold.collective(0, communication("all-to-all", "dp", float(fabric.ranks))), fold.link_classes)


def test_8_more_weak_links_than_a_fold_can_tell_apart_still_end_on_time() -> None:
    """Sixteen links anywhere at 40%: every one of a critical side ends at 1024 / 0.4."""
    base = mesh()
    places = range(7, len(base.tail), len(base.tail) // 16)
    names = [f"{base.node_name(int(base.tail[at]))}->{base.node_name(int(base.head[at]))}" for at in places]
    fabric = base.with_faults([{"link": name, "capacity": 0.4} for name in names])
    fold = best_fold(fabric, Groups(1, 1, CHIPS, 1), [communication("all-to-all", "dp", CHIPS * GB)])
    assert seconds(fabric, fold) == pytest.approx(1024 / 0.4, rel=1e-9)
    assert fold.operations[0].rung == "makespan-only"
