"""The shipped collectives against predictions: errors by library stay what docs/validation.md says they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.questions.measured_collectives import validate_collectives

ROWS = Path(__file__).parent / "collectives.yaml"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return validate_collectives(ROWS).summary


def test_every_row_is_answered(summary: dict[str, Any]) -> None:
    assert summary["covered"] == summary["rows"] >= 100


@pytest.mark.parametrize(
    ("library", "median"),
    [
        ("nccl", 0.04),
        ("rccl", 0.04),
        ("deepep", 0.035),
        ("deepep-v2", 0.04),
        ("deepep-low-latency", 0.05),
        ("deepep-ascend", 0.05),
        ("cann-ub", 0.03),
        ("wire", 0.01),
    ],
)
def test_the_median_error_of_a_library_is_small(summary: dict[str, Any], library: str, median: float) -> None:
    assert summary["by_library"][library]["median"] < median


UNEXPLAINED = 0.25
EXPLAINED = {
    "cm384-vs-h800-8-dispatch",  # another source measured half the time
    "cm384-vs-h800-8-combine",
    "lat64-NVLink-same_leaf",  # from the host, its software included
    "allreduce-sweep-b200x8-4194304",  # the library changes its ways between 2 and 8 MiB
    "allreduce-sweep-b200x8-67108864",
}


def test_no_row_is_beyond_a_quarter_without_a_reason(summary: dict[str, Any]) -> None:
    """The reasons are in docs/validation.md; overall the median is below 4% and nine of ten rows are within 15%."""
    rows = validate_collectives(ROWS).outcomes
    assert {row.id for row in rows if row.scored and abs(row.error or 0.0) > UNEXPLAINED} <= EXPLAINED
    assert summary["median"] < 0.04 and summary["p90"] < 0.15


def test_rows_that_no_figure_was_fitted_to_are_within_seven_percent() -> None:
    """The sweep of 8 H200, B200 over EFA from 8 MiB on, DeepEP's second generation, all-gather and reduce-scatter."""
    rows = [row for row in validate_collectives(ROWS).outcomes if row.error is not None and row.scored]
    unseen = {
        "h200": [row for row in rows if "sweep-h200" in row.id],
        "efa": [row for row in rows if "b200x32" in row.id and int(row.id.split("-")[-1]) > 2**22],
        "second generation": [row for row in rows if row.library == "deepep-v2"],
        "gather and scatter": [row for row in rows if row.collective in ("all-gather", "reduce-scatter")],
    }
    for name, found in unseen.items():
        errors = sorted(abs(row.error or 0.0) for row in found)
        assert errors and errors[len(errors) // 2] < 0.075, name


def test_large_all_reduces_within_a_server_are_within_seven_percent() -> None:
    """1 GiB and more on A100, H100, H200 and B200, rings and switches that add; B200 changes algorithm at 8 GiB."""
    rows = [
        row
        for row in validate_collectives(ROWS).outcomes
        if row.library == "nccl" and (row.measured_s or 0) > 4e-3 and "b200x8-" not in row.id and "x32" not in row.id
    ]
    assert len(rows) >= 20
    assert max(abs(row.error or 0.0) for row in rows) < 0.07
