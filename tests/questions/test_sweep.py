"""A sweep is its points: each what simulating it alone gives, the impossible ones with the reason."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.questions.sweep import Sweep, read_sweep, sweep
from simulator.report.sweep_table import sweep_table
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import InputError

ROOT = Path(__file__).parents[2]
SMALL = Scenario(
    name="small",
    cluster={"system": "dgx-h100", "chips": 8},
    model={"preset": "llama3.1-8b", "layers": 2},
    training={"sequence_length": 2048, "global_batch": 8},
    plan={"zero": 1},
)
OVER: dict[str, list[Any]] = {"plan.tp": [1, 2, 3], "plan.pp": [1, 2]}


@pytest.fixture(scope="module")
def answer() -> Sweep:
    """The small sweep, once."""
    return sweep(SMALL, OVER, jobs=1)


def test_every_combination_is_a_point_and_what_it_is_alone(answer: Sweep) -> None:
    """Six points in the order of the values; each that runs has the trajectory of its own simulation."""
    assert [tuple(p.settings.values()) for p in answer.points] == list(itertools.product([1, 2, 3], [1, 2]))
    for point in answer.points:
        if point.status == "simulated":
            alone = simulate(SMALL.replace(plan__tp=point.settings["plan.tp"], plan__pp=point.settings["plan.pp"]))
            assert point.fingerprint == alone.fingerprint
            assert point.breakdown_s == alone.breakdown_s.model_dump()
    assert [p.status for p in answer.points] == ["simulated"] * 4 + ["refused"] * 2
    assert "3 to divide 8 ranks" in str(answer.points[4].reason)


def test_the_best_plan_is_the_fastest_that_fits(answer: Sweep) -> None:
    """The ranking is by step time, over what fits alone."""
    times = [point.step_time_s for point in answer.points if point.status == "simulated"]
    assert answer.best is not None
    assert answer.best.step_time_s == min(t for t in times if t is not None)
    assert len(answer.ranking) == 4


def test_processes_change_nothing(answer: Sweep) -> None:
    """On two processes the answer is the same document."""
    assert sweep(SMALL, OVER, jobs=2).to_json() == answer.to_json()


def test_what_does_not_fit_is_listed_and_simulated_only_when_asked() -> None:
    """70B on 8 chips without sharding: the gibibytes are there, the step only with simulate_all."""
    large = SMALL.replace(model={"preset": "llama3.1-405b", "layers": 24}, plan={"tp": 8, "zero": 1})
    (point,) = sweep(large, {"plan.recompute": ["full"]}, jobs=1).points
    assert (point.status, point.step_time_s) == ("does not fit", None)
    assert point.peak_gib_per_chip is not None
    assert point.usable_gib_per_chip is not None
    assert point.peak_gib_per_chip > point.usable_gib_per_chip
    (asked,) = sweep(large, {"plan.recompute": ["full"]}, jobs=1, simulate_all=True).points
    assert asked.status == "does not fit"
    assert asked.step_time_s is not None
    assert asked.peak_gib_per_chip == point.peak_gib_per_chip


@pytest.mark.parametrize(
    ("over", "match"),
    [
        ({"plan.tpp": [1]}, "over.plan.tpp: unknown key tpp"),
        ({"plan.tp": []}, "over.plan.tp: needs at least one value"),
        ({"plan.tp": list(range(101)), "plan.pp": list(range(101))}, "at most 10,000 points"),
    ],
)
def test_a_sweep_that_asks_nothing_sensible_is_refused(over: dict[str, list[Any]], match: str) -> None:
    """Before anything is simulated."""
    with pytest.raises(InputError, match=match):
        sweep(SMALL, over, jobs=1)


def test_a_file_says_the_same_and_set_pins_a_path(answer: Sweep, tmp_path: Path) -> None:
    """``scenario`` by path or written out; a path that is set is no longer swept."""
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL.model_dump(mode="json", exclude_unset=True)))
    for scenario in (str(tmp_path / "small.yaml"), SMALL.model_dump(mode="json", exclude_unset=True)):
        path = tmp_path / "sweep.yaml"
        path.write_text(json.dumps({"name": "both", "scenario": scenario, "over": OVER}))
        name, base, over = read_sweep(path, ["plan.tp=2"])
        assert (name, over) == ("both", {"plan.pp": (1, 2)})
        found = sweep(base, over, jobs=1)
        assert [point.step_time_s for point in found.points] == [p.step_time_s for p in answer.points[2:4]]


def test_the_table_names_every_point(answer: Sweep) -> None:
    """Plans that run, fastest first; then the others with their reasons."""
    text = sweep_table(answer.to_dict())
    assert "6 plans, 4 run and fit" in text
    assert "Cannot be (2)" in text
    assert text.count("to divide 8 ranks") == 2


def test_the_study_of_v4_pro_asks_what_it_says() -> None:
    """Six schedules, four pipelines, five sizes of expert groups, on 8,192 chips."""
    _, base, over = read_sweep(ROOT / "examples" / "studies" / "v4_pro_plans.yaml")
    assert [len(values) for values in over.values()] == [6, 4, 5]
    assert base.data["cluster"]["chips"] == 8192
