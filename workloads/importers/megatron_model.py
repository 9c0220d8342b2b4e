"""The model that Megatron-LM's flags describe, as a model file of ours has it."""

from __future__ import annotations

import ast
from typing import Any

from workloads.importers.attention_readers import Fields, shortest
from workloads.importers.launch import Flags
from workloads.importers.layer_readers import placement
from workloads.importers.megatron_states import read_hybrid, read_pattern, sparse_of

_MOST_LAYERS = 10_000
_POSITIONS = ("learned_absolute", "rope", "mrope", "yarn", "alibi", "none")


def read_model(flags: Flags, tensor_parallel: int) -> Fields:
    """The inline ``model`` of a scenario. Defaults are those of Megatron-LM's argument parser."""
    layers, hidden = flags.whole("num_layers"), flags.whole("hidden_size")
    rms = flags.word("normalization", ("LayerNorm", "RMSNorm"), "LayerNorm") == "RMSNorm"
    fields: Fields = {
        "name": f"Megatron-LM, {layers} layers of {hidden}",
        "layers": layers,
        "hidden": hidden,
        "vocab": _vocabulary(flags, tensor_parallel),
        "tied_embeddings": not flags.has("untie_embeddings_and_output_weights"),
    }
    positions = flags.word("position_embedding_type", _POSITIONS, "learned_absolute")
    rotary = flags.has("use_rotary_position_embeddings") or positions in ("rope", "yarn", "mrope")
    if flags.has("no_position_embedding") and positions == "learned_absolute" and not rotary:
        raise flags.refuse("no_position_embedding", "needs --position-embedding-type, as Megatron-LM does", "Give it with --add.")
    if positions == "learned_absolute" and not rotary:
        fields["learned_positions"] = flags.whole("max_position_embeddings")
    else:
        flags.has("max_position_embeddings")
    if not rms:
        fields["norm_bias"] = True
    bias = flags.dumped and flags.values.get("add_bias_linear") == ["True"]
    bias = bias or (not flags.dumped and not flags.has("disable_bias_linear"))
    flags.has("add_bias_linear")
    fields["attention"] = _latent(flags) if flags.has("multi_latent_attention") else _grouped(flags, hidden, rotary, bias)
    pattern = read_pattern(flags, layers)
    fields |= read_hybrid(flags, pattern, hidden)
    alone = "M" in pattern
    sparse = sparse_of(pattern) if alone else _sparse(flags, layers)
    width = _width(flags, hidden)
    shape: Fields = {"gated": flags.has("swiglu"), "activation": _activation(flags)}
    if any(sparse):
        fields["moe"] = _experts(flags, [True] if alone else sparse, width, shape | ({"bias": True} if bias else {}))
    if not all(sparse):
        fields["ffn"] = {"width": width} | shape | ({"bias": True} if bias else {})
    if flags.has("mtp_num_layers"):
        fields["mtp"] = {"depth": flags.whole("mtp_num_layers")}
    return fields


def _vocabulary(flags: Flags, tensor_parallel: int) -> int:
    """Rows of the embedding, padded as Megatron pads them: to a multiple of (divisor x tp)."""
    if flags.has("padded_vocab_size"):
        for said_already in ("vocab_size", "make_vocab_size_divisible_by"):
            flags.has(said_already)
        return flags.whole("padded_vocab_size")
    if not flags.has("vocab_size"):
        raise flags.refuse(
            "vocab_size", "is missing: the size comes from the tokenizer, which is not read", 'Give it: --add "--vocab-size N".'
        )
    multiple = flags.whole("make_vocab_size_divisible_by", 128) * tensor_parallel
    more = flags.whole("extra_vocab_size") if flags.has("extra_vocab_size") else 0  # Pai-Megatron-Patch: beside the tokenizer's
    return -(-(flags.whole("vocab_size") + more) // multiple) * multiple


def _width(flags: Flags, hidden: int) -> int:
    """The dense FFN's width; left out, 4 x hidden, and for SwiGLU 2/3 of that rounded down to 64."""
    if flags.has("ffn_hidden_size"):
        return flags.whole("ffn_hidden_size")
    return int(4 * hidden * 2 / 3) // 64 * 64 if flags.has("swiglu") else 4 * hidden


def _activation(flags: Flags) -> str:
    if flags.has("swiglu"):
        return "swiglu"
    flags.has("openai_gelu")
    return "squared-relu" if flags.has("squared_relu") else "gelu"


def _grouped(flags: Flags, hidden: int, rotary: bool, bias: bool) -> Fields:
    heads = flags.whole("num_attention_heads")
    grouped = flags.has("group_query_attention")
    if not flags.has("kv_channels") and hidden % heads:
        raise flags.refuse("num_attention_heads", f"must divide the hidden size {hidden} without --kv-channels", "Correct it.")
    fields: Fields = {
        "kind": "gqa",
        "heads": heads,
        "kv_heads": flags.whole("num_query_groups", 1) if grouped else heads,
        "head_dim": flags.whole("kv_channels") if flags.has("kv_channels") else hidden // heads,
    }
    if not grouped:
        flags.has("num_query_groups")
    if bias or flags.has("add_qkv_bias"):
        fields["qkv_bias"] = True
    if bias:
        fields["output_bias"] = True
    if flags.has("qk_layernorm"):
        fields["qk_norm"] = "head"
    if flags.has("attention_output_gate"):
        fields["output_gate"] = True
    if not rotary:
        fields["rope"] = False
    if flags.text("softmax_type", "vanilla") != "vanilla":
        fields["sink"] = True
    return fields | _window(flags)


def _window(flags: Flags) -> Fields:
    if not flags.has("window_size"):
        return {}
    words = [word.strip("(),[]") for word in " ".join(flags.values["window_size"]).replace(",", " ").split()]
    if not words or not words[0].isdigit():
        raise flags.refuse("window_size", "must be LEFT,RIGHT in tokens", "Write --window-size 128,0.")
    fields: Fields = {"window": int(words[0]) + 1}  # the tokens before, and the token itself
    if flags.has("window_attn_skip_freq"):
        kinds = _per_layer(flags, "window_attn_skip_freq", _MOST_LAYERS)
        if isinstance(kinds, int):
            fields["window_pattern"] = ["local"] * (kinds - 1) + ["full"]
        else:
            fields["window_pattern"] = shortest(["local" if kind else "full" for kind in kinds])
    return fields


def _latent(flags: Flags) -> Fields:
    fields: Fields = {"kind": "mla", "heads": flags.whole("num_attention_heads")}
    for unused in ("kv_channels", "qk_layernorm", "group_query_attention", "num_query_groups"):
        flags.has(unused)
    if flags.has("q_lora_rank"):
        fields["q_lora_rank"] = flags.whole("q_lora_rank")
    return fields | {
        "kv_lora_rank": flags.whole("kv_lora_rank", 32),
        "qk_nope_dim": flags.whole("qk_head_dim", 128),
        "qk_rope_dim": flags.whole("qk_pos_emb_head_dim", 64),
        "v_head_dim": flags.whole("v_head_dim", 128),
    }


def _sparse(flags: Flags, layers: int) -> list[bool]:
    if not flags.has("num_experts"):
        flags.has("moe_layer_freq")
        return [False] * layers
    kinds = _per_layer(flags, "moe_layer_freq", layers) if flags.has("moe_layer_freq") else 1
    if isinstance(kinds, int):
        return [index % kinds == 0 for index in range(layers)]
    return [bool(kind) for kind in kinds]


def _per_layer(flags: Flags, name: str, layers: int) -> int | list[int]:
    """A whole number, or a list such as ``([0]*3+[1]*58)`` with an entry for each layer."""
    text = " ".join(flags.values[name]) if len(flags.values[name]) > 1 else flags.text(name)
    try:
        value: Any = _list_of(ast.parse(text.strip("'\" "), mode="eval").body)
    except (SyntaxError, ValueError):
        raise flags.refuse(name, "must be a whole number or a list like ([0]*3+[1]*58)", "Correct it.") from None
    if isinstance(value, list) and (len(value) != layers and layers != _MOST_LAYERS):
        raise flags.refuse(name, f"must have an entry for each of the {layers} layers, and has {len(value)}", "Correct it.")
    if isinstance(value, int) and value < 1:
        raise flags.refuse(name, "must be at least 1", "Correct it.")
    return value if isinstance(value, int) else [int(item) for item in value]


def _list_of(node: ast.expr) -> int | list[int]:
    """Lists, sums and repetitions of whole numbers; nothing else is evaluated."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.List):
        items = [_list_of(item) for item in node.elts]
        return [item for item in items if isinstance(item, int)]
    if isinstance(node, ast.BinOp):
        left, right = _list_of(node.left), _list_of(node.right)
        if isinstance(node.op, ast.Add) and isinstance(left, list) and isinstance(right, list):
            return left + right
        if isinstance(node.op, ast.Mult) and isinstance(left, list) and isinstance(right, int):
            if len(left) * right > _MOST_LAYERS:
                raise ValueError
            return left * right
    raise ValueError


def _experts(flags: Flags, sparse: list[bool], width: int, shape: Fields) -> Fields:
    first, interval = placement(sparse)
    expert_width = flags.whole("moe_ffn_hidden_size") if flags.has("moe_ffn_hidden_size") else width
    fields: Fields = {
        "experts": flags.whole("num_experts"),
        "top_k": flags.whole("moe_router_topk", 2),
        "width": expert_width,
        **shape,
    }
    if flags.has("moe_shared_expert_intermediate_size"):
        shared = flags.whole("moe_shared_expert_intermediate_size")
        fields["shared_experts"] = 1
        if shared != expert_width:
            fields["shared_width"] = shared
    flags.has("moe_shared_expert_gate")
    if first:
        fields["first_dense"] = first
    if interval > 1:
        fields["interval"] = interval
    router: Fields = {"score": flags.text("moe_router_score_function", "softmax")}
    if router["score"] not in ("softmax", "sigmoid"):
        raise flags.refuse("moe_router_score_function", "must be softmax or sigmoid", "Others are not simulated.")
    flags.has("moe_router_enable_expert_bias")  # a buffer, no parameter
    if flags.has("moe_router_num_groups") and flags.has("moe_router_group_topk"):
        router |= {"groups": flags.whole("moe_router_num_groups"), "top_groups": flags.whole("moe_router_group_topk")}
    fields["router"] = router
    return fields
