"""What software stacks keep beside the model: copies of a loss, shards, recomputation by product, inputs in FP8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import workloads
from simulator.prepare import Prepared, prepare
from simulator.scenario import Scenario
from workloads.accounting import Shard, layer_sections
from workloads.groups import Groups
from workloads.instructions import Phase, StageMemory
from workloads.memory import MemoryBudget
from workloads.plan import Plan, PlanDefaults, Training, resolve
from workloads.program import build_program

LLAMA = workloads.load("llama3.1-8b")
TOKENS = 16384.0
SHARD = Shard(tokens=TOKENS, sequence_length=8192)
EVERY_SECOND = ("layernorm", "key_proj", "out_proj", "mlp_up", "mlp_act")


def prepared(stack: str, chips: int = 8, **changes: Any) -> Prepared:
    data: dict[str, Any] = {
        "cluster": {"system": "h100-torchtitan", "chips": chips},
        "model": "llama3.1-8b",
        "training": {"sequence_length": 8192, "global_batch": 2 * chips, "micro_batch": 2},
        "plan": {"recompute": "full"},
        "assumptions": stack,
    }
    return prepare(Scenario.model_validate(data).replace(**changes))


def memory(stack: str, **changes: Any) -> StageMemory:
    return prepared(stack, **changes).program.ranks[0].memory


def test_every_second_product_leaves_q_v_attention_gate_and_two_residuals() -> None:
    """Llama-3.1 8B: 4096 + 1024 + 4096 + 14336 + 2 x 4096 elements of 2 bytes a token, and a log-sum-exp of 4 a head."""
    sections = layer_sections(LLAMA, LLAMA.layer(0), SHARD).values()
    kept = sum(section.saved_bytes(EVERY_SECOND) for section in sections) / TOKENS
    assert kept == 2 * (4096 + 1024 + 4096 + 14336 + 2 * 4096) + 4 * 32


def test_recomputing_a_part_of_a_product_runs_that_part_only_and_once() -> None:
    sections = layer_sections(LLAMA, LLAMA.layer(0), SHARD)
    again = {name: section.recompute(EVERY_SECOND) for name, section in sections.items()}
    flops = {name: sum(operator.flops for operator in operators) for name, operators in again.items()}
    assert flops["attention_in"] == 2 * TOKENS * 4096 * 1024
    assert flops["attention_out"] == 2 * TOKENS * 4096 * 4096
    assert flops["dense_ffn"] == 2 * TOKENS * 4096 * 14336
    assert {operator.phase for operators in again.values() for operator in operators} == {Phase.RECOMPUTE}
    whole = sections["dense_ffn"].recompute(("mlp", "mlp_up"))
    assert sum(operator.flops for operator in whole) == 3 * flops["dense_ffn"]


def test_nothing_named_nothing_dropped_is_as_if_products_were_whole() -> None:
    sections = layer_sections(LLAMA, LLAMA.layer(0), SHARD)
    saved = {tensor.name: tensor.bytes for section in sections.values() for tensor in section.saved}
    assert saved["queries"] + saved["keys"] + saved["values"] == 2 * TOKENS * (4096 + 2 * 1024)
    assert saved["dense_up_output_gate"] + saved["dense_up_output_beside_gate"] == 2 * TOKENS * 2 * 14336


def test_a_loss_of_more_copies_holds_them_where_the_logits_are() -> None:
    """torch's cross-entropy holds 14 bytes a logit, 8 more than the default of a 16-bit copy and an fp32 softmax."""
    more = memory("torchtitan").activations - memory("default", plan__zero=3).activations
    assert more == pytest.approx((14 - 6) * TOKENS * LLAMA.vocab)


def test_fsdp_keeps_the_fp32_shard_alone() -> None:
    assert memory("torchtitan").weights == 0
    assert memory("default", plan__zero=3).weights > 0
    assert memory("torchtitan").optimizer == memory("default", plan__zero=3).optimizer


def test_in_a_pipeline_torchtitan_gathers_once_and_cuts_the_batch_into_as_many_micro_batches_as_stages() -> None:
    plan = {"pp": 4, "recompute": "full"}
    training = {"sequence_length": 8192, "global_batch": 64}
    found = prepared("torchtitan", plan=plan, training=training).plan
    assert (found.zero, found.micro_batch, found.micro_batches) == (2, 8, 4)
    chunks = prepared("torchtitan", plan=plan | {"schedule": "interleaved"}, training=training).plan
    assert (chunks.vpp, chunks.micro_batch, chunks.micro_batches) == (2, 4, 8)
    alone = prepared("torchtitan", training=training).plan
    assert (alone.zero, alone.micro_batch) == (3, 1)


def test_inputs_of_swiglu_kept_in_fp8_take_half_as_much_and_a_scale() -> None:
    model = workloads.load("deepseek-v3")
    whole = Shard(tokens=4096.0, sequence_length=4096, precision="fp8")
    kept = [
        {tensor.name: tensor.bytes for tensor in layer_sections(model, model.layer(0), shard)["dense_ffn"].saved}
        for shard in (whole, Shard(tokens=4096.0, sequence_length=4096, precision="fp8", ffn_inputs="fp8"))
    ]
    assert kept[1]["dense_up_output_gate"] == pytest.approx(kept[0]["dense_up_output_gate"] * (1 + 4 / 128) / 2)
    assert kept[1]["dense_down_input"] == kept[0]["dense_down_input"]


@pytest.mark.parametrize(("rank", "forward", "backward"), [(0, 0, 8), (1, 8 - 3, 8), (3, 8 - 1, 0)])
def test_pipelines_of_pytorch_keep_a_buffer_for_every_micro_batch_and_all_logits(rank: int, forward: int, backward: int) -> None:
    """Four stages, eight micro-batches: received activations beside those in flight, received gradients, seven earlier logits."""
    training = Training(sequence_length=4096, global_batch=8, micro_batch=1)
    model = workloads.load("llama3.1-8b")
    buffers = []
    for stack in (PlanDefaults(), PlanDefaults(pipeline_buffers="every micro-batch")):
        plan = resolve(Plan(pp=4, zero=1, recompute="none"), training, model, 4, stack)
        program = build_program(model, plan, Groups.of(plan), MemoryBudget(1e18))
        buffers.append(program.of_stage(rank)[0].memory.buffers)
    boundary = 4096 * 4096 * 2
    logits = 7 * 4096 * 128256 * 2 if rank == 3 else 0
    assert buffers == pytest.approx([2 * boundary, (forward + backward) * boundary + logits])


def test_fused_experts_do_the_same_sums_and_keep_the_same_with_fewer_passes() -> None:
    """Activation and casts between the products move nothing and launch nothing; all else stays."""
    model = workloads.load("deepseek-v3")
    separate = Shard(
        tokens=4096.0,
        sequence_length=4096,
        ep=8,
        precision="fp8",
        expert_tokens=32768.0,
        local_experts=32,
        dispatch_precision="fp8",
    )
    apart, fused = (
        layer_sections(model, model.layer(5), shard)["experts"] for shard in (separate, replace(separate, fused_experts=True))
    )
    assert fused.saved == apart.saved
    for before, after in ((apart.forward, fused.forward), (apart.backward_input, fused.backward_input)):
        left = {operator.name: operator for operator in after if operator.bytes_moved or operator.launches}
        gone = {operator.name for operator in before} - left.keys()
        assert gone and {name.removesuffix("_backward").split("_")[-1] for name in gone} == {"activation", "cast"}
        assert all(left[operator.name] == operator for operator in before if operator.name not in gone)
