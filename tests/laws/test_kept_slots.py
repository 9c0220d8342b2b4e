"""What earlier questions of a process left behind changes no answer: warm and cold are the same step, whatever was asked."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.alike import KEPT
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_folded_equals_unfolded import SMALL_DENSE, SMALL_V3
from tests.laws.test_rehearsed_equals_played import SCHEDULED


def dense(schedule: str, **plan: Any) -> dict[str, Any]:
    return {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 32},
        "plan": {"tp": 4, "pp": 4, "schedule": schedule, **plan},
    }


ASKED: dict[str, dict[str, Any]] = {
    **SCHEDULED,
    "1f1b": dense("1f1b"),
    "zb-h1": dense("zb-h1"),
    "zb-v": dense("zb-v", vpp=2),
    "dualpipe-v": dense("dualpipe-v", vpp=2),
    "dualpipe, links of their own": {
        "cluster": {"system": "atlas-950-superpod-8192", "chips": 64},
        "model": {**SMALL_V3, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 256},
        "plan": {"pp": 4, "ep": 16, "schedule": "dualpipe"},
    },
}


def told(result: Result) -> dict[str, Any]:
    """All that an answer says, but what it cost."""
    found = result.to_dict()
    del found["simulation"]
    return found


def cold(scenario: Scenario, slots: str = "exact") -> Result:
    KEPT.forget()
    return simulate(scenario, slots=slots)


@pytest.mark.parametrize("name", ASKED)
def test_another_batch_of_the_same_blocks_is_the_same_step_warm_and_cold(name: str) -> None:
    """To the last digit, where stages share links and where they do not; and the slots are those that were kept."""
    scenario = make(ASKED[name] | {"name": name}, Scenario)
    changed = scenario.replace(training__global_batch=2 * scenario.training.global_batch)
    for slots in ("exact", "isolated"):
        first = cold(changed, slots)
        cold(scenario, slots)
        kept = len(KEPT)
        warm = simulate(changed, slots=slots)
        assert told(warm) == told(first)
        assert len(KEPT) == kept
        if kept:
            assert warm.simulation.events < first.simulation.events


def test_another_schedule_of_the_same_blocks_is_the_same_step_warm_and_cold() -> None:
    """1F1B runs the forwards and backwards that an interleaved schedule of the same stages would."""
    scenario = make(dense("interleaved", vpp=2), Scenario)
    changed = make(dense("1f1b"), Scenario)
    first = cold(changed)
    cold(scenario)
    assert told(simulate(changed)) == told(first)


CHANGES: dict[str, dict[str, Any]] = {
    "length": {"training__sequence_length": 2048},
    "micro-batch": {"training__micro_batch": 2},
    "precision": {"training__precision": "fp8"},
    "layers": {"model": {**SMALL_DENSE, "layers": 2 * SMALL_DENSE["layers"]}},
    "tp": {"plan__tp": 8},
    "recompute": {"plan__recompute": "full"},
    "sequence parallelism": {"plan__sequence_parallel": False},
    "overlap": {"plan__overlap": {"tp": True}},
    "memory bandwidth": {"cluster__set": {"chip.memory_bandwidth": "1 TB/s"}},
    "link": {"cluster__set": {"tiers.server.bandwidth": "100 GB/s"}},
    "latency": {"cluster__set": {"tiers.server.latency": "9 us"}},
    "stack": {"assumptions": "nemo-24.07"},
    "efficiency": {"assumptions": {"preset": "default", "set": {"chips.h100-sxm.memory": 0.5}}},
    "algorithm": {"network__algorithms": {"all-gather:tp": "direct"}},
    "slow chip": {"cluster__faults": [{"chip": 3, "speed": 0.5}]},
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_a_slot_is_not_answered_from_what_was_kept(name: str) -> None:
    """With one field changed a scenario answers after the unchanged one as it does by itself, and otherwise than that one."""
    scenario = make(dense("1f1b"), Scenario)
    changed = scenario.replace(**CHANGES[name])
    first = cold(changed)
    before = cold(scenario)
    warm = simulate(changed)
    assert told(warm) == told(first)
    assert warm.step_time_s != before.step_time_s
