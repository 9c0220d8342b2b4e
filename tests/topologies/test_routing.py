"""Routes: flow is conserved, closed forms agree with a search, latencies add up, orders are what they are called."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from simulator.spec.errors import InputError, TopologyError
from tests.topologies.machines import MACHINES, machine, tier, whole
from topologies.routing import Minimal
from topologies.system import load

SAME_AS_SEARCH = [
    *("one switch", "mesh 4x4", "mesh 2x3x4x2", "two-level Clos", "two-level Clos of dies", "three-level Clos"),
    "rails, a plane each",
]
"""Where no higher tier offers a way of as few hops, the closed form is the minimal equal-cost multipath."""


def pairs(fabric, count=60):
    chosen = random.Random(7)
    every = [(a, b) for a in range(fabric.ranks) for b in range(fabric.ranks) if a != b]
    return chosen.sample(every, min(count, len(every)))


def balance(fabric, route):
    """What leaves minus what enters each node."""
    net = np.zeros(len(fabric.node_kind))
    np.add.at(net, fabric.tail[route.links], route.fraction)
    np.subtract.at(net, fabric.head[route.links], route.fraction)
    return net


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
@pytest.mark.parametrize("name", MACHINES)
def test_flow_is_conserved_at_every_node(name, routing):
    fabric = whole(name, routing)
    for source, target in pairs(fabric):
        route = fabric.router(source, target)
        expected = np.zeros(len(fabric.node_kind))
        expected[source], expected[target] = 1.0, -1.0
        np.testing.assert_allclose(balance(fabric, route), expected, atol=1e-12)
        assert len(set(route.links.tolist())) == len(route.links)
        assert (route.fraction > 0).all()
        assert (route.fraction <= 1 + 1e-12).all()


@pytest.mark.parametrize(
    "name", ["dgx-h100", "h800-8", "gb200-nvl72", "cloudmatrix384", "atlas-950-superpod-1024", "atlas-800t-a2"]
)
def test_flow_is_conserved_on_the_presets(name):
    system = load(name)
    fabric = system.fabric(system.chips * 3)
    chosen = random.Random(3)
    for _ in range(40):
        source, target = chosen.sample(range(fabric.ranks), 2)
        expected = np.zeros(len(fabric.node_kind))
        expected[source], expected[target] = 1.0, -1.0
        np.testing.assert_allclose(balance(fabric, fabric.router(source, target)), expected, atol=1e-12)


@pytest.mark.parametrize("name", SAME_AS_SEARCH)
def test_closed_form_is_the_searched_equal_cost_multipath(name):
    fabric, searched = whole(name), whole(name, "minimal")
    for source, target in pairs(fabric, 200):
        ours, theirs = fabric.router(source, target), searched.router(source, target)
        assert dict(zip(ours.links.tolist(), ours.fraction.tolist(), strict=True)) == pytest.approx(
            dict(zip(theirs.links.tolist(), theirs.fraction.tolist(), strict=True))
        )
        assert ours.latency == pytest.approx(theirs.latency)


@pytest.mark.parametrize("name", MACHINES)
def test_no_route_is_shorter_than_the_shortest_way(name):
    fabric = whole(name)
    search = Minimal(len(fabric.node_kind), fabric.tail, fabric.head, np.zeros(len(fabric.tail)), fabric.node_name)
    for source, target in pairs(fabric):
        assert fabric.router(source, target).fraction.sum() >= search.hops(target)[source] - 1e-9


def test_a_device_to_itself_uses_nothing():
    fabric = whole("mesh 4x4")
    for router in (fabric.router, whole("mesh 4x4", "minimal").router):
        route = router(3, 3)
        assert len(route.links) == 0 and route.latency == 0.0


def test_latencies_of_the_steps_add_up():
    fabric = MACHINES["mesh under aligned switches"].fabric(36)
    assert fabric.router(0, 1).latency == pytest.approx(1e-6)  # on the board
    assert fabric.router(0, 4).latency == pytest.approx(2e-6)  # board, cabinet
    assert fabric.router(0, 35).latency == pytest.approx(4e-6)  # board, cabinet and row of 2 us


def test_within_a_leaf_the_way_is_shorter():
    fabric = MACHINES["two-level Clos of dies"].fabric()
    assert fabric.router(0, 1).latency == pytest.approx(0.2e-6)  # the other die
    assert fabric.router(0, 2).latency == pytest.approx(0.5e-6)  # the same leaf
    assert fabric.router(0, 8).latency == pytest.approx(1e-6)  # another leaf


def test_higher_tiers_are_no_short_cut():
    """Two chips of a cabinet meet over board and cabinet, though a pod switch joins both in two hops."""
    fabric = MACHINES["boards, cabinets, pod"].fabric(60)
    used = {fabric.tiers[tier].name for tier in fabric.link_tier[fabric.router(0, 4).links]}
    assert used == {"board", "cabinet"}
    across = {fabric.tiers[tier].name for tier in fabric.link_tier[fabric.router(0, 59).links]}
    assert across == {"pod"}


def test_dimension_order_takes_the_innermost_tier_first():
    fabric = whole("rails over a mesh", "dimension-order")
    names = [fabric.tiers[tier].name for tier in fabric.link_tier[fabric.router(0, 23).links]]
    assert names[0] == "box" and set(names[1:]) == {"rails", "rails-spine"}


def test_rails_never_cross_in_the_spine():
    """A flow enters and leaves the scale-out network on the same rail."""
    fabric = whole("rails, shared spine")
    route = fabric.router(0, 23)
    rails = {fabric.node_name(int(node)).split(".")[1] for node in fabric.head[route.links] if "-leaf" in fabric.node_kind[node]}
    assert rails == {"rail0", "rail3"}
    for rail in rails:
        inside = [
            fraction
            for link, fraction in zip(route.links, route.fraction, strict=True)
            if f"{rail}." in fabric.node_name(int(fabric.head[link])) and fabric.tail[link] < fabric.ranks
        ]
        assert sum(inside) == pytest.approx(0.5)  # half change rail first, half last


def test_search_says_what_is_cut_off():
    lone = Minimal(3, np.array([0]), np.array([1]), np.zeros(1), str)
    with pytest.raises(TopologyError, match=r"no way from one device to another .*2 to 1"):
        lone(2, 1)


def test_unknown_routing_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"spray, dimension-order, up-down, minimal or \{hash"):
        MACHINES["mesh 4x4"].fabric(routing="valiant")


def test_routers_travel_to_worker_processes():
    fabric = pickle.loads(pickle.dumps(machine(box=tier("switch", 4)).fabric()))
    assert fabric.router(0, 3).latency == 1e-6
