"""The keys of one Hugging Face configuration, and a record of what was made of each.

A family asks for a dimension by our name; the alias table finds the key under the names that the field uses. Every key
that was asked for is understood, every key left out and filled by a documented default of the family is recorded; what
nobody asked for is harmless (and why), told to be ignored, or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from simulator.spec.document import Document, Mark, Place
from simulator.spec.errors import ModelError
from simulator.spec.near import nearest
from workloads.importers.harmless import HARMLESS

ALIASES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "vocab": ("vocab_size", "padded_vocab_size"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels"),
    "width": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"),
    "activation": ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act"),
    "tied": ("tie_word_embeddings",),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "top_k": (
        "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "top_k_experts", "moe_top_k", "moe_topk", "moe_k",
    ),
    "expert_width": ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size"),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
    "shared_width": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "positions": ("n_positions", "max_position_embeddings", "max_seq_len"),
    "window": ("sliding_window", "attention_chunk_size"),
    "groups": ("n_group", "num_expert_group"),
    "top_groups": ("topk_group",),
    "score": ("scoring_func", "score_function", "moe_router_activation_func"),
    "mtp": ("num_nextn_predict_layers", "num_mtp_modules"),
    "window_every": ("sliding_window_pattern", "layer_switch"),
    "sparse_first": ("first_k_dense_replace", "moe_layer_start_index", "moe_layer_num_skipped"),
}  # fmt: skip
"""Our name of a dimension -> the keys that mean it, the usual one first."""

_MISSING = object()


class Keys:
    """One configuration being read. ``prefix``: where it stands in its file (``text_config``)."""

    def __init__(self, document: Document, data: Mapping[str, Any], prefix: Place = ()) -> None:
        self.document = document
        self.data = data
        self.prefix = prefix
        self.understood: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}

    def whole(self, name: str, default: Any = _MISSING, *, least: int = 1) -> int:
        """A whole number of at least ``least``; ``default`` where the file has none, an error where there is no default.

        A list that says the same for every layer is that number.
        """
        value = self._find(name, default)
        if isinstance(value, list) and value and value == value[:1] * len(value):
            value = value[0]
        if type(value) is not int or value < least:
            raise self.refuse(name, f"must be a whole number of at least {least}", "Correct it.")
        return value

    def size(self, name: str, default: int | None) -> int:
        """A whole number that the file must say where its family has no default."""
        return self.whole(name) if default is None else self.whole(name, default)

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        """True or false."""
        value = self._find(name, default)
        if type(value) is not bool:
            raise self.refuse(name, "must be true or false", "Correct it.")
        return value

    def word(self, name: str, default: Any = _MISSING) -> str:
        """A text."""
        value = self._find(name, default)
        if not isinstance(value, str):
            raise self.refuse(name, "must be text", "Correct it.")
        return value

    def sequence(self, name: str, default: Any = _MISSING) -> list[Any]:
        """A list."""
        value = self._find(name, default)
        if not isinstance(value, list):
            raise self.refuse(name, "must be a list", "Correct it.")
        return value

    def has(self, name: str) -> bool:
        """Whether the file gives it a value (null is none); asked for, so understood."""
        key = self._key(name)
        if key is not None:
            self.understood.setdefault(key, name)
        return key is not None and self.data[key] is not None

    def is_null(self, name: str) -> bool:
        """Whether the file has the key and says null."""
        key = self._key(name)
        return key is not None and self.data[key] is None

    def only(self, name: str, allowed: Any, why: str) -> None:
        """Refuse any value but ``allowed`` (or none): others would make a model that is not known here."""
        if self.has(name) and self.data[str(self._key(name))] != allowed:
            raise self.refuse(name, why, "Write the model as a file of ours (supernode schema model).")

    def refuse(self, name: str, rule: str, do: str) -> ModelError:
        """The error about a key, with its position."""
        key = self._key(name) or ALIASES.get(name, (name,))[0]
        got = self.data.get(key)
        return ModelError(rule, got=got, do=do, path=".".join(map(str, (*self.prefix, key))), where=self.where(key))

    def where(self, key: str) -> str | None:
        """Position of a key in its file."""
        mark: Mark | None = self.document.mark((*self.prefix, key), key=True)
        return None if mark is None else str(mark)

    def unknown(self, ignore: Iterable[str]) -> list[str]:
        """Keys that nobody asked for, that are not harmless and not told to be ignored."""
        return [key for key in self.data if key not in self.understood and key not in HARMLESS and key not in set(ignore)]

    def harmless(self) -> dict[str, str]:
        """Keys that change nothing we count, each with the reason."""
        return {key: HARMLESS[key] for key in self.data if key not in self.understood and key in HARMLESS}

    def _find(self, name: str, default: Any) -> Any:
        key = self._key(name)
        if key is not None:
            self.understood[key] = name
        if key is None or (self.data[key] is None and default is not _MISSING):
            if default is _MISSING:
                raise self._missing(name)
            self.defaults[ALIASES.get(name, (name,))[0]] = default
            return default
        return self.data[key]

    def _key(self, name: str) -> str | None:
        """The key of this configuration that means ``name``; two of them must agree."""
        present = [key for key in ALIASES.get(name, (name,)) if key in self.data]
        given = [key for key in present if self.data[key] is not None]
        for other in given[1:]:
            if self.data[other] != self.data[given[0]]:
                raise ModelError(
                    f"{given[0]} and {other} mean the same and differ",
                    got=self.data[other],
                    do=f"{given[0]} is {self.data[given[0]]}; remove the wrong one.",
                    path=other,
                    where=self.where(other),
                )
        for other in present:
            self.understood.setdefault(other, name)
        return next(iter(given or present), None)

    def _missing(self, name: str) -> ModelError:
        names = ALIASES.get(name, (name,))
        near = nearest(names[0], [key for key in self.data if key not in self.understood])
        hint = f" Is it {near}?" if near else ""
        return ModelError(
            f"{names[0]} is missing, and this kind of model has no default for it",
            do=f"Add it{' (or ' + ', '.join(names[1:]) + ')' if names[1:] else ''}.{hint}",
            where=str(self.document.mark(self.prefix) or "") or None,
        )
