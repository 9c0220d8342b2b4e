"""Shares of experts: they sum to one, no token chooses an expert twice, and each kind departs from the mean as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import PlanError
from workloads import popularity

EXPERTS = st.sampled_from([8, 16, 64, 256])


@given(EXPERTS, st.integers(1, 8), st.floats(0, 10))
def test_zipf_is_a_distribution_in_order_in_which_no_token_chooses_twice(experts: int, top_k: int, exponent: float) -> None:
    shares = popularity.zipf(experts, top_k, exponent)
    assert shares.sum() == pytest.approx(1.0, rel=1e-9)
    assert shares.max() <= (1 + 1e-9) / top_k
    assert np.all(np.diff(shares) <= 1e-15)


@given(EXPERTS, st.floats(0, 1.5))
def test_zipf_below_the_cap_is_the_power_law_itself(experts: int, exponent: float) -> None:
    shares = popularity.zipf(experts, 1, exponent)
    ranks = np.arange(1, experts + 1)
    assert shares / shares[0] == pytest.approx(ranks**-exponent, rel=1e-9)


@given(st.sampled_from([4, 8, 32]), st.integers(1, 4), st.floats(1, 8))
def test_hot_ranks_get_their_factor_and_the_others_the_rest(ep: int, hot: int, factor: float) -> None:
    homes = np.arange(256) // (256 // ep)
    chosen = popularity.spaced(ep, hot)
    if factor > ep / hot * (1.0 + popularity.ROUNDING):
        with pytest.raises(PlanError, match=f"Lower factor to {ep / hot:g}"):
            popularity.hot_ranks(homes, chosen, 8, factor)
        return
    loads = np.bincount(homes, weights=popularity.hot_ranks(homes, chosen, 8, factor))
    assert loads.sum() == pytest.approx(1.0, rel=1e-12)
    assert loads[chosen] * ep == pytest.approx(np.full(hot, factor), rel=1e-12)
    rest = np.delete(loads, chosen)
    assert rest == pytest.approx(np.full(len(rest), (1 - hot * factor / ep) / max(ep - hot, 1)), rel=1e-9, abs=1e-15)


@given(EXPERTS, st.integers(1, 8), st.floats(1, 300))
def test_a_hot_expert_gets_its_factor_but_no_token_twice(experts: int, top_k: int, factor: float) -> None:
    if factor > experts / top_k:
        with pytest.raises(PlanError, match="at most one copy of every token"):
            popularity.hot_expert(experts, top_k, factor)
        return
    shares = popularity.hot_expert(experts, top_k, factor)
    assert shares.sum() == pytest.approx(1.0) and shares[0] * experts == pytest.approx(factor)


def test_idle_ranks_get_nothing_and_leave_enough_to_choose_from() -> None:
    homes = np.arange(16) // 4
    shares = popularity.without(homes, [0, 2], 8)
    assert shares.tolist() == [0.0] * 4 + [0.125] * 4 + [0.0] * 4 + [0.125] * 4
    with pytest.raises(PlanError, match="leave 4 experts, and a token chooses 8"):
        popularity.without(homes, [0, 1, 2], 8)
