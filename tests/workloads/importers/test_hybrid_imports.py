"""Hugging Face configurations of models with layers that keep a state."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import workloads
from simulator.spec.document import Document
from simulator.spec.errors import ModelError
from simulator.spec.strict_yaml import write_yaml
from workloads.accounting import active_parameters, parameters, total_flops_per_token, total_parameters
from workloads.importers.hugging_face import import_document
from workloads.model import Model

_SPEC = importlib.util.spec_from_file_location("hybrids", Path(__file__).with_name("hybrids.py"))
assert _SPEC and _SPEC.loader
published: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(published)
NANO, GRANITE, KIMI, QWEN = (
    published.CONFIGURATIONS[name]
    for name in ("nemotron-3-nano-30b-a3b", "granite-4-h-small", "kimi-linear-48b-a3b", "qwen3-next-80b-a3b")
)


def imported(config: dict[str, Any]) -> Model:
    return import_document(Document(data=config)).model


@pytest.mark.parametrize("name", published.CONFIGURATIONS)
def test_a_published_hybrid_is_our_preset(name: str) -> None:
    """The same parameters by component, the same layers in the same order, the same FLOPs."""
    found, preset = imported(published.CONFIGURATIONS[name]), workloads.load(name)
    assert parameters(found) == parameters(preset)
    assert found.layer_shapes() == preset.layer_shapes()
    assert found.hybrid is not None and preset.hybrid is not None and found.hybrid.mixer == preset.hybrid.mixer
    assert total_flops_per_token(found, 8192) == total_flops_per_token(preset, 8192)


def test_qwen3_5_is_read_inside_a_model_that_sees() -> None:
    """35B-A3B: its name within a percent, 3B active, ten of forty layers attend with a gated output."""
    model = imported(published.QWEN3_5)
    assert total_parameters(model) == pytest.approx(35e9, rel=0.01)
    assert active_parameters(model) == pytest.approx(3e9, rel=0.1)
    assert sum(shape.attention == "gqa" for shape in model.layer_shapes()) == 10


def test_nemotron_s_layers_by_name_are_its_letters() -> None:
    """Newer files list words where older ones have a string."""
    words = {"M": "linear_attention", "E": "moe", "*": "full_attention"}
    listed = {**NANO, "layers_block_type": [words[letter] for letter in NANO["hybrid_override_pattern"]]}
    del listed["hybrid_override_pattern"]
    assert imported(listed).layer_shapes() == imported(NANO).layer_shapes()


def test_a_granite_without_experts_has_its_shared_ffn_alone() -> None:
    """num_local_experts 0: the FFN that would be shared is every layer's."""
    dense = imported({**GRANITE, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 8192})
    assert dense.moe is None and dense.ffn is not None and dense.ffn.width == 8192
    turned = imported({**GRANITE, "position_embedding_type": "rope"})
    assert turned.attention.rope and not imported(GRANITE).attention.rope  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("config", "change", "rule"),
    [
        (NANO, {"hybrid_override_pattern": "ME*"}, "must name all 52 layers"),
        (NANO, {"hybrid_override_pattern": "X" * 52}, "by M, \\*, - and E"),
        (NANO, {"moe_latent_size": 1024}, "latent width are not simulated"),
        (NANO, {"num_nextn_predict_layers": 1}, "prediction blocks of this kind"),
        (KIMI, {"linear_attn_config": KIMI["linear_attn_config"] | {"use_full_rank_gate": True}}, "others are not simulated"),
        (KIMI, {"linear_attn_config": KIMI["linear_attn_config"] | {"kda_layers": [1]}}, "share out layers 1 to 27"),
        (KIMI, {"routed_expert_hidden_size": 1024}, "only none is simulated"),
        (QWEN, {"layer_types": ["linear_attention"] * 47}, "must name all 48 layers"),
        (QWEN, {"layer_types": ["sliding_attention"] * 48}, "kind sliding_attention is not simulated"),
        (GRANITE, {"normalization_function": "layernorm"}, "only rmsnorm is simulated"),
    ],
)
def test_what_a_hybrid_has_besides_is_refused(config: dict[str, Any], change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        imported({**config, **change})


def test_an_imported_hybrid_reads_back_from_its_file(tmp_path: Path) -> None:
    for config in (QWEN, NANO, KIMI):
        found = import_document(Document(data=config))
        path = tmp_path / "model.yaml"
        path.write_text(write_yaml(found.document))
        assert workloads.load(path) == found.model
