"""Layers that keep a state in a Megatron-LM launch: hybrids by a pattern of letters, and the gated delta rule in some layers.

Sources: Megatron-LM megatron/training/arguments.py, megatron/core/ssm (mamba_hybrid_layer_allocation.py, mamba_mixer.py,
gated_delta_net.py). Leaves out: patterns by ratios, gated delta layers as letters, stages and prediction blocks in a pattern.
"""

from __future__ import annotations

from simulator.spec.errors import NotModelled
from workloads.importers.attention_readers import Fields
from workloads.importers.launch import Flags

_PATTERNS = ("hybrid_override_pattern", "hybrid_layer_pattern")
_CHUNK, _HEAD_DIM, _STATE, _GROUPS = 128, 64, 128, 8


def read_pattern(flags: Flags, layers: int) -> str:
    """A letter for each layer; nothing where all of them attend."""
    flags.has("is_hybrid_model")
    for ratio in ("hybrid_attention_ratio", "hybrid_mlp_ratio"):
        if flags.has(ratio) and not any(flags.has(name) for name in _PATTERNS):
            raise NotModelled(f"{flags.flag(ratio)}: layers chosen by a ratio cannot be imported; give the pattern.")
    for name in _PATTERNS:
        if flags.has(name):
            pattern = flags.text(name).strip("'\"")
            if len(pattern) != layers or not set(pattern) <= {"M", "*", "-", "E"}:
                raise flags.refuse(name, f"must name all {layers} layers by M, *, - and E", "Others are not simulated.")
            return pattern
    if not flags.has("experimental_attention_variant"):
        return ""
    variant = flags.text("experimental_attention_variant")
    if variant != "gated_delta_net":
        raise NotModelled(f"{flags.flag('experimental_attention_variant')} {variant} cannot be imported; gated_delta_net can.")
    every = flags.whole("linear_attention_freq")
    return "".join("L" if (index + 1) % every else "A" for index in range(layers))


def read_hybrid(flags: Flags, pattern: str, hidden: int) -> Fields:
    """The ``hybrid`` block of the model; nothing without such layers."""
    if "M" in pattern:
        head_dim = flags.whole("mamba_head_dim", _HEAD_DIM)
        mixer: Fields = {
            "kind": "state-space",
            "heads": flags.whole("mamba_num_heads", 2 * hidden // head_dim),
            "head_dim": head_dim,
            "state": flags.whole("mamba_state_dim", _STATE),
            "groups": flags.whole("mamba_num_groups", _GROUPS),
            "chunk": _CHUNK,
        }
    elif "L" in pattern:
        mixer = {
            "kind": "gated-delta",
            "key_heads": flags.whole("linear_num_key_heads", 16),
            "value_heads": flags.whole("linear_num_value_heads", 32),
            "key_dim": flags.whole("linear_key_head_dim", 128),
            "value_dim": flags.whole("linear_value_head_dim", 128),
            "conv_width": flags.whole("linear_conv_kernel_dim", 4),
        }
    elif pattern:
        raise NotModelled("a pattern of single sublayers without Mamba layers cannot be imported.")
    else:
        return {}
    return {"hybrid": {"pattern": pattern, "mixer": mixer}}


def sparse_of(pattern: str) -> list[bool]:
    """Of sublayers that stand alone, which kinds of FFN there are: sparse or dense, one entry each."""
    return [letter == "E" for letter in "-E" if letter in pattern]
