"""Sections: what ranks execute adds up to the model, and bytes and saved tensors follow by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

import workloads
from simulator.spec.errors import PlanError
from workloads.accounting import (
    POLICY_PATHS,
    RECOMPUTE_MODULES,
    SECTION_ORDER,
    Section,
    Shard,
    embedding_section,
    forward_flops_per_token,
    head_section,
    layer_flops,
    layer_input_bytes,
    layer_sections,
    mtp_sections,
)
from workloads.accounting.precision import ELEMENT_BYTES
from workloads.instructions import Kernel, Operator, Phase
from workloads.loading import model_presets
from workloads.model import LayerShape, Model

FAMILIES = ["deepseek-v4-pro", "deepseek-v3", "deepseek-v3.2", "glm-5.2", "llama3.1-405b", "gpt-oss-120b", "qwen2-57b-a14b",
            "gemma4-26b", "bloom-176b", "olmo2-32b", "llama4-maverick"]  # fmt: skip

# Key-value heads where they are fewer than the tp of a case below.
FEWEST_HEADS = {"qwen2-57b-a14b": 4, "gemma4-26b": 2}


def balanced(model: Model, **changes: object) -> Shard:
    """A shard of 8192 tokens with a balanced router."""
    shard = Shard(tokens=8192.0, sequence_length=4096.0)
    shard = replace(shard, **changes)  # type: ignore[arg-type]  # a test's own keywords
    if model.moe is not None:
        copies = shard.tokens * model.moe.top_k * shard.etp / shard.tp
        shard = replace(shard, expert_tokens=copies, local_experts=model.moe.experts / shard.ep)
    return shard


def flops(sections: dict[str, Section]) -> float:
    return sum(operator.flops * operator.counted for section in sections.values() for operator in section.forward)


def by_name(section: Section) -> dict[str, Operator]:
    return {operator.name: operator for operator in (*section.forward, *section.backward_input, *section.backward_weight)}


def llama(**changes: object) -> tuple[Model, LayerShape, Shard]:
    model = workloads.load("llama3.1-405b")
    return model, model.layer(0), balanced(model, **changes)


@pytest.mark.parametrize("name", model_presets())
def test_operators_add_up_to_the_model(name: str) -> None:
    """Over all layers, ends and prediction blocks, operators' FLOPs a token are those the model asks for."""
    model = workloads.load(name)
    shard = balanced(model)
    shapes = model.layer_shapes()
    total = sum(shapes.count(shape) * flops(layer_sections(model, shape, shard)) for shape in set(shapes))
    total += flops({"embedding": embedding_section(model, shard), "head": head_section(model, shard)})
    for _ in range(model.mtp.depth):
        total += flops(mtp_sections(model, shard)) + flops(layer_sections(model, model.mtp_layer(), shard))
    expected = shard.tokens * sum(forward_flops_per_token(model, shard.sequence_length).values())
    assert total == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"tp": 2},
        {"tp": 8, "cp": 2, "etp": 4},
        {"tp": 4, "ep": 8, "precision": "fp8", "dispatch_precision": "fp8"},
        {"cp": 4, "precision": "mxfp4"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", FAMILIES)
def test_shards_add_up_to_the_whole(name: str, changes: dict[str, object]) -> None:
    """A tensor-parallel group executes the layer's FLOPs exactly once under sequence parallelism."""
    model = workloads.load(name)
    if name in FEWEST_HEADS and "tp" in changes:
        changes = changes | {"tp": FEWEST_HEADS[name]}
    shard = balanced(model, **changes)
    for shape in set(model.layer_shapes()):
        expected = shard.tokens * sum(layer_flops(model, shape, shard.sequence_length).values())
        assert shard.tp * flops(layer_sections(model, shape, shard)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_backward_is_twice_forward(name: str) -> None:
    """Gradients of inputs and of weights take the forward FLOPs each; of attention cores, twice in one pass."""
    model = workloads.load(name)
    shard = balanced(model)
    for shape in set(model.layer_shapes()):
        for section in layer_sections(model, shape, shard).values():
            backward = sum(operator.flops for operator in section.backward_input + section.backward_weight)
            assert backward == pytest.approx(2 * sum(operator.flops for operator in section.forward), rel=1e-12)


def test_without_sequence_parallelism_replicated_work_is_repeated() -> None:
    """Routers and latent down-projections run on all tokens of every rank when the tokens are not cut."""
    model = workloads.load("deepseek-v3")
    shape = model.layer(5)
    cut = flops(layer_sections(model, shape, balanced(model, tp=4)))
    whole = flops(layer_sections(model, shape, balanced(model, tp=4, sequence_parallel=False)))
    replicated = 2 * 7168 * (1536 + 576 + 256)
    assert whole - cut == pytest.approx(8192 * replicated * 3 / 4, rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_sections_come_in_order_and_say_their_phase(name: str) -> None:
    """Names, order, phases and recompute paths are those that are published."""
    model = workloads.load(name)
    for shape in set(model.layer_shapes()):
        sections = layer_sections(model, shape, balanced(model))
        assert list(sections) == [key for key in SECTION_ORDER if key in sections]
        for key, section in sections.items():
            assert section.name == key
            assert {operator.phase for operator in section.forward} == {Phase.FORWARD}
            assert {operator.phase for operator in section.backward_input} <= {Phase.BACKWARD_INPUT}
            assert {operator.phase for operator in section.backward_weight} <= {Phase.BACKWARD_WEIGHT}
            paths = [*section.modules, *(tensor.module for tensor in section.saved)]
            assert {part for path in paths if path for part in path.split("/")} <= {*RECOMPUTE_MODULES, *POLICY_PATHS}
            assert all(operator.bytes_moved > 0 for operator in section.forward)


def test_gemm_bytes_by_hand() -> None:
    """One product in bf16: inputs and output once; its weight gradient reads and writes fp32."""
    model, shape, shard = llama(tp=8)
    section = layer_sections(model, shape, shard)["dense_ffn"]
    operators = by_name(section)
    rows, hidden, width = 8192, 16384, 53248 / 8
    up = operators["dense_up"]
    assert (up.m, up.n, up.k, up.kernel) == (rows, 2 * width, hidden, Kernel.GEMM)
    assert up.flops == 2 * rows * 2 * width * hidden
    assert up.bytes_moved == 2 * (rows * hidden + hidden * 2 * width + rows * 2 * width)
    gradient = operators["dense_up_wgrad"]
    assert (gradient.m, gradient.n, gradient.k) == (hidden, 2 * width, rows)
    assert gradient.bytes_moved == 2 * rows * (hidden + 2 * width) + 8 * hidden * 2 * width


def test_fp8_halves_inputs_and_adds_casts() -> None:
    """In fp8 a product reads one byte an element and its scale, writes bf16, and casts are operators of their own."""
    model, shape, shard = llama(precision="fp8")
    operators = by_name(layer_sections(model, shape, shard)["dense_ffn"])
    element = ELEMENT_BYTES["fp8"]
    rows, hidden, width = 8192, 16384, 53248
    down = operators["dense_down"]
    assert down.precision == "fp8"
    assert down.bytes_moved == pytest.approx(element * (rows * width + width * hidden) + 2 * rows * hidden)
    cast = operators["dense_down_cast"]
    assert (cast.kernel, cast.flops) == (Kernel.MEMORY, 0.0)
    assert cast.bytes_moved == pytest.approx(rows * width * (2 + 2 * element))
    gradients = layer_sections(model, shape, shard)["dense_ffn"].backward_input
    names = [operator.name for operator in gradients]
    assert names.index("dense_down_gradient_cast") < names.index("dense_down_dgrad") < names.index("dense_up_dgrad")


def test_attention_core_stays_in_16_bits() -> None:
    """The attention kernel of an fp8 run computes in bf16, a router too; an indexer's scores in eight bits."""
    model = workloads.load("deepseek-v4-pro")
    sections = layer_sections(model, model.layer(4), balanced(model, precision="nvfp4"))
    assert by_name(sections["attention_core"])["attention"].precision == "bf16"
    assert by_name(sections["router"])["router"].precision == "bf16"
    assert by_name(sections["attention_in"])["indexer_scores"].precision == "fp8"
    assert by_name(sections["experts"])["expert_up"].precision == "nvfp4"


def test_saved_tensors_of_a_plain_transformer() -> None:
    """A GPT layer keeps 32 bytes a token and hidden element: the known 34 less two dropout masks, with a flash kernel.

    Source: Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198, section 4.
    """
    model = workloads.load("megatron-22b")
    for tp, sequence_parallel, expected in ((1, True, 32.0), (8, True, 4.0), (8, False, 8 + 24 / 8)):
        shard = balanced(model, tp=tp, sequence_parallel=sequence_parallel)
        saved = sum(section.saved_bytes() for section in layer_sections(model, model.layer(0), shard).values())
        log_sum_exp = 4 * shard.tokens * 64 / tp
        assert (saved - log_sum_exp) / (shard.tokens * 6144) == pytest.approx(expected)


def test_recompute_drops_what_it_makes_again() -> None:
    """Recomputing the FFN drops its inner tensors and runs its forward again; the activation alone drops its output."""
    model = workloads.load("megatron-22b")
    section = layer_sections(model, model.layer(0), balanced(model))["dense_ffn"]
    unit = 8192 * 6144.0
    assert section.saved_bytes() == 16 * unit
    assert section.saved_bytes({"mlp_act"}) == 8 * unit
    assert section.saved_bytes({"mlp"}) == 0
    assert [operator.name for operator in section.recompute({"mlp_act"})] == ["dense_up_activation"]
    again = section.recompute({"mlp"})
    assert {operator.phase for operator in again} == {Phase.RECOMPUTE}
    assert sum(operator.flops for operator in again) == sum(operator.flops for operator in section.forward)


@pytest.mark.parametrize("module", RECOMPUTE_MODULES)
def test_every_module_frees_memory_somewhere(module: str) -> None:
    """No recompute module is an empty word."""
    freed = 0.0
    for name in ("deepseek-v4-pro", "llama3.1-405b"):
        model = workloads.load(name)
        for shape in set(model.layer_shapes()):
            for section in layer_sections(model, shape, balanced(model, precision="fp8")).values():
                freed += section.saved_bytes() - section.saved_bytes({module})
    assert freed > 0


def test_full_recompute_keeps_all_streams() -> None:
    """A layer's input is four streams wide under hyper-connections."""
    model = workloads.load("deepseek-v4-pro")
    assert layer_input_bytes(model, balanced(model)) == 8192 * 4 * 7168 * 2


def test_exchanges_of_tensor_and_context_parallelism() -> None:
    """Hidden states are gathered and reduced across tp, keys and values across cp; alone a rank exchanges nothing."""
    model, shape, shard = llama(tp=8, cp=2)
    sections = layer_sections(model, shape, shard)
    hidden = shard.tokens * 16384 * 2
    assert sections["attention_in"].gather_bytes == sections["attention_out"].reduce_bytes == hidden
    assert sections["dense_ffn"].gather_bytes == sections["dense_ffn"].reduce_bytes == hidden
    assert sections["attention_core"].context_bytes == 2 * shard.tokens * 2 * 128 * 2  # one key-value head a rank
    alone = layer_sections(model, shape, balanced(model))
    assert all(s.gather_bytes == s.reduce_bytes == s.context_bytes == 0 for s in alone.values())


def test_latents_are_gathered_instead_of_hidden_states() -> None:
    """MLA under tp gathers its latents, 1536 + 576 wide, not 7168."""
    model = workloads.load("deepseek-v3")
    shard = balanced(model, tp=4)
    assert layer_sections(model, model.layer(5), shard)["attention_in"].gather_bytes == shard.tokens * (1536 + 576) * 2


def test_parallel_block_adds_once() -> None:
    """A parallel block has one norm and one residual addition."""
    model = workloads.load({"preset": "megascale-175b", "parallel_block": True})
    sections = layer_sections(model, model.layer(0), balanced(model))
    names = [operator.name for section in sections.values() for operator in section.forward]
    assert names.count("attention_norm") == 1
    assert "ffn_norm" not in names
    assert [name for name in names if name.endswith("residual")] == ["ffn_residual"]


def test_heads_that_tp_cannot_cut_are_refused() -> None:
    """tp 16 over 8 key-value heads is refused with the field and a remedy."""
    model, shape, shard = llama(tp=16)
    with pytest.raises(PlanError, match=r"plan\.tp: tp must divide the 8 kv_heads"):
        layer_sections(model, shape, shard)


def test_fused_casts_take_no_time_but_those_of_experts_whose_kernels_stand_alone() -> None:
    """Dense operands are cast on their way; those of grouped products are passes still, and products stay what they are."""
    model = workloads.load("qwen3-235b-a22b")
    passes, fused = (
        layer_sections(model, model.layer(0), balanced(model, precision="fp8", fused_casts=on)) for on in (False, True)
    )
    before, after = ({n: o for section in found.values() for n, o in by_name(section).items()} for found in (passes, fused))
    assert before.keys() == after.keys()
    casts = {name for name in before if name.endswith("_cast")}
    moved = {name for name in casts if after[name].bytes_moved > 0}
    assert moved == {name for name in casts if before[name].component == "routed_experts"}
    assert moved and moved != casts
    assert all(after[name] == before[name] for name in before.keys() - casts)


def test_biases_picked_by_row_are_written_and_read_once_a_row_each_way() -> None:
    """gpt-oss: two products, biases of 5,760 and 2,880 elements a row; backward sums them by index; the grouped pass is gone."""
    model = workloads.load("gpt-oss-120b")
    shard = balanced(model, bias_by_row=True)
    found = by_name(layer_sections(model, model.layer(0), shard)["experts"])
    for name, elements in (("expert_up", 5760), ("expert_down", 2880)):
        assert found[f"{name}_bias_rows"].bytes_moved == 2 * 2 * shard.expert_tokens * elements
        assert found[f"{name}_bias_rows_wgrad"].bytes_moved == 2 * shard.expert_tokens * elements
        assert found[f"{name}_bias_rows"].component == "permutation"
    assert "expert_down_bias" not in found
