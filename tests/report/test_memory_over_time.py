"""Memory over a simulated step: the curve, its documents and its figure."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import FileProblem


def answer(**plan: Any) -> Result:
    asked = {
        "name": "memory",
        "cluster": {"system": "dgx-h100", "chips": 8},
        "model": {"preset": "llama3.1-8b", "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 16, "micro_batch": 1, "precision": "bf16"},
        "plan": {"recompute": "none", **plan},
    }
    return simulate(Scenario.model_validate(asked))


@pytest.fixture(scope="module")
def result() -> Result:
    return answer(pp=4)


@pytest.mark.parametrize("plan", [{"pp": 4}, {"pp": 2, "vpp": 2, "schedule": "interleaved", "recompute": "full"}, {"tp": 2}])
def test_the_highest_moment_of_every_rank_is_the_peak_that_is_reported(plan: dict[str, Any]) -> None:
    found = answer(**plan)
    for timeline, stage in zip(found.memory_over_time(), found.memory.stages, strict=True):
        assert timeline.peak_gib == pytest.approx(stage.total_gib, rel=1e-9)
        assert 0.0 <= timeline.peak_s <= found.step_time_s
        assert timeline.mean_gib <= timeline.peak_gib


def test_works_side_by_side_never_hold_more_than_is_reported() -> None:
    found = answer(pp=4, schedule="dualpipe", zero=1)
    for timeline, stage in zip(found.memory_over_time(), found.memory.stages, strict=True):
        assert timeline.peak_gib <= stage.total_gib * (1 + 1e-9)
        assert timeline.peak_gib > 0.8 * stage.total_gib


def test_a_rank_begins_and_ends_with_what_is_there_all_along(result: Result) -> None:
    for timeline in result.memory_over_time():
        assert timeline.parts["activations"][0] >= 0.0
        assert timeline.parts["activations"][-1] == 0.0
        assert all((values == values[0]).all() for name, values in timeline.parts.items() if name != "activations")


def test_written_as_a_table_and_as_json_the_curve_is_the_same(result: Result, tmp_path: Path) -> None:
    result.save_memory(tmp_path / "memory.csv")
    result.save_memory(tmp_path / "memory.json")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "memory.csv").read_text())))
    stages = json.loads((tmp_path / "memory.json").read_text())["stages"]
    assert len(rows) == sum(len(stage["start_s"]) for stage in stages)
    assert [float(row["activations_gib"]) for row in rows] == [value for stage in stages for value in stage["activations_gib"]]
    assert max(float(row["total_gib"]) for row in rows) == pytest.approx(result.memory.peak_gib_per_chip)


def test_the_figure_stacks_the_fullest_rank_and_marks_its_peak(result: Result) -> None:
    figure = result.figure("memory")
    stacked = [trace for trace in figure.data if trace.stackgroup]
    assert [trace.name for trace in stacked] == ["weights", "gradients", "optimizer", "buffers", "activations"]
    whole = [sum(values) for values in zip(*(trace.y for trace in stacked), strict=True)]
    assert max(whole) == pytest.approx(result.memory.peak_gib_per_chip)
    (mark,) = [trace for trace in figure.data if trace.mode == "markers"]
    assert mark.y[0] == pytest.approx(result.memory.peak_gib_per_chip)
    assert len([trace for trace in figure.data if trace.legendgroup == "others"]) == 3


def test_a_result_from_a_file_says_that_it_holds_no_curve(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "result.json")
    with pytest.raises(FileProblem, match="memory over time"):
        Result.load(tmp_path / "result.json").memory_over_time()


def test_curves_go_with_a_result_to_another_process() -> None:
    """What they are drawn from stays behind; drawn, they are the same."""
    result = simulate(Scenario.load("examples/v3_on_atlas_950_1024.yaml"))
    there = pickle.loads(pickle.dumps(result))
    for here, other in zip(result.memory_over_time(), there.memory_over_time(), strict=True):
        assert (here.pp_rank, here.peak_gib) == (other.pp_rank, other.peak_gib)
        assert here.time_s.tolist() == other.time_s.tolist()
