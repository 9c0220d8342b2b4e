"""System and chip files: what they may say, what-if overrides, and what is wrong with a bad one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from simulator.spec.base import json_schema
from simulator.spec.errors import InputError, MissingPreset, NotModelled, TopologyError
from simulator.spec.files import make, read_spec
from tests.topologies.machines import CHIP, TWO_DIES, dragonfly, machine, tier
from topologies.parts import CHIPS, Chip
from topologies.system import System, load


def test_a_peak_by_training_precision():
    chip = read_spec("ascend-950dt", Chip, CHIPS)
    assert chip.peak("mxfp8") == chip.peak("fp8") == 973e12
    assert chip.peak("fp16") == chip.peak("bf16") == 486e12
    assert chip.peak("nvfp4") == chip.peak("mxfp4") == 1946e12


def test_a_precision_that_a_chip_cannot_do_is_refused_with_those_it_can():
    with pytest.raises(InputError, match=r"Ascend 910C.*cannot multiply.*'fp8'.*It can do bf16, fp16\."):
        read_spec("ascend-910c", Chip, CHIPS).peak("fp8")
    with pytest.raises(InputError, match="It can do bf16, fp16, fp8, mxfp8"):
        read_spec("h100-sxm", Chip, CHIPS).peak("mxfp4")


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("chip.memory_bandwidth", "3.2 TB/s", 3.2e12),
        ("tiers.superpod.bandwidth", "196 GB/s", 196e9),
        ("tiers.superpod.planes", "4", 4),
        ("tiers.superpod.planes", 4, 4),
        ("tiers.board.efficiency", 0.5, 0.5),
        ("tiers.board.latency.value", "2 us", 2e-6),
        ("chip.matrix_peak.fp8", "1 PFLOP/s", 1e15),
        ("tiers.scale-out.core_oversubscription", "2.0", 2.0),
    ],
)
def test_an_override_replaces_a_figure_whole(path, text, value):
    system = load("atlas-950-superpod-8192")
    changed = system.with_overrides({path: text})
    node = changed
    for step in path.removesuffix(".value").split("."):
        node = node[step] if isinstance(node, dict) else getattr(node, step)
    assert node.value == value and node.low is None and node.high is None and node.source is None and node.kind == "assumed"
    assert load("atlas-950-superpod-8192") == system


def test_an_override_reaches_the_fabric():
    system = load("atlas-950-superpod-8192").with_overrides({"tiers.superpod.bandwidth": "196 GB/s", "tiers.superpod.planes": 4})
    fabric = system.fabric(128)
    assert set(fabric.capacity[[fabric.tiers[number].name == "superpod" for number in fabric.link_tier]].tolist()) == {49e9}


def test_an_override_may_change_the_chip_or_a_plain_field():
    changed = load("dgx-h100").with_overrides({"chip": "h200-sxm", "tiers.infiniband.shared_spine": "false"})
    assert changed.chip.name == "h200-sxm" and changed.tiers["infiniband"].shared_spine is False
    assert "NV_H200" in changed.sources


def test_overrides_are_checked_together():
    """Boards of 4 and leaves of 32 chips: each change alone would leave leaves that hold no whole cabinets."""
    both = {"tiers.board.size": 4, "tiers.scale-out.leaf": 32}
    assert load("atlas-950-superpod-8192").with_overrides(both).chips == 4096
    for path, value in both.items():
        with pytest.raises(TopologyError, match="a leaf holds"):
            load("atlas-950-superpod-8192").with_overrides({path: value})


def test_a_part_of_what_is_replaced_needs_a_second_step():
    with pytest.raises(InputError, match="Set it in a second step"):
        load("dgx-h100").with_overrides({"chip": "h200-sxm", "chip.memory_bandwidth": "5 TB/s"})


def test_a_chip_file_may_lie_beside_the_system_file(tmp_path):
    (tmp_path / "mychip.yaml").write_text("extends: h100-sxm\nname: mychip\nmemory_capacity: 120 GB\n")
    (tmp_path / "mine.yaml").write_text("extends: dgx-h100\nname: mine\nchip: mychip.yaml\n")
    assert load(tmp_path / "mine.yaml").chip.memory_capacity.value == 120e9


def test_the_schema_lets_a_chip_be_named():
    chip = json_schema(System)["properties"]["chip"]
    assert chip["anyOf"][0]["type"] == "string"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("tiers.superpo.bandwidth", "1 GB/s", "there is no field superpo. Did you mean superpod?"),
        ("tiers.superpod.bandwith", "1 GB/s", "there is no field bandwith. Did you mean bandwidth?"),
        ("chip.matrix_peak.fp16", "1 TFLOP/s", "there is no field fp16"),
        ("tiers.superpod.bandwidth", "5", "needs a unit"),
        ("tiers.superpod.bandwidth", "5 us", "bandwidth"),
        ("tiers.superpod.bandwidth.low", "1 GB/s", "there is no field low"),
        ("tiers.superpod.planes", 0, "must be above 0"),
        ("tiers.superpod.efficiency", 1.5, "at most 1"),
        ("tiers.superpod.shape", "ring", "must be one of"),
        ("tiers.board.size", 1, "a mesh joins at least 2"),
        ("tiers.board.size", 6, "a leaf holds a multiple"),
        ("tiers", "none", "tiers"),
        ("chip", "h999", "no preset"),
        ("", "1", "path of a field"),
    ],
)
def test_wrong_overrides_say_what_to_do(path, value, message):
    with pytest.raises(InputError) as caught:
        load("atlas-950-superpod-8192").with_overrides({path: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ({}, "at least one tier"),
        ({"Box": tier("switch", 4)}, "lower-case letters"),
        ({"package": tier("switch", 4)}, "none of chip, die, package"),
        ({"out": tier("switch", 4, scale_out=True), "box": tier("switch", 4)}, "are scale-out"),
        ({"box": tier("mesh", 4, planes=2)}, "a mesh tier has no planes"),
        ({"box": tier("switch", 4, leaf=2)}, "a switch tier has no leaf"),
        ({"box": tier("clos", 4)}, "a clos tier says leaf"),
        ({"box": tier("clos", 4, leaf=2)}, "a clos tier says spines"),
        ({"box": tier("clos", 8, leaf=2, spines=2, pod=4)}, "both pod and cores"),
        ({"box": tier("clos", 12, leaf=4, spines=2, pod=6, cores=2)}, "a pod holds whole leaves"),
        ({"box": tier("mesh", 4), "pod": tier("clos", 4, leaf=6, spines=2)}, "a leaf holds a multiple of the 4 chips"),
        ({"box": tier("mesh", 4), "row": tier("mesh", 4), "pod": tier("clos", 4, leaf=8, spines=2)}, r"\(1, 4\)"),
        ({"box": tier("switch", 4, "0 GB/s")}, "above 0"),
        ({"box": tier("switch", 0)}, "above 0"),
        ({"box": tier("hypercube", 4)}, "must be one of"),
        ({"box": tier("torus", 16, sides="4x5")}, "multiply to its size"),
        ({"box": tier("torus", 16, sides="4 by 4")}, "numbers with x between"),
        ({"box": tier("torus", 36, sides="6x6", cube=4)}, "whole cubes"),
        ({"box": tier("torus", 4, leaf=2)}, "a torus tier has no leaf"),
        ({"one": tier("torus", 4, sides="2x2"), "two": tier("torus", 4, sides="2x2")}, "one tier of a system names its sides"),
        ({"fly": tier("dragonfly", 4, leaf=2)}, "a dragonfly tier says pod"),
        ({"fly": dragonfly(8, leaf=2, pod=3)}, "a pod holds whole leaves"),
        ({"box": tier("switch", 4), "fly": dragonfly(4, leaf=1, pod=8)}, "a router holds whole units of 4 chips"),
    ],
)
def test_tiers_that_make_no_machine_are_refused(tiers, message):
    with pytest.raises(InputError) as caught:
        machine(**tiers)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_chip_of_several_ranks_says_what_joins_them():
    with pytest.raises(InputError, match="package links"):
        make(CHIP | {"ranks_per_chip": 2}, Chip)
    with pytest.raises(InputError, match="package links"):
        make(TWO_DIES | {"ranks_per_chip": 1}, Chip)


def test_an_unknown_chip_is_a_missing_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntitle: mine\nchip: h10\ntiers: {}\n")
    with pytest.raises(InputError, match=r"mine.yaml:3:7 chip: there is no preset.*h10"):
        load(file)


def test_an_unknown_system_is_a_missing_preset():
    with pytest.raises(MissingPreset, match="Did you mean dgx-h100"):
        load("dgx-h10")


def test_a_system_of_ones_own_from_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: dgx-h100\nname: mine\ntiers: {server: {bandwidth: 300 GB/s}}\n")
    system = load(file)
    assert system.name == "mine" and system.tiers["server"].bandwidth.value == 300e9
    assert system.tiers["server"].latency == load("dgx-h100").tiers["server"].latency


def test_ports_limit_what_the_tiers_could_send_together():
    """Atlas 950: 392 + 616 GB/s fill the 1,008 of its ports; with the cabinets' 392 more they are pooled."""
    system = load("atlas-950-superpod-8192")
    assert system.fabric(64).ports == float("inf")
    assert system.fabric(128).ports == 1008e9
    assert load("cloudmatrix384").fabric(768).ports == float("inf")


def test_shared_ports_of_several_dies_are_refused_rather_than_guessed():
    with pytest.raises(NotModelled, match="several ranks per chip"):
        machine(TWO_DIES | {"ports_bandwidth": "60 GB/s"}, a=tier("mesh", 4), b=tier("mesh", 4)).fabric()


def test_the_two_names_of_the_h800_cluster_are_one_system():
    assert load("h800-mpft") == load("h800-8")


def test_errors_of_a_tier_are_topology_errors():
    with pytest.raises(TopologyError):
        machine(box=tier("mesh", 4, planes=2))


def test_the_system_file_of_the_documentation_is_legal(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "machines.md").read_text()
    file = tmp_path / "documented.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    assert load(file).fabric(512 * 8).ranks == 4096


@pytest.mark.parametrize(
    ("path", "value", "rewires"),
    [
        ("chip.memory_bandwidth", "3.2 TB/s", False),
        ("chip.memory_capacity", "64 GiB", False),
        ("chip.matrix_peak.bf16", "400 TFLOPS", False),
        ("chip.compute_units", 12, False),
        ("chip.ports_bandwidth", "900 GB/s", True),
        ("tiers.superpod.bandwidth", "196 GB/s", True),
        ("tiers.board.latency", "2 us", True),
        ("tiers.board.efficiency", 0.5, True),
        ("tiers.superpod.planes", 4, True),
    ],
)
def test_wiring_is_what_a_fabric_hangs_on(path, value, rewires):
    """What is left out of it changes no link; what changes one is part of it."""
    system = load("atlas-950-superpod-8192")
    other = system.with_overrides({path: value})
    assert (other.wiring != system.wiring) == rewires
    mine, theirs = system.fabric(128), other.fabric(128)
    same = mine.ports == theirs.ports and mine.tiers == theirs.tiers and np.array_equal(mine.capacity, theirs.capacity)
    assert same != rewires
    assert rewires or (np.array_equal(mine.tail, theirs.tail) and np.array_equal(mine.head, theirs.head))
