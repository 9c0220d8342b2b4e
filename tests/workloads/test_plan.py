"""Plans: what is filled in, and the sentence that says why a plan is impossible."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.spec.errors import PlanError
from workloads.attention_kinds import GroupedQueryAttention
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.plan import Overlap, Plan, PlanDefaults, Training, resolve
from workloads.resolved import ResolvedPlan

DENSE = Model(
    name="dense", layers=64, hidden=8192, vocab=128256,
    attention=GroupedQueryAttention(kind="gqa", heads=64, kv_heads=8, head_dim=128), ffn=FeedForward(width=28672),
)  # fmt: skip
SPARSE = Model(
    name="sparse", layers=61, hidden=4096, vocab=128256,
    attention=GroupedQueryAttention(kind="gqa", heads=64, kv_heads=8, head_dim=128),
    moe=MixtureOfExperts(experts=256, top_k=8, width=2048),
)  # fmt: skip


def laid(
    model: Model = DENSE, ranks: int = 1024, *, batch: int = 1024, training: dict[str, Any] | None = None, **plan: Any
) -> ResolvedPlan:
    settings = {"sequence_length": 4096, "global_batch": batch} | (training or {})
    return resolve(Plan(**plan), Training(**settings), model, ranks)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (DENSE, {"tp": 8, "pp": 12},
         "plan needs tp*pp*cp = 96 to divide 1024 ranks. Lower pp from 12 to 8."),
        (DENSE, {"tp": 8, "cp": 3},
         "plan needs tp*pp*cp = 24 to divide 1024 ranks. Lower cp from 3 to 2."),
        (DENSE, {"tp": 3},
         "plan needs tp*pp*cp = 3 to divide 1024 ranks. Lower tp from 3 to 2."),
        (DENSE, {"tp": 8, "dp": 64},
         "plan.dp: 1024 ranks over tp*pp*cp = 8 leave dp = 128 (got 64). Leave dp out, write 128, or use 512 ranks."),
        (DENSE, {"ep": 8},
         "plan.ep: dense has no routed experts to spread (got 'ep 8, etp 1'). Set ep and etp to 1."),
        (SPARSE, {"ep": 96},
         "plan.ep: ep must divide the 256 experts (got 96). Lower ep from 96 to 64."),
        (SPARSE, {"pp": 32, "ep": 64},
         "plan.ep: ep*etp = 64 must divide the tp*cp*dp = 32 ranks of a stage. Lower ep from 64 to 32."),
        (SPARSE, {"tp": 4, "pp": 4, "ep": 64, "etp": 8},
         "plan.ep: ep*etp = 512 must divide the tp*cp*dp = 256 ranks of a stage. Lower ep from 64 to 32."),
        (SPARSE, {"tp": 2, "ep": 8, "sequence_parallel": False},
         "plan.sequence_parallel: routed experts with tp > 1 need sequence parallelism, or every tp rank would dispatch the"
         " same tokens. Set sequence_parallel: true, or tp to 1."),
        (DENSE, {"tp": 128},
         "plan.tp: tp must divide the 64 attention heads (got 128). Lower tp from 128 to 64."),
        (DENSE, {"tp": 16},
         "plan.tp: tp must divide the 8 key-value heads (got 16). Lower tp from 16 to 8."),
        (DENSE, {"tp": 8, "batch": 200},
         "training.global_batch: global_batch must be a multiple of dp*micro_batch = 128*1 = 128 (got 200). Use 128, or"
         " change micro_batch or the plan."),
        (DENSE, {"cp": 16, "training": {"sequence_length": 4104}},
         "training.sequence_length: sequence_length must be a multiple of 32, the pieces that cp = 16 and tp = 1 cut it into"
         " (got 4104). Use 4096, or lower cp."),
        (DENSE, {"pp": 128, "batch": 1024},
         "plan.pp: 64 layers cannot fill pp = 128 stages. Lower pp to at most 66 stages."),
        (DENSE, {"pp": 16, "vpp": 8, "batch": 1024},
         "plan.pp: 64 layers cannot fill pp*vpp = 16*8 = 128 stages. Lower vpp or pp to at most 66 stages."),
        (DENSE, {"vpp": 4},
         "plan.vpp: pp = 1 has no stages to interleave (got 4). Set vpp to 1 or raise pp."),
        (DENSE, {"pp": 8, "vpp": 4, "schedule": "1f1b"},
         "plan.vpp: 1f1b runs one stage on a rank (got 4). Set vpp to 1 or schedule to interleaved."),
        (DENSE, {"tp": 8, "pp": 8, "vpp": 4, "batch": 16 * 12},
         "plan.schedule: interleaved needs micro-batches in multiples of pp = 8 (got 12). Raise global_batch to 256 for 16 a"
         " pipeline, or set schedule to 1f1b."),
        (DENSE, {"ranks": 1020, "pp": 15, "schedule": "dualpipe", "batch": 68 * 30},
         "plan.pp: dualpipe needs an even number of stages, for each rank holds two that mirror each other (got 15). Use pp 16"
         " or 14, or schedule 1f1b."),
        (DENSE, {"pp": 16, "schedule": "dualpipe", "batch": 64 * 30},
         "plan.schedule: dualpipe needs at least 2*pp = 32 micro-batches a pipeline, or its two directions cannot overlap"
         " (got 30). Raise global_batch to 2048, or lower pp or dp."),
        (DENSE, {"pp": 16, "schedule": "dualpipe", "batch": 64 * 33},
         "plan.schedule: dualpipe needs an even number of micro-batches, half for each direction (got 33). Use global_batch"
         " 2176 or 2048."),
        (DENSE, {"pp": 8, "vpp": 2, "schedule": "zb-h1"},
         "plan.vpp: zb-h1 runs one stage on a rank (got 2). Set vpp to 1 or schedule to interleaved."),
        (DENSE, {"schedule": "zb-v"},
         "plan.pp: zb-v folds a pipeline, and pp = 1 is none. Raise pp, or use 1f1b."),
        (DENSE, {"pp": 8, "vpp": 3, "schedule": "dualpipe-v"},
         "plan.vpp: dualpipe-v runs two stages on a rank (got 3). Leave vpp out."),
        (DENSE, {"pp": 16, "schedule": "dualpipe-v", "batch": 64 * 30},
         "plan.schedule: dualpipe-v needs at least 2*pp = 32 micro-batches a pipeline, or its two stages cannot overlap"
         " (got 30). Raise global_batch to 2048, or lower pp or dp."),
        (DENSE, {"pp": 64, "schedule": "zb-v", "batch": 2048},
         "plan.pp: 64 layers cannot fill pp*vpp = 64*2 = 128 stages. Lower vpp or pp to at most 66 stages."),
        (DENSE, {"overlap": Overlap(ep_waves=2)},
         "plan.overlap.ep_waves: waves are of experts, and the model has none (got 2). Leave ep_waves out."),
        (SPARSE, {"overlap": Overlap(ep_waves=2)},
         "plan.overlap.ep_waves: waves are of experts, and ep = 1 sends them nothing (got 2). Leave ep_waves out."),
        (SPARSE, {"ep": 64, "overlap": Overlap(ep_waves=5)},
         "plan.overlap.ep_waves: a wave holds at least one of the 4 experts of a rank (got 5). Lower ep_waves from 5 to 4."),
        (DENSE, {"zero": 1, "cut_gradients": "micro-batch"},
         "plan.cut_gradients: gradients are cut after every micro-batch under zero 2 and 3 only (got 'zero 1'). Set zero to 2, or"
         " leave cut_gradients out."),
        (DENSE, {"zero": 1, "reshard_after_forward": False},
         "plan.reshard_after_forward: reshard_after_forward is about parameters that zero 3 gathers (got 'zero 1'). Set zero to"
         " 3, or leave reshard_after_forward out."),
        (DENSE, {"zero": 1, "zero_group": 48},
         "plan.zero_group: zero_group must divide dp*cp = 1024 (got 48). Lower zero_group from 48 to 32."),
        (SPARSE, {"ep": 64, "zero": 1, "zero_group": 8},
         "plan.zero_group: zero_group makes 128 copies of the state, and 16 ranks hold the same experts: they cannot be cut into"
         " 128 groups (got 8). Raise zero_group to 64, or lower ep."),
        (DENSE, {"pp": 4, "layout": [16, 16, 32]},
         "plan.layout: layout must name the layers of all pp*vpp = 4 stages (got '3 of them'). Add or remove some."),
        (DENSE, {"pp": 4, "layout": [16, 16, 16, 15]},
         "plan.layout: the layers of a layout must add up to the model's 64 (got 63). Add 1."),
        (DENSE, {"pp": 4, "layout": [32, 0, 16, 16]},
         "plan.layout: every stage needs a layer but the first and the last, which embed and predict"),
        (DENSE, {"recompute": "selective", "recompute_modules": ["core_attention"]},
         "plan.recompute_modules: no such module to recompute (got 'core_attention'). Did you mean core_attn? Known: core_attn,"),
        (DENSE, {"recompute": "full", "recompute_modules": ["core_attn"]},
         "plan.recompute_modules: recompute_modules belong to recompute: selective (got 'recompute full'). Set recompute to"
         " selective, or leave recompute_modules out."),
        (DENSE, {"zero": 0, "zero_group": 8},
         "plan.zero: zero_group needs zero 1, 2 or 3 (got 0). Set zero, or leave zero_group out."),
        (DENSE, {"training": {"global_batch": None}},
         "a step needs training.global_batch [sequences] or training.global_batch_tokens."),
    ],
)  # fmt: skip
def test_an_impossible_plan_says_what_to_change(model: Model, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        laid(model, **arguments)
    assert str(refused.value).startswith(message)


def test_defaults_of_the_stack_fill_what_is_left_out() -> None:
    plain = laid(tp=8, pp=8)
    assert (plain.dp, plain.micro_batches, plain.zero, plain.schedule) == (16, 64, 1, "1f1b")
    assert plain.sequence_parallel and plain.recompute == "auto" and plain.optimizer == "adamw"
    assert not laid().sequence_parallel
    stack = PlanDefaults(zero=3, sequence_parallel=False, optimizer="muon", micro_batch=2, overlap=Overlap(tp=True))
    other = resolve(Plan(tp=8), Training(sequence_length=4096, global_batch=256), DENSE, 1024, stack)
    assert (other.zero, other.sequence_parallel, other.optimizer, other.micro_batch) == (3, False, "muon", 2)
    assert other.overlap.tp and other.overlap.grad_reduce and not other.overlap.ep


def test_a_stack_may_cut_experts_by_tp_where_the_plan_says_nothing_of_it() -> None:
    training, stack = Training(sequence_length=4096, global_batch=1024), PlanDefaults(etp="tp")
    assert resolve(Plan(tp=2, ep=8), training, SPARSE, 64, stack).etp == 2
    assert resolve(Plan(tp=2, ep=8, etp=1), training, SPARSE, 64, stack).etp == 1
    assert resolve(Plan(tp=2), training, DENSE, 64, stack).etp == 1


def test_chunks_make_a_schedule_interleaved_and_interleaved_finds_its_chunks() -> None:
    assert laid(pp=8, vpp=4).schedule == "interleaved"
    assert laid(pp=8, schedule="interleaved").vpp == 8
    assert laid(pp=8, vpp=1, schedule="interleaved").schedule == "1f1b"
    assert laid(pp=64, schedule="interleaved").vpp == 1


def test_names_that_recipes_use_become_modules_of_ours() -> None:
    plan = laid(recompute_modules=["rmsnorm", "mla_up_proj", "swiglu"])
    assert plan.recompute == "selective"
    assert plan.recompute_modules == ("layernorm", "mla_up_proj", "mlp_act", "moe_act")
    minimal = laid(recompute="selective", recompute_modules=["maxtext:minimal (saves matmul outputs)"])
    assert minimal.recompute_modules == ("layernorm", "mlp_act", "moe_act", "core_attn")


def test_a_batch_in_tokens_becomes_whole_micro_batches_and_says_so() -> None:
    plan = laid(tp=8, training={"global_batch": None, "global_batch_tokens": 4_000_000})
    assert plan.global_batch == 1024 == 128 * plan.micro_batches
    assert "1024 whole sequences" in plan.warnings[0]
    assert not laid(tp=8, training={"global_batch": None, "global_batch_tokens": 4096 * 1024}).warnings


def test_dualpipe_overlaps_experts_unless_told_not_to() -> None:
    assert laid(SPARSE, pp=16, ep=64, schedule="dualpipe", batch=64 * 32).overlap.ep
    apart = laid(SPARSE, pp=16, ep=64, schedule="dualpipe", batch=64 * 32, overlap=Overlap(ep=False))
    assert not apart.overlap.ep


@pytest.mark.parametrize(
    ("precision", "dispatcher", "expected"),
    [("fp8", "deepep", "fp8"), ("mxfp8", "hybridep", "fp8"), ("bf16", "deepep", "bf16"), ("fp8", "alltoall", "bf16")],
)
def test_tokens_travel_in_fp8_only_where_job_and_dispatcher_do(precision: str, dispatcher: str, expected: str) -> None:
    assert laid(SPARSE, ep=64, dispatcher=dispatcher, training={"precision": precision}).dispatch_precision == expected


def test_state_bytes_per_parameter_by_hand() -> None:
    """AdamW in fp32: 2 + 4 + 4 + 2 x 4; pure bf16: 2 + 2 + 2 x 2; Muon sums expert gradients from bf16 copies."""
    mixed = laid().state
    assert (mixed.weights, mixed.gradients, mixed.master, mixed.moment, mixed.gradient_reduce) == (2, 4, 4, 4, 4)
    pure = laid(training={"precision_detail": "pure bf16 parameters and optimizer state"}).state
    assert (pure.weights, pure.gradients, pure.master, pure.moment, pure.gradient_reduce) == (2, 2, 0, 2, 2)
    muon = laid(training={"optimizer": "muon"}).state
    assert (muon.gradient_reduce, muon.expert_gradient_reduce) == (4, 2)
    assert laid(training={"precision": "mxfp8"}).state.quantised == 2 * (1 + 1 / 32)


def test_a_batch_said_twice_must_be_the_same() -> None:
    """Sequences and tokens that disagree are refused, not one of them dropped."""
    assert laid(tp=8, training={"global_batch": 1024, "global_batch_tokens": 1024 * 4096}).global_batch == 1024
    with pytest.raises(PlanError, match="makes 4194304 tokens"):
        laid(tp=8, training={"global_batch": 1024, "global_batch_tokens": 4_000_000})


def test_a_precision_detail_that_is_not_modelled_warns() -> None:
    """Known beginnings say what is done anyway; anything else would be ignored in silence."""
    assert not laid(tp=8, training={"precision_detail": "amp: fp32 master, bf16 compute"}).warnings
    assert "not modelled" in laid(tp=8, training={"precision_detail": "attention in fp8"}).warnings[0]


def test_parameters_that_stay_gathered_act_as_zero_2() -> None:
    """FSDP that does not free after the forward pass sends and holds what ZeRO-2 does; said outright, nothing changes."""
    training = Training(sequence_length=4096, global_batch=64)
    kept, two, freed, three = (
        resolve(Plan.model_validate(asked), training, DENSE, 64)
        for asked in (
            {"pp": 2, "zero": 3, "reshard_after_forward": False}, {"pp": 2, "zero": 2},
            {"pp": 2, "zero": 3, "reshard_after_forward": True}, {"pp": 2, "zero": 3},
        )
    )  # fmt: skip
    assert (kept.zero, kept.cuts_every_micro_batch) == (two.zero, two.cuts_every_micro_batch)
    assert freed == three


def test_what_is_asked_of_experts_that_a_model_has_not_is_told() -> None:
    """A dense model under a hot router would be answered as if nothing had been asked."""
    hot = {"router": {"kind": "hot-rank", "factor": 2.0}}
    assert laid(training=hot, overlap=Overlap(ep=True), tp=8).warnings == (
        "overlap.ep true has no effect: the model has no experts.",
        "router hot-rank has no effect: the model has no experts.",
    )
    assert laid(training={"router": "balanced"}, overlap=Overlap(ep=False), tp=8).warnings == ()
