"""Closed-form class sizes against counting every link and every pair."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from simulator.network.blocks import Blocks
from simulator.network.boxes import Box, box_of, headings_within, pairs_within
from simulator.network.contract import RankClass
from simulator.network.numbering import first_of_each
from simulator.network.orbits import Orbits
from simulator.network.placement import SubDimension, refine
from simulator.spec.errors import TopologyError
from tests.network import fabrics
from tests.network.systems import FABRICS, plans
from topologies.fabric import Dimension
from topologies.naming import link_name
from workloads.groups import Groups

CASES = [(name, plan) for name, make in FABRICS.items() for plan in plans(make().ranks)]


@pytest.mark.parametrize(("name", "groups"), CASES, ids=str)
def test_closed_forms_count_every_link_rank_and_pair(name: str, groups: Groups) -> None:
    fabric = FABRICS[name]()
    orbits = Orbits(fabric, refine(fabric.dimensions, groups))
    orbits.check()
    keys = Counter(orbits.link_keys(np.arange(len(fabric.tail))))
    for link, key in enumerate(orbits.link_keys(np.arange(len(fabric.tail)))):
        assert keys[key] == orbits.links_in_class(link)
    assert np.array_equal(np.bincount(orbits.rank_class), orbits.rank_class_sizes)
    everyone = np.arange(fabric.ranks)
    for source in orbits.representatives.tolist():
        alike = Counter(orbits.pair_codes(source, everyone).tolist())
        for target in range(fabric.ranks):
            code = int(orbits.pair_codes(source, np.array([target]))[0])
            assert alike[code] == orbits.targets_in_class(np.array([source]), np.array([target]))[0]


def test_link_classes_of_a_class_of_ranks_have_one_load_each() -> None:
    """Summing every flow's load link by link gives one value on all the links of a class."""
    fabric = fabrics.clos(4, 6, 1.0, 2.0)
    orbits = Orbits(fabric, refine(fabric.dimensions, Groups(1, 1, 24, 1, 1, 4)))
    load = np.zeros(len(fabric.tail))
    for source in range(24):
        for target in range(24):
            if source != target:
                route = fabric.router(source, target)
                load[route.links] += route.fraction
    values: dict[object, set[float]] = {}
    for key, value in zip(orbits.link_keys(np.arange(len(load))), load.round(9).tolist(), strict=True):
        values.setdefault(key, set()).add(value)
    assert all(len(found) == 1 for found in values.values())


def test_links_that_differ_inside_a_declared_symmetry_are_found() -> None:
    fabric = fabrics.mesh((4,), (1.0,))
    capacity = fabric.capacity.copy()
    capacity[3] = 0.5
    broken = replace(fabric, capacity=capacity)
    with pytest.raises(TopologyError, match="make 12 links like"):
        Orbits(broken, refine(broken.dimensions, Groups(1, 1, 4, 1))).check()


def test_devices_out_of_order_are_refused() -> None:
    fabric = fabrics.mesh((2, 3), (1.0, 1.0))
    wrong = replace(fabric, dimensions=(Dimension("a", 3, "full"), Dimension("b", 2, "full")))
    with pytest.raises(TopologyError, match="innermost first"):
        Orbits(wrong, refine(wrong.dimensions, Groups(1, 1, 6, 1)))


def test_codes_longer_than_a_word_keep_classes_apart() -> None:
    """Many labelled dimensions: more combinations than 64 bits hold."""
    dimensions = tuple(Dimension(f"d{index}", 2, "none" if index else "full") for index in range(6))
    hidden = tuple(Dimension(f"h{index}", 10**6, "none", hidden=True) for index in range(4))
    mesh = fabrics.mesh((2,) * 6, (1.0,) * 6)
    coordinates = np.concatenate((mesh.coordinates, np.full((64, 4), -1)), axis=1)
    fabric = replace(mesh, dimensions=dimensions + hidden, coordinates=coordinates)
    orbits = Orbits(fabric, refine(fabric.dimensions, Groups(1, 1, 64, 1)))
    assert len(np.unique(orbits.pair_codes(0, np.arange(64)))) == 64
    links = np.arange(len(fabric.tail))
    keys = orbits.link_keys(links)
    assert len(keys[0]) > 5  # kinds, tier, capacity and more than one word
    first, kind = orbits.kinds_of_links(links)
    assert len(first) == len(set(keys))
    assert [keys[first[number]] for number in kind.tolist()] == keys
    orbits.check()


def test_parallel_links_are_counted() -> None:
    mesh = fabrics.mesh((3,), (1.0,))
    twice = {name: np.concatenate((getattr(mesh, name),) * 2) for name in ("tail", "head", "link_tier", "capacity")}
    fabric = replace(mesh, **twice)
    orbits = Orbits(fabric, refine(fabric.dimensions, Groups(1, 1, 3, 1)))
    assert orbits.links_in_class(0) == 12
    orbits.check()


@pytest.mark.parametrize(("name", "groups"), CASES, ids=str)
@pytest.mark.parametrize("faults", ["none", "a weak link"])
def test_pairs_with_all_others_in_closed_form_are_those_that_are_counted(name: str, groups: Groups, faults: str) -> None:
    """Codes, the lowest rank of each class, how many ranks it has, and how many classes there are in all."""
    fabric = FABRICS[name]()
    if faults != "none":
        fabric = fabric.with_faults([{"link": link_name(fabric, len(fabric.tail) // 3), "capacity": 0.5}])
    orbits = Orbits(fabric, refine(fabric.dimensions, groups))
    everyone = np.arange(fabric.ranks)
    box = box_of(orbits, everyone)
    assert box is not None
    number = 0
    classes = [RankClass(key, rank, 1, 0) for key, rank in enumerate(orbits.representatives.tolist())]
    for rank_class, closed in zip(classes, headings_within(orbits, classes, box), strict=True):
        source = rank_class.representative
        others = everyone[everyone != source]
        kinds, first, counts = first_of_each(orbits.pair_codes(source, others))
        assert closed.source is rank_class
        for one, counted in zip((closed.codes, closed.peers, closed.counts), (kinds, others[first], counts), strict=True):
            np.testing.assert_array_equal(one, counted)
        number += len(kinds)
    assert pairs_within(orbits, box) == number


@pytest.mark.parametrize("faults", ["none", "a weak link"])
@pytest.mark.parametrize(("size", "stride"), [(2, 1), (8, 1), (4, 2), (2, 8)])
def test_pairs_within_groups_in_closed_form_are_those_that_are_counted(size: int, stride: int, faults: str) -> None:
    """The same where a group is a box of a 4x4x2 mesh, whatever the other coordinates of its source are."""
    fabric = fabrics.mesh((4, 4, 2), (1.0, 1.0, 1.0))
    if faults != "none":
        fabric = fabric.with_faults([{"link": link_name(fabric, 17), "capacity": 0.5}])
    blocks = Blocks(32, size, stride)
    orbits = Orbits(fabric, refine(fabric.dimensions, blocks))
    classes = [RankClass(key, rank, 1, 0) for key, rank in enumerate(orbits.representatives.tolist())]
    boxes = {box_of(orbits, blocks.members("group", each.representative)) for each in classes}
    assert len(boxes) == 1
    (box,) = boxes
    assert box is not None
    found = headings_within(orbits, classes, box)
    for each, rank_class in zip(found, classes, strict=True):
        members = blocks.members("group", rank_class.representative)
        others = members[members != rank_class.representative]
        kinds, first, counts = first_of_each(orbits.pair_codes(rank_class.representative, others))
        for one, counted in zip((each.codes, each.peers, each.counts), (kinds, others[first], counts), strict=True):
            np.testing.assert_array_equal(one, counted)
    assert pairs_within(orbits, box) == sum(len(each.peers) for each in found)


def test_ranks_that_are_not_all_combinations_of_coordinates_fill_no_box() -> None:
    """Three of the four corners of a square, and a diagonal, are no boxes; a row is."""
    fabric = fabrics.mesh((4, 4), (1.0, 1.0))
    orbits = Orbits(fabric, refine(fabric.dimensions, Groups(1, 1, 16, 1)))
    assert box_of(orbits, np.array([0, 1, 4])) is None
    assert box_of(orbits, np.array([0, 5])) is None
    assert box_of(orbits, np.array([4, 5, 6, 7])) == Box((0,))


def test_parts_that_do_not_fill_the_ranks_are_not_counted_by_combinations() -> None:
    """Nine nodes of a graph under groups of two: the last box of the cut is not full."""
    fabric = fabrics.mesh((9,), (1.0,))
    parts = (SubDimension("node", 0, 1, 2, "none", 1), SubDimension("node/2", 0, 2, 5, "none", 2))
    assert Orbits(fabric, refine(fabric.dimensions, Groups(1, 1, 9, 1))).nested
    assert not Orbits(fabric, parts).nested
