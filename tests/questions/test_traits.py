"""Classes of runs that are scored apart."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.questions.traits import Traits, traits_of
from simulator.scenario import Scenario


def scenario(system: str, chips: int, model: str, **plan: Any) -> Scenario:
    data = {
        "cluster": {"system": system, "chips": chips},
        "model": model,
        "training": {"sequence_length": 4096, "global_batch": 64},
        "plan": plan,
    }
    return Scenario.model_validate(data)


@pytest.mark.parametrize(
    ("system", "chips", "model", "ep", "classes"),
    [
        ("dgx-h100", 64, "llama3.1-8b", None, ("dense",)),
        ("dgx-h100", 64, "qwen3-30b-a3b", 8, ("moe",)),
        ("dgx-h100", 64, "qwen3-30b-a3b", 16, ("moe", "moe_across_nodes")),
        ("gb300-nvl72", 64, "qwen3-30b-a3b", 8, ("moe", "moe_across_nodes")),
    ],
)
def test_experts_that_leave_a_box_of_eight_are_a_class_of_their_own(
    system: str, chips: int, model: str, ep: int | None, classes: tuple[str, ...]
) -> None:
    found = traits_of(scenario(system, chips, model, ep=ep))
    assert found.classes == classes
    assert found.vendor == "NVIDIA"


def test_what_cannot_be_loaded_has_no_class() -> None:
    assert traits_of(scenario("no-such-machine", 8, "llama3.1-8b")) == Traits()
    assert traits_of(None).classes == ()
