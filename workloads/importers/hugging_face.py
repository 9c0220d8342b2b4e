"""A Hugging Face ``config.json`` as a model of ours, with an account of every key.

What the file leaves out takes the documented default of its family (:mod:`workloads.importers.families`), and the account
says so. A key that could change a shape and is not known is refused by name; ``ignore`` says that it changes none.

Leaves out: encoders for images and sound beside the language model; adapters; how released weights are quantised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.spec.document import Document
from simulator.spec.errors import InputError, ModelError, NotModelled
from simulator.spec.files import make, read_document
from simulator.spec.near import suggest
from workloads.importers.attention_readers import read_attention
from workloads.importers.config_keys import Keys
from workloads.importers.families import FAMILIES, NOT_MODELLED, SPOKEN, WRAPPERS, Family
from workloads.importers.harmless import HARMLESS
from workloads.importers.layer_readers import read_layers
from workloads.importers.state_readers import read_hybrid, read_pattern
from workloads.model import MOST_LAYERS, Model

#: Keys by which a JSON file is recognised as a configuration, and not as a model file of ours.
_MARKS = ("model_type", "architectures")


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model that was imported: its file as plain data, and what was made of every key of the configuration.

    ``understood``: key -> our name for it; ``defaults``: keys the file leaves out, with the family's default;
    ``harmless``: key -> why it changes nothing we count; ``ignored``: keys that the caller said to leave out.
    """

    model: Model
    document: dict[str, Any]
    family: str
    understood: Mapping[str, str]
    defaults: Mapping[str, Any]
    harmless: Mapping[str, str]
    ignored: tuple[str, ...] = field(default=())


def is_configuration(document: Document) -> bool:
    """Whether a file that was read is a Hugging Face configuration."""
    return any(key in document.data for key in _MARKS)


def import_config(
    path: str | Path, *, name: str | None = None, family: str | None = None, ignore: Collection[str] = ()
) -> ImportedModel:
    """Import the configuration at ``path``.

    ``family`` reads it as another ``model_type`` than it says. Raises ModelError (file, line, key) for a key that is wrong,
    missing or not known, NotModelled for kinds of layers that are not simulated.
    """
    try:
        return import_document(read_document(path), name=name, family=family, ignore=ignore, file=str(path))
    except InputError as error:
        raise error.at(where=str(path)) from None  # what the whole file contradicts stands on no line of its own


def import_document(
    document: Document,
    *,
    name: str | None = None,
    family: str | None = None,
    ignore: Collection[str] = (),
    file: str = "a configuration",
) -> ImportedModel:
    """Import a configuration that was read already."""
    keys, kind = _language_model(document, family, ignore)
    data = _read(keys, FAMILIES[kind], kind)
    unknown = keys.unknown(ignore)
    if unknown:
        raise _refuse_unknown(unknown, keys, kind)
    data = {"name": name or _name(document, data, kind), **data}
    notes = [f"Imported from {Path(file).name} ({kind})."]
    data["notes"] = notes + ([FAMILIES[kind].note] if FAMILIES[kind].note else [])
    return ImportedModel(
        model=make(data, Model),
        document=data,
        family=kind,
        understood=keys.understood,
        defaults=keys.defaults,
        harmless=keys.harmless(),
        ignored=tuple(key for key in ignore if key in keys.data or key in document.data),
    )


def _language_model(document: Document, family: str | None, ignore: Collection[str]) -> tuple[Keys, str]:
    """The keys of the language model and its family; a configuration with a vision encoder nests them."""
    top = Keys(document, document.data)
    kind = family or top.word("model_type")
    text = document.data.get("text_config")
    if kind in WRAPPERS and text is not None:
        inner = text.get("model_type") if isinstance(text, dict) and family is None else None
        inner = SPOKEN.get(str(inner), str(inner)) if inner else WRAPPERS[kind]
        return _nested(document, _known(inner, top), ignore), inner
    kind = WRAPPERS.get(kind, SPOKEN.get(kind, kind))
    _known(kind, top)
    top.understood["model_type"] = "family"
    return _flat(document, FAMILIES[kind]), kind


def _known(kind: str, top: Keys) -> str:
    """``kind`` if it is a family that can be read, else an error that says why not."""
    if kind in NOT_MODELLED:
        raise NotModelled(f"model_type {kind} cannot be imported: {NOT_MODELLED[kind]}.")
    if kind not in FAMILIES:
        do = suggest(kind, sorted({*FAMILIES, *WRAPPERS}), "families")
        raise ModelError(
            "this model_type is not known, and shapes are never guessed",
            got=kind,
            do=f"{do} --as FAMILY reads it as one of them.",
            path="model_type",
            where=top.where("model_type"),
        )
    return kind


def _flat(document: Document, family: Family) -> Keys:
    """The keys of a configuration, with those of its sections beside them."""
    merged = {key: value for key, value in document.data.items() if key not in family.sections}
    present = [section for section in family.sections if document.data.get(section) is not None]
    for section in present:
        inside = document.data[section]
        if not isinstance(inside, dict):
            raise ModelError("must be a mapping of keys to values", got=inside, do="Is the file whole?", path=section)
        for key, value in inside.items():
            if key in merged and key not in ("model_type", *HARMLESS) and merged[key] != value:
                raise ModelError(f"differs from {key} in {section}", got=merged[key], do="Remove one.", path=key)
            merged.setdefault(key, value)
    keys = Keys(document, merged)
    keys.understood |= {"model_type": "family"} | dict.fromkeys(present, "its keys")
    return keys


def _nested(document: Document, kind: str, ignore: Collection[str]) -> Keys:
    text = document.data["text_config"]
    if not isinstance(text, dict):
        raise ModelError("must be a mapping of keys to values", got=text, do="Is the file whole?", path="text_config")
    outer = {key: value for key, value in document.data.items() if key not in ("text_config", "model_type")}
    merged = dict(text)
    if "tie_word_embeddings" in outer:
        tied = outer.pop("tie_word_embeddings")
        if merged.setdefault("tie_word_embeddings", tied) != tied:
            raise ModelError("differs from the same key in text_config", got=tied, do="Remove one.", path="tie_word_embeddings")
    above = Keys(document, outer)
    unknown = above.unknown(ignore)
    if unknown:
        raise _refuse_unknown(unknown, above, kind)
    keys = Keys(document, merged, ("text_config",))
    keys.understood["model_type"] = "family"
    return keys


def _read(keys: Keys, family: Family, kind: str) -> dict[str, Any]:
    for refused in ("is_encoder_decoder", "add_cross_attention", "use_double_wide_mlp"):
        keys.only(refused, False, "this changes the layers in a way that is not simulated")
    for refused in ("hidden_size_per_layer_input", "num_kv_shared_layers"):
        keys.only(refused, 0, "this changes the layers in a way that is not simulated")
    keys.has("vocab_size_per_layer_input")
    hidden, layers = keys.whole("hidden"), keys.whole("layers")
    if layers > MOST_LAYERS:
        raise keys.refuse("layers", f"must be at most {MOST_LAYERS:,}", "Correct it.")
    data: dict[str, Any] = {"layers": layers, "hidden": hidden, "vocab": keys.size("vocab", family.vocab)}
    data["tied_embeddings"] = keys.flag("tied", family.tied)
    if family.positions is not None and not _no_table(keys):
        data["learned_positions"] = keys.whole("positions") + family.positions
    for trait in ("norm_bias", "embedding_norm", "sandwich_norm"):
        if getattr(family, trait):
            data[trait] = True
    if keys.flag(family.parallel_key, family.parallel_block) if family.parallel_key else family.parallel_block:
        data["parallel_block"] = True
    _only_known_variants(keys, family, hidden)
    data["attention"] = read_attention(keys, family, layers, hidden)
    pattern = read_pattern(keys, family, layers)
    data |= read_hybrid(keys, family, pattern, hidden)
    data |= read_layers(keys, family, layers, hidden, pattern)
    if kind == "deepseek_v4":
        data["hyper_connections"] = {"streams": keys.whole("hc_mult"), "sinkhorn_iterations": keys.whole("hc_sinkhorn_iters")}
    return data


def _no_table(keys: Keys) -> bool:
    """Whether a family that may have a table of positions has none here."""
    table = keys.flag("learned_pos_emb") if keys.has("learned_pos_emb") else True
    return not table or (keys.has("alibi") and keys.flag("alibi"))


def _only_known_variants(keys: Keys, family: Family, hidden: int) -> None:
    """Switches that some families have and whose other setting is another model."""
    for key in family.no_matter:
        keys.has(key)
    for switch, setting in family.only.items():
        keys.only(switch, setting, f"in this kind of model only {str(setting).lower()} is simulated")
    if family.qk_norm_key != "use_qk_norm" and family.windows != "chunks":  # Llama 4's norms have no weights
        keys.only("use_qk_norm", False, "norms of queries and keys in this family are not simulated")
    if family.parallel_key != "use_parallel_residual":
        keys.only("use_parallel_residual", False, "attention and FFN side by side are not known in this family")
    keys.only("word_embed_proj_dim", hidden, "an embedding narrower than the layers is not simulated")
    keys.only("do_layer_norm_before", True, "norms after the layers are not simulated")
    keys.only("_remove_final_layer_norm", False, "a model without its final norm is not simulated")
    keys.only("layer_norm_elementwise_affine", True, "norms without weights are not simulated")
    keys.only("apply_residual_connection_post_layernorm", False, "residuals after the norm are not simulated")
    keys.only("qk_layernorm", False, "norms of queries and keys in this family are not simulated")
    keys.only("qk_norm_type", "per_layer", "norms of queries and keys are known over their full width only")
    if family.windows == "chunks":
        keys.has("use_qk_norm")
    if keys.has("attn_type_list") and set(keys.sequence("attn_type_list")) != {1}:
        raise keys.refuse("attn_type_list", "layers with linear attention are not simulated", "Import a model without them.")


def _refuse_unknown(unknown: list[str], keys: Keys, kind: str) -> ModelError:
    first, more = unknown[0], unknown[1:]
    also = f" The same for {', '.join(more)}." if more else ""
    return ModelError(
        f"this key is not known for {kind} and may change a shape",
        got=keys.data[first],
        do=f"If it changes none, add --ignore {first}.{also}",
        path=".".join(map(str, (*keys.prefix, first))),
        where=keys.where(first),
    )


def _name(document: Document, data: Mapping[str, Any], kind: str) -> str:
    known = str(document.data.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
    return known or f"{kind}, {data['layers']} layers of {data['hidden']}"
