"""What a configuration leaves out takes the default of its class in transformers, or must be said where codes disagree.

Source: the configuration classes of transformers 5.23.0 (src/transformers/models/*/configuration_*.py), read one by one for every
family that has one there. DeepSeek-V3's own code (configuration_deepseek.py on its repository) has other defaults than they.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from simulator.spec.document import Document
from simulator.spec.errors import ModelError
from workloads.importers.hugging_face import ImportedModel, import_document

_SPEC = importlib.util.spec_from_file_location("configurations", Path(__file__).with_name("configurations.py"))
assert _SPEC and _SPEC.loader
published: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(published)
V3 = published.PRESETS["deepseek-v3"]

PLAIN = {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 4, "num_attention_heads": 32, "vocab_size": 1000}
SPARSE = PLAIN | {"moe_intermediate_size": 1024, "num_experts_per_tok": 4}


def _import(config: dict[str, Any]) -> ImportedModel:
    return import_document(Document(data=config))


@pytest.mark.parametrize(
    ("kind", "config", "kv_heads", "head_dim"),
    [
        ("ministral3", PLAIN, 8, 128),
        ("mistral", PLAIN, 8, 96),
        ("minimax_m2", PLAIN | {"num_local_experts": 8, "num_experts_per_tok": 2}, 8, 128),
        ("seed_oss", PLAIN, 8, 128),
        ("stablelm", PLAIN, 32, 96),
        ("ernie4_5", PLAIN | {"num_key_value_heads": 2}, 2, 128),
        ("smollm3", PLAIN, 4, 96),
        ("glm4", PLAIN, 2, 128),
        ("gpt_oss", PLAIN | {"num_local_experts": 8, "num_experts_per_tok": 2, "layer_types": ["full_attention"] * 4}, 8, 64),
        ("qwen3_next", SPARSE | {"num_experts": 8, "num_key_value_heads": 2}, 2, 256),
    ],
)
def test_heads_left_out(kind: str, config: dict[str, Any], kv_heads: int, head_dim: int) -> None:
    imported = _import({"model_type": kind, **config})
    attention: Any = imported.model.attention
    assert (attention.kv_heads, attention.head_dim) == (kv_heads, head_dim)


@pytest.mark.parametrize(
    ("kind", "config", "dense", "shared"),
    [
        ("glm4_moe", SPARSE | {"n_routed_experts": 8}, 1, 1),
        (
            "ernie4_5_moe",
            PLAIN | {"moe_intermediate_size": 512, "moe_num_experts": 8, "moe_k": 2, "num_key_value_heads": 4},
            1,
            2,
        ),
        ("dots1", SPARSE | {"n_routed_experts": 8}, 0, 0),
        ("qwen3_moe", SPARSE | {"num_experts": 8, "num_key_value_heads": 4}, 0, 0),
    ],
)
def test_dense_layers_and_shared_experts_left_out(kind: str, config: dict[str, Any], dense: int, shared: int) -> None:
    moe = _import({"model_type": kind, **config}).model.moe
    assert moe is not None and (moe.first_dense, moe.shared_experts) == (dense, shared)


@pytest.mark.parametrize(("kind", "side_by_side"), [("gpt_neox", True), ("falcon", True), ("stablelm", False)])
def test_attention_beside_the_ffn_left_out(kind: str, side_by_side: bool) -> None:
    """GPT-NeoX-20B's file does not say that its sublayers run side by side; its class does."""
    assert _import({"model_type": kind, **PLAIN}).model.parallel_block is side_by_side


@pytest.mark.parametrize("key", ["first_k_dense_replace", "n_shared_experts"])
def test_what_codes_fill_differently_must_be_said(key: str) -> None:
    """3 and 1 in transformers, 0 and none in the code beside DeepSeek-V3's weights."""
    with pytest.raises(ModelError, match=f"{key} is missing, and this kind of model has no default"):
        _import({name: value for name, value in V3.items() if name != key})


def test_kimi_linear_as_transformers_writes_it() -> None:
    """Words for layers, and the mixer's sizes beside the other keys."""
    config = SPARSE | {
        "model_type": "kimi_linear", "num_key_value_heads": 32, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "num_local_experts": 8, "n_shared_experts": 1,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "linear_num_heads": 16, "linear_head_dim": 64,
    }  # fmt: skip
    model = _import(config).model
    assert [(shape.attention, shape.moe) for shape in model.layer_shapes()] == [
        ("delta", False), ("delta", True), ("delta", True), ("mla", True),
    ]  # fmt: skip
    assert model.hybrid is not None
    mixer: Any = model.hybrid.mixer
    assert (mixer.value_heads, mixer.value_dim, mixer.conv_width, mixer.decay) == (16, 64, 4, "channel")
