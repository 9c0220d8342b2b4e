"""Fitting recovers what was planted, stays in its bounds, and cannot learn from what it is not shown."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.questions.calibrate import (
    BOUNDS,
    COMMUNICATION,
    COMPUTE,
    Constant,
    Rows,
    constants_of,
    fit,
    left_out,
    rows_of,
    score,
)
from simulator.questions.scores import Outcome, weights
from simulator.questions.traits import Traits

PARTS = dict.fromkeys(COMPUTE + COMMUNICATION, 0.0) | {
    "arithmetic": 6.0, "memory_stall": 1.0, "overhead": 1.0, "exposed_ep": 2.0, "pipeline_bubble": 3.0
}  # fmt: skip


def row(number: int, error: float, *, stack: str = "torchtitan", family: str = "", moe: bool = False) -> Outcome:
    return Outcome(
        id=f"case {number}", stack=stack, family=family or f"family {number}", system="dgx-h100", model="m", covered=True,
        error={"step_time_s": error}, parts=PARTS, traits=Traits(moe=moe),
    )  # fmt: skip


def planted(error: list[float], slope: list[float]) -> Rows:
    outcomes = tuple(row(number, value) for number, value in enumerate(error))
    return Rows(outcomes, np.log1p(error), weights(outcomes), np.array(slope)[:, None])


def constant(value: float = 1.0, low: float = 0.7, high: float = 1.8) -> Constant:
    return Constant("torchtitan", "compute", value, 1.0, low, high)


def test_a_common_error_is_taken_out() -> None:
    """Forty families a fifth too fast at a sensitivity of one ask for a pace near 1 / 0.8; the prior holds back a little."""
    (value,) = fit(planted([-0.2] * 40, [1.0] * 40), [constant()])
    assert 1.22 < value < 1.25


def test_one_row_moves_a_constant_less_than_many() -> None:
    (alone,) = fit(planted([-0.2], [1.0]), [constant()])
    (many,) = fit(planted([-0.2] * 20, [1.0] * 20), [constant()])
    assert 1.0 < alone < many


def test_outliers_do_not_carry_the_fit() -> None:
    """Absolute errors: three rows that are far off don't pull away thirty that agree."""
    (value,) = fit(planted([-0.1] * 30 + [3.0] * 3, [1.0] * 33), [constant()])
    assert 1.05 < value < 1.12


def test_bounds_hold() -> None:
    (value,) = fit(planted([-0.8] * 50, [1.0] * 50), [constant(high=1.3)])
    assert value == pytest.approx(1.3)


def test_a_family_left_out_teaches_nothing() -> None:
    """Its own errors, however large, don't help it: it keeps the error that the others' constants give."""
    outcomes = tuple(row(number, -0.3, family="odd") if number < 5 else row(number, 0.0) for number in range(40))
    rows = Rows(outcomes, np.log1p([o.error["step_time_s"] for o in outcomes]), weights(outcomes), np.ones((40, 1)))
    errors = left_out(rows, [constant()], lambda outcome: outcome.family)
    assert errors[:5] == pytest.approx([-0.3] * 5, abs=1e-9)


def test_sensitivities_are_the_shares_of_the_step_that_a_constant_moves() -> None:
    """Compute is 8 of 10 seconds that are not a bubble; experts weigh in for mixtures only; other stacks not at all."""
    outcomes = [row(0, -0.1), row(1, -0.1, moe=True), row(2, -0.1, stack="nemo-24.07")]
    constants = [constant(), Constant("torchtitan", "experts", 1.0, 1.0, *BOUNDS["experts"])]
    slope = rows_of(outcomes, constants, dict.fromkeys(("case 0", "case 1", "case 2"), "h100-sxm")).slope
    assert slope.tolist() == [[0.8, 0.0], [0.8, pytest.approx(0.4)], [0.0, 0.0]]


def test_constants_are_those_of_stacks_with_rows_and_of_chips_that_can_be_told_from_them() -> None:
    """A stack of two rows keeps the default; passes need many rows; a chip that one stack alone used is part of its pace."""
    stacks = ["torchtitan"] * 20 + ["nemo-24.07"] * 3 + ["meta-llama3"] * 2 + ["nobody's"]
    outcomes = [row(number, -0.1, stack=stack) for number, stack in enumerate(stacks)]
    chips = {one.id: "gb200" if one.stack == "nobody's" else "gb300" for one in outcomes}
    names = [one.name for one in constants_of(outcomes, chips)]
    assert names == ["nemo-24.07.compute", "torchtitan.compute", "torchtitan.passes"]
    chips["case 0"] = chips["case 1"] = chips["case 20"] = chips["case 21"] = "gb200"
    assert [one.name for one in constants_of(outcomes, chips)][3:] == ["gb200.sustained", "gb300.sustained"]


def test_score_is_the_weighted_median_and_tail() -> None:
    assert score(np.array([-0.1, 0.1, -0.1]), np.ones(3)) == (pytest.approx(0.1), pytest.approx(0.1))
