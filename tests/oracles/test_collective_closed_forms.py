"""Closed forms of collectives asked for alone, without any library's overheads; and what must not change their times.

n ranks, S bytes of a rank's buffer, B bandwidth per direction, alpha latency of one hop; g ranks in each of G domains.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.network.collectives.stack import WIRE
from simulator.questions.collective import CollectiveResult, collective
from tests.network import fabrics
from topologies.fabric import Fabric

EXACT = pytest.approx
ALPHA, B, S = 0.25, 4.0, 48.0


def alone(fabric: Fabric, operation: str, payload: float = S, **more: object) -> CollectiveResult:
    return collective(fabric, operation, bytes=payload, library=WIRE, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize(("operation", "times"), [("all-reduce", 2), ("all-gather", 1), ("reduce-scatter", 1)])
def test_11_ring_with_the_latency_of_each_step(n: int, operation: str, times: int) -> None:
    answer = alone(fabrics.star(n, B, latency=ALPHA), operation, algorithm="ring")
    assert answer.time_s == EXACT(times * (n - 1) * (ALPHA + S / (n * B)), rel=1e-9)
    assert answer.bus_bandwidth == EXACT(times * (n - 1) / n * S / answer.time_s, rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize(("operation", "times"), [("all-reduce", 2), ("all-gather", 1), ("reduce-scatter", 1)])
def test_11_many_rings_of_one_domain_take_as_long_as_one(n: int, operation: str, times: int) -> None:
    answer = alone(fabrics.star(n, B, latency=ALPHA), operation, algorithm="rings")
    assert answer.time_s == EXACT(times * (n - 1) * (ALPHA + S / (n * B)), rel=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_12_recursive_halving_and_doubling(k: int) -> None:
    n = 2**k
    answer = alone(fabrics.star(n, B, latency=ALPHA), "all-reduce", algorithm="halving-doubling")
    assert answer.time_s == EXACT(2 * k * ALPHA + 2 * (n - 1) / n * S / B, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 6, 8, 13])
def test_13_a_binomial_tree_sends_whole_messages_up_and_down(n: int) -> None:
    depth = math.ceil(math.log2(n))
    fabric = fabrics.star(n, B, latency=ALPHA)
    assert alone(fabric, "all-reduce", algorithm="binomial-tree").time_s == EXACT(2 * depth * (ALPHA + S / B), rel=1e-9)
    assert alone(fabric, "broadcast", algorithm="binomial-tree").time_s == EXACT(depth * (ALPHA + S / B), rel=1e-9)


@pytest.mark.parametrize("n", [4, 7, 16])
def test_13_two_children_share_their_parents_port(n: int) -> None:
    """A rank is inside one of two trees (half up, two halves down) and a leaf of the other (half up): 2 S in all."""
    answer = alone(fabrics.star(n, B, latency=ALPHA), "all-reduce", algorithm="tree")
    assert answer.time_s == EXACT(2 * math.ceil(math.log2(n)) * ALPHA + 2 * S / B, rel=1e-9)


def test_13_two_ranks_send_each_other_a_half_up_and_a_half_down() -> None:
    assert alone(fabrics.star(2, B), "all-reduce", algorithm="tree").time_s == EXACT(S / B, rel=1e-9)


g, G, INSIDE, OUTSIDE = 4, 3, 8.0, 1.0


@pytest.mark.parametrize(
    ("operation", "inside", "outside"),
    [
        ("all-reduce", 2 * (g - 1) / g, 2 * (G - 1) / (g * G)),
        ("all-gather", (g - 1) / g, (G - 1) / (g * G)),
        ("reduce-scatter", (g - 1) / g, (G - 1) / (g * G)),
        ("all-to-all", (g - 1) / g, (G - 1) / G),
    ],
)
def test_14_15_two_levels_take_the_slower_at_once_and_the_sum_in_turn(operation: str, inside: float, outside: float) -> None:
    """15, an all-to-all that crosses on its rail, is the last row."""
    fabric = fabrics.rails(g, G, INSIDE, OUTSIDE)
    levels = (inside * S / INSIDE, outside * S / OUTSIDE)
    assert alone(fabric, operation, algorithm="hierarchical").time_s == EXACT(max(levels), rel=1e-9)
    assert alone(fabric, operation, algorithm="hierarchical-serial").time_s == EXACT(sum(levels), rel=1e-9)


def test_14_rings_over_rails_carry_a_share_of_every_hop() -> None:
    """Each of g rings carries S / g; a rail takes one hop of one ring, 2 (n - 1) / n S / g; an uplink inside g - 1 of them."""
    n = g * G
    hop = 2 * (n - 1) / n * S / g
    answer = alone(fabrics.rails(g, G, INSIDE, OUTSIDE), "all-reduce", algorithm="rings")
    assert answer.time_s == EXACT(max(hop / OUTSIDE, (g - 1) * hop / INSIDE), rel=1e-9)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_16_direct_all_reduce_on_a_full_mesh(k: int) -> None:
    answer = alone(fabrics.mesh((k,), (2.0,), latency=ALPHA), "all-reduce", algorithm="direct")
    assert answer.time_s == EXACT(2 * ALPHA + 2 * S / (k * 2.0), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_a_switch_that_adds_saves_almost_half_of_a_ring(n: int) -> None:
    """S and S / n each way instead of 2 (n - 1) / n S."""
    fabric = fabrics.star(n, B)
    assert alone(fabric, "all-reduce", algorithm="in-switch").time_s == EXACT(S * (1 + 1 / n) / B, rel=1e-9)


def test_a_broadcast_along_a_ring_passes_all_of_it_over_every_link() -> None:
    n = 5
    answer = alone(fabrics.star(n, B, latency=ALPHA), "broadcast", algorithm="ring")
    assert answer.time_s == EXACT((n - 1) * ALPHA + S / B, rel=1e-9)
    assert answer.bus_bandwidth == answer.algorithm_bandwidth


def test_send_recv_is_one_message() -> None:
    assert alone(fabrics.star(6, B, latency=ALPHA), "send-recv").time_s == EXACT(ALPHA + S / B, rel=1e-9)


FABRICS = [
    fabrics.star(8, 3.0, planes=2, efficiency=0.7),
    fabrics.mesh((2, 4), (1.0, 0.6), ports=2.0),
    fabrics.torus((4, 4)),
    fabrics.clos(4, 4, 1.0, 2.5),
    fabrics.rails(4, 4, 6.0, 1.0),
]
BY_NAME = pytest.mark.parametrize("fabric", FABRICS, ids=lambda fabric: fabric.name)


@BY_NAME
def test_19_scaling_bytes_and_capacities_together_changes_nothing(fabric: Fabric) -> None:
    scaled = replace(fabric, capacity=fabric.capacity * 5.0, ports=fabric.ports * 5.0)
    for operation in ("all-to-all", "all-reduce", "all-gather"):
        assert alone(scaled, operation, 5.0 * S).time_s == EXACT(alone(fabric, operation).time_s, rel=1e-9)


@BY_NAME
def test_19_a_matrix_of_equal_shares_is_an_all_to_all(fabric: Fabric) -> None:
    n = fabric.ranks
    answer = collective(fabric, "all-to-all-v", matrix=np.full((n, n), S / n), library=WIRE)
    expected = alone(fabric, "all-to-all", algorithm="direct")
    for name in ("time_s", "bound_s", "bytes", "algorithm_bandwidth", "bus_bandwidth"):
        assert getattr(answer, name) == EXACT(getattr(expected, name), rel=1e-9)


def test_19_a_swap_of_equal_ranks_leaves_a_matrix_its_time() -> None:
    fabric = fabrics.clos(4, 4, 1.0, 2.5)
    random = np.random.default_rng(7)
    matrix = random.random((16, 16)) * S
    order = np.arange(16)
    order[[0, 1, 2, 3]], order[[8, 9, 10, 11]] = [8, 9, 10, 11], [0, 1, 2, 3]  # two leaves change places
    swapped = matrix[np.ix_(order, order)]
    one, other = (collective(fabric, "all-to-all-v", matrix=each, library=WIRE) for each in (matrix, swapped))
    assert one.time_s == EXACT(other.time_s, rel=1e-9)


def test_19_parallel_links_may_be_one() -> None:
    whole, split = fabrics.star(8, 6.0), fabrics.star(8, 6.0, planes=3)
    for operation in ("all-to-all", "all-reduce", "broadcast"):
        assert alone(whole, operation).time_s == EXACT(alone(split, operation).time_s, rel=1e-9)


@BY_NAME
@pytest.mark.parametrize("operation", ["all-to-all", "all-reduce", "all-gather", "reduce-scatter", "broadcast", "send-recv"])
def test_19_no_collective_beats_its_bound(fabric: Fabric, operation: str) -> None:
    answer = alone(fabric, operation)
    assert 0 < answer.bound_s <= answer.time_s * (1 + 1e-12)


@BY_NAME
def test_19_an_all_to_all_does_not_beat_any_cut_in_two(fabric: Fabric) -> None:
    """Every cut of the ranks by one coordinate, with switches on the side that makes it smaller."""
    seconds = alone(fabric, "all-to-all", algorithm="direct").time_s
    n = fabric.ranks
    for column, dimension in enumerate(fabric.dimensions):
        for value in range(dimension.size) if not dimension.hidden else ():
            side = np.where(fabric.coordinates[:, column] < 0, -1, fabric.coordinates[:, column] == value)
            inside = int((side[:n] == 1).sum())
            cuts = []
            for free in (0, 1):
                placed = np.where(side < 0, free, side)
                cuts.append(float(fabric.capacity[(placed[fabric.tail] == 1) & (placed[fabric.head] == 0)].sum()))
            assert seconds >= inside * (n - inside) * S / n / min(cuts) * (1 - 1e-9)


@BY_NAME
@pytest.mark.parametrize("algorithm", ["direct", "rings", "hierarchical", "tree"])
def test_19_folded_and_unfolded_agree(fabric: Fabric, algorithm: str) -> None:
    """A fabric that declares no symmetry is solved flow by flow."""
    loose = replace(fabric, dimensions=tuple(replace(dimension, symmetry="none") for dimension in fabric.dimensions))
    folded, each = (alone(one, "all-reduce", algorithm=algorithm) for one in (fabric, loose))
    assert folded.time_s == EXACT(each.time_s, rel=1e-9)
    assert folded.bound_s == EXACT(each.bound_s, rel=1e-9)
