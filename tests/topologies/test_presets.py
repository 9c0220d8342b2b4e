"""Every preset loads, makes fabrics, and says what its sources say."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from simulator.spec.errors import TopologyError
from simulator.spec.files import preset_names, read_spec
from simulator.spec.sources import figures
from topologies.parts import CHIPS, Chip
from topologies.system import SYSTEMS, load

NAMES = preset_names(SYSTEMS)


@pytest.mark.parametrize("name", preset_names(CHIPS))
def test_a_chip_is_called_like_its_file_and_has_a_peak(name):
    chip = read_spec(name, Chip, CHIPS)
    assert chip.name == name
    assert chip.peak("bf16") > 1e14
    assert chip.memory_capacity.value > 1.5e10 and chip.memory_bandwidth.value > 8e11


@pytest.mark.parametrize("name", NAMES)
def test_a_system_is_called_like_its_file(name):
    assert load(name).name == {"h800-mpft": "h800-8", "tpu-v7": "tpu-v7-ironwood"}.get(name, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_system_makes_fabrics_within_and_beyond_a_domain(name):
    system = load(name)
    for chips in (2, system.chips, 2 * system.chips):
        fabric = system.fabric(chips)
        assert fabric.ranks == chips * system.chip.ranks_per_chip
        assert fabric.router(0, fabric.ranks - 1).latency > 0
        assert [tier.units for tier in fabric.tiers] == sorted(tier.units for tier in fabric.tiers)


@pytest.mark.parametrize("name", NAMES)
def test_a_range_holds_its_value(name):
    for path, figure in figures(load(name)):
        if figure.low is not None and figure.high is not None:
            assert figure.low <= figure.value <= figure.high, path


@pytest.mark.parametrize(
    ("name", "tier", "gigabytes", "latency"),
    [
        ("atlas-950-superpod-8192", "board", 392, 0.9),
        ("atlas-950-superpod-8192", "cabinet", 616, 1.2),
        ("atlas-950-superpod-8192", "superpod", 392, 2.1),
        ("atlas-950-superpod-1024", "cabinet", 448, 1.2),
        ("cloudmatrix384", "superpod", 392, 2.1),
        ("cloudmatrix384", "scale-out", 50, 5.6),
        ("atlas-800t-a2", "server", 196, 1.2),
        ("atlas-800t-a2", "roce", 25, 5.6),
        ("gb200-nvl72", "rack", 900, 1.0),
        ("dgx-h100", "server", 450, 1.0),
        ("dgx-h100", "infiniband", 50, 3.7),
        ("h800-8", "server", 200, 1.0),
        ("a100-80gb-roce100x4", "infiniband", 6.25, 5.6),
        ("mi300x-8", "server", 448, 1.0),
        ("mi250x-frontier", "slingshot", 25, 3.0),
        ("b200-8-efa", "efa", 50, 10.0),
        ("vr200-nvl72", "rack", 1800, 1.0),
        ("hpn7", "pod", 50, 5.6),
        ("ub-mesh", "rack", 392, 0.5),
        ("tpu-v4", "pod", 300, 1.0),
        ("tpu-v5e", "dcn", 3.125, 10.0),
    ],
)
def test_bandwidths_are_per_direction(name, tier, gigabytes, latency):
    found = load(name).tiers[tier]
    assert found.bandwidth.value == gigabytes * 1e9
    assert found.latency.value == pytest.approx(latency * 1e-6)


def test_cloudmatrix_is_the_published_clos():
    """48 nodes of 7 L1 switches, 112 L2 switches, 28 GB/s links, as much out of a node as into it."""
    fabric = load("cloudmatrix384").fabric()
    assert fabric.node_kind.count("superpod-leaf") == 48 * 7
    assert fabric.node_kind.count("superpod-spine") == 112
    spine = fabric.link_tier == 2
    assert set(fabric.capacity[spine].tolist()) == {28e9} and spine.sum() == 2 * 48 * 7 * 16
    # 5,376 modules of 400 Gbit/s carry two links of 224 Gbit/s each, at both ends of 5,376 cables.
    assert spine.sum() / 2 == 5376


def test_an_nvl72_has_a_link_of_50_gb_to_each_of_18_switches():
    fabric = load("gb200-nvl72").fabric()
    assert fabric.node_kind.count("rack-switch") == 18
    assert set(fabric.capacity.tolist()) == {50e9}


@pytest.mark.parametrize(
    ("name", "chips"), [("atlas-950-superpod-8192", 8192), ("dgx-h100", 8192), ("gb200-nvl72", 8192), ("h800-8", 16384)]
)
def test_eight_thousand_chips_are_built_fast_and_small(name, chips):
    """Under 0.3 s of CPU and 60 MB; in practice a tenth of it."""
    system = load(name)
    system.fabric(16)
    began = time.process_time()
    fabric = system.fabric(chips)
    took = time.process_time() - began
    tracemalloc.start()
    fabric = system.fabric(chips)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fabric.ranks == chips
    assert took < 0.3
    assert peak < 60e6


@pytest.mark.parametrize(
    ("name", "link"), [("tpu-v4", 50), ("tpu-v5e", 50), ("tpu-v5p", 100), ("tpu-v6e", 100), ("tpu-v7-ironwood", 50)]
)
def test_links_of_tpu_pods(name, link):
    """Per link and direction; each die of a TPU7x has half of its chip's 100 GB/s."""
    fabric = load(name).fabric(256)
    torus = [number for number, info in enumerate(fabric.tiers) if info.name.startswith("pod-")]
    assert set(fabric.capacity[np.isin(fabric.link_tier, torus)].tolist()) == {link * 1e9}


@pytest.mark.parametrize(
    ("name", "chips", "slices", "sides", "wraps"),
    [
        ("tpu-v5p", 6144, None, (16, 16, 24), "ddd"),  # the largest slice that the documentation has
        ("tpu-v5p", 8960, None, (16, 20, 28), "ddd"),
        ("tpu-v4", 512, 8, (4, 4, 4), "ddd"),
        ("tpu-v5p", 8, None, (2, 2, 2), "fff"),
        ("tpu-v5p", 32, None, (2, 4, 4), "fnn"),
        ("tpu-v6e", 256, None, (16, 16), "dd"),
        ("tpu-v6e", 128, None, (8, 16), "nd"),
        ("tpu-v6e", 32, None, (4, 8), "nn"),
        ("tpu-v5e", 8192, 32, (16, 16), "dd"),
    ],
)
def test_slices_of_tpu_pods(name, chips, slices, sides, wraps):
    """As near to a cube as the chips make; whole cubes wrap, and so do whole sides of a fixed pod; d: turns and reflections."""
    dimensions = [part for part in load(name).fabric(chips, slices=slices).dimensions if part.name in "xyz"]
    assert tuple(part.size for part in dimensions) == sides
    assert "".join(part.symmetry[0] for part in dimensions) == wraps


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("tpu-v5p", {"chips": 100}, "Use 64 or 128"),
        ("tpu-v5e", {"chips": 17}, "Use 16 or 18"),
        ("tpu-v5e", {"chips": 512, "slices": 3}, "slices of a job are equal"),
        ("tpu-v5e", {"chips": 512, "slices": 0}, "at least one slice"),
        ("tpu-v5e", {"chips": 512, "slices": 2, "chips_per_domain": 128}, "slices of a job are equal"),
    ],
)
def test_slices_that_there_are_not(name, wrong, message):
    with pytest.raises(TopologyError, match=message):
        load(name).fabric(**wrong)


def test_hpn7_is_two_planes_that_meet_nowhere():
    """A segment's 16 top-of-rack switches have 60 links up each; a flow uses both planes, half each."""
    fabric = load("hpn7").fabric(8 * 256)
    assert fabric.node_kind.count("pod-leaf") == 2 * 16 and fabric.node_kind.count("pod-spine") == 120
    up = fabric.capacity[fabric.link_tier == [info.name for info in fabric.tiers].index("pod-spine")]
    assert up == pytest.approx(50e9, rel=1e-4)
    half = fabric.with_faults([{"plane": "pod0.plane1"}])
    assert set(half.router(0, 8 * 200).fraction.round(12).tolist()) == {1.0, round(1 / 60, 12)}


def test_ub_mesh_is_four_meshes_under_switches():
    fabric = load("ub-mesh").fabric(1024)
    assert [(part.name, part.size) for part in fabric.dimensions] == [("chip", 8), ("board", 8), ("rack", 4), ("row", 4)]
    assert len(fabric.tail) == 1024 * (7 + 7 + 3 + 3)


def test_frontier_has_four_links_between_two_groups():
    fabric = load("mi250x-frontier").fabric(4 * 128 * 74)
    between = fabric.link_tier == [info.name for info in fabric.tiers].index("slingshot-global")
    assert between.sum() == 74 * 73 * 4
    assert fabric.capacity[between].sum() / 2 == pytest.approx(270.1e12, rel=1e-3)
