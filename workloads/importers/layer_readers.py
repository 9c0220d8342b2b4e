"""Reading what stands behind attention in a Hugging Face configuration: dense FFN, experts, prediction blocks."""

from __future__ import annotations

from simulator.spec.errors import NotModelled
from workloads.importers.attention_readers import Fields
from workloads.importers.config_keys import Keys
from workloads.importers.families import Family

_GATED = {
    "silu": "swiglu",
    "swish": "swiglu",
    "gelu": "geglu",
    "gelu_new": "geglu",
    "gelu_pytorch_tanh": "geglu",
    "gelu_tanh": "geglu",
}
_PLAIN = {
    "gelu": "gelu", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "gelu_python": "gelu",
    "relu": "relu", "relu2": "squared-relu", "squared_relu": "squared-relu",
}  # fmt: skip
_SCORES = {"softmax": "softmax", "sigmoid": "sigmoid", "sqrtsoftplus": "sqrt-softplus", "noaux_tc": "sigmoid"}


def read_layers(keys: Keys, family: Family, layers: int, hidden: int, pattern: str = "") -> Fields:
    """``ffn``, ``moe`` and ``mtp`` of a model file; ``pattern``: letters of a hybrid, whose sublayers may stand alone."""
    activation = _activation(keys, family)
    alone = family.hybrid == "nemotron"
    # Sublayers that stand alone say themselves which they are; the pattern has one of each kind that occurs.
    sparse = [letter == "E" for letter in "-E" if letter in pattern] if alone else _sparse_layers(keys, family, layers)
    fields: Fields = {}
    if any(sparse):
        fields["moe"] = _experts(keys, family, [True] if alone else sparse, activation)
    elif alone:
        _ignore_experts(keys)
    if not all(sparse):
        fields["ffn"] = _dense(keys, family, hidden, activation)
    else:
        for unused in ("width", "intermediate_size_mlp"):  # some files state a dense width that no layer has
            keys.has(unused)
    depth = _prediction_blocks(keys, family)
    if depth:
        fields["mtp"] = {"depth": depth, "attention": "swa"} if family.attention == "compressed" else {"depth": depth}
    return fields


def _ignore_experts(keys: Keys) -> None:
    """Defaults of experts that some files state and no layer has."""
    for unused in (
        "experts",
        "top_k",
        "expert_width",
        "shared_experts",
        "moe_shared_expert_intermediate_size",
        "groups",
        "top_groups",
    ):
        keys.has(unused)


def _activation(keys: Keys, family: Family) -> str:
    word = keys.word("activation", family.activation)
    known = _GATED if family.gated else _PLAIN
    if word not in known:
        raise keys.refuse("activation", f"must be one of {', '.join(known)}", "Others are not simulated.")
    return known[word]


def _dense(keys: Keys, family: Family, hidden: int, activation: str) -> Fields:
    if family.experts == "optional_width":  # Granite 4 without experts: the FFN that would be shared is all there is
        keys.has("width")
        return {"width": keys.whole("shared_width"), "gated": family.gated, "activation": activation}
    if keys.has("intermediate_size_mlp"):  # Llama 4: intermediate_size is the width of an expert
        width = keys.whole("intermediate_size_mlp")
    elif keys.has("expansion_ratio"):
        width = keys.whole("expansion_ratio") * hidden
    elif family.width_of_hidden:
        width = keys.whole("width", family.width_of_hidden * hidden)
    else:
        width = keys.whole("width")
    fields: Fields = {"width": width, "gated": family.gated, "activation": activation}
    if keys.flag(family.ffn_bias_key, family.ffn_bias) if family.ffn_bias_key else family.ffn_bias:
        fields["bias"] = True
    return fields


def _sparse_layers(keys: Keys, family: Family, layers: int) -> list[bool]:
    """Which layers are a mixture of experts."""
    if family.experts == "optional_width" and not keys.whole("experts", 8, least=0):
        keys.has("top_k")
        return [False] * layers
    if family.experts == "none" or (family.experts == "optional" and not keys.flag("enable_moe_block", False)):
        for key in ("experts", "top_k", "expert_width"):
            keys.only(key, 1, "this kind of model has no experts")
        return [False] * layers
    if not keys.has("experts"):
        raise keys.refuse("experts", "this kind of model has experts, and the file does not say how many", "Add the key.")
    if keys.has("mlp_layer_types"):
        kinds = keys.sequence("mlp_layer_types")
        if len(kinds) != layers or not set(kinds) <= {"dense", "sparse"}:
            raise keys.refuse("mlp_layer_types", f"must say dense or sparse for all {layers} layers", "Correct it.")
        for said_already in ("sparse_first", "moe_layer_freq"):
            keys.has(said_already)
        return [kind == "sparse" for kind in kinds]
    if keys.has("moe_layers"):
        chosen = set(keys.sequence("moe_layers"))
        keys.has("interleave_moe_layer_step")
        return [index in chosen for index in range(layers)]
    every = 1
    for step in ("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", "moe_layer_frequency"):
        every = keys.whole(step) if keys.has(step) else every
    dense = set(keys.sequence("mlp_only_layers")) if keys.has("mlp_only_layers") else set()
    first = family.dense_first
    if keys.has("sparse_first") or first != 0:
        first = keys.whole("sparse_first", *([] if first is None else [first]), least=0)
    last = keys.whole("moe_layer_end_index", least=-1) if keys.has("moe_layer_end_index") else -1
    frequency = keys.whole("moe_layer_freq") if keys.has("moe_layer_freq") else 1
    return [
        first <= index <= (last if last >= 0 else layers)
        and index % frequency == 0
        and (index + 1) % every == 0
        and index not in dense
        for index in range(layers)
    ]


def _experts(keys: Keys, family: Family, sparse: list[bool], activation: str) -> Fields:
    first, interval = placement(sparse)
    fields: Fields = {
        "experts": keys.whole("experts"),
        "top_k": keys.whole("top_k"),
        "width": _expert_width(keys, family),
        "gated": family.gated,
        "activation": activation,
    }
    if family.expert_bias:
        fields["bias"] = True
    fields |= _shared(keys, family, fields["width"])
    fields |= {name: value for name, value in (("first_dense", first), ("interval", interval)) if value != (name == "interval")}
    fields["router"] = _router(keys, family)
    return fields


def _expert_width(keys: Keys, family: Family) -> int:
    """Width of a routed expert; some kinds fall back on the dense width, and some state it under both names."""
    if family.experts in ("width", "optional_width") or (family.experts == "either" and not keys.has("expert_width")):
        return keys.whole("width")
    return keys.whole("expert_width")


def placement(sparse: list[bool]) -> tuple[int, int]:
    """(first_dense, interval) that make exactly these layers sparse."""
    for interval in range(1, len(sparse) + 1):
        for first in range(len(sparse)):
            if [index >= first and index % interval == interval - 1 for index in range(len(sparse))] == sparse:
                return first, interval
    raise NotModelled(
        "sparse layers that are neither all after the first few nor every so many are not simulated: "
        f"{sum(sparse)} of {len(sparse)} here."
    )


def _shared(keys: Keys, family: Family, width: int) -> Fields:
    if family.experts == "optional":  # a dense FFN beside the experts of every layer
        return {"shared_experts": 1, "shared_width": keys.whole("width")}
    if family.shared == "count":
        count = keys.whole("shared_experts", *([] if family.shared_experts is None else [family.shared_experts]), least=0)
        keys.only("moe_shared_expert_intermediate_size", width, "a shared expert is as wide as a routed one in this family")
        return {"shared_experts": count} if count else {}
    if family.shared == "nemotron":  # one FFN of its own width, whatever the count
        width = keys.whole("moe_shared_expert_intermediate_size")
        keys.only("moe_shared_expert_overlap", True, "shared experts run beside the dispatch where the plan overlaps it")
        return {"shared_experts": 1, "shared_width": width} if keys.whole("shared_experts", 1, least=0) else {}
    if family.shared == "one":
        return {"shared_experts": 1}
    if family.shared == "mixed":  # Hunyuan: the count holds only where the switch is on
        return {"shared_experts": keys.whole("shared_experts")} if keys.flag("use_mixed_mlp_moe", False) else {}
    if family.shared == "residual":  # Arctic: a dense FFN as wide as the model, added to what the experts give
        keys.only("use_residual", True, "an Arctic without its dense residual FFN is not known")
        keys.only("parallel_attn_mlp_res", True, "an Arctic whose experts follow its dense FFN is not known")
        return {"shared_experts": 1, "shared_width": keys.whole("hidden")}
    if family.shared == "width":
        total = keys.whole("shared_width", 0, least=0)
        if total:
            return {"shared_experts": 1} if total == width else {"shared_experts": 1, "shared_width": total}
    return {}


def _router(keys: Keys, family: Family) -> Fields:
    word = keys.word("score", family.score.replace("-", ""))
    if word not in _SCORES:
        raise keys.refuse("score", f"must be one of {', '.join(_SCORES)}", "Others are not simulated.")
    router: Fields = {"score": _SCORES[word]}
    bias = all(keys.flag(switch) for switch in ("use_routing_bias", "moe_router_enable_expert_bias") if keys.has(switch))
    if family.router_bias and bias:
        router["bias"] = True
    grouped = not keys.has("topk_method") or keys.word("topk_method") in ("noaux_tc", "group_limited_greedy")
    groups, top_groups = keys.has("groups"), keys.has("top_groups")
    if groups and top_groups and grouped and keys.whole("groups") > 1:
        router |= {"groups": keys.whole("groups"), "top_groups": keys.whole("top_groups")}
    if keys.has("num_hash_layers") and keys.whole("num_hash_layers", least=0):
        router["hash_layers"] = keys.whole("num_hash_layers")
    return router


def _prediction_blocks(keys: Keys, family: Family) -> int:
    if not family.mtp:
        keys.only("mtp", 0, "prediction blocks of this kind of model are not known")
        return 0
    keys.only("mtp_transformer_layers", 1, "a prediction block has one layer here")
    trained = keys.flag("use_mtp", True) if keys.has("use_mtp") else True
    return keys.whole("mtp", 0, least=0) if trained else 0
