"""Faults in a whole step: they cost what they should, and folding around them changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import InputError, NotModelled
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


def test_a_dead_chip_is_refused_with_what_to_do() -> None:
    """A plan needs all its ranks."""
    with pytest.raises(NotModelled, match=r"server0[.]chip5"):
        answer({"chip": 5, "speed": 0})


def test_a_link_that_does_not_exist_is_refused() -> None:
    """The error names the field."""
    with pytest.raises(InputError, match=r"faults"):
        answer({"link": "server9.chip0->server9.switch0", "capacity": 0.5})
