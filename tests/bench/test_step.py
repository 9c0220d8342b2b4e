"""What an answer costs: the main job and its parts, on 8,192 chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.engine.step import run_step
from simulator.network.fold import Fold
from simulator.run import prepare, simulate
from simulator.scenario import Scenario

MAIN = Path(__file__).parents[2] / "examples" / "v4_pro_on_atlas_950.yaml"


@pytest.fixture(scope="module")
def prepared() -> Any:
    return prepare(Scenario.load(MAIN))


def test_prepare_the_main_job(benchmark: Any) -> None:
    """Load the presets, build the fabric, write the program."""
    assert benchmark(prepare, Scenario.load(MAIN)).fabric.ranks == 8192


def test_fold_the_machine(benchmark: Any, prepared: Any) -> None:
    """Classes of ranks and links under the plan, and the expert exchange of every stage."""

    def fold() -> int:
        folding = Fold(prepared.fabric, prepared.groups)
        return len(folding.rank_classes)

    assert benchmark(fold) == 16


def test_simulate_the_main_step(benchmark: Any, prepared: Any) -> None:
    """Sixteen rank classes, 48 micro-batches, all traffic in one fluid network."""

    def step() -> int:
        return run_step(prepared.program, Fold(prepared.fabric, prepared.groups), prepared.device).end

    assert benchmark.pedantic(step, rounds=3, warmup_rounds=1) > 0


def test_answer_the_main_job(benchmark: Any) -> None:
    """From the loaded scenario to the checked result."""
    assert benchmark.pedantic(simulate, (Scenario.load(MAIN),), rounds=3).simulation.rank_classes == 16
