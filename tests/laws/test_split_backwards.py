"""Schedules with split backwards, pipelines laid in a V, tables and experts in waves: the laws of a step hold for them too."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_folded_equals_unfolded import SMALL_V3, SMALL_V4
from tests.laws.test_rehearsed_equals_played import same

SUPERPOD = {
    "cluster": {"system": "atlas-950-superpod-8192", "chips": 16},
    "model": SMALL_V4,
    "training": {"sequence_length": 4096, "global_batch": 48, "precision": "fp8", "optimizer": "muon"},
}
BOXES = {
    "cluster": {"system": "h800-8", "chips": 16},
    "model": SMALL_V3,
    "training": {"sequence_length": 4096, "global_batch": 48, "precision": "fp8"},
}
TABLE = ["F0 F1 I0 F2 W0 I1 W1 F3 I2 W2 B3", "F0 I0 F1 I1 W0 W1 F2 B2 F3 B3"]
PLANS: dict[str, dict[str, Any]] = {
    "zb-h1": SUPERPOD | {"plan": {"pp": 4, "ep": 4, "schedule": "zb-h1"}},
    "zb-v": SUPERPOD | {"plan": {"pp": 2, "ep": 8, "schedule": "zb-v"}},
    "dualpipe-v": BOXES | {"plan": {"pp": 2, "ep": 8, "schedule": "dualpipe-v", "dispatcher": "deepep"}},
    "dualpipe in waves": BOXES | {"plan": {"pp": 2, "ep": 8, "schedule": "dualpipe", "overlap": {"ep_waves": 4}}},
    "zero-bubble with cut parameters": BOXES | {"plan": {"pp": 2, "ep": 8, "schedule": "zb-h1", "zero": 3}},
    "a table": SUPERPOD
    | {
        "training": {"sequence_length": 4096, "global_batch": 32, "precision": "fp8"},
        "plan": {"pp": 2, "ep": 8, "schedule": {"rows": TABLE}},
    },
}


@pytest.mark.parametrize("name", PLANS)
def test_the_step_is_the_same_folded_and_rehearsed_as_rank_by_rank_and_played(name: str) -> None:
    """Identities (FLOPs, bytes, books, bounds) are checked inside every one of the three runs."""
    scenario = make({"name": name, **PLANS[name]}, Scenario)
    answer = simulate(scenario)
    same(answer, simulate(scenario, slots="played"))
    unfolded = simulate(scenario, symmetric=False)
    assert answer.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    assert answer.breakdown_s.model_dump() == pytest.approx(unfolded.breakdown_s.model_dump(), rel=1e-6, abs=1e-9)


def test_split_backwards_shorten_the_bubble_of_a_real_step() -> None:
    """Sixteen layers on 4 stages: ZB-H1 and ZB-V end before 1F1B, with no more micro-batches held than its first rank."""

    def run(schedule: str) -> Any:
        model = {"preset": "llama3.1-8b", "layers": 16}
        plan = {"pp": 4, "schedule": schedule, "recompute": "none"}
        training = {"sequence_length": 4096, "global_batch": 32}
        cluster = {"system": "dgx-h100", "chips": 8}
        return simulate(make({"cluster": cluster, "model": model, "training": training, "plan": plan}, Scenario))

    plain, h1, v = run("1f1b"), run("zb-h1"), run("zb-v")
    assert v.step_time_s < plain.step_time_s and h1.step_time_s < plain.step_time_s
    assert max(stage.micro_batches_in_flight for stage in h1.memory.stages) == 4
    assert max(stage.micro_batches_in_flight for stage in v.memory.stages) == 8
