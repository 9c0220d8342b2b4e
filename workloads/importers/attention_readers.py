"""Reading the attention of a Hugging Face configuration: grouped-query, latent (MLA), or compressed."""

from __future__ import annotations

from typing import Any

from workloads.importers.config_keys import Keys
from workloads.importers.families import Family

Fields = dict[str, Any]

#: Kinds of a layer in ``layer_types``, and what our pattern calls them.
_LAYER_TYPES = {"sliding_attention": "local", "chunked_attention": "local", "full_attention": "full"}
#: Compression ratio of a layer whose entries an indexer selects (DeepSeek-V4's code keys on this number).
_INDEXED_RATIO = 4


def read_attention(keys: Keys, family: Family, layers: int, hidden: int) -> Fields:
    """The ``attention`` block of a model file."""
    if family.attention == "compressed":
        return _compressed(keys, layers)
    if family.attention == "mla":
        return _latent(keys, layers)
    return _grouped(keys, family, layers, hidden)


def _grouped(keys: Keys, family: Family, layers: int, hidden: int) -> Fields:
    heads = keys.size("heads", family.heads)
    kv_heads = _key_value_heads(keys, family, heads)
    if not keys.has("head_dim") and not family.head_dim and hidden % heads:
        raise keys.refuse("heads", f"must divide the hidden size {hidden} where the file has no head_dim", "Add head_dim.")
    fields: Fields = {
        "kind": "gqa",
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": keys.whole("head_dim", family.head_dim or hidden // heads),
    }
    if family.bias != "none":
        if family.bias_key is None or keys.flag(family.bias_key, family.bias_default):
            fields["qkv_bias"] = True
            if family.bias == "qkv and output":
                fields["output_bias"] = True
    else:
        for key in ("attention_bias", "qkv_bias"):
            keys.only(key, False, "this kind of model has no bias in its attention")
    if family.qk_norm != "none" and (family.qk_norm_key is None or keys.flag(family.qk_norm_key, family.qk_norm_default)):
        fields["qk_norm"] = family.qk_norm
    if family.sink:
        fields["sink"] = True
    if family.output_gate:
        fields["output_gate"] = True
    turned = keys.has("position_embedding_type") and keys.word("position_embedding_type") == "rope"
    if (not family.rope and not turned) or (keys.has("alibi") and keys.flag("alibi")):
        fields["rope"] = False
    return fields | _windows(keys, family, layers) | _full_layers(keys, family, heads)


def _key_value_heads(keys: Keys, family: Family, heads: int) -> int:
    """Falcon and ChatGLM say by switches whether one head, a few or all of them have keys and values of their own."""
    if family.multi_query:
        grouped = keys.has("new_decoder_architecture") and keys.flag("new_decoder_architecture")
        one = keys.flag(family.multi_query, True)
        keys.has("kv_heads")  # read only where the switches ask for it
        if family.multi_query == "multi_query_attention":
            grouped, one = one, False
        return keys.whole("kv_heads", heads) if grouped else 1 if one else heads
    keys.only("multi_query", False, "one key-value head for all is not known in this family")
    return keys.size("kv_heads", heads if family.kv_heads == 0 else family.kv_heads)


def _windows(keys: Keys, family: Family, layers: int) -> Fields:
    """``window`` and ``window_pattern``, one entry a layer where the file lists them, shortened to what repeats."""
    if family.hybrid:  # which layers attend is read with those that keep a state
        keys.only("window", None, "windows beside layers that keep a state are not known")
        return {}
    if family.windows == "none":
        if keys.has("layer_types"):
            return _pattern(keys, layers, keys.whole("window") if keys.has("window") else 0)
        keys.only("window", None, "this kind of model has no window")
        return {}
    if family.windows == "qwen" and not keys.flag("use_sliding_window", False):
        for unused in ("max_window_layers", "layer_types", "window"):
            keys.has(unused)
        return {}
    has_window = keys.has("window") or (family.window is not None and not keys.is_null("window"))
    window = keys.whole("window", family.window) if has_window else 0
    if window == 0:
        keys.has("layer_types")
        return {}
    if family.windows == "all":
        keys.has("layer_types")
        return {"window": window}
    if family.windows == "chunks":
        return _chunks(keys, layers, window)
    if keys.has("layer_types"):
        keys.has("window_every")  # said already, layer by layer
        return _pattern(keys, layers, window)
    if family.windows == "qwen":
        first = min(keys.whole("max_window_layers", least=0), layers)
        return {"window": window, "window_pattern": shortest(["full"] * first + ["local"] * (layers - first))}
    if family.windows == "alternate":
        return {"window": window, "window_pattern": ["local", "full"]}
    step = keys.whole("window_every", family.window_every) if family.windows == "pattern" else keys.whole("window_every")
    return {"window": window, "window_pattern": ["local"] * (step - 1) + ["full"]}


def _pattern(keys: Keys, layers: int, window: int) -> Fields:
    kinds = keys.sequence("layer_types")
    unknown = [kind for kind in kinds if kind not in _LAYER_TYPES]
    if unknown:
        raise keys.refuse("layer_types", f"a layer of kind {unknown[0]} is not simulated", "Import a model without it.")
    if len(kinds) != layers:
        raise keys.refuse("layer_types", f"must name all {layers} layers", "Correct it or the number of layers.")
    pattern = shortest([_LAYER_TYPES[kind] for kind in kinds])
    if "local" not in pattern:
        return {}
    if window == 0:
        raise keys.refuse("layer_types", "names layers with a window, and the file has no sliding_window", "Add it.")
    return {"window": window, "window_pattern": pattern}


def _chunks(keys: Keys, layers: int, window: int) -> Fields:
    """Llama 4: layers with rotary positions see their own chunk, the others (every fourth) everything."""
    rotary = keys.sequence("no_rope_layers", [])
    keys.has("layer_types")
    interval = keys.whole("no_rope_layer_interval", 4)
    if rotary and len(rotary) != layers:
        raise keys.refuse("no_rope_layers", f"must name all {layers} layers", "Correct it or the number of layers.")
    flags = rotary or [int((index + 1) % interval != 0) for index in range(layers)]
    return {"window": window, "window_pattern": shortest(["local" if flag else "full" for flag in flags]), "local": "chunked"}


def _full_layers(keys: Keys, family: Family, heads: int) -> Fields:
    """Gemma 4: the layers that see everything have heads of their own, and keys that double as values."""
    if not keys.has("global_head_dim"):
        return {}
    shared = keys.flag("attention_k_eq_v", False)
    keys.has("num_global_key_value_heads")  # read only where keys double as values
    kv_heads = keys.whole("num_global_key_value_heads") if shared else keys.whole("kv_heads", heads)
    return {"full_layers": {"kv_heads": kv_heads, "head_dim": keys.whole("global_head_dim"), "shared_kv": shared}}


def _latent(keys: Keys, layers: int) -> Fields:
    fields: Fields = {"kind": "mla", "heads": keys.whole("heads")}
    keys.has("kv_heads")
    keys.has("head_dim")  # of the rotary part, or of the whole; the parts are named below
    if keys.has("q_lora_rank"):
        fields["q_lora_rank"] = keys.whole("q_lora_rank")
    fields["kv_lora_rank"] = keys.whole("kv_lora_rank")
    fields["qk_nope_dim"] = keys.whole("qk_nope_head_dim")
    fields["qk_rope_dim"] = keys.whole("qk_rope_head_dim")
    fields["v_head_dim"] = keys.whole("v_head_dim")
    keys.only("attention_bias", False, "a bias in latent attention is not simulated")
    if keys.has("qk_head_dim") and keys.whole("qk_head_dim") != fields["qk_nope_dim"] + fields["qk_rope_dim"]:
        raise keys.refuse("qk_head_dim", "must be qk_nope_head_dim + qk_rope_head_dim", "Correct one of them.")
    if keys.has("index_topk"):
        fields["indexer"] = _indexer(keys, layers)
    return fields


def _indexer(keys: Keys, layers: int) -> Fields:
    fields: Fields = {
        "heads": keys.whole("index_n_heads"),
        "head_dim": keys.whole("index_head_dim"),
        "top_k": keys.whole("index_topk"),
    }
    if keys.has("indexer_types"):
        kinds = keys.sequence("indexer_types")
        if len(kinds) != layers or not set(kinds) <= {"full", "shared"}:
            raise keys.refuse("indexer_types", f"must say full or shared for all {layers} layers", "Correct it.")
        own = shortest(["own" if kind == "full" else "shared" for kind in kinds])
        if own != ["own"]:
            fields["pattern"] = {"repeat": own}
        for said_already in ("index_topk_freq", "index_skip_topk_offset", "index_topk_pattern"):
            keys.has(said_already)
    return fields


def _compressed(keys: Keys, layers: int) -> Fields:
    ratios = keys.sequence("compress_ratios")
    if any(type(ratio) is not int or ratio < 0 for ratio in ratios) or len(ratios) < layers:
        raise keys.refuse("compress_ratios", f"must give a ratio for all {layers} layers", "Correct it.")
    if any(ratios[layers:]):
        raise keys.refuse("compress_ratios", "prediction blocks attend by their window alone (ratio 0)", "Correct its end.")
    heavy = sorted({ratio for ratio in ratios if ratio not in (0, _INDEXED_RATIO)})
    if len(heavy) > 1 or any(ratio <= _INDEXED_RATIO for ratio in heavy):
        raise keys.refuse("compress_ratios", f"must be 0, {_INDEXED_RATIO} and one larger ratio (got {heavy})", "Correct it.")
    kinds = [{0: "swa", _INDEXED_RATIO: "csa"}.get(ratio, "hca") for ratio in ratios[:layers]]
    keys.only("kv_heads", 1, "compressed attention has one key-value head")
    rope = keys.whole("qk_rope_head_dim")
    return {
        "kind": "compressed",
        "heads": keys.whole("heads"),
        "head_dim": keys.whole("head_dim"),
        "rope_dim": rope,
        "q_lora_rank": keys.whole("q_lora_rank"),
        "output_groups": keys.whole("o_groups"),
        "output_rank": keys.whole("o_lora_rank"),
        "window": keys.whole("window"),
        "csa_ratio": _INDEXED_RATIO,
        "hca_ratio": heavy[0] if heavy else 128,
        "indexer": _indexer(keys, layers),
        "pattern": first_and_repeat(kinds),
    }


def shortest(pattern: list[str]) -> list[str]:
    """The shortest pattern that, repeated and cut off, gives this one.

    >>> shortest(["local", "full", "local", "full", "local"])
    ['local', 'full']
    """
    for length in range(1, len(pattern) + 1):
        if all(kind == pattern[index % length] for index, kind in enumerate(pattern)):
            return pattern[:length]
    return pattern


def first_and_repeat(kinds: list[str]) -> Fields:
    """Layers that stand alone at the beginning, then what repeats; as short as can be.

    >>> first_and_repeat(["swa", "swa", "csa", "hca", "csa", "hca"])
    {'first': ['swa', 'swa'], 'repeat': ['csa', 'hca']}
    """
    best = min(range(len(kinds)), key=lambda start: start + len(shortest(kinds[start:])))
    repeat = shortest(kinds[best:])
    return {"first": kinds[:best], "repeat": repeat} if best else {"repeat": repeat}
