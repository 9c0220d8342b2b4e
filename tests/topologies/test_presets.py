"""Every preset loads, makes fabrics, and says what its sources say."""

from __future__ import annotations

import time
import tracemalloc

import pytest

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
