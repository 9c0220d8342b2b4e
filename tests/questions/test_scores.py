"""Scores over many cases: weights, quantiles and the summary, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.questions.scores import Outcome, quantile, score, weights
from simulator.questions.summary import summary


def row(name: str, family: str, error: float | None, release_of: str | None = None, covered: bool = True) -> Outcome:
    errors = {} if error is None else {"step_time_s": error}
    return Outcome(name, "stack", family, "system", "model", release_of=release_of, covered=covered, error=errors)


def test_ten_releases_of_one_configuration_weigh_as_one() -> None:
    rows = [row(f"r{i}", "big", 0.5, "same") for i in range(10)] + [row("other", "big", 0.1), row("small", "small", 0.2)]
    found = weights(rows)
    assert found[:10].sum() == pytest.approx(0.5)
    assert found[10] == pytest.approx(0.5)
    assert found[11] == pytest.approx(1.0)


def test_the_summary_of_three_rows_by_hand() -> None:
    rows = [row("a", "f", -0.3), row("b", "g", 0.1), row("c", "h", 0.2), row("d", "h", None, covered=False)]
    found = summary(rows)
    assert (found["cases"], found["covered"], found["compared"]) == (4, 3, 3)
    assert found["median_abs_error"] == pytest.approx(0.2)
    assert found["median_error"] == pytest.approx(0.1)
    assert found["worst"][0] == {"id": "a", "error": -0.3}
    assert found["by_family"]["h"]["cases"] == 2


def test_nothing_compared_is_nothing_not_zero() -> None:
    assert score([row("a", "f", None)])["median_abs_error"] is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.floats(0.05, 0.95))
def test_a_quantile_lies_between_the_extremes_and_repeating_a_value_is_weighting_it(values: list[float], share: float) -> None:
    found = quantile(values, np.ones(len(values)), share)
    assert min(values) <= found <= max(values)
    assert quantile(values, np.full(len(values), 7.0), share) == pytest.approx(found)
