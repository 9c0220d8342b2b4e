"""Declared symmetries hold on the arrays, routes follow them, and a false declaration is caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.spec.errors import IdentityBroken
from tests.topologies.machines import MACHINES, whole
from topologies.fabric import Dimension
from topologies.symmetry import check_routing, check_symmetries, generators, swap
from topologies.system import load


@pytest.mark.parametrize("name", MACHINES)
def test_every_declared_swap_maps_links_to_links_like_them(name):
    fabric = whole(name)
    expected = {
        "full": lambda size: size - 1,
        "cyclic": lambda size: size > 1,
        "dihedral": lambda size: 2,
        "none": lambda size: 0,
    }
    assert check_symmetries(fabric) == sum(expected[dimension.symmetry](dimension.size) for dimension in fabric.dimensions)


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
@pytest.mark.parametrize("name", MACHINES)
def test_routes_follow_every_swap(name, routing):
    fabric = whole(name, routing)
    for generator in generators(fabric):
        for source, target in [(0, 1), (0, fabric.ranks - 1), (fabric.ranks // 2, 2)]:
            check_routing(fabric, generator, source, target)


@pytest.mark.parametrize(
    ("name", "chips"),
    [
        ("dgx-h100", 320),
        ("h800-8", 384),
        ("gb200-nvl72", 144),
        ("cloudmatrix384", 48),
        ("atlas-950-superpod-8192", 512),
        ("atlas-800t-a2", 512),
    ],
)
def test_presets_declare_true_symmetries(name, chips):
    fabric = load(name).fabric(chips)
    check_symmetries(fabric)
    for index, dimension in enumerate(fabric.dimensions):
        check_routing(fabric, swap(index, dimension, 0, dimension.size - 1), 0, fabric.ranks - 1)


@pytest.mark.parametrize("name", MACHINES)
def test_nodes_of_a_kind_differ_in_their_coordinates(name):
    fabric = whole(name)
    places = {(kind, *row) for kind, row in zip(fabric.node_kind, fabric.coordinates.tolist(), strict=True)}
    assert len(places) == len(fabric.node_kind)


@pytest.mark.parametrize("name", MACHINES)
def test_ranks_are_the_mixed_radix_of_their_coordinates(name):
    fabric = whole(name)
    stride = 1
    ranks = np.zeros(fabric.ranks, dtype=np.int64)
    for column, dimension in enumerate(fabric.dimensions):
        if not dimension.hidden:
            ranks += fabric.coordinates[: fabric.ranks, column] * stride
            stride *= dimension.size
    assert stride == fabric.ranks
    assert (ranks == np.arange(fabric.ranks)).all()


def test_a_slow_link_breaks_the_symmetry():
    fabric = whole("two-level Clos")
    slow = replace(fabric, capacity=np.where(np.arange(len(fabric.tail)) == 5, fabric.capacity / 2, fabric.capacity))
    with pytest.raises(IdentityBroken, match="to no link of its tier and capacity"):
        check_symmetries(slow)


def test_a_link_moved_elsewhere_breaks_the_symmetry():
    fabric = whole("mesh 4x4")
    head = fabric.head.copy()
    head[0] = 5
    with pytest.raises(IdentityBroken):
        check_symmetries(replace(fabric, head=head))


def test_a_ring_is_cyclic_and_not_full():
    """On a ring of four, neighbours keep their links under a shift and lose them under a swap."""
    grid = whole("one switch")
    ring = replace(
        grid,
        ranks=4,
        dimensions=(Dimension("chip", 4, "cyclic"),),
        coordinates=np.arange(4)[:, None],
        node_kind=("device",) * 4,
        tail=np.arange(4),
        head=np.arange(1, 5) % 4,
        link_tier=np.zeros(4, dtype=np.int64),
        capacity=np.ones(4),
        tiers=grid.tiers[:1],
        node_name=str,
    )
    assert check_symmetries(ring) == 1
    with pytest.raises(IdentityBroken):
        check_symmetries(replace(ring, dimensions=(Dimension("chip", 4, "full"),)))
    with pytest.raises(IdentityBroken, match="reflection"):
        check_symmetries(replace(ring, dimensions=(Dimension("chip", 4, "dihedral"),)))


def test_a_route_that_prefers_one_plane_is_caught():
    fabric = whole("one switch")

    def first_plane(source, target):
        route = fabric.router(source, target)
        keep = fabric.coordinates[fabric.head[route.links], 1] != 1
        return replace(route, links=route.links[keep], fraction=route.fraction[keep])

    broken = replace(fabric, router=first_plane)
    with pytest.raises(IdentityBroken, match="does not follow"):
        check_routing(broken, swap(1, fabric.dimensions[1], 0, 1), 0, 1)
