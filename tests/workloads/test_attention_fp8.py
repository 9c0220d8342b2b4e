"""Attention in FP8: which products run in it, what the casts before it cost, and which jobs may ask for it."""

from __future__ import annotations

from typing import Any

import pytest

import workloads
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import PlanError
from workloads.accounting import Shard, layer_sections
from workloads.instructions import Kernel, Operator
from workloads.plan import Plan, Training, resolve


def core(name: str, attention: str, **shard: Any) -> tuple[list[Operator], list[Operator]]:
    """The operators of one layer's attention core, forward and backward."""
    model = workloads.load(name)
    shape = next(iter(model.layer_shapes()))
    whole = Shard(**{"tokens": 4096.0, "sequence_length": 4096.0, "precision": "mxfp8", "attention": attention} | shard)
    section = layer_sections(model, shape, whole)["attention_core"]
    return list(section.forward), list(section.backward_input)


def test_the_kernel_alone_changes_precision() -> None:
    """Its FLOPs stay, its inputs have half the bytes; nothing else of the section is another."""
    for one, other in zip(core("llama3.1-8b", "flash"), core("llama3.1-8b", "flash-fp8"), strict=True):
        kernels = [[op for op in side if op.kernel is Kernel.ATTENTION] for side in (one, other)]
        assert [op.precision for op in kernels[0]] == ["bf16"]
        assert [op.precision for op in kernels[1]] == ["fp8"]
        assert kernels[0][0].flops == kernels[1][0].flops
        assert kernels[1][0].bytes_moved < kernels[0][0].bytes_moved
        rest = [
            [op for op in side if op.kernel is not Kernel.ATTENTION and not op.name.startswith("attention_cast")]
            for side in (one, other)
        ]
        assert [op.name for op in rest[0]] == [op.name for op in rest[1]]


def test_casts_before_it_by_hand() -> None:
    """Llama 8B, 4,096 tokens: queries of 4,096, keys and values of 1,024 each, at 2 bytes read and 1 written; 4,096 backward."""
    forward, backward = core("llama3.1-8b", "flash-fp8")
    cast = next(op for op in forward if op.name == "attention_cast")
    assert cast.bytes_moved == 4096 * (4096 + 2 * 1024) * 3
    assert sum(op.bytes_moved for op in backward if op.name.startswith("attention_cast")) == 4096 * 4096 * 3


def test_it_goes_with_linear_layers_in_eight_bits() -> None:
    model = workloads.load("llama3.1-8b")
    plan = Plan(attention="flash-fp8")
    assert resolve(plan, Training(sequence_length=4096, global_batch=8, precision="fp8"), model, 8).attention == "flash-fp8"
    for precision in ("bf16", "nvfp4"):
        with pytest.raises(PlanError, match="flash-fp8"):
            resolve(plan, Training(sequence_length=4096, global_batch=8, precision=precision), model, 8)


def test_a_long_sequence_gains_and_never_more_than_the_kernel_s_share() -> None:
    """32K tokens on GB300: quicker, by less than a third."""

    def step(attention: str) -> float:
        return simulate(
            Scenario(
                cluster={"system": "gb300-nvl72", "chips": 8}, model={"preset": "llama3.1-8b", "layers": 4},
                training={"sequence_length": 32768, "global_batch": 8, "precision": "mxfp8"},
                plan={"attention": attention, "recompute": "none"},
            )
        ).step_time_s  # fmt: skip

    assert 0.67 < step("flash-fp8") / step("flash") < 0.97
