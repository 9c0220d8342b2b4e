"""An all-to-all on a user's own graph beyond the classes that a fold makes: counted link by link, target by target."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from simulator.network.fold import FLOW_LIMIT
from simulator.questions.collective import collective
from topologies.batch import loads
from topologies.fabric import Fabric
from topologies.graphs import from_networkx


def lame_clos(leaves: int, chips: int, spines: int) -> Fabric:
    """Leaves of chips under spines, every seventh link of which is missing: nothing symmetric is left or known."""
    graph = nx.Graph()
    graph.add_nodes_from((f"chip{chip}" for chip in range(leaves * chips)), kind="device")
    for leaf in range(leaves):
        graph.add_node(f"leaf{leaf}", kind="switch")
        for chip in range(leaf * chips, (leaf + 1) * chips):
            graph.add_edge(f"chip{chip}", f"leaf{leaf}", bandwidth=1e9, latency=1e-6)
    for spine in range(spines):
        graph.add_node(f"spine{spine}", kind="switch")
        for leaf in range(leaves):
            if (leaf + spine) % 7:
                graph.add_edge(f"leaf{leaf}", f"spine{spine}", bandwidth=2e9, latency=(1 + leaf % 3) * 1e-6)
    return from_networkx(graph)


def test_loads_by_target_are_those_of_every_flow() -> None:
    fabric = lame_clos(9, 3, 4)
    source, target = (each.ravel() for each in np.meshgrid(np.arange(27), np.arange(27)))
    source, target = source[source != target], target[source != target]
    weight = np.random.default_rng(0).random(len(source))
    expected, longest = np.zeros(len(fabric.tail)), 0.0
    for one, other, amount in zip(source.tolist(), target.tolist(), weight.tolist(), strict=True):
        route = fabric.router(one, other)
        np.add.at(expected, route.links, route.fraction * amount)
        longest = max(longest, route.latency)
    found, slowest = loads(fabric.router, source, target, weight, len(fabric.tail))
    assert found == pytest.approx(expected, rel=1e-12)
    assert slowest == pytest.approx(longest)


def test_a_thousand_ranks_end_when_their_busiest_link_does() -> None:
    """Between every pair of 66 leaves with 16 chips each go 256 bytes; the busiest link's count is done here by leaves."""
    leaves, chips, spines = 66, 16, 16
    fabric = lame_clos(leaves, chips, spines)
    ranks = leaves * chips
    assert ranks * (ranks - 1) > FLOW_LIMIT
    ways = {
        (one, other): [spine for spine in range(spines) if (one + spine) % 7 and (other + spine) % 7]
        for one in range(leaves)
        for other in range(leaves)
        if one != other
    }
    up = np.zeros((leaves, spines))
    for (one, _), through in ways.items():
        up[one, through] += chips * chips / len(through)
    answer = collective(fabric, "all-to-all", bytes=ranks * 1e6, library="wire")
    assert answer.rung == "makespan-only"
    assert answer.time_s - answer.latency_s == pytest.approx(max(up.max() / 2e9, (ranks - 1) / 1e9) * 1e6, rel=1e-9)
