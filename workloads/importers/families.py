"""The families of models that Hugging Face configurations name, as data: what their code does where the file is silent.

Every figure here is the documented default of the family's configuration class in the transformers library (or of the code
published with the weights). A family that mixes in layers we do not simulate is refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Bias = Literal["none", "qkv", "qkv and output"]


@dataclass(frozen=True, slots=True)
class Family:
    """How one ``model_type`` reads its configuration.

    ``bias_key``: the flag that says whether attention has the ``bias``; without a key it always has it. ``kv_heads``: 0 means
    as many as heads where the file says nothing, None that it must say. ``head_dim``: 0 means hidden / heads.
    ``positions``: rows a table of learned positions has beside those the file states, None without such a table.
    ``windows``: how the file says which layers see a window. ``experts``: whether layers are sparse, and under which key
    the width of an expert stands (``width`` when the dense FFN's key holds it).
    """

    attention: Literal["gqa", "mla", "compressed"] = "gqa"
    tied: bool = False
    kv_heads: int | None = 0
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
    gated: bool = True
    ffn_bias: bool = False
    ffn_bias_key: str | None = None
    activation: str = "silu"
    width_of_hidden: int = 0
    windows: Literal["none", "all", "qwen", "types", "alternate", "pattern", "chunks"] = "none"
    window: int | None = None
    experts: Literal["none", "expert_width", "width", "optional"] = "none"
    expert_bias: bool = False
    shared: Literal["count", "width", "one", "none"] = "none"
    score: Literal["softmax", "sigmoid", "sqrt-softplus"] = "softmax"
    router_bias: bool = False
    mtp: bool = False
    note: str = ""


_LLAMA = Family(bias="qkv and output", ffn_bias_key="mlp_bias")
_MISTRAL = Family(kv_heads=8, windows="all", window=4096)
_QWEN2 = Family(kv_heads=None, bias="qkv", bias_key=None, windows="qwen", window=4096)
_QWEN3 = replace(_QWEN2, bias="qkv and output", bias_key="attention_bias", qk_norm="head", head_dim=128)
_DEEPSEEK = Family(attention="mla", kv_heads=0, experts="expert_width", shared="count", mtp=True)
_DEEPSEEK_V3 = replace(_DEEPSEEK, score="sigmoid")
_GEMMA = Family(tied=True, kv_heads=None, head_dim=256, activation="gelu_pytorch_tanh", bias="qkv and output")
_GEMMA3 = replace(_GEMMA, sandwich_norm=True, qk_norm="head", windows="pattern", window=4096)
_GEMMA4 = replace(
    _GEMMA3, windows="types", window=512, experts="optional",
    note="The router's own scales, and the norms that only layers with experts have, are not counted.",
)  # fmt: skip
_GPT2 = Family(
    tied=True, bias="qkv and output", bias_key=None, rope=False, positions=0, norm_bias=True, gated=False, ffn_bias=True,
    activation="gelu_new", width_of_hidden=4,
)  # fmt: skip

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "mistral": _MISTRAL,
    "mixtral": replace(_MISTRAL, window=None, experts="width"),
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "qwen2_moe": replace(
        _QWEN2, experts="expert_width", shared="width",
        note="The gate of the shared expert (hidden weights a layer) is not counted.",
    ),
    "qwen3_moe": replace(_QWEN3, head_dim=0, experts="expert_width"),
    "olmo2": replace(_LLAMA, ffn_bias_key=None, qk_norm="full"),
    "olmo3": replace(_LLAMA, ffn_bias_key=None, qk_norm="full", windows="types", window=4096),
    "phi3": Family(windows="all", window=None),
    "phi": Family(
        bias="qkv and output", bias_key=None, norm_bias=True, parallel_block=True, gated=False, ffn_bias=True,
        activation="gelu_new", note="The bias of the head (vocab weights) is not counted.",
    ),
    "gpt_neox": Family(
        bias="qkv and output", bias_key="attention_bias", bias_default=True, norm_bias=True, gated=False, ffn_bias=True,
        activation="gelu", note="Where attention and FFN run in parallel, their second norm is not counted.",
    ),
    "gpt2": _GPT2,
    "opt": replace(_GPT2, positions=2, activation="relu", bias_key="enable_bias", bias_default=True,
        ffn_bias_key="enable_bias", width_of_hidden=0),
    "bloom": replace(_GPT2, positions=None, embedding_norm=True, activation="gelu"),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, sandwich_norm=True, windows="alternate", window=4096),
    "gemma3_text": _GEMMA3,
    "gemma4_text": _GEMMA4,
    "nemotron": Family(bias="qkv and output", norm_bias=True, gated=False, ffn_bias_key="mlp_bias", activation="relu2"),
    "gpt_oss": Family(
        kv_heads=8, head_dim=64, bias="qkv and output", bias_default=True, sink=True, windows="types", window=128,
        experts="width", expert_bias=True, router_bias=True,
    ),
    "glm4_moe": Family(
        kv_heads=8, bias="qkv", qk_norm="head", qk_norm_key="use_qk_norm", qk_norm_default=False, experts="expert_width",
        shared="count", score="sigmoid", router_bias=True, mtp=True,
    ),
    "minimax_m2": Family(
        kv_heads=8, qk_norm="full", qk_norm_key="use_qk_norm", experts="width", shared="width", score="sigmoid",
        router_bias=True, mtp=True,
    ),
    "llama4_text": Family(
        kv_heads=8, head_dim=128, bias="qkv and output", windows="chunks", window=8192, experts="width", shared="one",
        score="sigmoid",
    ),
    "deepseek_v2": replace(_DEEPSEEK, mtp=False),
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v32": _DEEPSEEK_V3,
    "kimi_k2": _DEEPSEEK_V3,
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
}
"""A ``model_type`` with a vision encoder -> the one of the language model in its ``text_config``."""

_STATE_SPACE = "it has state-space layers, which are not simulated"
_LINEAR = "it has linear-attention layers, which are not simulated"
_NOT_CAUSAL = "it is no decoder that is trained on the next token"

NOT_MODELLED: dict[str, str] = {
    **dict.fromkeys(
        ("mamba", "mamba2", "falcon_mamba", "jamba", "zamba", "zamba2", "bamba", "nemotron_h", "granitemoehybrid", "falcon_h1"),
        _STATE_SPACE,
    ),
    **dict.fromkeys(
        ("minimax", "minimax_text_01", "MiniMaxText01", "qwen3_next", "qwen3_5", "qwen3_5_moe", "kimi_linear", "lfm2", "rwkv",
         "recurrent_gemma", "bailing_moe_linear"),
        _LINEAR,
    ),
    **dict.fromkeys(("bert", "roberta", "t5", "bart", "whisper", "vit", "clip", "llava"), _NOT_CAUSAL),
    "gemma3n": "its layers read per-layer embeddings, which are not simulated",
    "longcat_flash": "its experts that do nothing and its doubled layers are not simulated",
    "deepseek_vl_v2": "its language part stands in a file of its own kind",
}  # fmt: skip
"""Known families that cannot be imported, and why."""
