"""A user's own networkx graph answers like the preset it was exported from."""

from __future__ import annotations

import pytest

import topologies
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from simulator.spec.files import make


def question(**cluster: object) -> Scenario:
    """Two servers of eight."""
    return make(
        {
            "cluster": {"system": "dgx-h100", **cluster},
            "model": {"preset": "llama3.1-8b", "layers": 4},
            "training": {"sequence_length": 4096, "global_batch": 16},
            "plan": {"tp": 2},
        },
        Scenario,
    )


def test_a_graph_exported_and_passed_in_answers_the_same() -> None:
    """One server as a networkx graph: same routes, same loads, so the same step."""
    fabric = topologies.load("dgx-h100").fabric(8)
    graph = topologies.to_networkx(fabric)
    own = simulate(question(), fabric=topologies.from_networkx(graph))
    preset = simulate(question(chips=8))
    assert own.simulation.rank_classes == 8
    assert own.step_time_s == pytest.approx(preset.step_time_s, rel=1e-9)


def test_two_servers_exported_keep_their_domains() -> None:
    """Collectives still go level by level: the step is the preset's but for the free choice of equal routes."""
    fabric = topologies.load("dgx-h100").fabric(16)
    own = simulate(question(), fabric=topologies.from_networkx(topologies.to_networkx(fabric)))
    preset = simulate(question(chips=16))
    assert own.network.sent_bytes == pytest.approx(preset.network.sent_bytes, rel=1e-9)
    assert own.step_time_s == pytest.approx(preset.step_time_s, rel=0.02)


def test_domains_that_are_no_blocks_are_refused() -> None:
    """Two pairs of devices, numbered crosswise."""
    import networkx as nx

    graph = nx.Graph()
    for pair in ((0, 2), (1, 3)):
        graph.add_edge(*(f"gpu{end}" for end in pair), bandwidth="400 GB/s", latency="1 us")
    graph.add_edge("gpu0", "gpu1", bandwidth="50 GB/s", latency="3 us", scale_out=True)
    ordered = nx.Graph()
    ordered.add_nodes_from((f"gpu{number}", {"kind": "device"}) for number in range(4))
    ordered.add_edges_from(graph.edges(data=True))
    with pytest.raises(InputError, match="domain by domain"):
        topologies.from_networkx(ordered)


def test_a_graph_of_another_size_is_refused() -> None:
    """The scenario says 16 chips, the graph has 8."""
    fabric = topologies.from_networkx(topologies.to_networkx(topologies.load("dgx-h100").fabric(8)))
    with pytest.raises(InputError, match="the graph passed in has 8 chips"):
        simulate(question(chips=16), fabric=fabric)
