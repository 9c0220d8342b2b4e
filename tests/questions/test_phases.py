"""Phases of a step as papers print them: by hand on a few spans, and on a real DualPipe run."""

from __future__ import annotations

import pytest

from simulator.engine.recorder import LANES, PICO, RankInfo, Recorder, Recording
from simulator.engine.slowest import ALIKE, Slowest
from simulator.questions.phases import errors, phases
from simulator.run import simulate
from simulator.scenario import Scenario

SLOT, COMPUTE, IDLE = (LANES.index(lane) for lane in ("slot", "compute", "idle"))


def by_hand(slowest: Slowest = ALIKE) -> Recording:
    """Two classes of the first stage, of 3 and of 1 ranks, and one of the second stage, which does not count."""
    recorder = Recorder()
    for rank, name, start, end in (
        (0, "F0 stage 0", 0, 2), (0, "F1 stage 0", 3, 5), (0, "B0 stage 1 reverse", 3, 7), (0, "I1 stage 0", 7, 8),
        (0, "W1 stage 0", 8, 9), (1, "B0 stage 1", 0, 4), (2, "F0 stage 1", 0, 9),
    ):  # fmt: skip
        recorder.add(rank, SLOT, name, start * PICO, end * PICO)
    for rank, start, end in ((0, 0, 2), (0, 4, 6), (0, 6, 7), (0, 9, 10), (1, 1, 3)):
        recorder.add(rank, COMPUTE, "work", start * PICO, end * PICO)
    recorder.add(0, IDLE, "exposed_dp", 7 * PICO, 8 * PICO)  # inside a slot
    recorder.add(1, IDLE, "exposed_dp", 5 * PICO, 8 * PICO)
    recorder.add(1, IDLE, "exposed_pp", 8 * PICO, 10 * PICO)
    ranks = (RankInfo(0, "0", 3, 0), RankInfo(1, "1", 1, 0), RankInfo(2, "2", 1, 1))
    return Recording(recorder.spans(), (), ranks, 10 * PICO, slowest)


def test_works_side_by_side_are_a_pair_and_ranks_weigh_by_their_number() -> None:
    found = phases(by_hand())
    expected = {"1F_s": 2 * 0.75, "1B_s": 1 * 0.75 + 4 * 0.25, "1W_s": 0.75, "1F1B_s": 4 * 0.75, "opt_s": 1 * 0.75 + 3 * 0.25}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(10.0)
    assert errors({"1F_s": 1.0, "bubble_s": 0.0, "tokens_per_day_B": 3.0}, found) == {"1F_s": pytest.approx(0.5)}


def test_a_typical_rank_works_less_and_waits_where_the_slowest_stands() -> None:
    """Of work in a slot: in_slot / in_job of it stays, up to in_pipeline is bubble, the rest is for the update."""
    slowest = Slowest(0.05, 8, 64, 4096)
    even, found = phases(by_hand()), phases(by_hand(slowest))
    stays, bubble, last = slowest.in_slot / slowest.in_job, slowest.in_pipeline / slowest.in_job, 1.0
    for name, work in {"1F_s": 2 * 0.75, "1F1B_s": 3 * 0.75, "1B_s": 2 * 0.25, "1W_s": 0.0}.items():
        assert found[name] == pytest.approx(even[name] - (1 - stays) * work)
    work = (2 + 3) * 0.75 + 2 * 0.25
    assert found["bubble_s"] == pytest.approx(even["bubble_s"] + (bubble - stays) * work)
    assert found["opt_s"] == pytest.approx(even["opt_s"] + (last - bubble) * work)
    assert sum(found.values()) == pytest.approx(10.0)


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
    found = phases(result.recording)
    assert sum(found.values()) == pytest.approx(result.step_time_s)
    assert all(seconds >= 0 for seconds in found.values())
    assert found["1F1B_s"] > 0.5 * result.step_time_s
    assert found["1F_s"] < found["1B_s"]
