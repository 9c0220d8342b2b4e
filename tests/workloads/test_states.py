"""Layers that keep a state: their parameters and FLOPs by hand, what their chunks cost, what they keep, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workloads
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import ModelError, NotModelled, PlanError
from simulator.spec.files import make
from workloads.accounting import Shard, layer_sections, total_parameters
from workloads.accounting.flops import layer_flops
from workloads.accounting.parameters import active_parameters, shape_parameters
from workloads.accounting.sections import Section
from workloads.instructions import Kernel, Operator, Phase
from workloads.model import LayerShape, Model
from workloads.plan import Plan, Training, resolve

QWEN, NANO, LARGE, KIMI = (
    "qwen3-next-80b-a3b", "nemotron-3-nano-30b-a3b", "nemotron-h-56b", "kimi-linear-48b-a3b",
)  # fmt: skip


def shape_of(model: Model, kind: str) -> LayerShape:
    return next(shape for shape in model.layer_shapes() if shape.attention == kind)


def sections_of(name: str, kind: str, tokens: float = 8192.0, **shard: Any) -> dict[str, Section]:
    model = workloads.load(name)
    experts = {"expert_tokens": tokens * model.moe.top_k, "local_experts": float(model.moe.experts)} if model.moe else {}
    return layer_sections(model, shape_of(model, kind), Shard(**{"tokens": tokens, "sequence_length": 8192.0} | experts | shard))


def scan(section: Section) -> tuple[list[Operator], list[Operator]]:
    """The kernels of a scan, forward and backward."""
    found = [[op for op in ops if op.kernel is Kernel.GEMM] for ops in (section.forward, section.backward_input)]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        # Written out from the layers of the models' own code: see each line of the sums below.
        (QWEN, 79_674_292_992, None), (NANO, 31_577_940_288, 3_227_754_816), (LARGE, 56_324_350_464, None),
        (KIMI, 49_122_681_728, 3_106_972_544), ("granite-4-h-small", 32_207_337_984, 8_803_121_664),
    ],
)  # fmt: skip
def test_parameters_are_those_of_the_published_models(name: str, total: int, active: int | None) -> None:
    model = workloads.load(name)
    assert total_parameters(model) == total
    assert active is None or active_parameters(model) == active


def test_a_gated_delta_layer_by_hand() -> None:
    """Qwen3-Next: q, k of 2,048, v, z of 4,096, b, a of 32; convolution of 8,192 x 4; A, dt of 32; a norm of 128; out 4,096."""
    model = workloads.load(QWEN)
    mixer = 2048 * (2 * 2048 + 2 * 4096 + 2 * 32) + 8192 * 4 + 2 * 32 + 128 + 4096 * 2048
    experts = 513 * 3 * 2048 * 512 + 2048 * 512
    assert sum(shape_parameters(model, shape_of(model, "delta")).values()) == mixer + experts + 2 * 2048


def test_a_state_space_layer_by_hand() -> None:
    """Nemotron 3 Nano: gate and x of 4,096, B and C of 8 x 128, 64 steps; convolution of 6,144 x 5, its bias in it; one norm."""
    model = workloads.load(NANO)
    mixer = 2688 * (2 * 4096 + 2 * 1024 + 64) + 6144 * 5 + 3 * 64 + 4096 + 4096 * 2688
    assert sum(shape_parameters(model, shape_of(model, "ssm")).values()) == mixer + 2688


def test_a_kimi_delta_layer_by_hand() -> None:
    """32 heads of 128: q, k, v and out, gates of decay and output through 128, an update a head, a decay bias a channel."""
    model = workloads.load(KIMI)
    mixer = 4 * 2304 * 4096 + 2 * (2304 * 128 + 128 * 4096) + 2304 * 32 + 3 * 4096 * 4 + 32 + 4096 + 128
    first = model.layer(0)
    assert first.attention == "delta" and not first.moe
    assert sum(shape_parameters(model, first).values()) == mixer + 3 * 2304 * 9216 + 2 * 2304


def test_layers_stand_where_the_patterns_say() -> None:
    """Every fourth of Qwen3-Next attends; Nemotron's layers are one sublayer each."""
    assert [s.attention for s in workloads.load(QWEN).layer_shapes()[:8]] == ["delta", "delta", "delta", "gqa"] * 2
    nano = workloads.load(NANO).layer_shapes()
    assert [sum(s.attention == kind for s in nano) for kind in ("ssm", "gqa", "none")] == [23, 6, 23]
    assert all(s.moe == (s.attention == "none") and s.sublayers == 1 for s in nano)


@pytest.mark.parametrize(("name", "kind", "flops"), [
    (QWEN, "delta", 32 * 6 * 128 * 128), (KIMI, "delta", 32 * 6 * 128 * 128), (NANO, "ssm", 64 * 4 * 64 * 128),
    (LARGE, "ssm", 256 * 4 * 64 * 256),
])  # fmt: skip
def test_a_model_counts_the_recurrence_and_the_kernels_run_more(name: str, kind: str, flops: float) -> None:
    """Products of key and value width (three) or of head and state (two) a token and head; what chunks add is not counted."""
    model = workloads.load(name)
    shape = shape_of(model, kind)
    forward, backward = scan(sections_of(name, kind)["attention_core"])
    assert layer_flops(model, shape, 8192)["state_scan"] == flops
    for kernels, times in ((forward, 1), (backward, 2)):
        assert sum(op.flops * op.counted for op in kernels) == pytest.approx(times * 8192 * flops, rel=1e-12)
        assert sum(op.flops for op in kernels) > times * 8192 * flops
    assert all(op.phase is Phase.BACKWARD_INPUT for op in backward)


def test_chunks_of_the_gated_delta_rule_by_hand() -> None:
    """128 x 128 states, chunks of 64: 4 K V of states, 2 K V + 256 C of outputs, 768 C + C^2 / 3 within, a token and head."""
    forward, backward = scan(sections_of(QWEN, "delta")["attention_core"])
    heads, square, chunk = 8192 * 32, 128 * 128, 64
    assert [op.flops / heads for op in forward] == pytest.approx(
        [chunk * 6 * 128 + chunk**2 / 3, 4 * square, 2 * square + chunk * 4 * 128]
    )
    assert [op.flops / heads for op in backward] == pytest.approx(
        [10 * square, 6 * square + chunk * 10 * 128, chunk * 18 * 128 + 4 * chunk**2]
    )
    assert [op.bytes_moved / heads for op in forward] == pytest.approx(
        [10 * 128 + 12 * chunk, 8 * 128 + 2 * square / chunk, 8 * 128 + 2 * square / chunk]
    )
    within, states, _ = forward
    assert (within.m, within.groups) == (64, 8192 / 64 * 32) and (states.k, states.groups) == (8192, 32)


def test_chunks_of_a_state_space_by_hand() -> None:
    """Heads of 64 and states of 128, chunks of 128, 8 groups of 64 heads: 2 Q N G, 2 P N H, 2 P N H + 2 Q P H a token."""
    forward, backward = scan(sections_of(NANO, "ssm")["attention_core"])
    p, n, h, q, g = 64, 128, 64, 128, 8
    assert [op.flops / 8192 for op in forward] == pytest.approx([2 * q * n * g, 2 * p * n * h, 2 * p * n * h + 2 * q * p * h])
    assert sum(op.flops for op in backward) / 8192 == pytest.approx(10 * p * n * h + 4 * q * p * h + 6 * q * n * g)


@given(st.sampled_from([(QWEN, "delta"), (NANO, "ssm"), (KIMI, "delta")]), st.sampled_from([2, 4, 8]))
def test_tensor_parallelism_cuts_heads_and_what_they_keep(case: tuple[str, str], tp: int) -> None:
    """FLOPs, scan bytes and kept activations of the core divide by tp; the projections' products too."""
    one, cut = sections_of(*case), sections_of(*case, tp=tp, etp=1)
    for name in ("attention_core", "attention_out"):
        assert sum(op.flops for op in cut[name].forward) * tp == pytest.approx(sum(op.flops for op in one[name].forward))
    assert cut["attention_core"].saved_bytes() * tp == pytest.approx(one["attention_core"].saved_bytes())
    assert cut["attention_in"].gather_bytes > 0 and one["attention_in"].gather_bytes == 0


@pytest.mark.parametrize(("name", "kind", "inward", "outward"), [
    (QWEN, "delta", 2 * 2048 + 2 * 4096 + 2 * 32, 4096), (NANO, "ssm", 2 * 4096 + 2 * 1024 + 64, 4096),
    (KIMI, "delta", 3 * 4096 + 32 + 4096, 4096),
])  # fmt: skip
def test_exchanging_heads_moves_inputs_and_outputs_and_changes_no_work(name: str, kind: str, inward: int, outward: int) -> None:
    """A rank trades all that its tokens project for the whole sequence of a quarter of the heads: the same FLOPs and bytes."""
    alone = sections_of(name, kind, 2048.0, sequence_length=2048.0)["attention_core"]
    traded = sections_of(name, kind, 2048.0, cp=4, context_heads=4)["attention_core"]
    assert (traded.heads_in, traded.heads_out) == (2 * 2048 * inward, 2 * 2048 * outward)
    assert alone.heads_in == alone.heads_out == 0.0
    for one, other in zip(alone.forward, traded.forward, strict=True):
        assert (one.flops, one.bytes_moved) == (other.flops, other.bytes_moved)


def test_a_state_costs_the_same_in_any_sequence() -> None:
    """Twice the sequence at the same tokens: the same FLOPs and bytes; attention beside it takes twice."""
    short, long = (sections_of(QWEN, "delta", 16384.0, sequence_length=length) for length in (8192.0, 16384.0))
    for name in short:
        for one, other in zip(short[name].forward, long[name].forward, strict=True):
            assert (one.flops, one.bytes_moved) == (other.flops, other.bytes_moved)
    model = workloads.load(QWEN)
    attention = [layer_flops(model, shape_of(model, "gqa"), length)["core_attention"] for length in (8192, 16384)]
    assert attention[1] / attention[0] == pytest.approx(2.0, rel=1e-3)


def test_what_a_gated_delta_layer_keeps_by_hand() -> None:
    """Convolution inputs, repeated queries and keys, values, fp32 gates, inverses of chunks, the output's gate [B a token]."""
    section = sections_of(QWEN, "delta")["attention_core"]
    per_head = 2 * (2 * 128 + 128) + 4 * 2 + 2 * 64 + 2 * 128
    assert section.saved_bytes() / 8192 == pytest.approx(2 * 8192 + 32 * per_head)


def test_an_output_gate_widens_the_query_projection() -> None:
    """Qwen3-Next's attention: 16 heads of 256 twice, two key-value heads; the gate passes memory once more and is kept."""
    model = workloads.load(QWEN)
    shape = shape_of(model, "gqa")
    found = layer_sections(model, shape, Shard(tokens=4096.0, sequence_length=4096.0, expert_tokens=40960.0, local_experts=512.0))
    (qkv,) = [op for op in found["attention_in"].forward if op.name == "qkv"]
    assert (qkv.k, qkv.n) == (2048, 2 * 16 * 256 + 2 * 2 * 256)
    assert {"output_gate", "gated_output"} <= {tensor.name for tensor in found["attention_core"].saved}


def plan_of(name: str, **plan: Any) -> None:
    resolve(Plan.model_validate(plan), Training(sequence_length=8192, global_batch=512), workloads.load(name), 64)


def test_what_is_not_simulated_is_refused() -> None:
    with pytest.raises(NotModelled, match="by a ring is not simulated for layers that keep a state"):
        plan_of(QWEN, cp=2)
    with pytest.raises(PlanError, match=r"must divide the 1 key heads or groups .* Set tp and cp to 1"):
        plan_of("granite-4-h-small", tp=2)
    with pytest.raises(PlanError, match=r"must divide the 8 key heads or groups .* \(got 16\)"):
        plan_of(LARGE, tp=2, cp=8, context_exchange="all-to-all")
    plan_of(LARGE, tp=2, cp=4, context_exchange="all-to-all")
    with pytest.raises(NotModelled, match="policies by name"):
        plan_of(LARGE, tp=8, recompute="selective", recompute_modules=["save_qkv_proj"])


STATE_SPACE = {"kind": "state-space", "heads": 8, "head_dim": 64, "state": 64}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"hybrid": {"pattern": "LX", "mixer": STATE_SPACE}}, "made of L A M"),
        ({"hybrid": {"pattern": "ME", "mixer": STATE_SPACE}}, "need moe"),
        ({"hybrid": {"pattern": "L", "mixer": STATE_SPACE | {"heads": 9, "groups": 2}}}, "multiple of groups"),
        ({"hybrid": {"pattern": "L", "mixer": {"kind": "gated-delta", "key_heads": 4, "value_heads": 6, "key_dim": 64,
                                               "value_dim": 64}}}, "multiple of key_heads"),
        ({"hybrid": {"pattern": "AL", "mixer": STATE_SPACE}, "mtp": {"depth": 1}}, "built like the last layer"),
        ({"hybrid": {"pattern": "L", "mixer": STATE_SPACE}, "parallel_block": True}, "plain residuals"),
    ],
)  # fmt: skip
def test_a_hybrid_that_cannot_be_says_why(change: dict[str, Any], rule: str) -> None:
    dense = {
        "name": "small", "layers": 4, "hidden": 512, "vocab": 1000, "ffn": {"width": 1024},
        "attention": {"kind": "gqa", "heads": 8, "kv_heads": 8, "head_dim": 64},
    }  # fmt: skip
    with pytest.raises(ModelError, match=rule):
        make(dense | change, Model)


SMALL: dict[str, dict[str, Any]] = {
    "gated delta and experts over boxes": {
        "cluster": {"system": "dgx-h100", "chips": 16}, "model": {"preset": QWEN, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 32, "precision": "fp8"}, "plan": {"pp": 2, "ep": 8, "tp": 2},
    },
    "single sublayers of a state space in stages": {
        "cluster": {"system": "atlas-950-superpod-8192", "chips": 64}, "model": {"preset": NANO, "layers": 12},
        "training": {"sequence_length": 8192, "global_batch": 128},
        "plan": {"pp": 4, "ep": 16, "schedule": "dualpipe", "recompute": "full"},
    },
    "heads of states and of attention exchanged": {
        "cluster": {"system": "dgx-h100", "chips": 16}, "model": {"preset": NANO, "layers": 10},
        "training": {"sequence_length": 65536, "global_batch": 4},
        "plan": {"ep": 8, "cp": 4, "context_exchange": "all-to-all", "recompute": "full"},
    },
    "delta by channel beside latent attention": {
        "cluster": {"system": "cloudmatrix384", "chips": 16}, "model": {"preset": KIMI, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 32}, "plan": {"pp": 2, "ep": 8, "zero": 1},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_steps_of_hybrids_keep_their_books_and_fold_exactly(name: str) -> None:
    """Identities hold (they are checked on every run), and all ranks one by one answer the same."""
    scenario = make({"name": name, **SMALL[name]}, Scenario)
    folded, unfolded = simulate(scenario), simulate(scenario, symmetric=False)
    assert folded.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    assert folded.step_time_s >= max(folded.bounds.compute_s, folded.bounds.memory_s, folded.bounds.network_s)


@pytest.mark.parametrize(
    ("system", "domain", "plan", "micro_batch", "seconds", "within"),
    [("gb200-nvl72", 64, {"tp": 4}, 2, 5.310, 0.12), ("dgx-h100", None, {"tp": 8}, 1, 11.874, 0.12)],
)
def test_nemotron_h_takes_about_as_long_as_it_was_measured(
    system: str, domain: int | None, plan: dict[str, int], micro_batch: int, seconds: float, within: float
) -> None:
    """56B in FP8 on 128 chips, 384 sequences of 8,192: nothing was fitted on a model with a state.

    Source: NVIDIA DGX Cloud Benchmarking recipes, Nemotron-H pre-training, examples of measured steps,
    https://github.com/NVIDIA/dgxc-benchmarking (the 128 GB200 of one release, the 128 H100 of an earlier one).
    """
    asked = {
        "cluster": {"system": system, "chips": 128, "chips_per_domain": domain}, "model": LARGE,
        "training": {"sequence_length": 8192, "global_batch": 384, "precision": "fp8", "micro_batch": micro_batch},
        "plan": plan, "assumptions": "megatron-bridge",
    }  # fmt: skip
    assert simulate(make(asked, Scenario)).step_time_s == pytest.approx(seconds, rel=within)
