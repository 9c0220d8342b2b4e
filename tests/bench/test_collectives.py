"""What one collective alone costs through the public function: kept machines, new sizes, all chips of a SuperPoD."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest

from simulator import collective
from simulator.questions.collective import _shipped_bench

FRESH = count(1)
MACHINES = [("atlas-950-superpod-8192", 8192), ("gb200-nvl72", 7776), ("dgx-h100", 8192), ("cloudmatrix384", 384)]


def ask(system: str, operation: str, chips: int, **more: Any) -> float:
    """A size that was not asked before, so that nothing but the machine is remembered."""
    return collective(system, operation, chips=chips, bytes=2**26 + next(FRESH), **more).time_s


@pytest.mark.parametrize(("system", "chips"), MACHINES)
def test_all_to_all_on_a_machine_that_is_built(benchmark: Any, system: str, chips: int) -> None:
    ask(system, "all-to-all", chips)
    assert benchmark(ask, system, "all-to-all", chips) > 0


@pytest.mark.parametrize(("system", "chips"), MACHINES)
def test_all_to_all_with_the_machine_to_build(benchmark: Any, system: str, chips: int) -> None:
    def cold() -> float:
        _shipped_bench.cache_clear()
        return ask(system, "all-to-all", chips)

    assert benchmark.pedantic(cold, rounds=3) > 0


def test_all_reduce_of_many_groups_with_a_choice_to_make(benchmark: Any) -> None:
    """128 groups of 64 over 1,024 servers: rings, trees and switches that add, each under its protocols."""
    assert benchmark(ask, "dgx-h100", "all-reduce", 8192, group_size=64) > 0


def test_a_matrix_of_64_ranks(benchmark: Any) -> None:
    matrix = np.random.default_rng(0).random((64, 64)) * 1e6
    benchmark.pedantic(lambda: collective("dgx-h100", "all-to-all-v", chips=64, matrix=matrix), rounds=3)
