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


def test_a_graph_of_another_size_is_refused() -> None:
    """The scenario says 16 chips, the graph has 8."""
    fabric = topologies.from_networkx(topologies.to_networkx(topologies.load("dgx-h100").fabric(8)))
    with pytest.raises(InputError, match="the graph passed in has 8 chips"):
        simulate(question(chips=16), fabric=fabric)
