"""Loads of an all-to-all against what one computes by hand: the closed forms of each shape."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.topologies.machines import MACHINES, TWO_DIES, dragonfly, loads, machine, tier, tier_loads, whole
from topologies.system import load


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
def test_mesh_link_of_a_dimension_of_size_k_carries_n_over_k(routing):
    fabric = whole("mesh 4x4", routing)
    assert tier_loads(fabric, loads(fabric), "row") == tier_loads(fabric, loads(fabric), "grid") == [4.0]


def test_mesh_of_unequal_sides():
    fabric = whole("mesh 2x3x4x2")
    found = {name: tier_loads(fabric, loads(fabric), name) for name in "abcd"}
    assert found == {"a": [24.0], "b": [16.0], "c": [12.0], "d": [24.0]}


def test_switch_planes_share_a_devices_traffic():
    # 6 devices, 3 planes: each link up carries a third of what goes to the 5 others.
    fabric = whole("one switch")
    assert tier_loads(fabric, loads(fabric), "box") == [pytest.approx(5 / 3)]


def test_two_level_clos():
    """Links of a device: (n-1)/planes; a leaf's p devices send p(n-p) out over planes x spines links."""
    fabric = whole("two-level Clos")
    total = loads(fabric)
    assert tier_loads(fabric, total, "pod") == [pytest.approx(11 / 2)]
    assert tier_loads(fabric, total, "pod-spine") == [pytest.approx(4 * 8 / (2 * 3))]
    # A leaf switch has 4 links of 28 GB/s from its chips and 3 links up: 112 / 3 GB/s each.
    assert set(fabric.capacity[fabric.link_tier == 0].tolist()) == {28e9}
    assert set(fabric.capacity[fabric.link_tier == 1].tolist()) == {112e9 / 3}


def test_three_level_clos():
    """24 devices, leaves of 4, pods of 8, 2 planes x 2 spines x 3 cores."""
    fabric = whole("three-level Clos")
    total = loads(fabric)
    assert tier_loads(fabric, total, "fabric") == [pytest.approx(23 / 2)]
    assert tier_loads(fabric, total, "fabric-spine") == [pytest.approx(4 * 20 / (2 * 2))]
    assert tier_loads(fabric, total, "fabric-core") == [pytest.approx(8 * 16 / (2 * 2 * 3))]


def test_rails_carry_equal_positions_and_the_box_the_rest():
    """4 chips in each of 6 boxes: a chip's rail takes one byte for each of 20 chips in other boxes, whatever their
    position; over the box switch go its 3 neighbours and, first or last, the change of rail of 15 + 15 flows, half each way.
    """
    fabric = whole("rails, a plane each")
    total = loads(fabric)
    assert tier_loads(fabric, total, "rails") == [20.0]
    assert tier_loads(fabric, total, "rails-spine") == [pytest.approx(4 * 3 * 3 / 2)]
    assert tier_loads(fabric, total, "box") == [3.0 + 15.0]


def test_shared_spines_carry_what_separate_ones_do():
    fabric = whole("rails, shared spine")
    total = loads(fabric)
    assert tier_loads(fabric, total, "rails") == [20.0]
    # A leaf of 2 ports sends 2 x 4 chips' worth of positions x 4 boxes to other leaves over 3 spines.
    assert tier_loads(fabric, total, "rails-spine") == [pytest.approx(2 * 4 * 4 / 3)]


def test_a_cabinet_of_an_atlas_950_by_hand():
    """8 boards of 8: a board link carries N/k = 8; a chip's link to its low-radix switch carries 56 flows, one byte each
    to the 7 other boards' 8 chips.
    """
    fabric = load("atlas-950-superpod-8192").fabric(64)
    total = loads(fabric)
    assert tier_loads(fabric, total, "board") == [8.0]
    assert tier_loads(fabric, total, "cabinet") == [56.0]


def test_two_cabinets_of_an_atlas_950_leave_the_boards_out():
    """Between cabinets traffic goes straight up from the chip: board links carry what they did in one cabinet, each of the
    7 planes a seventh of 64 flows.
    """
    fabric = load("atlas-950-superpod-8192").fabric(128)
    total = loads(fabric)
    assert tier_loads(fabric, total, "board") == [8.0]
    assert tier_loads(fabric, total, "superpod") == [pytest.approx(64 / 7)]


def test_dies_share_their_chips_links_and_have_their_own():
    """2 dies a chip: the package link carries the other die's byte alone, each die has half of the chip's 56 GB/s."""
    system = machine(TWO_DIES, box=tier("switch", 3))
    fabric = system.fabric()
    total = loads(fabric)
    assert tier_loads(fabric, total, "package") == [1.0]
    assert tier_loads(fabric, total, "box") == [4.0]
    assert set(fabric.capacity.tolist()) == {270e9, 28e9}


def test_oversubscription_thins_the_links_up():
    full = machine(pod=tier("clos", 12, leaf=4, spines=3)).fabric()
    thin = machine(pod=tier("clos", 12, leaf=4, spines=3, oversubscription=4.0)).fabric()
    spine = full.link_tier == 1
    assert (thin.capacity[spine] * 4 == full.capacity[spine]).all()
    assert (thin.capacity[~spine] == full.capacity[~spine]).all()


def test_a_part_of_a_mesh_keeps_the_bandwidth_of_each_link():
    system = machine(board=tier("mesh", 8, "392 GB/s"))
    assert set(system.fabric(4).capacity.tolist()) == set(system.fabric(8).capacity.tolist()) == {56e9}


def test_a_leaf_that_is_filled_in_part_keeps_its_links_up():
    system = machine(box=tier("switch", 2), rails=tier("rails", 64, leaf=8, spines=4, scale_out=True))
    whole_leaves, part = system.fabric(2 * 16), system.fabric(2 * 12)  # 12 boxes: two leaves of 6
    assert set(part.capacity[part.link_tier == 2].tolist()) == set(whole_leaves.capacity[whole_leaves.link_tier == 2].tolist())
    assert [dimension.size for dimension in part.dimensions[:3]] == [2, 6, 2]


@pytest.mark.parametrize("name", MACHINES)
def test_every_byte_leaves_its_source_and_enters_its_target_once(name):
    """Links out of all devices carry at least the N(N-1) bytes that are sent, and as much leaves devices as enters them."""
    fabric = whole(name)
    total = loads(fabric)
    out = total[fabric.tail < fabric.ranks].sum()
    into = total[fabric.head < fabric.ranks].sum()
    assert out == pytest.approx(into)
    assert out >= fabric.ranks * (fabric.ranks - 1) - 1e-6


def seconds_by_tier(fabric, digits):
    """Seconds that each tier's links need when every device sends one GB to every other, from one device to one target of
    each kind: by symmetry all links of a tier carry the same. ``digits``: (size, stride) of the device number.
    """
    total = {info.name: 0.0 for info in fabric.tiers}
    for differs in itertools.product((False, True), repeat=len(digits)):
        count = math.prod(size - 1 for (size, _), other in zip(digits, differs, strict=True) if other)
        target = sum(stride for (_, stride), other in zip(digits, differs, strict=True) if other)
        route = fabric.router(0, target)
        for link, fraction in zip(route.links.tolist(), route.fraction.tolist(), strict=True):
            total[fabric.tiers[fabric.link_tier[link]].name] += count * fraction * fabric.ranks
    found = {}
    for number, info in enumerate(fabric.tiers):
        mine = fabric.link_tier == number
        found[info.name] = total[info.name] / mine.sum() / fabric.capacity[mine][0] * 1e9
    return found


def test_all_to_all_of_8192_on_a_four_dimensional_mesh():
    """Links of 1 GB/s on 8 x 8 x 8 x 16: a dimension of size k takes N/k seconds a GB, 1024 at most."""
    sizes = {"a": 8, "b": 8, "c": 8, "d": 16}
    fabric = machine(**{name: tier("mesh", size, f"{size - 1} GB/s") for name, size in sizes.items()}).fabric()
    found = seconds_by_tier(fabric, [(8, 1), (8, 8), (8, 64), (16, 512)])
    assert found == pytest.approx({"a": 1024.0, "b": 1024.0, "c": 1024.0, "d": 512.0}, rel=1e-9)


def test_all_to_all_of_8192_on_a_two_level_clos():
    """Nodes of 8 at 392 GB/s a chip, 3136 GB/s a node: max((n-1)/B, p(n-p)/U) = 8191/392 = 20.895408 seconds a GB."""
    fabric = machine(pod=tier("clos", 8192, "392 GB/s", leaf=8, planes=7, spines=16)).fabric()
    found = seconds_by_tier(fabric, [(8, 1), (1024, 8)])
    assert found["pod"] == pytest.approx(20.895408, rel=1e-7)
    assert found["pod-spine"] == pytest.approx(8 * 8184 / 3136, rel=1e-9)


@pytest.mark.parametrize("routing", ["spray", "dimension-order"])
@pytest.mark.parametrize(("sides", "expected"), [((4, 6), [24 * 4 / 8, 24 * 6 / 8]), ((3, 5), [15 * 8 / 24, 15 * 24 / 40])])
def test_torus_link_of_a_side_of_k_carries_nk_over_8_or_n_k2_minus_1_over_8k(sides, expected, routing):
    """Ties of an even side split both ways: N k/8; an odd side has none: N (k^2 - 1)/(8 k)."""
    tiers = {name: tier("torus", side) for name, side in zip(("row", "column"), sides, strict=True)}
    fabric = machine(**tiers).fabric(math.prod(sides), routing=routing)
    total = loads(fabric)
    assert [tier_loads(fabric, total, name) for name in ("row", "column")] == [pytest.approx([load]) for load in expected]


def test_a_line_carries_most_in_its_middle():
    """8 of a side of 16 in a row without the link back: joint j carries j (8 - j) flows each way."""
    fabric = machine(row=tier("torus", 16)).fabric(8)
    assert loads(fabric).tolist() == [j * (8 - j) for j in range(1, 8)] * 2
    assert [dimension.symmetry for dimension in fabric.dimensions] == ["none"]


def seconds_from_one_device(fabric):
    """Per tier, seconds of an all-to-all of 1 GB a pair by one device's routes: where shifts take any device to any other, all
    links of a tier onward (and all back) carry what the routes of one device sum to, over all of them.
    """
    total = np.zeros(len(fabric.tail))
    for target in range(1, fabric.ranks):
        route = fabric.router(0, target)
        total[route.links] += route.fraction
    found = {}
    for number, info in enumerate(fabric.tiers):
        mine = np.flatnonzero(fabric.link_tier == number)
        half = len(mine) // 2
        per_link = [total[part].sum() * fabric.ranks / half for part in (mine[:half], mine[half:])]
        found[info.name] = max(per_link) / fabric.capacity[mine[0]] * 1e9
    return found


def test_all_to_all_of_8192_on_a_three_dimensional_torus():
    """Links of 1 GB/s on 32 x 16 x 16: N k/8 = 32768 seconds a GB on the long side, half on the others."""
    fabric = machine(pod=tier("torus", 8192, "6 GB/s", sides="32x16x16")).fabric()
    expected = {"pod-x": 32768.0, "pod-y": 16384.0, "pod-z": 16384.0}
    assert seconds_from_one_device(fabric) == pytest.approx(expected, rel=1e-9)


def test_one_devices_routes_tell_all_loads_of_a_torus():
    fabric = machine(pod=tier("torus", 48, "60 GB/s", sides="4x4x3")).fabric()
    total = loads(fabric)
    found = {info.name: max(tier_loads(fabric, total, info.name)) / 10 for info in fabric.tiers}
    assert seconds_from_one_device(fabric) == pytest.approx(found, rel=1e-9)


def test_dragonfly_by_hand():
    """3 groups of 2 routers of 2 devices, one link between groups. Flows between two groups: 4 x 4 over their one link.
    A router's device link carries 11; groups g and g+1 meet at router 0 of g (o = 1) and router 1 of g+1 (o = 2).
    """
    fabric = machine(fly=dragonfly(12, leaf=2, pod=4, global_links=1)).fabric()
    total = loads(fabric)
    assert tier_loads(fabric, total, "fly") == [11.0]
    assert tier_loads(fabric, total, "fly-global") == [16.0]
    # Router 0 to 1 of a group: 4 flows of their own, router 0's 2 devices to the 4 of the group before (link at router 1),
    # and what comes in at router 0, from the group after, for router 1: 4 x 2.
    assert tier_loads(fabric, total, "fly-local") == [4.0 + 8.0 + 8.0]


def test_planes_of_rails_share_a_devices_traffic():
    one, two = whole("rails, a plane each"), whole("rails in two planes")
    assert tier_loads(two, loads(two), "rails") == [10.0] == [load / 2 for load in tier_loads(one, loads(one), "rails")]
    assert two.node_kind.count("rails-spine") == 2 * one.node_kind.count("rails-spine")
    assert one.capacity[one.link_tier == 1].sum() == pytest.approx(two.capacity[two.link_tier == 1].sum())
    assert one.capacity[one.link_tier == 2].sum() == pytest.approx(two.capacity[two.link_tier == 2].sum())
