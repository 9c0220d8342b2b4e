"""The slowest of many ranks: against the integral that defines it, and where its waits stand in the books."""

from __future__ import annotations

from itertools import pairwise
from math import log
from statistics import NormalDist

import numpy as np
import pytest

from simulator import Scenario, simulate
from simulator.engine.slowest import ALIKE, Slowest
from simulator.prepare import prepare

SMALL = {
    "cluster": {"system": "dgx-h100", "chips": 64},
    "model": {"preset": "llama3.1-8b", "layers": 8},
    "training": {"sequence_length": 4096, "global_batch": 64, "micro_batch": 1},
    "plan": {"tp": 2, "pp": 2},
}


@pytest.mark.parametrize("count", [8, 64, 512, 8192])
def test_the_formula_is_the_expected_largest_of_normal_values(count: int) -> None:
    """The integral of x d(F^n)."""
    x = np.linspace(-8.0, 8.0, 20_001)
    below = np.array([NormalDist().cdf(value) for value in x]) ** count
    largest = float(np.sum((x[1:] + x[:-1]) / 2 * np.diff(below)))
    assert log(Slowest(0.5, job=count).in_job) == pytest.approx(0.5 * largest, rel=0.01)


def test_more_ranks_are_slower_and_one_or_equal_ones_are_not() -> None:
    factors = [Slowest(0.02, job=count).in_job for count in (1, 2, 3, 8, 100, 10_000)]
    assert all(one < other for one, other in pairwise(factors))
    assert factors[0] == ALIKE.in_job == Slowest(0.0, job=4096).in_job == 1.0


def test_who_meets_in_slots_hangs_on_the_plan() -> None:
    scenario = Scenario.model_validate(SMALL)
    assert (prepare(scenario).slowest.slot, prepare(scenario).slowest.pipeline, prepare(scenario).slowest.job) == (2, 4, 64)
    gathered = prepare(scenario.replace(plan__zero=3, plan__pp=1)).slowest
    assert gathered.slot == gathered.pipeline == gathered.job == 64


def test_a_typical_rank_waits_for_the_slowest_what_that_one_takes_longer() -> None:
    """Work in the books is that of equal ranks; the step is longer, and the waits say by how much."""
    scenario = Scenario.model_validate(SMALL)
    equal = simulate(scenario.replace(assumptions={"preset": "default", "set": {"any_chip.rank_spread": 0.0}}))
    uneven = simulate(scenario.replace(assumptions={"preset": "default", "set": {"any_chip.rank_spread": 0.03}}))
    factor = Slowest(0.03, job=64).in_job
    one, other = equal.breakdown_s, uneven.breakdown_s
    assert one.straggler_wait == 0.0
    for part in ("arithmetic", "memory_stall", "optimizer", "overhead"):
        assert getattr(other, part) == pytest.approx(getattr(one, part))
    work = other.arithmetic + other.memory_stall + other.interference + other.optimizer + other.overhead
    assert other.straggler_wait == pytest.approx((factor - 1) * work)
    assert uneven.step_time_s > equal.step_time_s
