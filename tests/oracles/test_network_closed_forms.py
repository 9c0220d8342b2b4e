"""Closed forms that the network must hit, each derivable by hand.

n ranks, m bytes a pair, S payload, B bandwidth per direction, b bandwidth of one link, alpha latency of one step.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.network.collectives.library import Libraries, Library
from simulator.network.contract import OperationClass
from simulator.network.drain import bound, drain, isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from topologies.fabric import Dimension, Fabric
from workloads.groups import Groups
from workloads.instructions import Communication

EXACT = pytest.approx


def alone(fabric: Fabric, call: Communication, **more: object) -> float:
    """Seconds of one collective over all ranks, alone on the fabric, by solving and by the clock."""
    fold = Fold(fabric, Groups(1, 1, fabric.ranks, 1), **more)  # type: ignore[arg-type]
    operation = fold.collective(0, call)
    seconds = isolated_time(operation, fold.link_classes)
    clock = Clock()
    (end,) = run_at(clock, FluidNetwork(clock, fold), [(0, operation)])
    assert end.time == pytest.approx(seconds * 1e12, rel=1e-9, abs=4)
    return seconds


def all_to_all(fabric: Fabric, m: float, **more: object) -> float:
    return alone(fabric, communication("all-to-all", "dp", m * fabric.ranks), **more)


FABRICS = [
    fabrics.star(12, 3.0, planes=2, efficiency=0.7),
    fabrics.mesh((3, 4), (1.0, 0.6), ports=2.0),
    fabrics.torus((4, 6)),
    fabrics.clos(4, 4, 1.0, 2.5),
    fabrics.rails(4, 4, 6.0, 1.0),
]


@pytest.mark.parametrize("fabric", FABRICS, ids=lambda fabric: fabric.name)
@pytest.mark.parametrize("collective", ["all-to-all", "all-gather", "reduce-scatter"])
def test_1_equal_sizes_take_the_busiest_links_bytes_over_its_capacity(fabric: Fabric, collective: str) -> None:
    fold = Fold(fabric, Groups(1, 1, fabric.ranks, 1), algorithms={collective: "direct"})
    operation = fold.collective(0, communication(collective, "dp", 24.0))
    assert isolated_time(operation, fold.link_classes) == EXACT(bound(operation, fold.link_classes), rel=1e-9)


def test_1_sizes_in_proportion_to_weights_do_too_and_plain_ones_may_not() -> None:
    fold = Fold(fabrics.clos(3, 4, 1.0, 0.9), Groups(1, 1, 12, 1))
    phase = fold.collective(0, communication("all-to-all", "dp", 12.0)).phases[0]
    skewed = tuple(replace(flow, size=flow.size * (1 + 3 * place)) for place, flow in enumerate(phase))
    weighted = tuple(replace(flow, weight=flow.size) for flow in skewed)
    least = bound(OperationClass(0, "", "ep", (skewed,), 0.0, (0,), 0.0, "direct"), fold.link_classes)
    assert drain(weighted, fold.link_classes)[0] == EXACT(least, rel=1e-9)
    assert drain(skewed, fold.link_classes)[0] >= least * (1 - 1e-12)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_2_all_to_all_through_one_switch_is_bound_by_injection(n: int) -> None:
    assert all_to_all(fabrics.star(n, 4.0, planes=2), 3.0) == EXACT((n - 1) * 3.0 / 4.0, rel=1e-9)


@pytest.mark.parametrize("k", [3, 8])
def test_3_full_mesh_needs_one_pair_per_link(k: int) -> None:
    assert all_to_all(fabrics.mesh((k,), (2.0,)), 3.0) == EXACT(3.0 / 2.0, rel=1e-9)


def test_3_unless_the_ports_are_narrower() -> None:
    assert all_to_all(fabrics.mesh((8,), (2.0,), ports=7.0), 3.0) == EXACT(7 * 3.0 / 7.0, rel=1e-9)


@pytest.mark.parametrize("spray", [True, False])
@pytest.mark.parametrize("sizes", [(2, 4), (4, 4, 2), (3, 2, 4)])
def test_4_each_dimension_of_a_mesh_carries_n_over_k(sizes: tuple[int, ...], spray: bool) -> None:
    links = tuple(1.0 + 0.3 * index for index in range(len(sizes)))
    expected = max(math.prod(sizes) / k / b for k, b in zip(sizes, links, strict=True))
    assert all_to_all(fabrics.mesh(sizes, links, spray=spray), 1.0) == EXACT(expected, rel=1e-9)


@pytest.mark.parametrize("sizes", [(6,), (4, 6), (8, 4), (4, 4, 4)])
def test_5_even_torus_carries_n_k_over_8_on_each_link(sizes: tuple[int, ...]) -> None:
    assert all_to_all(fabrics.torus(sizes, 2.0), 1.0) == EXACT(math.prod(sizes) * max(sizes) / (8 * 2.0), rel=1e-9)


@pytest.mark.parametrize("sizes", [(5,), (3, 5), (7, 3)])
def test_5_odd_torus_carries_n_k2_less_1_over_8k(sizes: tuple[int, ...]) -> None:
    k = max(sizes)
    assert all_to_all(fabrics.torus(sizes), 1.0) == EXACT(math.prod(sizes) * (k * k - 1) / (8 * k), rel=1e-9)


@pytest.mark.parametrize(("uplink", "p", "nodes"), [(1.0, 4, 4), (2.5, 8, 3), (100.0, 4, 4)])
def test_6_two_level_clos_is_bound_by_injection_or_by_uplinks(uplink: float, p: int, nodes: int) -> None:
    n = p * nodes
    expected = 3.0 * max((n - 1) / 2.0, p * (n - p) / uplink)
    assert all_to_all(fabrics.clos(p, nodes, 2.0, uplink), 3.0) == EXACT(expected, rel=1e-9)


@pytest.mark.parametrize("fabric", FABRICS, ids=lambda fabric: fabric.name)
def test_7_no_all_to_all_beats_a_cut_in_half(fabric: Fabric) -> None:
    """The upper half of the ranks, with the switches whose coordinates lie there, against the rest."""
    outer = len([dimension for dimension in fabric.dimensions if not dimension.hidden]) - 1
    upper = fabric.coordinates[:, outer] >= fabric.dimensions[outer].size // 2
    crossing = upper[fabric.tail] != upper[fabric.head]
    into = crossing & upper[fabric.head]
    ranks_up = int(upper[: fabric.ranks].sum())
    efficiency = max(tier.efficiency for tier in fabric.tiers)
    least = ranks_up * (fabric.ranks - ranks_up) / float(fabric.capacity[into].sum()) / efficiency
    assert all_to_all(fabric, 1.0) >= least * (1 - 1e-9)


@pytest.mark.parametrize("k", [4, 8])
def test_7_a_ring_meets_its_cut(k: int) -> None:
    assert all_to_all(fabrics.torus((k,)), 1.0) == EXACT((k / 2) ** 2 / 2, rel=1e-9)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.25])
def test_8_one_slow_link_costs_its_load_over_what_is_left(q: float) -> None:
    whole = fabrics.mesh((4, 4), (1.0, 1.0))
    capacity = whole.capacity.copy()
    capacity[5] = q
    one_slow = tuple(Dimension(dimension.name, dimension.size, "none") for dimension in whole.dimensions)
    hurt = replace(whole, capacity=capacity, dimensions=one_slow)
    assert all_to_all(hurt, 1.0) == EXACT(max(4.0, 4.0 / q), rel=1e-9)


@pytest.mark.parametrize("q", [0.5, 0.8])
def test_10_one_slow_nic_holds_up_its_own_traffic_and_delays_nobody_elses(q: float) -> None:
    n = 8
    whole = fabrics.star(n)
    capacity = np.where((whole.tail == 3) | (whole.head == 3), q, 1.0)
    dimensions = (Dimension("chip", n, "none"), whole.dimensions[1])
    fold = Fold(replace(whole, capacity=capacity, dimensions=dimensions), Groups(1, 1, n, 1))
    operation = fold.collective(0, communication("all-to-all", "dp", float(n)))
    total, ends = drain(operation.phases[0], fold.link_classes)
    assert total == EXACT((n - 1) / q, rel=1e-9)
    for flow, end in zip(operation.phases[0], ends, strict=True):
        if 3 in (flow.source_class, flow.target_class):
            assert end == EXACT((n - 1) / q, rel=1e-9)
        else:
            assert end <= (n - 1) * (1 + 1e-9)


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize(("collective", "times"), [("all-reduce", 2), ("all-gather", 1), ("reduce-scatter", 1)])
def test_11_ring(n: int, collective: str, times: int) -> None:
    seconds = alone(
        fabrics.star(n, 4.0, latency=0.25),
        communication(collective, "dp", 12.0),
        algorithms={collective: "ring"},
        ordered=("dp",),
        libraries=Libraries(Library.plain(step=0.5)),
    )
    assert seconds == EXACT(times * (n - 1) * (0.75 + 12.0 / (n * 4.0)), rel=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_12_recursive_halving_and_doubling(k: int) -> None:
    n = 2**k
    seconds = alone(
        fabrics.star(n, 4.0, latency=0.25),
        communication("all-reduce", "dp", 12.0),
        algorithms={"all-reduce": "halving-doubling"},
        symmetric=False,
    )
    assert seconds == EXACT(2 * k * 0.25 + 2 * (n - 1) / n * 12.0 / 4.0, rel=1e-9)


def test_14_hierarchical_all_reduce_level_by_level_and_pipelined() -> None:
    """g ranks a node at B1, one rail each at B2: serial phases sum, pipelined ones take the slower level."""
    g, nodes, inside, outside, S = 4, 3, 8.0, 1.0, 24.0
    fabric = fabrics.rails(g, nodes, inside, outside)
    n = g * nodes
    levels = {
        "node": 2 * (g - 1) / g * S / inside,
        "rail": 2 * (nodes - 1) / nodes * S / (g * outside),
    }
    groups = Groups(g, 1, nodes, 1)
    fold = Fold(fabric, groups)
    serial = [
        fold.collective(0, communication(collective, group, payload))
        for collective, group, payload in (
            ("reduce-scatter", "tp", S),
            ("all-reduce", "dp", S / g),
            ("all-gather", "tp", S),
        )
    ]
    assert sum(isolated_time(operation, fold.link_classes) for operation in serial) == EXACT(sum(levels.values()), rel=1e-9)
    pipelined = Fold(fabric, Groups(1, 1, n, 1))
    operation = pipelined.collective(0, communication("all-reduce", "dp", S))
    assert operation.algorithm == "hierarchical"
    assert isolated_time(operation, pipelined.link_classes) == EXACT(max(levels.values()), rel=1e-9)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_16_direct_all_reduce_on_a_full_mesh(k: int) -> None:
    seconds = alone(fabrics.mesh((k,), (2.0,), latency=0.5), communication("all-reduce", "dp", 16.0))
    assert seconds == EXACT(2 * 0.5 + 2 * 16.0 / (k * 2.0), rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 1), (1, 3)])
def test_18_two_operations_share_a_link_flow_by_flow(first: int, second: int) -> None:
    """n1 + n2 flows into one device at B = 1: each runs at 1 / (n1 + n2) until the smaller flows are done."""
    n = first + second + 1
    star = fabrics.star(n)
    fold = Fold(star, Groups(1, 1, n, 1), symmetric=False)

    def incast(key: int, share: float, sources: range) -> OperationClass:
        everyone = fold.collective(0, communication("all-to-all", "dp", share * n)).phases[0]
        flows = tuple(flow for flow in everyone if flow.target_class == 0 and flow.source_class in sources)
        return OperationClass(key, "", "pp", (flows,), 0.0, (0,), 0.0, "direct")

    one, other = incast(100, 1.0, range(1, 1 + first)), incast(101, 3.0, range(1 + first, n))
    clock = Clock()
    ends = [end.time for end in run_at(clock, FluidNetwork(clock, fold), [(0, one), (0, other)])]
    both = float(first + second)  # 1 byte each at 1 / (n1 + n2)
    assert ends[0] == pytest.approx(both * 1e12, abs=2)
    assert ends[1] == pytest.approx((both + 2.0 * second) * 1e12, abs=2)  # 2 bytes left each, at 1 / n2
