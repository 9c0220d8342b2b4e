"""Parts of memory as the selective-recomputation paper prints them, its figures among them."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.footprint import footprint
from simulator.questions.memory_parts import BASELINE, LIGHTEST, SHARES, STATE, memory_parts
from simulator.run import simulate
from simulator.scenario import Scenario

PRINTED: dict[str, dict[str, float]] = {
    "megatron-22b": {STATE: 45.56, BASELINE: 59.25, LIGHTEST: 9.56, SHARES + "seqpar": 66.84, SHARES + "selective": 49.42},
    "megatron-175b": {STATE: 45.56, BASELINE: 66.84, LIGHTEST: 12.35, SHARES + "seqpar": 62.04, SHARES + "selective": 56.53},
}
"""GiB and percent read off figures 1 and 7 of arXiv 2205.05198."""


def scenario(model: str) -> Scenario:
    large = model == "megatron-175b"
    training: dict[str, Any] = {"sequence_length": 2048, "precision": "fp16"}
    training |= {"global_batch": 64, "micro_batch": 1} if large else {"global_batch": 4, "micro_batch": 4}
    plan = {"tp": 8, "pp": 8, "vpp": 3, "schedule": "interleaved"} if large else {"tp": 8}
    return Scenario.model_validate({
        "cluster": {"system": "dgx-a100", "chips": 64 if large else 8}, "model": model, "training": training, "plan": plan,
        "assumptions": "megatron-lm-korthikanti22",
    })  # fmt: skip


@pytest.mark.parametrize("model", sorted(PRINTED))
def test_state_and_activations_of_the_paper_s_figures(model: str) -> None:
    found = memory_parts(scenario(model), PRINTED[model].keys())
    assert found == {name: pytest.approx(value, rel=0.07) for name, value in PRINTED[model].items()}


def test_nothing_is_laid_out_for_names_that_are_no_parts_of_memory() -> None:
    assert memory_parts(scenario("megatron-22b").replace(model="no-such-model"), ["1F_s", "tokens_per_day_B"]) == {}


def test_the_footprint_is_that_of_the_simulated_step() -> None:
    asked = scenario("megatron-22b")
    assert footprint(asked) == simulate(asked).memory
