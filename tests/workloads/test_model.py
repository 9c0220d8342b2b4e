"""Models from files and mappings: layer shapes, overrides, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import workloads
from simulator.spec.errors import InputError, MissingPreset, ModelError
from workloads.loading import model_presets
from workloads.model import LayerShape

TINY: dict[str, Any] = {
    "name": "tiny",
    "layers": 4,
    "hidden": 64,
    "vocab": 128,
    "attention": {"kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 16},
    "ffn": {"width": 256},
}


def test_v4_layer_kinds() -> None:
    """V4-Pro alternates 30 CSA and 31 HCA layers, Flash begins with two sliding-window layers; prediction is windowed."""
    pro, flash = workloads.load("deepseek-v4-pro"), workloads.load("deepseek-v4-flash")
    assert Counter(shape.attention for shape in pro.layer_shapes()) == {"csa": 30, "hca": 31}
    assert Counter(shape.attention for shape in flash.layer_shapes()) == {"csa": 21, "hca": 20, "swa": 2}
    assert pro.mtp_layer() == LayerShape("swa", moe=True, mtp=True)
    assert pro.residual_width == 4 * 7168


def test_equal_layers_share_a_shape() -> None:
    """126 layers of Llama are one shape; V3 has two, V4-Pro four (hash-routed or not, CSA or HCA)."""
    assert len(set(workloads.load("llama3.1-405b").layer_shapes())) == 1
    assert len(set(workloads.load("deepseek-v3").layer_shapes())) == 2
    assert len(set(workloads.load("deepseek-v4-pro").layer_shapes())) == 4


def test_dense_and_sparse_layers() -> None:
    """V3 begins with three dense layers; every second layer of Maverick is sparse."""
    assert [s.moe for s in workloads.load("deepseek-v3").layer_shapes()] == [False] * 3 + [True] * 58
    assert [s.moe for s in workloads.load("llama4-maverick").layer_shapes()][:4] == [False, True, False, True]
    assert workloads.load("deepseek-v3").has_experts
    assert not workloads.load("llama3.1-8b").has_experts


def test_window_patterns() -> None:
    """Gemma 3 sees 1024 tokens in five of six layers."""
    windows = [shape.window for shape in workloads.load("gemma3-12b").layer_shapes()]
    assert windows[:7] == [1024] * 5 + [0, 1024]


def test_shared_indexers() -> None:
    """GLM-5.2 selects keys in 21 of its layers and reuses the choice in the others."""
    kinds = Counter(shape.indexer for shape in workloads.load("glm-5.2").layer_shapes())
    assert kinds == {"own": 21, "shared": 57}


def test_changes_to_a_preset() -> None:
    """A mapping keeps the preset and changes what it names, nested fields and paths included."""
    model = workloads.load({"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0, "moe": {"top_k": 4}, "attention.heads": 64})
    assert (model.layers, model.mtp.depth, model.moe and model.moe.top_k, model.attention.heads) == (4, 0, 4, 64)
    assert model.moe is not None
    assert model.moe.experts == 256
    assert [shape.moe for shape in model.layer_shapes()] == [False, False, False, True]


def test_another_kind_of_attention_replaces_the_old() -> None:
    """Fields of latent attention do not linger in grouped-query attention."""
    attention = {"kind": "gqa", "heads": 128, "kv_heads": 8, "head_dim": 128}
    model = workloads.load({"preset": "deepseek-v3", "attention": attention})
    assert model.layer(0).attention == "gqa"


def test_sliding_window_applies_to_every_layer() -> None:
    """The short word replaces a preset's own pattern."""
    model = workloads.load({"preset": "gpt-oss-120b", "sliding_window": 256})
    assert {shape.window for shape in model.layer_shapes()} == {256}


def test_a_whole_model_as_mapping_and_file(tmp_path: Path) -> None:
    """A mapping without preset is a whole model, and a file says the same."""
    assert workloads.load(TINY).hidden == 64
    path = tmp_path / "tiny.yaml"
    path.write_text("extends: llama3.1-8b\nname: tiny\nlayers: 2\n")
    assert workloads.load(path).layers == 2


@pytest.mark.parametrize("name", model_presets())
def test_presets_name_their_sources(name: str) -> None:
    """Every preset says where its shape is from and how sure it is."""
    model = workloads.load(name)
    assert model.source
    assert set(model.source) == set(model.sources)
    assert model.confidence
    assert model.stated
    assert all(source.url.startswith("https://") for source in model.sources.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": {"kind": "gqa", "heads": 4, "kv_heads": 3, "head_dim": 16}}, "heads must be a multiple of kv_heads"),
        ({"ffn": None}, "a model with dense layers needs ffn"),
        ({"moe": {"experts": 4, "top_k": 5, "width": 8}}, "top_k cannot exceed experts"),
        ({"moe": {"experts": 8, "top_k": 3, "width": 8, "router": {"groups": 4, "top_groups": 1}}}, "must fit in the top_groups"),
        ({"ffn": {"width": 256, "gated": False}}, "a gated FFN uses swiglu"),
        ({"mtp": {"depth": 1, "attention": "swa"}}, "belongs to compressed attention"),
        ({"layers": 0}, "greater than 0"),
        ({"hiden": 3}, "unknown key hiden"),
        ({"source": ["X"]}, "must name a key of sources"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_models_are_refused(changes: dict[str, Any], message: str) -> None:
    """A contradiction is one line with the rule."""
    with pytest.raises(InputError, match=message) as caught:
        workloads.load(TINY | changes)
    assert "\n" not in str(caught.value)


def test_wrong_requests_are_refused() -> None:
    """An unknown preset, a window for latent attention, a window that is text, a layer that does not exist."""
    with pytest.raises(MissingPreset, match="deepseek-v3"):
        workloads.load("deepseek-v33")
    with pytest.raises(ModelError, match="grouped-query"):
        workloads.load({"preset": "deepseek-v3", "sliding_window": 128})
    with pytest.raises(InputError, match=r"attention\.window"):
        workloads.load({"preset": "megascale-175b", "sliding_window": "unstated"})
    with pytest.raises(ModelError, match="layer must be 0 to 60"):
        workloads.load("deepseek-v3").layer(61)
