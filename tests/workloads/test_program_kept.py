"""A program that was built lately is not built again, and whatever a program depends on makes another one."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.files import make
from workloads import program
from workloads.instructions import Program

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


PLANS: dict[str, dict[str, Any]] = {
    "1f1b": {},
    "interleaved": {"plan__pp": 4, "plan__vpp": 2},
    "two directions": {"plan__pp": 4, "plan__schedule": "dualpipe"},
    "split backwards": {"plan__pp": 4, "plan__schedule": "zb-v"},
    "parameters gathered for every pass": {"plan__zero": 3, "plan__pp": 1},
    "the lightest way that fits": {"plan__recompute": "auto", "cluster__set": {"chip.memory_capacity": "40 GiB"}},
    "gradients that go on to the host": {"plan__offload": {"optimizer": 0.5, "overlap": True}},
    "nothing overlapped": {"plan__overlap": {"grad_reduce": False, "param_gather": False}},
    "experts": {
        "model": {"preset": "mixtral-8x7b", "layers": 8}, "plan__ep": 4, "plan__overlap": {"ep": True},
        "training__router": {"kind": "zipf", "exponent": 0.5},
    },
}  # fmt: skip


def cold(scenario: Scenario) -> Program:
    """The program where nothing is kept."""
    program._KEPT.clear()
    program._WRITTEN.clear()
    return prepare(scenario).program


@pytest.mark.parametrize("name", PLANS)
def test_another_batch_runs_the_blocks_of_the_first_and_is_the_program_that_is_written_anew(name: str) -> None:
    """With three times the batch, and with the least that the schedule takes: same instructions, and the very same blocks."""
    first = make(ASKED, Scenario).replace(training__global_batch=128, **PLANS[name])
    for batch in (384, 64):
        other = first.replace(training__global_batch=batch)
        anew = cold(other)
        before = cold(first)
        warm = prepare(other).program
        assert warm == anew and warm.micro_batches != before.micro_batches
        for mine, theirs in zip(warm.ranks, before.ranks, strict=True):
            assert mine.epilogue is theirs.epilogue and mine.prologue is theirs.prologue
            assert all(block is theirs.blocks[key] for key, block in mine.blocks.items())


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_else_changes_is_written_anew(name: str) -> None:
    """What was kept of one question does not show in the program of another."""
    scenario = make(ASKED, Scenario)
    changed = scenario.replace(**CHANGES[name])
    anew = cold(changed)
    cold(scenario)
    assert prepare(changed).program == anew


def test_blocks_under_a_router_that_changes_with_time_are_not_carried_over() -> None:
    """Which micro-batches are hot hangs on how many there are."""
    first = make(ASKED, Scenario).replace(
        model={"preset": "mixtral-8x7b", "layers": 4}, plan__ep=4, training__router={"kind": "rotating", "factor": 2.0}
    )
    other = first.replace(training__global_batch=64)
    anew = cold(other)
    cold(first)
    assert prepare(other).program == anew and not program._WRITTEN


def test_a_question_about_the_chip_alone_is_asked_of_the_very_same_fabric() -> None:
    """What is folded on it is kept by its identity."""
    scenario = make(ASKED, Scenario)
    fabric = prepare(scenario).fabric
    assert prepare(scenario.replace(cluster__set={"chip.memory_bandwidth": "2 TB/s"})).fabric is fabric
    assert prepare(scenario.replace(cluster__set={"tiers.server.bandwidth": "400 GB/s"})).fabric is not fabric
