"""Bisection, diameter, oversubscription, links and cost against sums by hand."""

from __future__ import annotations

import networkx as nx
import pytest

import topologies
from simulator.spec.errors import NotModelled
from tests.topologies.machines import MACHINES, machine, tier, whole
from topologies.measures import bisection, bisections, cost, diameter, injection, links, oversubscription
from topologies.system import load


def test_bisection_of_a_mesh_counts_the_links_between_its_halves():
    """4x4 mesh: each of 4 columns has 2 x 2 links across, of 56/3 GB/s."""
    assert bisection(whole("mesh 4x4")) == pytest.approx(4 * 4 * 56e9 / 3)


def test_bisection_of_a_superpod_is_what_half_of_its_chips_send():
    found = bisections(load("atlas-950-superpod-8192"))
    assert found["board"] == pytest.approx(16 * 56e9)
    assert found["cabinet"] == pytest.approx(32 * 616e9)
    assert found["superpod"] == pytest.approx(4096 * 392e9)


def test_bisection_of_a_clos_falls_with_its_oversubscription():
    full = machine(pod=tier("clos", 16, leaf=4, spines=2)).fabric()
    thin = machine(pod=tier("clos", 16, leaf=4, spines=2, oversubscription=4.0)).fabric()
    assert bisection(full) == pytest.approx(8 * 56e9)
    assert bisection(thin) == pytest.approx(2 * 56e9)


def test_bisection_is_limited_by_the_ports():
    system = load("atlas-950-superpod-8192").with_overrides({"chip.ports_bandwidth": "100 GB/s"})
    assert bisection(system.fabric(128)) == pytest.approx(64 * 100e9)


def test_bisection_needs_halves():
    graph = nx.complete_graph(4)
    nx.set_node_attributes(graph, "device", "kind")
    nx.set_edge_attributes(graph, "1 GB/s", "bandwidth")
    fabric = topologies.from_networkx(graph)
    assert diameter(fabric) == 1
    with pytest.raises(NotModelled, match="halves"):
        bisection(fabric)


@pytest.mark.parametrize(
    ("name", "hops"), [("one switch", 2), ("mesh 4x4", 2), ("mesh 2x3x4x2", 4), ("two-level Clos", 4), ("three-level Clos", 6)]
)
def test_diameter_in_links(name, hops):
    assert diameter(whole(name)) == hops


def test_oversubscription_by_kind_of_switch():
    thin = machine(pod=tier("clos", 24, leaf=4, spines=2, pod=8, cores=3, oversubscription=2.0, core_oversubscription=3.0))
    assert oversubscription(thin.fabric()) == pytest.approx({"pod-leaf": 2.0, "pod-spine": 3.0})
    assert oversubscription(MACHINES["one switch"].fabric()) == {}


def test_links_by_tier_and_what_a_device_can_send():
    fabric = load("cloudmatrix384").fabric()
    found = {link.tier: (link.count, link.capacity, link.medium) for link in links(fabric)}
    assert found["package"] == (768, 270e9, "package")
    assert found["superpod"] == (2 * 768 * 7, 28e9, "copper")
    assert found["superpod-spine"] == (2 * 5376, 28e9, "optical")
    assert injection(fabric) == pytest.approx(270e9 + 196e9)


def test_cost_counts_whole_domains():
    system = load("cloudmatrix384")
    assert cost(system, 16) == cost(system)
    assert cost(system, 768).power == 2 * 559e3 and cost(system, 768).price == 2 * 8.2e6
    assert cost(machine(box=tier("switch", 4))).power is None
