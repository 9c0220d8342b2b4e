"""Attention before fused kernels: activations and FLOPs of the published formulas, and what recomputing them frees."""

from __future__ import annotations

import pytest

import workloads
from simulator.prepare import prepare
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import NotModelled
from workloads.accounting import Section, Shard, layer_sections
from workloads.instructions import Kernel
from workloads.model import Model

MODEL = workloads.load("megatron-22b")
LENGTH, SEQUENCES, TP = 2048, 4, 8


def sections(
    *, sequence_parallel: bool, dropout: bool = True, model: Model = MODEL, cp: int = 1, layer: int = 0
) -> dict[str, Section]:
    shard = Shard(
        tokens=LENGTH * SEQUENCES / cp, sequence_length=LENGTH, tp=TP, cp=cp, sequence_parallel=sequence_parallel,
        precision="fp16", attention="unfused", dropout=dropout,
    )  # fmt: skip
    return layer_sections(model, model.layer(layer), shard)


def saved(recomputed: tuple[str, ...] = (), *, sequence_parallel: bool) -> float:
    """Bytes kept of a layer, in units of s b h."""
    found = sections(sequence_parallel=sequence_parallel).values()
    return sum(section.saved_bytes(recomputed) for section in found) / (LENGTH * SEQUENCES * MODEL.hidden)


SQUARE = 5 * MODEL.attention.heads * LENGTH / MODEL.hidden


def test_a_layer_keeps_what_korthikanti_and_others_count() -> None:
    """Formulas 2 and 4 of arXiv 2205.05198: s b h (10 + 24/t + 5as/ht), and s b h / t (34 + 5as/h)."""
    assert saved(sequence_parallel=False) == pytest.approx(10 + 24 / TP + SQUARE / TP)
    assert saved(sequence_parallel=True) == pytest.approx((34 + SQUARE) / TP)


def test_recomputing_the_core_leaves_the_34_of_selective_recomputation() -> None:
    """Formula 6: s b h 34 / t."""
    assert saved(("core_attn",), sequence_parallel=True) == pytest.approx(34 / TP)


def test_without_dropout_only_the_softmax_grows_with_the_square() -> None:
    found = sections(sequence_parallel=True, dropout=False)["attention_core"]
    assert {tensor.name: tensor.bytes for tensor in found.saved}["softmax"] == 2 * SEQUENCES * 8 * LENGTH**2
    assert not [tensor for tensor in found.saved if "mask" in tensor.name]


def test_products_run_over_the_whole_square_of_which_the_model_counts_the_causal_mean() -> None:
    core = sections(sequence_parallel=True)["attention_core"]
    products = [operator for operator in core.forward if operator.kernel is Kernel.GEMM]
    assert [operator.flops for operator in products] == [2 * SEQUENCES * 8 * LENGTH**2 * 96] * 2
    assert products[0].counted == pytest.approx((LENGTH + 1) / 2 / LENGTH)
    backward = [operator for operator in core.backward_input if operator.kernel is Kernel.GEMM]
    assert sum(operator.flops for operator in backward) == 2 * sum(operator.flops for operator in products)
    assert [operator.name for operator in core.backward_input] == [
        "weighted_sum_left_gradient", "weighted_sum_right_gradient", "attention_dropout_backward", "softmax_backward",
        "scores_left_gradient", "scores_right_gradient",
    ]  # fmt: skip


def scenario(**plan: object) -> Scenario:
    return Scenario.model_validate({
        "cluster": {"system": "dgx-a100", "chips": 8},
        "model": {"preset": "megatron-22b", "layers": 4},
        "training": {"sequence_length": 2048, "global_batch": 8, "micro_batch": 4, "precision": "fp16"},
        "plan": {"tp": 8, **plan},
    })  # fmt: skip


def test_a_step_with_scores_in_memory_is_slower_counts_the_same_flops_and_passes_every_identity() -> None:
    flash, unfused = simulate(scenario()), simulate(scenario(attention="unfused"))
    assert unfused.step_time_s > flash.step_time_s
    assert unfused.breakdown_s.memory_stall > flash.breakdown_s.memory_stall
    assert unfused.mfu * unfused.step_time_s == pytest.approx(flash.mfu * flash.step_time_s)


def test_stacks_of_that_age_run_it_unasked_and_a_plan_may_say_otherwise() -> None:
    old = scenario().replace(assumptions="megatron-lm-korthikanti22")
    assert (prepare(old).plan.attention, prepare(old).plan.dropout) == ("unfused", True)
    assert prepare(old.replace(plan__attention="flash")).plan.attention == "flash"
    assert prepare(scenario()).plan.attention == "flash"


@pytest.mark.parametrize("name", ["cp", "compressed"])
def test_what_has_no_square_of_scores_on_one_rank_is_refused(name: str) -> None:
    model, layer = (MODEL, 0) if name == "cp" else (workloads.load("deepseek-v4-flash"), 2)
    with pytest.raises(NotModelled, match="unfused attention"):
        sections(sequence_parallel=True, model=model, cp=2 if name == "cp" else 1, layer=layer)
