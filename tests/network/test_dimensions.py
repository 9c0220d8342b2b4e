"""Collectives along all dimensions of a torus or mesh at once: closed forms, every flow by itself, refusals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import topologies
from simulator import collective
from simulator.network.collectives.dimensions import Axis, along_dimensions, axes_of, carried, sides
from simulator.network.collectives.stack import WIRE
from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.network.unfolded import unfolded
from simulator.spec.errors import NotModelled
from tests.network.doubles import communication
from topologies.fabric import Fabric
from workloads.groups import Groups

LINK = 100e9 * 0.9
"""Efficient bandwidth of one link of a TPU v5p, one way [B/s]."""


@pytest.fixture(scope="module")
def cube() -> Fabric:
    return topologies.load("tpu-v5p").fabric(64)


@pytest.mark.parametrize(("name", "rounds"), [("all-gather", 1), ("reduce-scatter", 1), ("all-reduce", 2)])
def test_a_cube_is_busy_in_all_directions_at_once(cube: Fabric, name: str, rounds: int) -> None:
    """rounds x S (n - 1) / n over six links a chip, and rounds x 3 x (4 - 1) hops."""
    size = 2.0**30
    answer = collective(cube, name, bytes=size, library=WIRE, algorithm="dimensions")
    seconds = rounds * size * 63 / 64 / (6 * LINK)
    hop = cube.router(0, 1).latency
    assert answer.time_s == pytest.approx(seconds + rounds * 9 * hop, rel=1e-9)
    assert answer.rung == "exact"


def test_a_line_of_chips_is_one_ring_both_ways(cube: Fabric) -> None:
    answer = collective(cube, "all-gather", bytes=4e9, group_size=4, library=WIRE, algorithm="dimensions")
    assert answer.time_s - answer.latency_s == pytest.approx(4e9 * 3 / 4 / (2 * LINK), rel=1e-9)


@pytest.mark.parametrize("lengths", [[4], [4, 4], [4, 8], [2, 3, 5], [16, 20, 28]])
def test_parts_together_send_what_a_reduction_needs(lengths: list[int]) -> None:
    """(n - 1) / n of the payload in all, and more along longer sides."""
    found = carried(lengths)
    assert sum(found) == pytest.approx(1.0 - 1.0 / np.prod(lengths), rel=1e-12)
    assert all(one <= other * (1 + 1e-12) for one, other in pairwise(found[i] for i in np.argsort(lengths)))


def test_unequal_sides_wait_for_the_longest() -> None:
    """4 x 8: half of S goes along 8 first (7/8), the other half brings a quarter of itself there. 4 x 4 x 8 alike."""
    assert carried([4, 8]) == pytest.approx([3 / 8 + 3 / 8 / 8, 7 / 16 + 7 / 16 / 4])
    plane = topologies.load("tpu-v5p").fabric(128)
    answer = collective(plane, "all-reduce", bytes=1e9, library=WIRE, algorithm="dimensions")
    longest = max(carried([axis.size for axis in axes_of(plane)]))
    tier = plane.tiers[0]
    assert answer.time_s - answer.latency_s == pytest.approx(
        2 * longest * 1e9 / 2 / (float(plane.capacity[0]) * tier.efficiency), rel=1e-9
    )


def test_a_slice_that_does_not_close_takes_twice_as_long() -> None:
    """Lines of 4 and 8: both ways round share every link with the hop that goes all the way back."""
    plane = topologies.load("tpu-v5e").fabric(32)
    assert axes_of(plane) == (Axis(4, ring=True), Axis(8, ring=True))
    answer = collective(plane, "all-gather", bytes=1e9, library=WIRE, algorithm="dimensions")
    link = float(plane.capacity[0]) * plane.tiers[0].efficiency
    assert answer.time_s - answer.latency_s == pytest.approx(max(carried([4, 8])) * 1e9 / link, rel=1e-9)


def test_a_ring_is_known_by_its_links() -> None:
    """Full meshes and switches are none; two dies of a package are none, their torus is."""
    assert not any(axis.ring for axis in axes_of(topologies.load("atlas-950-superpod-8192").fabric(128)))
    assert not any(axis.ring for axis in axes_of(topologies.load("dgx-h100").fabric(16)))
    assert [axis.ring for axis in axes_of(topologies.load("tpu-v7").fabric(64))] == [False, True, True, True]


def test_on_a_full_mesh_each_dimension_is_crossed_in_one_step() -> None:
    """Everybody of a row and of a column at once: b / (k - 1) to each, d steps."""
    axes = (Axis(4, ring=False), Axis(2, ring=False))
    ((row, column),) = along_dimensions(np.arange(8), 5, communication("all-gather", "dp", 16.0), axes).phases
    assert (row.peers.tolist(), column.peers.tolist()) == ([4, 6, 7], [1])
    assert (row.payload * 3, column.payload) == pytest.approx((16 * carried([4, 2])[0], 16 * carried([4, 2])[1]))
    assert (row.steps, column.steps) == (1, 1)


@pytest.mark.parametrize("groups", [Groups(1, 1, 64, 1), Groups(4, 1, 16, 1), Groups(16, 1, 2, 2), Groups(1, 4, 16, 1)], ids=str)
def test_folded_equals_every_flow_by_itself(cube: Fabric, groups: Groups) -> None:
    """Bytes on every link and the time, for groups that are lines, planes and blocks of the cube."""
    call = communication("all-reduce", "dp", 64.0)
    algorithms = {"all-reduce": "dimensions"}
    folds = [Fold(cube, groups, symmetric=symmetric, algorithms=algorithms) for symmetric in (True, False)]
    times = [isolated_time(fold.collective(0, call), fold.link_classes) for fold in folds]
    assert times[0] == pytest.approx(times[1], rel=1e-9)
    each = unfolded(cube, groups, [call], algorithms)
    total = sum(operation.bytes_sent for operation in folds[0].operations)
    stages = groups.size("pp")
    assert each.size.sum() == pytest.approx(total * stages, rel=1e-9)


def test_a_group_that_is_no_block_goes_direct_or_is_refused() -> None:
    axes = (Axis(4, ring=True), Axis(4, ring=True))
    odd = np.array([0, 1, 6])
    assert sides(odd, axes) is None and sides(np.array([3, 17]), axes) is None
    with pytest.raises(NotModelled, match="no block"):
        along_dimensions(odd, 0, communication("all-gather", "dp", 1.0), axes)
    with pytest.raises(NotModelled, match="all-to-all along all dimensions"):
        along_dimensions(np.arange(4), 0, communication("all-to-all", "dp", 1.0), axes)


def test_a_torus_of_tpus_takes_it_and_saves_what_the_links_allow() -> None:
    """By itself on Google's chips; a direct exchange loads the cube three times as much."""
    by_library = collective("tpu-v5p", "all-reduce", chips=64, bytes="1 GiB")
    direct = collective("tpu-v5p", "all-reduce", chips=64, bytes="1 GiB", algorithm="direct")
    assert (by_library.algorithm, by_library.library) == ("dimensions", "xla")
    assert direct.bound_s / by_library.bound_s > 2.9
    assert collective("tpu-v5p", "all-to-all", chips=64, bytes="1 GiB").algorithm == "direct"


@pytest.mark.parametrize(("name", "rounds"), [("all-gather", 1), ("reduce-scatter", 1), ("all-reduce", 2)])
def test_between_slices_only_what_is_left_of_the_payload_goes(name: str, rounds: int) -> None:
    """Two slices of 4 x 4: (n - 1) / n / 2 of S along either ring inside, and half of S / 16 across, all at once."""
    axes = (Axis(4, ring=True), Axis(4, ring=True), Axis(2, ring=False))
    (phase,) = along_dimensions(np.arange(32), 5, communication(name, "dp", 32.0), axes, domain=16).phases
    sent = [float(exchange.bytes_to.sum()) for exchange in phase]
    assert sent[:2] == pytest.approx([rounds * 32.0 * 15 / 16 / 2] * 2)
    assert sent[2] == pytest.approx(rounds * 32.0 / 16 / 2)
    assert phase[2].peers.tolist() == [21]


def test_two_pods_gather_as_fast_as_one() -> None:
    """A quarter of the payload over each link of a 16 x 16 torus; by a direct exchange inside it took eight times as long."""
    one, two = (
        collective("tpu-v6e", "all-gather", chips=chips, bytes="8 GiB", library=WIRE, algorithm="dimensions")
        for chips in (256, 512)
    )
    assert two.time_s - two.latency_s == pytest.approx(one.time_s - one.latency_s, rel=0.01)
    assert collective("tpu-v6e", "all-gather", chips=512, bytes="8 GiB").algorithm == "dimensions"
