"""Pairs in measured order: ratios and weights by hand."""

from __future__ import annotations

import pytest

from simulator.questions.pairs import Order, Pair, agreement, agreement_by_kind, ordered
from simulator.questions.scores import Outcome
from simulator.questions.summary import summary


def row(name: str, **predicted: float) -> Outcome:
    return Outcome(name, "stack", "f", "system", "model", covered=bool(predicted), predicted=predicted, measured=predicted)


ROWS = {found.id: found for found in (row("a", step_time_s=2.0, mfu=0.5), row("b", step_time_s=3.0, mfu=0.6), row("c"))}


def order(faster: str, slower: str, kind: str = "plan", group: str | None = None, metric: str = "step_time_s") -> Order:
    pair = Pair.model_validate({"faster": faster, "slower": slower, "kind": kind, "group": group, "metric": metric})
    return ordered([pair], ROWS)[0]


def test_a_ratio_is_slower_over_faster_in_time_and_faster_over_slower_in_rates() -> None:
    assert order("a", "b").predicted_ratio == pytest.approx(1.5)
    assert order("a", "b").agrees
    assert order("b", "a", metric="mfu").predicted_ratio == pytest.approx(1.2)
    assert not order("a", "b", metric="mfu").agrees


def test_equal_times_and_missing_answers_do_not_agree() -> None:
    assert not order("a", "a").agrees
    assert order("a", "c").predicted_ratio is None
    assert not order("a", "c").agrees


def test_pairs_of_which_neither_case_was_run_are_left_out() -> None:
    assert ordered([Pair(faster="x", slower="y")], ROWS) == ()


def test_a_group_weighs_as_one_and_plan_only_pairs_are_apart() -> None:
    orders = [order("a", "b", group="g"), order("a", "b", group="g"), order("b", "a", group="g"), order("b", "a", "system")]
    assert agreement(orders) == pytest.approx((2 / 3 + 0) / 2)
    assert agreement_by_kind(orders)["plan"] == {"pairs": 3, "groups": 1, "predicted": 3, "agreement": pytest.approx(2 / 3)}
    found = summary(list(ROWS.values()), orders)
    assert found["pair_agreement"] == pytest.approx(1 / 3)
    assert found["plan_pair_agreement"] == pytest.approx(2 / 3)
    assert agreement([]) is None
