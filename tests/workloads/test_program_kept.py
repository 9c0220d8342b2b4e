"""A program that was built lately is not built again, and whatever a program depends on makes another one."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.files import make

ASKED: dict[str, Any] = {
    "cluster": {"system": "dgx-h100", "chips": 16},
    "model": "llama3.1-8b",
    "training": {"sequence_length": 4096, "global_batch": 32},
    "plan": {"tp": 2, "pp": 2, "recompute": "none"},
}

CHANGES: dict[str, dict[str, Any]] = {
    "batch": {"training__global_batch": 64},
    "micro-batch": {"training__micro_batch": 2},
    "length": {"training__sequence_length": 2048},
    "precision": {"training__precision": "fp8"},
    "optimizer": {"training__optimizer": "muon"},
    "model": {"model": {"preset": "llama3.1-8b", "layers": 16}},
    "chips": {"cluster__chips": 32},
    "tp": {"plan__tp": 4},
    "schedule": {"plan__schedule": "zb-h1"},
    "recompute": {"plan__recompute": "full"},
    "zero": {"plan__zero": 0},
    "overlap": {"plan__overlap": {"grad_reduce": False}},
    "memory": {"cluster__set": {"chip.memory_capacity": "60 GiB"}},
    "stack": {"assumptions": "nemo-24.07"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_a_program_depends_on_makes_another_one(name: str) -> None:
    scenario = make(ASKED, Scenario)
    changed = scenario.replace(**CHANGES[name])
    first = prepare(scenario).program
    assert prepare(changed).program is not first
    assert prepare(scenario).program is first


def test_a_question_about_the_machine_alone_runs_the_same_program() -> None:
    """Links, their faults, and how fast a chip is, change no instruction."""
    scenario = make(ASKED, Scenario)
    first = prepare(scenario).program
    for change in (
        {"cluster__set": {"chip.memory_bandwidth": "2 TB/s"}},
        {"cluster__faults": [{"chip": 3, "speed": 0.5}]},
        {"network__routing": {"hash": {"paths": 2, "seed": 1}}},
        {"seed": 7, "name": "another"},
    ):
        assert prepare(scenario.replace(**change)).program is first
