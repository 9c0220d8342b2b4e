"""Fitting recovers what was planted, stays in its bounds, and cannot learn from what it is not shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from simulator.questions.bounded import bounded
from simulator.questions.calibrate import Rows, fit, left_out, rows_of, score, slopes_of, typical
from simulator.questions.constants import FIELDS, Constant, constants_of
from simulator.questions.scores import Outcome, weights
from simulator.questions.traits import Traits
from simulator.questions.validate import validate


def row(number: int, error: float, *, stack: str = "torchtitan", family: str = "", moe: bool = False) -> Outcome:
    return Outcome(
        id=f"case {number}", stack=stack, family=family or f"family {number}", system="dgx-h100", model="m", covered=True,
        error={"step_time_s": error}, traits=Traits(moe=moe),
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


def test_what_a_bound_holds_back_is_made_up_by_the_others() -> None:
    """x + y = 3 and y = 1 in the mean: with x held at 1.5 the best y is 1.25, not what it was beside an x of 2."""
    rows = np.array([[1.0, 1.0], [0.0, 1.0]])
    wanted = np.array([3.0, 1.0])
    left, right = rows.T @ rows, rows.T @ wanted
    free = bounded(left, right, np.full(2, -9.0), np.full(2, 9.0))
    held = bounded(left, right, np.full(2, -9.0), np.array([1.5, 9.0]))
    assert free == pytest.approx([2.0, 1.0])
    assert held == pytest.approx([1.5, 1.25])


def test_a_family_left_out_teaches_nothing() -> None:
    """Its own errors, however large, don't help it: it keeps the error that the others' constants give."""
    outcomes = tuple(row(number, -0.3, family="odd") if number < 5 else row(number, 0.0) for number in range(40))
    rows = Rows(outcomes, np.log1p([o.error["step_time_s"] for o in outcomes]), weights(outcomes), np.ones((40, 1)))
    errors = left_out(rows, [constant()], lambda outcome: outcome.family)
    assert errors[:5] == pytest.approx([-0.3] * 5, abs=1e-9)


def test_sensitivities_go_to_the_constants_of_the_rows_stack_and_chip() -> None:
    """A row answers to the pace of its own stack and to the clock of its own chip, as much as was measured."""
    outcomes = [row(0, -0.1), row(1, -0.1, stack="nemo-24.07")]
    constants = [
        constant(),
        Constant("nemo-24.07", "compute", 1.0, 1.0, 0.7, 1.8),
        Constant("gb200", "sustained", 0.9, 0.9, 0.5, 1.0),
    ]
    slopes = {"compute": {"case 0": 0.8, "case 1": 0.6}, "sustained": {"case 0": -0.5, "case 1": -0.4}}
    found = rows_of(outcomes, constants, slopes, {"case 0": "gb200", "case 1": "gb300"})
    assert found.slope.tolist() == [[0.8, 0.0, -0.5], [0.0, 0.6, 0.0]]
    assert found.error == pytest.approx(np.log(0.9))


def test_constants_are_those_that_rows_feel_and_that_can_be_told_apart() -> None:
    """A stack of two rows keeps the default; passes need many rows; experts some rows without; a chip others beside it."""
    stacks = ["torchtitan"] * 20 + ["nemo-24.07"] * 3 + ["meta-llama3"] * 2 + ["nobody's"]
    outcomes = [row(number, -0.1, stack=stack) for number, stack in enumerate(stacks)]
    chips = {one.id: "gb200" if one.stack == "nobody's" else "gb300" for one in outcomes}
    slopes: dict[str, dict[str, float]] = {name: {} for name in FIELDS}
    slopes["compute"] = {one.id: 0.8 for one in outcomes}
    slopes["passes"] = {one.id: 0.1 for one in outcomes}
    slopes["experts"] = {f"case {number}": 0.4 for number in (*range(4), 20, 21, 22)}
    names = [one.name for one in constants_of(outcomes, slopes, chips)]
    assert names == ["nemo-24.07.compute", "torchtitan.compute", "torchtitan.passes", "torchtitan.experts"]
    slopes["rank_spread"] = dict.fromkeys(slopes["compute"], 0.05)  # all alike: it can't be told from compute
    assert [one.name for one in constants_of(outcomes, slopes, chips)] == names
    slopes["rank_spread"] |= {"case 0": 0.02, "case 1": 0.001}
    assert constants_of(outcomes, slopes, chips)[-1].name == "any_chip.rank_spread"
    assert constants_of(outcomes, slopes, chips)[-1].rows == len(outcomes) - 1
    chips["case 0"] = chips["case 1"] = chips["case 20"] = chips["case 21"] = "gb200"
    assert [one.name for one in constants_of(outcomes, slopes, chips)][4:-1] == ["gb200.sustained", "gb300.sustained"]


def test_a_stack_alone_on_chips_whose_clocks_are_fitted_has_no_pace_of_compute() -> None:
    """Every pace of the one stack on TPUs could be a clock of them; with a second stack on one of them the two are apart."""
    outcomes = [row(number, -0.1, stack="maxtext") for number in range(8)]
    chips = {one.id: "tpu-v4" if number < 4 else "tpu7x" for number, one in enumerate(outcomes)}
    slopes = {name: {one.id: 0.5 for one in outcomes} for name in FIELDS}
    assert [one.name for one in constants_of(outcomes, slopes, chips)] == ["tpu-v4.sustained", "tpu7x.sustained"]
    outcomes.append(row(8, -0.1, stack="torchtitan"))
    chips["case 8"] = "tpu7x"
    names = [one.name for one in constants_of(outcomes, slopes, chips)]
    assert names == ["maxtext.compute", "tpu-v4.sustained", "tpu7x.sustained"]


def test_sensitivities_are_measured(tmp_path: Path) -> None:
    """A large model on eight chips is nearly all arithmetic: its step follows the pace one to one."""
    path = tmp_path / "cases.yaml"
    scenario = {
        "cluster": {"system": "dgx-h100", "chips": 8}, "model": "mpt-7b",
        "training": {"sequence_length": 2048, "global_batch": 64, "micro_batch": 8, "precision": "bf16"},
    }  # fmt: skip
    cases = [
        {"id": f"large-{n}", "stack": "llm-foundry", "measured": {"step_time_s": 1.0}, "scenario": scenario} for n in range(3)
    ]
    path.write_text(yaml.safe_dump({"cases": cases}))
    rows = validate(path, jobs=1).outcomes
    slopes = slopes_of(path, rows, jobs=1)
    assert slopes["compute"]["large-0"] == pytest.approx(1.0, abs=0.1)
    assert slopes["experts"] == slopes["passes"] == {}  # dense, and too few for a pace of passes


def test_score_is_the_weighted_median_and_tail() -> None:
    assert score(np.array([-0.1, 0.1, -0.1]), np.ones(3)) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_stack_that_nobody_measured_takes_the_median_of_those_fitted() -> None:
    fitted = [Constant(f"stack {i}", "compute", value, 1.1, 0.7, 1.8) for i, value in enumerate((1.0, 1.2, 1.1))]
    (compute,) = typical([*fitted, Constant("gb200", "sustained", 0.9, 0.9, 0.5, 1.0)])
    assert (compute.owner, compute.field, compute.value, compute.low, compute.high) == ("default", "compute", 1.1, 1.0, 1.2)
