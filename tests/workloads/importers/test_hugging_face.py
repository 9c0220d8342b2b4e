"""Hugging Face configurations: the same parameters as our presets and as published checkpoints; nothing is guessed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import workloads
from simulator.spec.document import Document
from simulator.spec.errors import InputError, ModelError, NotModelled
from simulator.spec.files import read_document
from simulator.spec.strict_yaml import write_yaml
from workloads.accounting import active_parameters, total_flops_per_token, total_parameters
from workloads.importers.families import FAMILIES
from workloads.importers.hugging_face import ImportedModel, import_config, import_document


def _beside(name: str) -> Any:
    """A module of data that stands beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published, more = _beside("configurations"), _beside("checkpoints")
LLAMA = published.PRESETS["llama3.1-8b"]
V3 = published.PRESETS["deepseek-v3"]


def _import(config: dict[str, Any], **options: Any) -> ImportedModel:
    return import_document(Document(data=config), **options)


@pytest.mark.parametrize("name", published.PRESETS)
def test_a_published_configuration_has_the_parameters_of_our_preset(name: str) -> None:
    """All parameters, and those of prediction blocks, are the preset's; where they differ, by exactly what is written down."""
    imported, preset = _import(published.PRESETS[name]).model, workloads.load(name)
    extra, _ = published.DIFFERENCES.get(name, (0, ""))
    assert total_parameters(imported) - total_parameters(preset) == extra
    assert active_parameters(imported) - active_parameters(preset) == extra
    assert total_parameters(imported, mtp=True) - total_parameters(preset, mtp=True) == extra


@pytest.mark.parametrize("name", sorted(set(published.PRESETS) - set(published.DIFFERENCES)))
def test_a_published_configuration_has_the_layers_of_our_preset(name: str) -> None:
    """Layer by layer the same shapes, so the same FLOPs at any length, windows and indexers included."""
    imported, preset = _import(published.PRESETS[name]).model, workloads.load(name)
    assert imported.layer_shapes() == preset.layer_shapes()
    for length in (2048, 131072):
        assert total_flops_per_token(imported, length) == total_flops_per_token(preset, length)


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_a_model_without_preset_has_the_parameters_of_its_checkpoint(name: str) -> None:
    """Sizes that the checkpoints' own headers state, to the last parameter."""
    parameters, config = published.PUBLISHED[name]
    assert total_parameters(_import(config).model) == parameters


@pytest.mark.parametrize("name", published.STATED)
def test_a_model_without_preset_is_as_large_as_its_publisher_says(name: str) -> None:
    """Totals within 1% of the rounded size, active parameters within 7% (publishers differ in what they count)."""
    total, active, config = published.STATED[name]
    model = _import(config).model
    assert total_parameters(model) / 1e9 == pytest.approx(total, rel=0.01)
    assert active_parameters(model) / 1e9 == pytest.approx(active, rel=0.07)


@pytest.mark.parametrize("name", more.CHECKPOINTS)
def test_a_checkpoint_has_the_parameters_of_its_files(name: str) -> None:
    """To the last one, but where the publisher rounds or counts otherwise, which is then written beside it."""
    checkpoint = more.CHECKPOINTS[name]
    assert abs(total_parameters(_import(checkpoint.config).model) - checkpoint.parameters) <= (
        checkpoint.tolerance * checkpoint.parameters
    )
    assert (checkpoint.tolerance > 0) == bool(checkpoint.why)


@pytest.mark.parametrize("name", more.REFUSED)
def test_a_model_of_other_layers_is_refused_in_one_line(name: str) -> None:
    """With the kind of layer that is not simulated, never as something similar."""
    config, reason = more.REFUSED[name]
    with pytest.raises(NotModelled, match=reason) as refusal:
        _import(config)
    assert "\n" not in str(refusal.value)


def test_every_family_that_is_known_is_tested() -> None:
    """A family without a published configuration in these tests must be named here."""
    configs = [
        *published.PRESETS.values(),
        *(c for _, c in published.PUBLISHED.values()),
        *(c for *_, c in published.STATED.values()),
        *(checkpoint.config for checkpoint in more.CHECKPOINTS.values()),
    ]
    seen = {config.get("text_config", config)["model_type"] for config in configs}
    in_another_file = {name for name, family in FAMILIES.items() if family.hybrid}  # test_hybrid_imports.py
    assert set(FAMILIES) - seen - in_another_file == {"ministral", "granitemoeshared"}


@pytest.mark.parametrize("key", ["use_qk_norm", "use_parallel_residual", "multi_query"])
def test_a_switch_that_the_family_does_not_have_is_refused_where_it_is_on(key: str) -> None:
    """Norms of queries, parallel residuals and one key-value head change a model; a family that has none says so."""
    assert total_parameters(_import(LLAMA | {key: False}).model) == total_parameters(_import(LLAMA).model)
    with pytest.raises(ModelError, match=key):
        _import(LLAMA | {key: True})


def test_a_list_with_an_entry_a_layer_is_one_number_only_where_all_are_alike() -> None:
    """Hunyuan writes its experts' sizes layer by layer; layers that differ are refused."""
    config = more.CHECKPOINTS["Hunyuan-A13B"].config
    with pytest.raises(ModelError, match="moe_topk: must be a whole number"):
        _import(config | {"moe_topk": [8] * 31 + [4]})


def test_layers_between_the_first_and_the_last_sparse_one_are_sparse() -> None:
    """ERNIE names both ends; an end before the last layer leaves a dense one behind, which no pattern of ours has."""
    config = more.CHECKPOINTS["ERNIE-4.5-21B-A3B"].config
    assert [shape.moe for shape in _import(config).model.layer_shapes()] == [False] + [True] * 27
    with pytest.raises(NotModelled, match="26 of 28"):
        _import(config | {"moe_layer_end_index": 26})


def test_keys_of_a_section_are_read_and_refused_like_others() -> None:
    """DBRX and MPT nest the keys of attention and FFN."""
    config = more.CHECKPOINTS["DBRX"].config
    assert _import(config).model.attention.kv_heads == 8  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="something_new"):
        _import(config | {"attn_config": config["attn_config"] | {"something_new": 1}})
    with pytest.raises(ModelError, match="ffn_config: must be a mapping"):
        _import(config | {"ffn_config": 7})
    with pytest.raises(ModelError, match="differs from d_model in ffn_config"):
        _import(config | {"ffn_config": config["ffn_config"] | {"d_model": 1}})


def test_windows_of_every_fourth_layer_are_left_out() -> None:
    """Command-R7B: three layers with a window, then one that sees everything."""
    shapes = _import(more.CHECKPOINTS["Command-R7B"].config).model.layer_shapes()
    assert [shape.window for shape in shapes[:8]] == [4096, 4096, 4096, 0] * 2


def test_one_key_value_head_or_a_few_as_falcon_says_it() -> None:
    """multi_query leaves one head, the new decoder as many as the file names, neither all of them."""
    config = more.CHECKPOINTS["Falcon-7B"].config

    def kv_heads(**changed: Any) -> int:
        return int(_import(config | changed).model.attention.kv_heads)  # type: ignore[union-attr]

    assert kv_heads() == 1
    assert kv_heads(multi_query=False) == 71
    assert kv_heads(new_decoder_architecture=True, num_kv_heads=71) == 71


def test_every_key_is_accounted_for_once() -> None:
    """Understood, harmless and ignored keys are all keys of the file, and none is two of them."""
    imported = _import(LLAMA | {"something_new": 3}, ignore=["something_new"])
    parts = [set(imported.understood), set(imported.harmless), set(imported.ignored)]
    assert set().union(*parts) == {*LLAMA, "something_new"}
    assert sum(map(len, parts)) == len(LLAMA) + 1
    assert imported.defaults == {"head_dim": 128}


def test_an_unknown_key_is_refused_by_name_and_place(tmp_path: Path) -> None:
    """Even one that is null: only a person may say that it changes no shape."""
    for value in (3, None, False):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(LLAMA | {"something_new": value}, indent=2))
        with pytest.raises(ModelError, match=r"config\.json:\d+:3 something_new: .* --ignore something_new"):
            import_config(path)
        assert import_config(path, ignore=["something_new"]).model.layers == 32


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size"])
def test_a_dimension_without_default_is_asked_for(key: str) -> None:
    """A size that no class default fills is missed by name."""
    with pytest.raises(ModelError, match=f"{key} is missing"):
        _import({other: value for other, value in LLAMA.items() if other != key})


@pytest.mark.parametrize(
    ("key", "value", "moves"),
    [
        ("tie_word_embeddings", True, lambda m: -m.vocab * m.hidden),
        ("attention_bias", True, lambda m: m.layers * (2 * 4096 + 2 * 1024)),
        ("mlp_bias", True, lambda m: m.layers * (2 * 14336 + 4096)),
        ("num_key_value_heads", None, lambda m: m.layers * 2 * (4096 - 1024) * 4096),
    ],
)
def test_a_switch_changes_what_it_should(key: str, value: Any, moves: Callable[[Any], int]) -> None:
    """Parameters move by the closed form of what the switch adds."""
    before, after = _import(LLAMA).model, _import(LLAMA | {key: value}).model
    assert total_parameters(after) - total_parameters(before) == moves(before)


def test_rotations_and_storage_change_nothing() -> None:
    """Harmless keys may say anything."""
    changed = LLAMA | {
        "rope_theta": 1.0,
        "rope_scaling": {"factor": 8},
        "torch_dtype": "float8",
        "quantization_config": {"bits": 4},
    }
    assert _import(changed).document["attention"] == _import(LLAMA).document["attention"]


def test_other_names_of_a_dimension_mean_the_same() -> None:
    """The field's aliases are read alike; two that contradict each other are refused."""
    renamed = {{"num_hidden_layers": "n_layer", "hidden_size": "d_model"}.get(key, key): value for key, value in LLAMA.items()}
    assert _import(renamed).model.layers == 32
    with pytest.raises(ModelError, match="num_hidden_layers and n_layer mean the same and differ"):
        _import(LLAMA | {"n_layer": 31})


def test_layers_with_windows_follow_the_list() -> None:
    """layer_types and max_window_layers say which layers see a window."""
    qwen = published.PUBLISHED["qwen2.5-7b"][1] | {"use_sliding_window": True, "max_window_layers": 20, "sliding_window": 4096}
    windows = [shape.window for shape in _import(qwen).model.layer_shapes()]
    assert windows == [0] * 20 + [4096] * 8
    odd = published.PRESETS["gpt-oss-20b"] | {"layer_types": ["full_attention"] * 3 + ["sliding_attention"] * 21}
    assert [shape.window for shape in _import(odd).model.layer_shapes()] == [0] * 3 + [128] * 21


def test_dense_layers_stand_where_the_file_says() -> None:
    """first_k_dense_replace, decoder_sparse_step; what no pattern of ours expresses is refused."""
    assert [s.moe for s in _import(V3).model.layer_shapes()[:5]] == [False] * 3 + [True] * 2
    qwen = published.PRESETS["qwen3-30b-a3b"]
    assert [s.moe for s in _import(qwen | {"decoder_sparse_step": 2}).model.layer_shapes()[:4]] == [False, True] * 2
    assert [s.moe for s in _import(qwen | {"mlp_only_layers": [0]}).model.layer_shapes()[:3]] == [False, True, True]
    with pytest.raises(NotModelled, match="47 of 48"):
        _import(qwen | {"mlp_only_layers": [7]})


@pytest.mark.parametrize("kind", ["mamba", "lfm2", "minimax", "bert", "gemma3n"])
def test_families_with_other_layers_are_refused_with_the_reason(kind: str) -> None:
    """State-space, linear and encoder models never become something similar."""
    with pytest.raises(NotModelled, match=f"model_type {kind} cannot be imported: "):
        _import(LLAMA | {"model_type": kind})


def test_an_unknown_family_is_refused_unless_told_as_what_to_read_it() -> None:
    """--as is a person's word that the shapes are the other family's."""
    with pytest.raises(ModelError, match="Did you mean llama"):
        _import(LLAMA | {"model_type": "lama"})
    assert _import(LLAMA | {"model_type": "lama"}, family="llama").model.layers == 32


def test_what_is_written_reads_back_as_the_same_model(tmp_path: Path) -> None:
    """The YAML of an import is a model file, for every kind of attention."""
    for name in ("llama3.1-8b", "deepseek-v3.2", "deepseek-v4-pro", "gemma4-26b", "glm-5.2"):
        imported = _import(published.PRESETS[name], name=name)
        path = tmp_path / "model.yaml"
        path.write_text(write_yaml(imported.document))
        assert workloads.load(path) == imported.model


def test_a_scenario_may_name_a_configuration(tmp_path: Path) -> None:
    """``model: config.json``, with changes too, as it names a preset."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(V3))
    assert total_parameters(workloads.load(path)) == total_parameters(workloads.load("deepseek-v3"))
    assert workloads.load({"preset": str(path), "layers": 5, "mtp_depth": 0}).layers == 5
    assert read_document(path).data["model_type"] == "deepseek_v3"


def test_a_wrong_value_names_its_place(tmp_path: Path) -> None:
    """Sizes are whole numbers; the error points at the line."""
    path = tmp_path / "config.json"
    for value in ("4096", 4096.5, True, 0, -1):
        path.write_text(json.dumps(LLAMA | {"hidden_size": value}, indent=1))
        with pytest.raises(InputError, match=r"config\.json:\d+:2 hidden_size: must be a whole number"):
            import_config(path)
