"""Reading layers that keep a state from a Hugging Face configuration: which layers they are, and their mixer.

Sources: configuration and layers of transformers (models/qwen3_next, qwen3_5, qwen3_5_moe, nemotron_h, granitemoehybrid), and
those published with Kimi-Linear-48B-A3B (configuration_kimi.py, modeling_kimi.py).
"""

from __future__ import annotations

from typing import Any

from workloads.importers.config_keys import Keys
from workloads.importers.families import Family

Fields = dict[str, Any]

#: What a file calls a layer -> our letter: of a mixer with an FFN behind it, and of a sublayer alone.
_WITH_FFN = {"linear_attention": "L", "mamba": "L", "full_attention": "A", "attention": "A"}
_ALONE = {
    "linear_attention": "M", "mamba": "M", "full_attention": "*", "attention": "*", "mlp": "-", "moe": "E",
}  # fmt: skip


def read_pattern(keys: Keys, family: Family, layers: int) -> str:
    """A letter for each layer; nothing for a family without layers that keep a state."""
    match family.hybrid:
        case "":
            return ""
        case "kimi" if keys.data.get("linear_attn_config") is not None:
            return _pattern_of_kimi(keys, layers)
        case "nemotron":
            return _alone(keys, layers)
    if keys.has("layer_types"):
        keys.has("full_attention_interval")  # said already, layer by layer
        return _letters(keys, "layer_types", _WITH_FFN, layers)
    every = keys.whole("full_attention_interval", 4)
    return "".join("L" if (index + 1) % every else "A" for index in range(layers))


def read_hybrid(keys: Keys, family: Family, pattern: str, hidden: int) -> Fields:
    """The ``hybrid`` block of a model file; nothing where no layer keeps a state."""
    mixers = {"qwen": _gated_delta, "kimi": _kimi_delta, "nemotron": _nemotron, "granite": _granite}
    if not family.hybrid:
        return {}
    mixer = mixers[family.hybrid](keys, hidden)
    if not set(pattern) & {"L", "M"}:
        return {}
    return {"hybrid": {"pattern": _shortest(pattern), "mixer": mixer}}


def _alone(keys: Keys, layers: int) -> str:
    """Nemotron-H: a string of letters, or a list of words."""
    if keys.has("layers_block_type"):
        keys.has("hybrid_override_pattern")
        return _letters(keys, "layers_block_type", _ALONE, layers)
    pattern = keys.word("hybrid_override_pattern")
    if len(pattern) != layers or not set(pattern) <= {"M", "*", "-", "E"}:
        raise keys.refuse("hybrid_override_pattern", f"must name all {layers} layers by M, *, - and E", "Correct it.")
    return pattern


def _letters(keys: Keys, name: str, letters: dict[str, str], layers: int) -> str:
    kinds = keys.sequence(name)
    unknown = [kind for kind in kinds if kind not in letters]
    if unknown:
        raise keys.refuse(name, f"a layer of kind {unknown[0]} is not simulated", "Import a model without it.")
    if len(kinds) != layers:
        raise keys.refuse(name, f"must name all {layers} layers", "Correct it or the number of layers.")
    return "".join(letters[kind] for kind in kinds)


def _pattern_of_kimi(keys: Keys, layers: int) -> str:
    """Layers counted from 1 in two lists that share them out."""
    inside = _section(keys)
    full, states = inside.get("full_attn_layers"), inside.get("kda_layers")
    lists = isinstance(full, list) and isinstance(states, list)
    if not lists or sorted([*full, *states]) != list(range(1, layers + 1)):  # type: ignore[misc]
        raise keys.refuse(
            "linear_attn_config", f"kda_layers and full_attn_layers must share out layers 1 to {layers}", "Correct it."
        )
    return "".join("A" if layer in full else "L" for layer in range(1, layers + 1))  # type: ignore[operator]


def _section(keys: Keys) -> Fields:
    keys.has("linear_attn_config")
    inside = keys.data.get("linear_attn_config")
    known = {"full_attn_layers", "kda_layers", "head_dim", "num_heads", "short_conv_kernel_size"}
    if not isinstance(inside, dict) or set(inside) != known:
        raise keys.refuse("linear_attn_config", f"must have {', '.join(sorted(known))}, others are not simulated", "Correct it.")
    return inside


def _gated_delta(keys: Keys, _hidden: int) -> Fields:
    return {
        "kind": "gated-delta",
        "key_heads": keys.whole("linear_num_key_heads", 16),
        "value_heads": keys.whole("linear_num_value_heads", 32),
        "key_dim": keys.whole("linear_key_head_dim", 128),
        "value_dim": keys.whole("linear_value_head_dim", 128),
        "conv_width": keys.whole("linear_conv_kernel_dim", 4),
    }


def _kimi_delta(keys: Keys, _hidden: int) -> Fields:
    """As published, in a section of its own; as transformers has it since, beside the other keys."""
    if keys.data.get("linear_attn_config") is not None:
        inside = _section(keys)
        heads, dim, width = (inside[name] for name in ("num_heads", "head_dim", "short_conv_kernel_size"))
    else:
        heads, dim = keys.whole("linear_num_heads", 32), keys.whole("linear_head_dim", 128)
        width = keys.whole("linear_conv_kernel_dim", 4)
    return {
        "kind": "gated-delta", "key_heads": heads, "value_heads": heads, "key_dim": dim, "value_dim": dim,
        "conv_width": width, "decay": "channel", "gate_rank": dim,
    }  # fmt: skip


def _nemotron(keys: Keys, _hidden: int) -> Fields:
    for switch in ("mamba_proj_bias", "use_bias", "mlp_bias"):
        keys.only(switch, False, "biases of these projections are not simulated")
    keys.only("mamba_hidden_act", "silu", "another activation behind the convolution is not known")
    keys.only("moe_latent_size", None, "experts of a latent width are not simulated")
    return {
        "kind": "state-space",
        "heads": keys.whole("mamba_num_heads", 128),
        "head_dim": keys.whole("mamba_head_dim", 64),
        "state": keys.whole("ssm_state_size", 128),
        "groups": keys.whole("n_groups", 8),
        "conv_width": keys.whole("conv_kernel", 4),
        "conv_bias": keys.flag("use_conv_bias", True),
        "chunk": keys.whole("chunk_size", 128),
    }


def _granite(keys: Keys, hidden: int) -> Fields:
    keys.only("mamba_proj_bias", False, "biases of these projections are not simulated")
    heads, expand = keys.whole("mamba_n_heads", 128), keys.whole("mamba_expand", 2)
    told = keys.has("mamba_d_head") and keys.data.get("mamba_d_head") != "auto"
    return {
        "kind": "state-space",
        "heads": heads,
        "head_dim": keys.whole("mamba_d_head") if told else expand * hidden // heads,
        "state": keys.whole("mamba_d_state", 256),
        "groups": keys.whole("mamba_n_groups", 1),
        "conv_width": keys.whole("mamba_d_conv", 4),
        "conv_bias": keys.flag("mamba_conv_bias", True),
        "chunk": keys.whole("mamba_chunk_size", 256),
    }


def _shortest(pattern: str) -> str:
    """The shortest pattern that, repeated and cut off, gives this one.

    >>> _shortest("LLLALLLALL")
    'LLLA'
    """
    lengths = range(1, len(pattern) + 1)
    return next(pattern[:size] for size in lengths if all(each == pattern[at % size] for at, each in enumerate(pattern)))
