"""The families of models that Hugging Face configurations name, as data: what their code does where the file is silent.

Every figure here is the documented default of the family's configuration class in the transformers library (or of the code
published with the weights). A family that mixes in layers we do not simulate is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Bias = Literal["none", "qkv", "qkv and output"]


@dataclass(frozen=True, slots=True)
class Family:
    """How one ``model_type`` reads its configuration.

    ``bias_key``: the flag that says whether attention has the ``bias``; without a key it always has it. ``kv_heads``: 0 means
    as many as heads where the file says nothing, None that it must say. ``head_dim``: 0 means hidden / heads. ``heads`` and
    ``vocab``: what files of the family leave out, None where they must say it.
    ``positions``: rows a table of learned positions has beside those the file states, None without such a table.
    ``windows``: how the file says which layers see a window; of ``window_every`` layers the last sees everything.
    ``experts``: whether layers are sparse, and under which key the width of an expert stands (``width`` when the dense FFN's
    key holds it, ``either`` when that stands in for a key left out). ``dense_first`` and ``shared_experts``: how many of each
    there are where the file does not say, None where it must. ``multi_query``: the switch that leaves one key-value
    head. ``hybrid``: whose way it has of naming layers that keep a state; ``output_gate``: whether attention gates its output.
    ``sections``: mappings inside the file whose keys are read as if they stood beside the others. ``only``: switches
    of which one setting is known, each with that setting; ``no_matter``: keys that in this family change nothing counted, or
    what ``note`` says.
    """

    attention: Literal["gqa", "mla", "compressed"] = "gqa"
    tied: bool = False
    vocab: int | None = None
    heads: int | None = None
    kv_heads: int | None = 0
    multi_query: str | None = None
    head_dim: int = 0
    bias: Bias = "none"
    bias_key: str | None = "attention_bias"
    bias_default: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    qk_norm_key: str | None = None
    qk_norm_default: bool = True
    sink: bool = False
    rope: bool = True
    positions: int | None = None
    norm_bias: bool = False
    embedding_norm: bool = False
    sandwich_norm: bool = False
    parallel_block: bool = False
    parallel_key: str | None = None
    gated: bool = True
    ffn_bias: bool = False
    ffn_bias_key: str | None = None
    activation: str = "silu"
    width_of_hidden: int = 0
    windows: Literal["none", "all", "qwen", "types", "alternate", "pattern", "chunks"] = "none"
    window: int | None = None
    window_every: int = 6
    experts: Literal["none", "expert_width", "width", "either", "optional", "optional_width"] = "none"
    expert_bias: bool = False
    shared: Literal["count", "width", "one", "mixed", "residual", "nemotron", "none"] = "none"
    dense_first: int | None = 0
    shared_experts: int | None = 0
    score: Literal["softmax", "sigmoid", "sqrt-softplus"] = "softmax"
    router_bias: bool = False
    mtp: bool = False
    hybrid: Literal["", "qwen", "kimi", "nemotron", "granite"] = ""
    output_gate: bool = False
    sections: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    no_matter: tuple[str, ...] = ()
    note: str = ""


_LLAMA = Family(bias="qkv and output", ffn_bias_key="mlp_bias")
_MISTRAL = Family(kv_heads=8, windows="all", window=4096)
_QWEN2 = Family(kv_heads=None, bias="qkv", bias_key=None, windows="qwen", window=4096)
_QWEN3 = replace(_QWEN2, bias="qkv and output", bias_key="attention_bias", qk_norm="head", head_dim=128)
# What DeepSeek-V3's files leave out its own code and transformers fill differently: they must say it.
_DEEPSEEK = Family(
    attention="mla", kv_heads=0, experts="expert_width", shared="count", dense_first=None, shared_experts=None, mtp=True
)
_DEEPSEEK_V3 = replace(_DEEPSEEK, score="sigmoid")
_GEMMA = Family(tied=True, kv_heads=None, head_dim=256, activation="gelu_pytorch_tanh", bias="qkv and output")
_SANDWICH = replace(_GEMMA, sandwich_norm=True, qk_norm="head", windows="pattern", window=4096)
_GEMMA3 = replace(_SANDWICH, vocab=262_208, heads=8, kv_heads=4)  # its published files leave out what the smallest model has
_GEMMA4 = replace(
    _SANDWICH, windows="types", window=512, experts="optional",
    note="The router's own scales, and the norms that only layers with experts have, are not counted.",
)  # fmt: skip
_QWEN_NEXT = replace(
    _QWEN3, head_dim=256, windows="none", hybrid="qwen", output_gate=True, experts="expert_width", shared="width",
    only={"attn_output_gate": True, "use_sliding_window": False},
    no_matter=("mamba_ssm_dtype", "mtp_use_dedicated_embeddings", "mtp_num_hidden_layers"),
    note="The gate of the shared expert (hidden weights a layer) and prediction blocks are not counted.",
)  # fmt: skip
_GPT2 = Family(
    tied=True, bias="qkv and output", bias_key=None, rope=False, positions=0, norm_bias=True, gated=False, ffn_bias=True,
    activation="gelu_new", width_of_hidden=4,
)  # fmt: skip
_COHERE = Family(tied=True, bias="qkv and output", parallel_block=True)
_ERNIE = Family(tied=True, kv_heads=None, bias="qkv and output", bias_key="use_bias", ffn_bias_key="use_bias")
_HUNYUAN = Family(
    bias="qkv and output", qk_norm="head", qk_norm_key="use_qk_norm",
    only={"use_cla": False, "use_mla": False, "mlp_bias": False, "moe_drop_tokens": False},
    no_matter=("cla_share_factor",),
)  # fmt: skip

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "mistral": _MISTRAL,
    "ministral": replace(_MISTRAL, windows="types", window=None),
    "ministral3": replace(_MISTRAL, window=None, head_dim=128),
    "mixtral": replace(_MISTRAL, window=None, experts="width"),
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "qwen2_moe": replace(
        _QWEN2, experts="expert_width", shared="width",
        note="The gate of the shared expert (hidden weights a layer) is not counted.",
    ),
    "qwen3_next": _QWEN_NEXT,
    "qwen3_5_text": replace(_QWEN_NEXT, experts="none", shared="none", note="Prediction blocks are not counted."),
    "qwen3_5_moe_text": _QWEN_NEXT,
    "nemotron_h": Family(
        bias="qkv and output", rope=False, gated=False, ffn_bias_key="mlp_bias", activation="relu2", kv_heads=8, head_dim=128,
        hybrid="nemotron", experts="expert_width", shared="nemotron", score="sigmoid", router_bias=True,
        no_matter=("expand", "mtp_layers_block_type", "mtp_hybrid_override_pattern"),
    ),
    "granitemoehybrid": replace(
        _LLAMA, ffn_bias_key=None, rope=False, hybrid="granite", experts="optional_width", shared="width",
        only={"normalization_function": "rmsnorm"},
    ),
    "kimi_linear": replace(
        _DEEPSEEK_V3, hybrid="kimi", router_bias=True, mtp=False,
        only={"mla_use_nope": True, "routed_expert_hidden_size": None, "moe_layer_freq": 1, "mla_use_output_gate": False},
    ),
    "qwen3_moe": replace(_QWEN3, head_dim=0, experts="expert_width"),
    "olmo2": replace(_LLAMA, ffn_bias_key=None, qk_norm="full"),
    "olmo3": replace(_LLAMA, ffn_bias_key=None, qk_norm="full", windows="types", window=4096),
    "phi3": Family(
        windows="all", window=None, only={"full_attn_mod": 1, "lm_head_bias": False, "mlp_bias": False, "attention_bias": False}
    ),
    "phi": Family(
        bias="qkv and output", bias_key=None, norm_bias=True, parallel_block=True, gated=False, ffn_bias=True,
        activation="gelu_new", note="The bias of the head (vocab weights) is not counted.",
    ),
    "gpt_neox": Family(
        bias="qkv and output", bias_key="attention_bias", bias_default=True, norm_bias=True, gated=False, ffn_bias=True,
        activation="gelu", parallel_block=True, parallel_key="use_parallel_residual",
        note="Where attention and FFN run in parallel, their second norm is not counted.",
    ),
    "gpt2": _GPT2,
    "gptj": Family(
        no_matter=("n_positions", "rotary"), norm_bias=True, parallel_block=True, gated=False, ffn_bias=True,
        activation="gelu_new", width_of_hidden=4,
        note="The bias of the head (vocab weights) is not counted.",
    ),
    "gpt_bigcode": replace(_GPT2, multi_query="multi_query", activation="gelu_pytorch_tanh"),
    "starcoder2": Family(
        tied=True, kv_heads=2, bias="qkv and output", bias_key="use_bias", bias_default=True, norm_bias=True, gated=False,
        ffn_bias=True, ffn_bias_key="use_bias", activation="gelu_pytorch_tanh", windows="all", window=None,
        only={"mlp_type": "default", "norm_type": "layer_norm"},
    ),
    "stablelm": Family(
        kv_heads=32, bias="qkv", bias_key="use_qkv_bias", norm_bias=True, parallel_key="use_parallel_residual", activation="silu",
    ),
    "falcon": Family(
        tied=True, multi_query="multi_query", bias="qkv and output", bias_key="bias", norm_bias=True, gated=False,
        ffn_bias_key="bias", activation="gelu", width_of_hidden=4, parallel_block=True, parallel_key="parallel_attn",
        note="Where attention and FFN have norms of their own (40B, 180B), the second is not counted.",
    ),
    "mpt": Family(
        tied=True, positions=0, rope=False, gated=False, activation="gelu", width_of_hidden=4, sections=("attn_config",),
        only={"no_bias": True, "qk_ln": False, "qk_gn": False, "prefix_lm": False, "embedding_fraction": 1.0, "rope": False,
              "sliding_window_size": -1, "attn_uses_sequence_id": False, "attn_type": "multihead_attention"},
        no_matter=("norm_type",),
    ),
    "dbrx": Family(experts="width", sections=("attn_config", "ffn_config")),
    "cohere": replace(_COHERE, qk_norm="full", qk_norm_key="use_qk_norm", qk_norm_default=False),
    "cohere2": replace(_COHERE, windows="pattern", window=4096, window_every=4, only={
        "use_qk_norm": False, "use_parallel_block": True, "use_gated_activation": True, "use_embedding_sharing": True,
        "order_of_interleaved_layers": "local_attn_first", "use_parallel_embedding": False,
    }, no_matter=("position_embedding_type",)),
    "internlm": replace(_LLAMA, bias_key="bias", ffn_bias_key=None),
    "internlm2": replace(_LLAMA, bias_key="bias", ffn_bias_key=None),
    "internlm3": replace(_LLAMA, bias="qkv", bias_key="qkv_bias", ffn_bias_key=None, only={"bias": False}),
    "baichuan": Family(note="Read with rotary positions; the 13B models have ALiBi, which has no weights either."),
    "chatglm": Family(
        multi_query="multi_query_attention", bias="qkv", bias_key="add_qkv_bias", only={"add_bias_linear": False,
        "rmsnorm": True, "post_layer_norm": True, "apply_residual_connection_post_layernorm": False, "pre_seq_len": None,
        "fp32_residual_connection": False},
    ),
    "glm": Family(kv_heads=2, head_dim=128, bias="qkv", bias_default=True),
    "glm4": Family(kv_heads=2, head_dim=128, bias="qkv", bias_default=True, sandwich_norm=True),
    "smollm3": replace(_LLAMA, tied=True, kv_heads=4, windows="qwen"),
    "seed_oss": Family(
        kv_heads=8, head_dim=128, bias="qkv", bias_default=True, ffn_bias_key="mlp_bias", only={"attention_out_bias": False},
    ),
    "exaone4": Family(kv_heads=None, qk_norm="head", windows="types", window=4096),
    "ernie4_5": replace(_ERNIE, head_dim=128),
    "ernie4_5_moe": replace(
        _ERNIE, experts="expert_width", shared="count", dense_first=1, shared_experts=2, router_bias=True, mtp=True,
        only={"use_bias": False},
    ),
    "hunyuan_v1_dense": _HUNYUAN,
    "hunyuan_v1_moe": replace(_HUNYUAN, experts="either", shared="mixed"),
    "phimoe": Family(
        kv_heads=8, bias="qkv and output", norm_bias=True, experts="width", windows="all", window=None,
        no_matter=("lm_head_bias",),
        note="The bias of the head (vocab weights) is not counted.",
    ),
    "olmoe": replace(_LLAMA, ffn_bias_key=None, qk_norm="full", experts="width"),
    "granitemoe": replace(_LLAMA, ffn_bias_key=None, experts="width"),
    "granitemoeshared": replace(_LLAMA, ffn_bias_key=None, experts="width", shared="width"),
    "dots1": Family(
        bias="qkv and output", qk_norm="head", experts="expert_width", shared="count", score="sigmoid", router_bias=True,
        windows="qwen",
    ),
    "bailing_moe_v2": Family(
        kv_heads=None, bias="qkv", bias_key="use_qkv_bias", qk_norm="head", qk_norm_key="use_qk_norm", experts="expert_width",
        shared="count", score="sigmoid", router_bias=True, mtp=True, only={"use_bias": False, "use_rmsnorm": True},
        no_matter=("max_window_layers",),
    ),
    "grok-1": Family(tied=True, kv_heads=None, activation="gelu", sandwich_norm=True, experts="width"),
    "arctic": Family(
        experts="width", shared="residual", only={"moe_token_dropping": False, "use_bias": False},
        note="The experts read the layer's input beside attention; here they follow it, as a shared expert's do."
        " The norm before the dense residual FFN is not counted.",
    ),
    "opt": replace(_GPT2, positions=2, activation="relu", bias_key="enable_bias", bias_default=True,
        ffn_bias_key="enable_bias", width_of_hidden=0),
    "bloom": replace(_GPT2, positions=None, embedding_norm=True, activation="gelu"),
    "gemma": _GEMMA,
    "gemma2": replace(
        _GEMMA, sandwich_norm=True, windows="alternate", window=4096,
        no_matter=("sliding_window_size",),  # its published files write the window twice, and its class reads the other
    ),
    "gemma3_text": _GEMMA3,
    "gemma4_text": _GEMMA4,
    "nemotron": Family(bias="qkv and output", norm_bias=True, gated=False, ffn_bias_key="mlp_bias", activation="relu2"),
    "gpt_oss": Family(
        kv_heads=8, head_dim=64, bias="qkv and output", bias_default=True, sink=True, windows="types", window=128,
        experts="width", expert_bias=True, router_bias=True,
    ),
    "glm4_moe": Family(
        kv_heads=8, bias="qkv", qk_norm="head", qk_norm_key="use_qk_norm", qk_norm_default=False, experts="expert_width",
        shared="count", dense_first=1, shared_experts=1, score="sigmoid", router_bias=True, mtp=True,
    ),
    "minimax_m2": Family(
        kv_heads=8, head_dim=128, qk_norm="full", qk_norm_key="use_qk_norm", experts="width", shared="width", score="sigmoid",
        router_bias=True, mtp=True,
    ),
    "llama4_text": Family(
        kv_heads=8, head_dim=128, bias="qkv and output", windows="chunks", window=8192, experts="width", shared="one",
        score="sigmoid",
    ),
    "deepseek_v2": replace(_DEEPSEEK, dense_first=0, mtp=False),
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v32": _DEEPSEEK_V3,
    "kimi_k2": _DEEPSEEK_V3,
    "glm4_moe_lite": _DEEPSEEK_V3,
    "glm_moe_dsa": _DEEPSEEK_V3,
    "deepseek_v4": Family(
        attention="compressed", experts="expert_width", shared="count", score="sqrt-softplus", router_bias=True, mtp=True
    ),
}  # fmt: skip

WRAPPERS = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "llama4": "llama4_text",
    "kimi_k25": "kimi_k2",
    "mistral3": "mistral",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl_moe": "qwen3_moe",
    "glm4v_moe": "glm4_moe",
    "cohere2_vision": "cohere2",
}
"""A ``model_type`` with a vision encoder -> the one of the language model in its ``text_config``."""

SPOKEN = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "glm4v_moe_text": "glm4_moe",
    "deepseek_r1": "deepseek_v3",
}
"""Another name of a family -> the family."""

_STATE_SPACE = "it has state-space layers of a kind that is not simulated"
_LINEAR = "it has linear-attention layers of a kind that is not simulated"
_NOT_CAUSAL = "it is no decoder that is trained on the next token"

NOT_MODELLED: dict[str, str] = {
    **dict.fromkeys(
        ("mamba", "mamba2", "falcon_mamba", "jamba", "zamba", "zamba2", "bamba", "falcon_h1"),
        _STATE_SPACE,
    ),
    **dict.fromkeys(
        ("minimax", "minimax_m1", "minimax_text_01", "MiniMaxText01", "lfm2", "rwkv", "recurrent_gemma", "bailing_moe_linear"),
        _LINEAR,
    ),
    **dict.fromkeys(("bert", "roberta", "t5", "bart", "whisper", "vit", "clip", "llava"), _NOT_CAUSAL),
    "gemma3n": "its layers read per-layer embeddings, which are not simulated",
    "longcat_flash": "its experts that do nothing and its doubled layers are not simulated",
    "hunyuan": "layers that share keys and values with their neighbours are not simulated",
    "grok-2": "its experts beside a dense FFN of their own are not known here",
    "nemotron-nas": "its layers differ one by one",
    "openelm": "its layers differ one by one",
    "phi3small": "its block-sparse attention is not simulated",
    "gpt_neo": "its alternation of windows stands in a form of its own",
    "deepseek_vl_v2": "its language part stands in a file of its own kind",
}  # fmt: skip
"""Known families that cannot be imported, and why."""
