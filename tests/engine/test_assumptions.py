"""Assumptions that cannot be, or that change nothing, are not taken in silence."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from simulator.spec.files import make


def question(**top: Any) -> Scenario:
    return make(
        {
            "cluster": {"system": "dgx-h100", "chips": 8},
            "model": {"preset": "llama3.1-8b", "layers": 2},
            "training": {"sequence_length": 4096, "global_batch": 8},
            **top,
        },
        Scenario,
    )


def replaced(**changes: Any) -> dict[str, Any]:
    return {"preset": "default", "set": {path.replace("__", "."): value for path, value in changes.items()}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("any_chip__memory", 1.2),
        ("any_chip__memory", -0.4),
        ("any_chip__gemm__bf16", 0),
        ("any_chip__gemm__fp7", 0.5),
        ("any_chip__communication_cores__ep", 1),
        ("any_chip__communication_cores__xx", 0.1),
        ("any_chip__attention_forward__ceiling", 3),
        ("any_chip__kernel_start", "-1 us"),
        ("memory_overhead__fragmentation", 1),
    ],
)
def test_shares_above_one_and_unknown_keys_are_refused(path: str, value: Any) -> None:
    """No kernel beats the data sheet, no collective takes every core."""
    with pytest.raises(InputError):
        prepare(question(assumptions=replaced(**{path: value})))


def test_a_replacement_that_changes_nothing_warns() -> None:
    """The H100 has a memory efficiency of its own, so that of any chip is not used; another chip's is not either."""
    for path in ("any_chip__memory", "chips__b200-sxm__memory"):
        (warning,) = prepare(question(assumptions=replaced(**{path: 0.4}))).warnings
        assert "changes nothing for h100-sxm" in warning
    used = {"chips__h100-sxm__memory": 0.4, "libraries__nccl__protocols__any__simple__launch": "3 us"}
    assert not prepare(question(assumptions=replaced(**used))).warnings
    (warning,) = prepare(question(assumptions=replaced(library__step="3 us"))).warnings
    assert "library.step = 3 us changes nothing" in warning


@pytest.mark.parametrize("choice", [{"allreduce": "ring"}, {"all-reduce:tpp": "ring"}, {"all-reduce": "rign"}])
def test_an_algorithm_for_nothing_is_refused(choice: dict[str, str]) -> None:
    """A collective, a group or an algorithm that does not exist would never be looked up."""
    with pytest.raises(InputError, match="Choose one of"):
        prepare(question(network={"algorithms": choice}))
