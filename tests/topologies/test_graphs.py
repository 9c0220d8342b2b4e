"""A user's own graph as a fabric, a fabric as a graph, and both through files."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx
import numpy as np
import pytest

import topologies
from simulator.spec.errors import FileProblem, TopologyError
from topologies.graph_files import SUFFIXES, read_graph, write_graph
from topologies.system import load


def star(directed=False):
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_node("hub", kind="switch")
    for number in range(4):
        graph.add_node(f"gpu{number}", kind="device")
        graph.add_edge(f"gpu{number}", "hub", bandwidth="400 Gbit/s", latency="1 us")
        if directed:
            graph.add_edge("hub", f"gpu{number}", bandwidth=50e9, latency=1e-6)
    return graph


@pytest.mark.parametrize("directed", [False, True])
def test_a_star_of_ones_own(directed):
    fabric = topologies.from_networkx(star(directed))
    assert fabric.ranks == 4 and len(fabric.tail) == 8 and set(fabric.capacity.tolist()) == {5e10}
    assert fabric.node_kind == ("device",) * 4 + ("switch",)
    route = fabric.router(0, 3)
    assert route.latency == pytest.approx(2e-6) and route.fraction.tolist() == [1.0, 1.0]
    assert [fabric.node_name(int(node)) for node in fabric.head[route.links]] == ["hub", "gpu3"]
    assert {dimension.symmetry for dimension in fabric.dimensions} == {"none"}


def test_equal_ways_share_equally_at_every_hop():
    """A square: two ways of two hops each; a double link takes two shares of three."""
    graph = nx.MultiDiGraph()
    for name in "abcd":
        graph.add_node(name, kind="device")
    for a, b in [("a", "b"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "a")]:
        graph.add_edge(a, b, bandwidth="1 GB/s")
    fabric = topologies.from_networkx(graph)
    route = fabric.router(0, 3)
    assert sorted(route.fraction.tolist()) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_tiers_come_from_the_edges():
    graph = star()
    for number in range(4):
        graph.edges[f"gpu{number}", "hub"].update(tier="slow", efficiency=0.5, medium="optical", scale_out=True)
    fabric = topologies.from_networkx(graph)
    slow = {tier.name: tier for tier in fabric.tiers}["slow"]
    assert (slow.efficiency, slow.medium, slow.scale_out) == (0.5, "optical", True)
    assert (fabric.link_tier == [tier.name for tier in fabric.tiers].index("slow")).sum() == 8


def change_edge(**attributes):
    def change(graph):
        graph.edges["gpu0", "hub"].update(attributes)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.remove_edge("gpu2", "hub"), r"no way from gpu0 to 1 of 4 devices \(got 'gpu2'\)"),
        (lambda g: g.nodes["gpu1"].pop("kind"), "node gpu1: every node has a kind"),
        (lambda g: g.edges["gpu0", "hub"].pop("bandwidth"), "a link has a bandwidth"),
        (change_edge(bandwith="1 GB/s"), "Did you mean bandwidth"),
        (change_edge(bandwidth="1 us"), "bandwidth"),
        (change_edge(bandwidth=True), "quantity with its unit"),
        (change_edge(bandwidth=-1.0), "quantity with its unit"),
        (change_edge(bandwidth=0), "above 0"),
        (change_edge(latency=float("nan")), "quantity with its unit"),
        (change_edge(efficiency=2), "at most 1"),
        (lambda g: g.add_edge("hub", "hub", bandwidth=1.0), "joins two nodes"),
        (lambda g: [g.nodes[n].update(kind="switch") for n in g], "no devices"),
        (lambda g: g.add_node("1", kind="device") or g.add_node(1, kind="device"), "same name"),
    ],
)
def test_what_a_graph_lacks_is_said(change, message):
    graph = star()
    change(graph)
    with pytest.raises(TopologyError, match=message):
        topologies.from_networkx(graph)


def test_a_device_that_cannot_be_left_is_said():
    graph = star(directed=True)
    graph.remove_edge("gpu3", "hub")
    with pytest.raises(TopologyError, match="no way to gpu0 from 1 of 4 devices"):
        topologies.from_networkx(graph)


def test_something_else_than_a_graph_is_refused():
    with pytest.raises(TopologyError, match="networkx graph"):
        topologies.from_networkx([("a", "b")])


@pytest.mark.parametrize(("name", "chips"), [("cloudmatrix384", 24), ("dgx-h100", 16), ("atlas-950-superpod-8192", 128)])
def test_a_fabric_comes_back_from_its_graph(name, chips):
    fabric = load(name).fabric(chips, routing="minimal")
    again = topologies.from_networkx(topologies.to_networkx(fabric), ranks_per_chip=fabric.ranks_per_chip)
    assert [again.node_name(n) for n in range(len(again.node_kind))] == [
        fabric.node_name(n) for n in range(len(fabric.node_kind))
    ]
    assert sorted(zip(again.tail.tolist(), again.head.tolist(), again.capacity.tolist(), strict=True)) == sorted(
        zip(fabric.tail.tolist(), fabric.head.tolist(), fabric.capacity.tolist(), strict=True)
    )
    for target in (1, fabric.ranks // 2, fabric.ranks - 1):
        ours, theirs = fabric.router(0, target), again.router(0, target)
        assert theirs.latency == pytest.approx(ours.latency)
        assert sorted(theirs.fraction.tolist()) == pytest.approx(sorted(ours.fraction.tolist()))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fabric_comes_back_from_a_file(tmp_path, suffix):
    fabric = load("cloudmatrix384").fabric(16, routing="minimal")
    file = tmp_path / f"machine{suffix}"
    write_graph(fabric, file)
    again = read_graph(file)
    assert (again.ranks, len(again.tail)) == (fabric.ranks, len(fabric.tail))
    assert np.sort(again.capacity).tolist() == np.sort(fabric.capacity).tolist()
    assert again.router(0, 31).latency == pytest.approx(fabric.router(0, 31).latency)
    assert {tier.name for tier in again.tiers} == {tier.name for tier in fabric.tiers}


def test_files_that_are_no_graphs_are_refused(tmp_path):
    bad = tmp_path / "bad.graphml"
    bad.write_bytes(b"\x00\xff not xml")
    with pytest.raises(FileProblem, match=r"bad\.graphml"):
        read_graph(bad)
    with pytest.raises(FileProblem, match="no such file"):
        read_graph(tmp_path / "absent.json")
    with pytest.raises(FileProblem, match="is not a graph file"):
        write_graph(load("dgx-h100").fabric(), tmp_path / "machine.txt")
    bare = tmp_path / "bare.json"
    bare.write_text("[1, 2]")
    with pytest.raises(FileProblem, match="not a graph"):
        read_graph(bare)


def test_networkx_is_imported_only_when_a_graph_is_used():
    code = "import sys, topologies; topologies.load('dgx-h100').fabric(); print('networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
