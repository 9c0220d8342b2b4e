"""Faults in a whole step: they cost what they should, and folding around them changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

import topologies
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import NotModelled
from simulator.spec.files import make

WEAK = {"link": "server0.chip1->server0.switch2", "capacity": 0.25}
DEAD = {"link": "server1.chip3->server1.switch0", "capacity": 0.0}
SLOW = {"chip": 5, "speed": 0.8}


def question(*faults: dict[str, Any], **plan: Any) -> Scenario:
    """Two servers of eight, four layers of experts."""
    return make(
        {
            "cluster": {"system": "dgx-h100", "chips": 16, "faults": list(faults)},
            "model": {"preset": "deepseek-v4-flash", "layers": 4, "mtp_depth": 0},
            "training": {"sequence_length": 4096, "global_batch": 64},
            "plan": {"pp": 2, "ep": 8, "dispatcher": "alltoall", **plan},
        },
        Scenario,
    )


def answer(*faults: dict[str, Any]) -> Result:
    return simulate(question(*faults))


@pytest.mark.parametrize("faults", [(WEAK,), (DEAD,), (SLOW,), (WEAK, DEAD, SLOW)], ids=["weak", "dead", "slow", "all"])
def test_folded_equals_unfolded_around_faults(faults: tuple[dict[str, Any], ...]) -> None:
    """Every rank by itself gives the same step within 1e-9, and no fault shortens it."""
    scenario = question(*faults)
    folded, unfolded = simulate(scenario), simulate(scenario, symmetric=False)
    assert folded.simulation.rank_classes <= unfolded.simulation.rank_classes == 16
    assert folded.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    assert folded.step_time_s >= answer().step_time_s * (1 - 1e-9)


def test_a_slow_chip_makes_the_others_wait() -> None:
    """At 80% speed a chip computes 25% longer; the ranks of its expert group wait for it, and say so."""
    whole, slow = answer(), answer({"chip": 13, "speed": 0.8})  # of the last stage, which the others wait for anyway
    assert 1.1 < slow.step_time_s / whole.step_time_s < 1.3
    assert slow.breakdown_s.straggler_wait > 0.02 * slow.step_time_s
    assert slow.network.sent_bytes == pytest.approx(whole.network.sent_bytes, rel=1e-9)


def test_a_dead_chip_is_replaced_by_a_spare_one() -> None:
    """The whole server changes places with one under the same leaf: the step takes as long, and the answer says what moved."""
    whole, moved = answer(), answer({"chip": 5, "speed": 0})
    assert moved.step_time_s == pytest.approx(whole.step_time_s, rel=1e-9)
    assert moved.network.sent_bytes == whole.network.sent_bytes
    assert [
        said
        for said in moved.warnings
        if said.startswith("server0.chip5 is dead: all 8 ranks of server0 run on the spare server2")
    ]


SPARE = {
    "a board in another cabinet": ("atlas-950-superpod-1024", 64, None, {"ep": 8, "tp": 2}, 13),
    "a board in another rack": ("ub-mesh", 64, None, {"ep": 8, "tp": 2}, 13),
    "a chip on another rail": ("gb200-nvl72", 16, 8, {"ep": 8, "pp": 2}, 5),
}


@pytest.mark.parametrize("case", SPARE)
def test_folded_equals_unfolded_around_spares(case: str) -> None:
    """Where the new place makes the step longer or shorter, every rank by itself says so to the tick."""
    system, chips, each, plan, dead = SPARE[case]
    cluster = {"system": system, "chips": chips, "chips_per_domain": each, "faults": [{"chip": dead, "speed": 0}]}
    training = {"sequence_length": 2048, "global_batch": 64}
    model = {"preset": "mixtral-8x7b", "layers": 4}
    scenario = make({"cluster": cluster, "model": model, "training": training, "plan": plan}, Scenario)
    folded, unfolded = simulate(scenario), simulate(scenario, symmetric=False)
    assert folded.simulation.rank_classes < unfolded.simulation.rank_classes == chips
    assert folded.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    whole = simulate(scenario.replace(cluster__faults=[]))
    assert folded.step_time_s != pytest.approx(whole.step_time_s, rel=1e-6)
    assert folded.network.sent_bytes == pytest.approx(whole.network.sent_bytes)


def test_a_graph_of_ones_own_has_no_spares() -> None:
    """Its dead chip is refused by name."""
    scenario = question({"chip": 5, "speed": 0})
    fabric = topologies.load("dgx-h100").fabric(16)
    with pytest.raises(NotModelled, match=r"server0[.]chip5 is dead, and a graph that was passed in"):
        simulate(scenario, fabric=fabric)
