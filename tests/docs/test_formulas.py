"""docs/formulas.md evaluated: every expression in its tables is what the operators of real models cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workloads
from workloads.accounting import Shard, embedding_section, head_section, layer_sections, mtp_sections
from workloads.attention_kinds import CompressedAttention, GroupedQueryAttention, LatentAttention
from workloads.instructions import Kernel, Operator, Phase
from workloads.model import LayerShape, Model
from workloads.state_kinds import GatedDelta, Hybrid, StateSpace

TEXT = (Path(__file__).parents[2] / "docs" / "formulas.md").read_text(encoding="utf-8")
MODELS = (
    "llama3.1-8b", "qwen3-8b", "bloom-176b", "gemma3-12b", "mixtral-8x7b", "gpt-oss-20b", "qwen2-57b-a14b", "moonlight-16b-a3b",
    "deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "deepseek-v4-pro", "qwen3-next-80b-a3b", "kimi-linear-48b-a3b",
    "nemotron-3-nano-30b-a3b", "nemotron-h-56b",
)  # fmt: skip
TOKENS = 4096
#: Operators that the document describes in words, and whose costs other tests hold.
IN_WORDS = re.compile(
    r"attention|scan_.*_backward|scan_.*_again|indexer_scores|indexer_selection|.*fill_streams|head_m.*|embedding_positions.*|ffn_mixing|.*cast|.*columns"
)
ROWS = re.compile(r"^\| ((?:`\w+`(?: \(\w+\))?(?:, )?)+) \| `([^`]+)` \|(?: `([^`]+)` \|)?", re.MULTILINE)


def _formulas() -> dict[tuple[str, str], tuple[str, str | None]]:
    """(operator, remark) -> its expressions."""
    found = {}
    for names, forward, backward in ROWS.findall(TEXT):
        for name, remark in re.findall(r"`(\w+)`(?: \((\w+)\))?", names):
            found[name, remark] = (forward, backward or None)
    return found


FORMULAS = _formulas()


def _symbols(model: Model) -> dict[str, Any]:
    values: dict[str, Any] = {"T": TOKENS, "h": model.hidden, "n": model.streams, "V": model.vocab}
    if model.ffn is not None:
        values |= {"w": model.ffn.width, "f": 2 if model.ffn.gated else 1}
    if model.moe is not None:
        moe = model.moe
        values |= {"W": moe.width, "E": moe.experts, "k": moe.top_k, "S": moe.shared_total_width, "f": 2 if moe.gated else 1}
    match model.attention:
        case GroupedQueryAttention() as a:
            values |= {"H": a.heads, "g": a.kv_heads, "d": a.head_dim, "o": int(a.output_gate)}
        case LatentAttention() as a:
            values |= {
                "H": a.heads,
                "q": a.q_lora_rank,
                "c": a.kv_lora_rank,
                "p": a.qk_nope_dim,
                "r": a.qk_rope_dim,
                "v": a.v_head_dim,
            }
        case CompressedAttention() as a:
            values |= {
                "H": a.heads,
                "d": a.head_dim,
                "q": a.q_lora_rank,
                "r": a.rope_dim,
                "G": a.output_groups,
                "R": a.output_rank,
            }
            values |= {"a": a.csa_ratio, "b": a.hca_ratio}
    if model.hybrid is not None:
        values |= _state_symbols(model.hybrid)
    indexer = getattr(model.attention, "indexer", None)
    if indexer is not None:
        values |= {"I": indexer.heads, "i": indexer.head_dim, "x": values["q"]}
    return values


def _state_symbols(hybrid: Hybrid) -> dict[str, Any]:
    match hybrid.mixer:
        case GatedDelta() as m:
            decays = m.key_dim if m.decay == "channel" else 1
            return {
                "K": m.key_dim, "U": m.value_dim, "N": m.value_heads, "y": m.key_heads, "C": m.chunk, "z": m.gate_rank,
                "D": decays,
            }  # fmt: skip
        case StateSpace() as m:
            return {"K": m.state, "U": m.head_dim, "N": m.heads, "y": m.groups, "C": m.chunk}


def _operators(model: Model) -> Iterator[tuple[LayerShape | None, Operator]]:
    moe = model.moe
    rows = float(TOKENS * moe.top_k) if moe else 0.0
    shard = Shard(
        tokens=float(TOKENS), sequence_length=TOKENS, cp=1, tp=1, sequence_parallel=False, ep=1, etp=1, precision="bf16",
        expert_tokens=rows, local_experts=float(moe.experts) if moe else 0.0, copies_first=True, pads_experts=True,
    )  # fmt: skip
    for shape in dict.fromkeys(model.layer_shapes()):
        for section in layer_sections(model, shape, shard).values():
            yield from ((shape, op) for op in (*section.forward, *section.backward_input))
    ends = [embedding_section(model, shard), head_section(model, shard)]
    ends += mtp_sections(model, shard).values() if model.mtp.depth else []
    for section in ends:
        yield from ((None, op) for op in (*section.forward, *section.backward_input))
        yield from ((None, op) for op in section.backward_weight if op.kernel is Kernel.MEMORY)


def _formula(model: Model, shape: LayerShape | None, name: str) -> tuple[str, str | None] | None:
    kind = {"mla": "latent", "compressed": "compressed"}.get(model.attention.kind, "")
    for remark in (shape.attention if shape else "", kind, ""):
        if (name, remark) in FORMULAS:
            return FORMULAS[name, remark]
    return None


@pytest.mark.parametrize("name", MODELS)
def test_every_operator_costs_what_the_document_says(name: str) -> None:
    """Products by their FLOPs, the rest by their bytes, forward and backward; nothing is missing from the tables."""
    model = workloads.load(name)
    symbols = _symbols(model)
    seen = 0
    for shape, op in _operators(model):
        base = op.name if op.name.startswith("scan_") else re.sub(r"_(dgrad|wgrad|backward)$", "", op.name)
        if IN_WORDS.fullmatch(base):
            continue
        found = _formula(model, shape, base)
        assert found is not None, f"{op.name} has no row in docs/formulas.md"
        rows = symbols["T"] * (model.moe.top_k if model.moe and base in ROUTED else 1)
        values = dict(symbols)
        if base in ("q_up", "latent_norms") and not symbols.get("q"):
            values["q"] = model.hidden if base == "q_up" else 0
        forward, backward = found
        if op.kernel is not Kernel.MEMORY:
            assert op.flops == pytest.approx(2 * rows * eval(forward, {}, values)), op.name
            if base.startswith("scan_"):
                assert op.bytes_moved == pytest.approx(rows * eval(str(backward), {}, values)), op.name
        else:
            text = forward if op.phase is Phase.FORWARD else str(backward)
            more = 2 * model.hidden if base.endswith("residual") and _two_outputs(model, shape, base) else 0
            assert op.bytes_moved == pytest.approx(rows * (eval(text, {}, values) + more)), op.name
        seen += 1
    assert seen > 20


ROUTED = (
    *("expert_up", "expert_down", "expert_up_activation", "expert_down_bias"),
    *("permute", "unpermute", "expert_padding", "expert_unpadding"),
)


def _two_outputs(model: Model, shape: LayerShape | None, name: str) -> bool:
    shared = model.moe is not None and model.moe.shared_experts > 0 and shape is not None and shape.moe
    return name == "ffn_residual" and (shared or model.parallel_block)


def test_no_row_is_about_an_operator_that_no_model_has() -> None:
    """Every name in the tables is met in one of the models."""
    met = {re.sub(r"_(dgrad|wgrad|backward)$", "", op.name) for name in MODELS for _, op in _operators(workloads.load(name))}
    assert {name for name, _ in FORMULAS} <= met
