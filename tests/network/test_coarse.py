"""Classes by refinement of loads: a user's own graph against every flow by itself, and the trap that a graph's looks set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from simulator.network.coarse import CoarseFold
from simulator.network.drain import isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.maxmin import is_max_min, max_min
from simulator.network.unfolded import Send
from simulator.network.usage import Usage
from simulator.spec.errors import InputError
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from tests.network.systems import launch_all, system
from topologies.fabric import Fabric
from topologies.graphs import from_networkx
from workloads.axes import Runs
from workloads.groups import Groups


class Rings:
    """Two groups: the devices of a ring of 4 and of a ring of 8."""

    def members(self, group: str, rank: int) -> np.ndarray:  # type: ignore[type-arg]
        if group == "pp":
            return np.array([rank])
        return np.arange(4) if rank < 4 else np.arange(4, 12)

    def runs_of(self, group: str) -> Runs:
        return ()

    def boundaries(self) -> Sequence[int]:
        return ()


def joined(graph: nx.Graph) -> nx.Graph:  # type: ignore[type-arg]
    """The graph as a machine of devices on links of 1 GB/s."""
    nx.set_node_attributes(graph, "device", "kind")
    nx.set_edge_attributes(graph, 1e9, "bandwidth")
    return graph


def test_a_ring_of_four_beside_a_ring_of_eight_is_told_apart() -> None:
    """Every node and link looks like every other; the links of an all-to-all carry 2 and 8."""
    graph = joined(nx.cycle_graph(12))
    fabric = from_networkx(graph)
    order = [(node, (node + 1) % 4) for node in range(4)] + [(4 + node, 4 + (node + 1) % 8) for node in range(8)]
    ends = np.array(order + [(head, tail) for tail, head in order], dtype=np.int64)
    fabric = replace(fabric, tail=ends[:, 0], head=ends[:, 1], router=_minimal(fabric, ends))
    share = {4: 4.0, 8: 8.0}
    fold = Fold(fabric, Rings())  # type: ignore[arg-type]
    call = communication("all-to-all", "dp", 8e9)
    coarse = CoarseFold(fold, [call])
    assert [rank.size for rank in coarse.rank_classes] == [4, 8]
    assert [link.size for link in coarse.link_classes] == [8, 16]
    assert [len(operation.phases[0]) for operation in coarse.operations] == [1, 1]  # all cross their ring's links, near or far
    for rank, size in ((0, 4), (1, 8)):
        operation = coarse.collective(rank, call)
        (carried,) = {round(sum(flow.load[0] for flow in operation.phases[0]), 9)}
        assert carried == {4: 2.0, 8: 8.0}[size]
        seconds = isolated_time(operation, coarse.link_classes)
        assert seconds == pytest.approx(carried * 8.0 / share[size], rel=1e-9)


def _minimal(fabric: Fabric, ends: np.ndarray) -> object:  # type: ignore[type-arg]
    from topologies.routing import Minimal

    return Minimal(12, ends[:, 0], ends[:, 1], np.zeros(len(ends)), fabric.node_name)


def petersen() -> nx.Graph:  # type: ignore[type-arg]
    """Ten devices, every one like every other, no product of anything."""
    return joined(nx.petersen_graph())


def lopsided() -> nx.Graph:  # type: ignore[type-arg]
    """Two boxes of four devices on a switch each, one of them narrower."""
    graph = nx.Graph()
    for box, bandwidth in ((0, 2e9), (1, 1e9)):
        graph.add_node(f"switch{box}", kind="switch")
        for place in range(4):
            graph.add_node(f"chip{4 * box + place}", kind="device")
            graph.add_edge(f"chip{4 * box + place}", f"switch{box}", bandwidth=bandwidth, latency=1e-6 * (1 + box))
    graph.add_edge("switch0", "switch1", bandwidth=3e9, latency=2e-6)
    return graph


def hypercube() -> nx.Graph:  # type: ignore[type-arg]
    return joined(nx.convert_node_labels_to_integers(nx.hypercube_graph(4)))


GRAPHS = {
    "petersen": (petersen, Groups(1, 1, 10, 1)),
    "petersen, pairs": (petersen, Groups(2, 1, 5, 1)),
    "lopsided": (lopsided, Groups(2, 1, 4, 1, 1, 4)),
    "lopsided, stages": (lopsided, Groups(2, 1, 2, 2)),
    "hypercube": (hypercube, Groups(4, 1, 4, 1, 2, 8)),
    "random": (lambda: joined(nx.random_regular_graph(3, 12, seed=4)), Groups(3, 1, 4, 1)),
}


def traffic(groups: Groups) -> list[object]:
    return [
        communication("all-to-all", "ep", 7e6),
        communication("all-gather", "tp", 2e6),
        communication("all-to-all", "stage", 5e6),
        *([Send(0, 1, 3e6)] if groups.pp > 1 else []),
    ]


@pytest.mark.parametrize("name", GRAPHS)
def test_rates_and_ends_on_ones_own_graph_are_those_of_every_flow(name: str) -> None:
    make, groups = GRAPHS[name]
    fold = Fold(from_networkx(make()), groups)
    operations = traffic(groups)
    coarse = CoarseFold(fold, operations)  # type: ignore[arg-type]
    every = [flow for phases in launch_all(fold, operations) for phase in phases for flow in phase]  # type: ignore[arg-type]
    few = [flow for phases in launch_all(coarse, operations) for phase in phases for flow in phase]  # type: ignore[arg-type]
    assert sum(flow.count for flow in few) == len(every)
    assert sum(rank.size for rank in coarse.rank_classes) == fold.fabric.ranks
    loads, capacity = system(fold, every)
    expected = max_min(loads, capacity)
    assert is_max_min(loads, capacity, expected)
    rates = max_min(*system(coarse, few))  # type: ignore[arg-type]
    found = np.sort(np.repeat(rates, [flow.count for flow in few]))
    assert np.max(np.abs(found / np.sort(expected) - 1.0)) <= 1e-10
    assert _ends(coarse, operations) == pytest.approx(_ends(fold, operations), rel=1e-9)


def _ends(fold: Fold | CoarseFold, operations: Sequence[object]) -> list[float]:
    """When each operation's last group is done, all begun together."""
    clock = Clock()
    network = FluidNetwork(clock, fold)
    made: dict[tuple[int, int], object] = {}
    for number, operation in enumerate(operations):
        for rank in fold.rank_classes:
            if not isinstance(operation, Send):
                each = fold.collective(rank.key, operation)  # type: ignore[arg-type]
            elif rank.pp_rank == operation.source:
                each = fold.send(rank.key, operation.target, operation.payload)
            else:
                continue
            made[number, each.key] = each
    done = run_at(clock, network, [(0, each) for each in made.values()])  # type: ignore[misc]
    Usage(network).check()
    last: dict[int, float] = {}
    for (number, _), event in zip(made, done, strict=True):
        last[number] = max(last.get(number, 0.0), float(event.time or 0))
    return list(last.values())


def test_a_graph_that_is_symmetric_folds_without_saying_so() -> None:
    """The Petersen graph: flows of one hop and of two share all links alike, so all have one rate."""
    coarse = CoarseFold(Fold(from_networkx(petersen()), Groups(1, 1, 10, 1)), [communication("all-to-all", "dp", 1e6)])
    assert [rank.size for rank in coarse.rank_classes] == [10]
    (flow,) = coarse.operations[0].phases[0]
    assert (flow.count, flow.load.tolist()) == (90, [(30 + 2 * 60) / 30])


@pytest.mark.parametrize("make", [lambda: fabrics.mesh((3, 4), (1.0, 0.6)), lambda: fabrics.clos(4, 3, 1.0, 2.0)])
def test_undeclared_symmetries_give_no_more_classes_than_declared_ones(make: object) -> None:
    fabric = make()  # type: ignore[operator]
    groups = Groups(1, 1, 12, 1)
    call = communication("all-to-all", "dp", 12.0)
    declared = Fold(fabric, groups)
    found = CoarseFold(Fold(fabric, groups, symmetric=False), [call])
    assert len(found.operations[0].phases[0]) <= len(declared.collective(0, call).phases[0])
    assert isolated_time(found.operations[0], found.link_classes) == pytest.approx(
        isolated_time(declared.collective(0, call), declared.link_classes), rel=1e-12
    )


def test_it_knows_the_operations_that_it_was_made_of() -> None:
    call = communication("all-to-all", "dp", 1e6)
    coarse = CoarseFold(Fold(from_networkx(petersen()), Groups(1, 1, 10, 1)), [call])
    with pytest.raises(InputError, match="only the operations it was made of"):
        coarse.collective(0, replace(call, payload=2e6))
    with pytest.raises(InputError, match="only the operations it was made of"):
        coarse.send(0, 0, 1.0)
