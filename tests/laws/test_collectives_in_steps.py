"""A collective of a training step with nothing else on the links takes the time that it is told to take alone."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import collective
from simulator.engine.recorder import LANES
from simulator.network.collectives.stack import libraries_of
from simulator.prepare import prepare
from simulator.run import operations, simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from workloads.instructions import Communication

DENSE = {"preset": "llama3.1-8b", "layers": 2}
EXPERTS = {"preset": "deepseek-v4-flash", "layers": 4, "mtp_depth": 0}
TICKS = 3e-12
"""The clock counts picoseconds: latency and end are each rounded."""


def scenario(system: str, chips: int, model: dict[str, Any], plan: dict[str, Any], **more: Any) -> Scenario:
    overlap = dict.fromkeys(("ep", "tp", "pp", "grad_reduce", "param_gather"), False)
    return make(
        {
            "cluster": {"system": system, "chips": chips},
            "model": model,
            "training": {"sequence_length": 2048, "global_batch": chips, "precision": "bf16"},
            "plan": {"recompute": "none", "overlap": overlap, **plan},
            **more,
        },
        Scenario,
    )


CASES: dict[str, tuple[Scenario, set[str]]] = {
    "tensors inside a server": (scenario("dgx-h100", 8, DENSE, {"tp": 8, "sequence_parallel": False}), {"nccl"}),
    "sequences inside a server": (scenario("dgx-h100", 8, DENSE, {"tp": 8}), {"nccl"}),
    "gradients over servers": (scenario("dgx-h100", 32, DENSE, {"zero": 1}), {"nccl"}),
    "whole gradients over servers": (scenario("dgx-h100", 32, DENSE, {"zero": 0}), {"nccl"}),
    "a switch does not add on A100": (scenario("dgx-a100", 8, DENSE, {"tp": 8, "sequence_parallel": False}), {"nccl"}),
    "experts, plain": (scenario("dgx-h100", 16, EXPERTS, {"ep": 16}), {"nccl"}),
    "experts, DeepEP": (
        scenario("dgx-h100", 16, EXPERTS, {"ep": 16, "dispatcher": "deepep"}),
        {"deepep", "nccl"},
    ),
    "HCCL across servers": (scenario("atlas-800t-a2", 16, DENSE, {"zero": 1}), {"hccl"}),
    "all dimensions of a torus": (scenario("tpu-v5p", 64, DENSE, {"zero": 1}), {"xla"}),
    "a stack that names another": (
        scenario("dgx-h100", 8, DENSE, {"tp": 8}, assumptions={"preset": "default", "set": {"runs.any": "rccl"}}),
        {"rccl"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_collective_alone_in_a_step_takes_what_it_takes_alone(case: str) -> None:
    """Every span of every collective = `collective` of its size, group, library; within the clock's ticks."""
    question, expected = CASES[case]
    prepared = prepare(question)
    stack = libraries_of(prepared.assumptions, prepared.chip.name, prepared.chip.vendor)
    recording = simulate(question).recording
    assert recording is not None
    spans = recording.spans
    durations: dict[str, set[int]] = {}
    for lane, name, start, end in zip(spans.lane, spans.name, spans.start, spans.end, strict=True):
        if LANES[lane] in ("tp", "dp", "ep"):
            durations.setdefault(f"{LANES[lane]} {spans.names[name]}", set()).add(int(end - start))
    found, compared = set(), 0
    for one in operations(prepared.program):
        if not isinstance(one, Communication) or f"{one.kind} {one.name}" not in durations:
            continue
        stride, size = prepared.groups.span(one.group)
        alone = collective(
            question.cluster.system,
            one.collective,
            bytes=one.payload,
            chips=question.cluster.chips,
            group_size=size,
            stride=stride,
            library=stack.of(one.collective, one.deduplicate).name,
            assumptions=prepared.assumptions,
            top_k=one.top_k if one.deduplicate else 0,
            max_domains=one.max_domains,
        )
        found.add(alone.library)
        assert (alone.library == "deepep") == (alone.algorithm == "one-copy-per-domain")
        taken = durations[f"{one.kind} {one.name}"]
        assert any(ticks * 1e-12 == pytest.approx(alone.time_s, abs=TICKS, rel=1e-12) for ticks in taken), one.name
        compared += 1
    assert compared
    assert found == expected
