"""Phases of a step as papers print them: by hand on a few spans, and on a real DualPipe run."""

from __future__ import annotations

import pytest

from simulator.engine.recorder import LANES, PICO, RankInfo, Recorder, Recording
from simulator.questions.phases import errors, phases
from simulator.results import Breakdown
from simulator.run import simulate
from simulator.scenario import Scenario

SLOT = LANES.index("slot")
NOTHING = dict.fromkeys(Breakdown.model_fields, 0.0)


def test_works_side_by_side_are_a_pair_and_ranks_weigh_by_their_number() -> None:
    recorder = Recorder()
    for rank, name, start, end in (
        (0, "F0 stage 0", 0, 2), (0, "F1 stage 0", 3, 5), (0, "B0 stage 1 reverse", 3, 7), (0, "I1 stage 0", 7, 8),
        (0, "W1 stage 0", 8, 9), (1, "B0 stage 1", 0, 4),
    ):  # fmt: skip
        recorder.add(rank, SLOT, name, start * PICO, end * PICO)
    recorder.add(0, LANES.index("compute"), "F9 stage 9", 0, 10 * PICO)
    ranks = (RankInfo(0, "0", 3, 0), RankInfo(1, "1", 1, 1))
    found = phases(Recording(recorder.spans(), (), ranks, 10 * PICO), Breakdown(**NOTHING | {"arithmetic": 9, "optimizer": 1}))
    expected = {"1F_s": 2 * 0.75, "1B_s": 1 * 0.75 + 4 * 0.25, "1W_s": 0.75, "1F1B_s": 4 * 0.75, "opt_s": 1.0}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(10.0)
    assert errors({"1F_s": 1.0, "bubble_s": 0.0, "tokens_per_day_B": 3.0}, found) == {"1F_s": pytest.approx(0.5)}


def test_phases_of_a_dualpipe_run_sum_to_its_step_and_most_of_it_is_joined() -> None:
    result = simulate(
        Scenario.model_validate({
            "cluster": {"system": "h800-8", "chips": 32},
            "model": {"preset": "deepseek-v3", "layers": 8},
            "training": {"sequence_length": 4096, "global_batch": 192, "micro_batch": 1, "precision": "fp8"},
            "plan": {"pp": 4, "ep": 8, "schedule": "dualpipe", "dispatcher": "deepep"},
        })
    )  # fmt: skip
    assert result.recording is not None
    found = phases(result.recording, result.breakdown_s)
    assert sum(found.values()) == pytest.approx(result.step_time_s)
    assert all(seconds >= 0 for seconds in found.values())
    assert found["1F1B_s"] > 0.5 * result.step_time_s
    assert found["1F_s"] < found["1B_s"]
