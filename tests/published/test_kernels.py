"""The shipped kernel timings against the operator-time model: errors stay what docs/operators.md says they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.questions.measured_kernels import validate_kernels

ROWS = Path(__file__).parent / "kernels.yaml"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return validate_kernels(ROWS).summary


def test_every_row_is_answered(summary: dict[str, Any]) -> None:
    assert summary["covered"] == summary["rows"] >= 600


@pytest.mark.parametrize(
    ("kernel", "median", "p90"),
    [
        ("gemm", 0.065, 0.22),
        ("grouped gemm", 0.12, 0.30),
        ("attention both", 0.03, 0.06),
        ("attention forward", 0.065, 0.18),
        ("attention backward", 0.03, 0.20),
        ("memory bound", 0.09, 0.45),
    ],
)
def test_the_errors_of_a_family_stay_small(summary: dict[str, Any], kernel: str, median: float, p90: float) -> None:
    found = summary["by_kernel"][kernel]
    assert found["median"] < median
    assert found["p90"] < p90


def test_no_family_leans_to_one_side(summary: dict[str, Any]) -> None:
    """Signed medians within 6 %: neither too fast nor too slow as a whole."""
    assert max(abs(found["bias"]) for found in summary["by_kernel"].values()) < 0.06


def test_products_are_predicted_on_every_chip(summary: dict[str, Any]) -> None:
    """Median within 12.5 % for each NVIDIA chip and precision with at least five rows."""
    groups = {
        name: found
        for name, found in summary["by_chip_kernel_precision"].items()
        if " / gemm / " in name and found["rows"] >= 5 and not name.startswith("mi")
    }
    assert len(groups) >= 9
    assert {name: found["median"] for name, found in groups.items() if found["median"] > 0.125} == {}
