"""Published Hugging Face configurations, as the publishers' config.json have them, without keys about tokens and storage.

Each is named after our preset of the same model. ``PUBLISHED`` has models of which we ship no preset, with the number of
parameters that the checkpoint holds. Source of each: the config.json of that repository on huggingface.co.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]


def _llama(layers: int, hidden: int, width: int, heads: int, kv_heads: int, vocab: int, **more: Any) -> Config:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": hidden, "initializer_range": 0.02,
        "intermediate_size": width, "max_position_embeddings": 8192, "mlp_bias": False, "num_attention_heads": heads,
        "num_hidden_layers": layers, "num_key_value_heads": kv_heads, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": None, "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "transformers_version": "4.42.3", "use_cache": True, "vocab_size": vocab, **more,
    }  # fmt: skip


def _deepseek(kind: str, **more: Any) -> Config:
    return {
        "model_type": kind, "attention_bias": False, "attention_dropout": 0.0, "aux_loss_alpha": 0.001, "ep_size": 1,
        "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02,
        "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840, "moe_intermediate_size": 2048,
        "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True,
        "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "quantization_config": {"quant_method": "fp8"}, "rms_norm_eps": 1e-06, "rope_theta": 10000,
        "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": False, "topk_group": 4,
        "topk_method": "noaux_tc", "use_cache": True, "v_head_dim": 128, "vocab_size": 129280, **more,
    }  # fmt: skip


def _deepseek_v4(**more: Any) -> Config:
    return {
        "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "expert_dtype": "fp4", "hc_eps": 1e-06,
        "hc_mult": 4, "hc_sinkhorn_iters": 20, "head_dim": 512, "hidden_act": "silu", "index_head_dim": 128,
        "index_n_heads": 64, "max_position_embeddings": 1048576, "n_shared_experts": 1, "norm_topk_prob": True,
        "num_experts_per_tok": 6, "num_hash_layers": 3, "num_key_value_heads": 1, "num_nextn_predict_layers": 1,
        "o_lora_rank": 1024, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000,
        "compress_rope_theta": 160000, "scoring_func": "sqrtsoftplus", "sliding_window": 128, "swiglu_limit": 10.0,
        "tie_word_embeddings": False, "topk_method": "noaux_tc", "vocab_size": 129280, **more,
    }  # fmt: skip


def _qwen3_moe(**more: Any) -> Config:
    return {
        "model_type": "qwen3_moe", "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu",
        "max_window_layers": 94, "mlp_only_layers": [], "norm_topk_prob": True, "num_experts": 128, "num_experts_per_tok": 8,
        "num_key_value_heads": 4, "output_router_logits": False, "rms_norm_eps": 1e-06, "rope_scaling": None,
        "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": None, "tie_word_embeddings": False,
        "use_sliding_window": False, "vocab_size": 151936, **more,
    }  # fmt: skip


def _gpt_oss(layers: int, experts: int) -> Config:
    return {
        "model_type": "gpt_oss", "attention_bias": True, "experts_per_token": 4, "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2880, "initial_context_length": 4096, "intermediate_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * (layers // 2), "max_position_embeddings": 131072,
        "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": layers, "num_key_value_heads": 8,
        "num_local_experts": experts, "router_aux_loss_coef": 0.9, "rope_theta": 150000, "sliding_window": 128,
        "swiglu_limit": 7.0, "tie_word_embeddings": False, "vocab_size": 201088,
    }  # fmt: skip


def _llama4(experts: int, step: int) -> Config:
    return {
        "model_type": "llama4", "boi_token_index": 200080, "eoi_token_index": 200081, "image_token_index": 200092,
        "text_config": {
            "model_type": "llama4_text", "attention_bias": False, "attention_chunk_size": 8192, "head_dim": 128,
            "hidden_act": "silu", "hidden_size": 5120, "interleave_moe_layer_step": step, "intermediate_size": 8192,
            "intermediate_size_mlp": 16384, "no_rope_layers": [], "num_attention_heads": 40, "num_experts_per_tok": 1,
            "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": experts, "rope_theta": 500000.0,
            "use_qk_norm": False, "vocab_size": 202048, "tie_word_embeddings": False,
        },
        "vision_config": {"hidden_size": 1408},
    }  # fmt: skip


def _gemma4(**more: Any) -> Config:
    layers = more["num_hidden_layers"]
    text = {
        "model_type": "gemma4_text", "attention_bias": False, "attention_k_eq_v": True, "enable_moe_block": False,
        "expert_intermediate_size": None, "final_logit_softcapping": 30.0, "global_head_dim": 512, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size_per_layer_input": 0,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * (layers // 6), "num_experts": None,
        "num_kv_shared_layers": 0, "rms_norm_eps": 1e-06, "sliding_window": 1024, "tie_word_embeddings": True,
        "top_k_experts": None, "use_bidirectional_attention": "vision", "use_double_wide_mlp": False, "vocab_size": 262144,
        "vocab_size_per_layer_input": 262144, **more,
    }  # fmt: skip
    return {"model_type": "gemma4", "text_config": text, "tie_word_embeddings": True, "vision_config": {"hidden_size": 1152}}


def _olmo(kind: str, vocab: int, **more: Any) -> Config:
    config = _llama(64, 5120, 27648, 40, 8, vocab, **more) | {"model_type": kind}
    del config["mlp_bias"]  # OLMo has no such switch
    return config


PRESETS: dict[str, Config] = {
    "llama2-7b": _llama(32, 4096, 11008, 32, 32, 32000),
    "llama2-70b": _llama(80, 8192, 28672, 64, 8, 32000),
    "llama3.1-8b": _llama(32, 4096, 14336, 32, 8, 128256),
    "llama3.1-70b": _llama(80, 8192, 28672, 64, 8, 128256),
    "llama3.1-405b": _llama(126, 16384, 53248, 128, 8, 128256),
    "mistral-7b": {
        "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "sliding_window": 4096,
        "tie_word_embeddings": False, "vocab_size": 32000,
    },
    "mixtral-8x7b": {
        "model_type": "mixtral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "num_local_experts": 8, "router_aux_loss_coef": 0.02, "sliding_window": None, "vocab_size": 32000,
    },
    "mixtral-8x22b": {
        "model_type": "mixtral", "hidden_act": "silu", "hidden_size": 6144, "intermediate_size": 16384,
        "num_attention_heads": 48, "num_experts_per_tok": 2, "num_hidden_layers": 56, "num_key_value_heads": 8,
        "num_local_experts": 8, "sliding_window": None, "tie_word_embeddings": False, "vocab_size": 32768,
    },
    "qwen3-8b": {
        "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
        "intermediate_size": 12288, "max_window_layers": 36, "num_attention_heads": 32, "num_hidden_layers": 36,
        "num_key_value_heads": 8, "sliding_window": None, "tie_word_embeddings": False, "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen3-30b-a3b": _qwen3_moe(
        hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768, num_attention_heads=32, num_hidden_layers=48
    ),
    "qwen3-235b-a22b": _qwen3_moe(
        hidden_size=4096, intermediate_size=12288, moe_intermediate_size=1536, num_attention_heads=64, num_hidden_layers=94
    ),
    "qwen2-57b-a14b": {
        "model_type": "qwen2_moe", "decoder_sparse_step": 1, "hidden_act": "silu", "hidden_size": 3584,
        "intermediate_size": 18944, "max_window_layers": 28, "mlp_only_layers": [], "moe_intermediate_size": 2560,
        "norm_topk_prob": False, "num_attention_heads": 28, "num_experts": 64, "num_experts_per_tok": 8,
        "num_hidden_layers": 28, "num_key_value_heads": 4, "shared_expert_intermediate_size": 20480,
        "sliding_window": 65536, "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
    },
    "deepseek-v2": _deepseek(
        "deepseek_v2", first_k_dense_replace=1, hidden_size=5120, intermediate_size=12288, moe_intermediate_size=1536,
        n_routed_experts=160, n_shared_experts=2, num_experts_per_tok=6, num_hidden_layers=60, scoring_func="softmax",
        topk_method="group_limited_greedy", topk_group=3, vocab_size=102400, num_nextn_predict_layers=0,
    ),
    "deepseek-v3": _deepseek("deepseek_v3"),
    "deepseek-v3.2": _deepseek("deepseek_v32", index_head_dim=128, index_n_heads=64, index_topk=2048),
    "deepseek-v4-flash": _deepseek_v4(
        compress_ratios=[0, 0, *[4, 128] * 20, 4, 0], hidden_size=4096, index_topk=512, moe_intermediate_size=2048,
        n_routed_experts=256, num_attention_heads=64, num_hidden_layers=43, o_groups=8, q_lora_rank=1024,
        routed_scaling_factor=1.5,
    ),
    "deepseek-v4-pro": _deepseek_v4(
        compress_ratios=[128, 128, *[4, 128] * 29, 4, 0], hidden_size=7168, index_topk=1024, moe_intermediate_size=3072,
        n_routed_experts=384, num_attention_heads=128, num_hidden_layers=61, o_groups=16, q_lora_rank=1536,
        routed_scaling_factor=2.5,
    ),
    "kimi-k2": _deepseek(
        "kimi_k2", first_k_dense_replace=1, n_group=1, n_routed_experts=384, num_attention_heads=64, num_key_value_heads=64,
        num_nextn_predict_layers=0, topk_group=1, vocab_size=163840, routed_scaling_factor=2.827,
    ),
    "moonlight-16b-a3b": _deepseek(
        "deepseek_v3", first_k_dense_replace=1, hidden_size=2048, intermediate_size=11264, moe_intermediate_size=1408,
        n_group=1, n_routed_experts=64, n_shared_experts=2, num_attention_heads=16, num_experts_per_tok=6,
        num_hidden_layers=27, num_key_value_heads=16, num_nextn_predict_layers=0, q_lora_rank=None, topk_group=1,
        vocab_size=163840,
    ),
    "glm-5.2": _deepseek(
        "glm_moe_dsa", hidden_size=6144, index_head_dim=128, index_n_heads=32, index_topk=2048, intermediate_size=12288,
        indexer_types=["full"] * 3 + (["shared"] * 3 + ["full"]) * 18 + ["shared"] * 3, n_group=1, num_attention_heads=64,
        mlp_layer_types=["dense"] * 3 + ["sparse"] * 75, num_hidden_layers=78, num_key_value_heads=64, q_lora_rank=2048,
        qk_head_dim=256, qk_nope_head_dim=192, topk_group=1, v_head_dim=256, vocab_size=154880, num_nextn_predict_layers=0,
    ),
    "gpt-oss-20b": _gpt_oss(24, 32),
    "gpt-oss-120b": _gpt_oss(36, 128),
    "gemma3-12b": {
        "model_type": "gemma3",
        "mm_tokens_per_image": 256,
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360, "num_attention_heads": 16,
            "num_hidden_layers": 48, "num_key_value_heads": 8, "rope_scaling": {"factor": 8.0}, "sliding_window": 1024,
            "vocab_size": 262208,
        },
        "vision_config": {"hidden_size": 1152},
    },
    "gemma4-31b": _gemma4(
        hidden_size=5376, intermediate_size=21504, num_attention_heads=32, num_global_key_value_heads=4,
        num_hidden_layers=60, num_key_value_heads=16,
    ),
    "gemma4-26b": _gemma4(
        enable_moe_block=True, hidden_size=2816, intermediate_size=2112, moe_intermediate_size=704, num_attention_heads=16,
        num_experts=128, num_global_key_value_heads=2, num_hidden_layers=30, num_key_value_heads=8, top_k_experts=8,
    ),
    "llama4-scout": _llama4(16, 1),
    "llama4-maverick": _llama4(128, 2),
    "nemotron-4-340b": {
        "model_type": "nemotron", "attention_bias": False, "head_dim": 192, "hidden_act": "relu2", "hidden_size": 18432,
        "intermediate_size": 73728, "mlp_bias": False, "norm_eps": 1e-05, "num_attention_heads": 96, "num_hidden_layers": 96,
        "num_key_value_heads": 8, "partial_rotary_factor": 0.5, "tie_word_embeddings": False, "vocab_size": 256000,
    },
    "bloom-176b": {
        "model_type": "bloom", "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
        "attention_softmax_in_fp32": True, "hidden_dropout": 0.0, "layer_norm_epsilon": 1e-05,
        "masked_softmax_fusion": True, "n_embed": 14336, "n_layer": 70, "num_attention_heads": 112, "offset_alibi": 100,
        "pretraining_tp": 4, "seq_length": 2048, "skip_bias_add": True, "skip_bias_add_qkv": False, "vocab_size": 250880,
    },
    "olmo2-32b": _olmo("olmo2", 100352),
    "olmo3-32b": _olmo(
        "olmo3", 100278, layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 16, sliding_window=4096
    ),
}  # fmt: skip

#: A preset that counts otherwise than the checkpoint: parameters the import has more, and why.
DIFFERENCES: dict[str, tuple[int, str]] = {
    "gemma3-12b": (64 * 3840, "the checkpoint pads its vocabulary by 64 tokens for images"),
    "gemma4-31b": (
        60 * 2 * 5376 + 50 * 2 * 256 + 10 * 2 * 512,
        "the preset leaves out norms after sublayers, of queries and keys",
    ),
    "gemma4-26b": (
        30 * 2 * 2816 + 25 * 2 * 256 + 5 * 2 * 512,
        "the preset leaves out norms after sublayers, of queries and keys",
    ),
    "nemotron-4-340b": ((2 * 96 + 1) * 18432, "the preset leaves out the biases of norms"),
    "glm-5.2": (21 * 2 * 128, "the preset leaves out the norms of the indexer's keys"),
}

PUBLISHED: dict[str, tuple[int, Config]] = {
    "gpt2": (124_439_808, {
        "model_type": "gpt2", "activation_function": "gelu_new", "attn_pdrop": 0.1, "embd_pdrop": 0.1,
        "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "summary_type": "cls_index", "vocab_size": 50257,
    }),
    "opt-125m": (125_239_296, {
        "model_type": "opt", "_remove_final_layer_norm": False, "activation_dropout": 0.0, "activation_function": "relu",
        "do_layer_norm_before": True, "dropout": 0.1, "ffn_dim": 3072, "hidden_size": 768, "init_std": 0.02,
        "layerdrop": 0.0, "max_position_embeddings": 2048, "num_attention_heads": 12, "num_hidden_layers": 12,
        "vocab_size": 50272, "word_embed_proj_dim": 768,
    }),
    "phi-2, without the bias of its head": (2_779_683_840 - 51_200, {
        "model_type": "phi", "hidden_act": "gelu_new", "hidden_size": 2560, "intermediate_size": 10240,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4,
        "qk_layernorm": False, "tie_word_embeddings": False, "vocab_size": 51200,
    }),
    "phi-3-mini": (3_821_079_552, {
        "model_type": "phi3", "attention_bias": False, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "sliding_window": 2047,
        "tie_word_embeddings": False, "vocab_size": 32064,
    }),
    "gemma-2b": (2_506_172_416, {
        "model_type": "gemma", "head_dim": 256, "hidden_act": "gelu", "hidden_size": 2048, "intermediate_size": 16384,
        "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1, "vocab_size": 256000,
    }),
    "gemma-2-9b": (9_241_705_984, {
        "model_type": "gemma2", "attention_bias": False, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584,
        "intermediate_size": 14336, "num_attention_heads": 16, "num_hidden_layers": 42, "num_key_value_heads": 8,
        "query_pre_attn_scalar": 224, "sliding_window": 4096, "sliding_window_size": 4096, "vocab_size": 256000,
    }),
    "gemma-3-4b, as sparing as it is published": (3_880_263_168, {
        "model_type": "gemma3", "mm_tokens_per_image": 256, "vision_config": {"hidden_size": 1152}, "text_config": {
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
    }),
    "qwen2.5-7b": (7_615_616_512, {
        "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944,
        "max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
        "sliding_window": 131072, "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 152064,
    }),
    "qwen1.5-moe-a2.7b, without the gates of its shared experts": (14_315_784_192 - 24 * 2048, {
        "model_type": "qwen2_moe", "decoder_sparse_step": 1, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 5632, "max_window_layers": 21, "moe_intermediate_size": 1408, "num_attention_heads": 16,
        "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 16,
        "shared_expert_intermediate_size": 5632, "sliding_window": 32768, "tie_word_embeddings": False,
        "use_sliding_window": False, "vocab_size": 151936,
    }),
}  # fmt: skip

#: Models whose publishers round: billions of parameters (and of active ones) as stated.
STATED: dict[str, tuple[float, float, Config]] = {
    "GLM-4.5-Air": (106.0, 12.0, {
        "model_type": "glm4_moe", "attention_bias": True, "first_k_dense_replace": 1, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 4096, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_group": 1,
        "n_routed_experts": 128, "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 96,
        "num_experts_per_tok": 8, "num_hidden_layers": 46, "num_key_value_heads": 8, "num_nextn_predict_layers": 1,
        "partial_rotary_factor": 0.5, "routed_scaling_factor": 1.0, "tie_word_embeddings": False, "topk_group": 1,
        "use_qk_norm": False, "vocab_size": 151552,
    }),
    "MiniMax-M2": (230.0, 10.0, {
        "model_type": "minimax_m2", "attn_type_list": [1] * 62, "head_dim": 128, "hidden_act": "silu", "hidden_size": 3072,
        "intermediate_size": 1536, "mtp_transformer_layers": 1, "num_attention_heads": 48, "num_experts_per_tok": 8,
        "num_hidden_layers": 62, "num_key_value_heads": 8, "num_local_experts": 256, "num_mtp_modules": 3,
        "qk_norm_type": "per_layer", "rotary_dim": 64, "scoring_func": "sigmoid", "shared_intermediate_size": 0,
        "tie_word_embeddings": False, "use_mtp": True, "use_qk_norm": True, "use_routing_bias": True, "vocab_size": 200064,
    }),
}  # fmt: skip
