"""More published Hugging Face configurations: of models of which we ship no preset, with the parameters of their checkpoints.

Each as its publisher's config.json has it, keys about tokens and storage included where they are unusual. The first figure is
the number of parameters of the main model, as the headers of the checkpoint's files state it or, where only a rounded size is
published, that size; ``tolerance`` is how far the two may differ, and the note why. Source of each: the config.json of that
repository on huggingface.co.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Config = dict[str, Any]


class Checkpoint(NamedTuple):
    """A configuration, the parameters that its checkpoint holds, how far the import may differ and why."""

    parameters: float
    config: Config
    tolerance: float = 0.0
    why: str = ""


def _llama(kind: str, layers: int, hidden: int, width: int, heads: int, kv_heads: int, vocab: int, **more: Any) -> Config:
    return {
        "model_type": kind, "hidden_act": "silu", "hidden_size": hidden, "initializer_range": 0.02, "intermediate_size": width,
        "max_position_embeddings": 4096, "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-05, "rope_theta": 1e6, "torch_dtype": "bfloat16",
        "use_cache": True, "vocab_size": vocab, **more,
    }  # fmt: skip


def _without(config: Config, *keys: str) -> Config:
    return {key: value for key, value in config.items() if key not in keys}


_HUNYUAN_A13B = _llama(
    "hunyuan_v1_moe", 32, 4096, 3072, 32, 8, 128167, architectures=["HunYuanMoEV1ForCausalLM"], attention_bias=False,
    attention_head_dim=128, head_dim=128, capacity_factor=1.0, cla_share_factor=2, mlp_bias=False, moe_drop_tokens=False,
    moe_intermediate_size=[3072] * 32, moe_layer_num_skipped=0, moe_topk=[8] * 32, norm_topk_prob=True, num_experts=64,
    num_shared_expert=[1] * 32, tie_word_embeddings=True, use_cla=False, use_mixed_mlp_moe=True, use_mla=False,
    use_qk_norm=True,
)  # fmt: skip

_ARCTIC = _llama(
    "arctic", 35, 7168, 4864, 56, 8, 32000, architectures=["ArcticForCausalLM"], attention_dropout=0,
    enable_expert_tensor_parallelism=False, moe_eval_capacity_factor=1, moe_layer_frequency=1, moe_min_capacity=0,
    moe_token_dropping=False, moe_train_capacity_factor=1, num_experts_per_tok=2, num_local_experts=128,
    parallel_attn_mlp_res=True, quantization=None, router_aux_loss_coef=0.001, sliding_window=None,
    tie_word_embeddings=False, use_residual=True,
)  # fmt: skip

_ERNIE_21B = _llama(
    "ernie4_5_moe", 28, 2560, 12288, 20, 4, 103424, architectures=["Ernie4_5_MoeForCausalLM"], use_bias=False,
    head_dim=128, tie_word_embeddings=True, moe_num_experts=64, moe_use_aux_free=True, moe_layer_start_index=1,
    moe_layer_end_index=27, moe_intermediate_size=1536, moe_capacity=[64, 64, 64], moe_k=6, moe_layer_interval=1,
    moe_num_shared_experts=2, num_nextn_predict_layers=1,
)  # fmt: skip

_FALCON = {
    "model_type": "falcon", "alibi": False, "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
    "architectures": ["FalconForCausalLM"], "bias": False, "bos_token_id": 11, "eos_token_id": 11, "hidden_dropout": 0.0,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "parallel_attn": True, "use_cache": True, "vocab_size": 65024,
}  # fmt: skip

CHECKPOINTS: dict[str, Checkpoint] = {
    "Yi-34B": Checkpoint(34_388_917_248, _llama("llama", 60, 7168, 20480, 56, 8, 64000, tie_word_embeddings=False)),
    "DeepSeek-Coder-33B": Checkpoint(33_342_991_360, _llama("llama", 62, 7168, 19200, 56, 8, 32256, tie_word_embeddings=False)),
    "Llama-3.2-1B": Checkpoint(
        1_235_814_400, _llama("llama", 16, 2048, 8192, 32, 8, 128256, head_dim=64, mlp_bias=False, tie_word_embeddings=True)
    ),
    "Qwen2.5-0.5B": Checkpoint(
        494_032_768,
        _llama("qwen2", 24, 896, 4864, 14, 2, 151936, max_window_layers=24, sliding_window=32768, tie_word_embeddings=True,
               use_sliding_window=False, use_mrope=False),
    ),
    "Qwen3-0.6B": Checkpoint(
        596_049_920,
        _llama("qwen3", 28, 1024, 3072, 16, 8, 151936, attention_bias=False, head_dim=128, max_window_layers=28,
               sliding_window=None, tie_word_embeddings=True, use_sliding_window=False),
    ),
    "Ministral-8B": Checkpoint(
        8_019_808_256,
        _llama("mistral", 36, 4096, 12288, 32, 8, 131072, head_dim=128, sliding_window=32768, tie_word_embeddings=False),
    ),
    "Mistral-Small-3.1-24B": Checkpoint(
        23_572_403_200,
        {
            "architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10, "model_type": "mistral3",
            "multimodal_projector_bias": False, "projector_hidden_act": "gelu", "spatial_merge_size": 2,
            "text_config": _llama("mistral", 40, 5120, 32768, 32, 8, 131072, head_dim=128, sliding_window=None,
                                  attention_dropout=0.0),
            "vision_config": {"model_type": "pixtral"}, "vision_feature_layer": -1, "tie_word_embeddings": False,
        },
    ),
    "Qwen3-VL-30B-A3B, its language model": Checkpoint(
        30_532_122_624,
        {
            "architectures": ["Qwen3VLMoeForConditionalGeneration"], "image_token_id": 151655, "model_type": "qwen3_vl_moe",
            "text_config": _llama(
                "qwen3_vl_moe_text", 48, 2048, 6144, 32, 4, 151936, attention_bias=False, decoder_sparse_step=1, head_dim=128,
                mlp_only_layers=[], moe_intermediate_size=768, norm_topk_prob=True, num_experts=128, num_experts_per_tok=8,
                rope_scaling={"mrope_interleaved": True},
            ),
            "tie_word_embeddings": False, "video_token_id": 151656, "vision_config": {"depth": 27}, "vision_end_token_id": 1,
            "vision_start_token_id": 2,
        },
    ),
    "Phi-4": Checkpoint(
        14_659_507_200,
        _llama("phi3", 40, 5120, 17920, 40, 10, 100352, attention_bias=False, embd_pdrop=0.0, resid_pdrop=0.0,
               original_max_position_embeddings=16384, sliding_window=None, tie_word_embeddings=False),
    ),
    "Phi-4-mini": Checkpoint(
        3_836_021_760,
        _llama("phi3", 32, 3072, 8192, 24, 8, 200064, attention_bias=False, full_attn_mod=1, interpolate_factor=1,
               lm_head_bias=False, mlp_bias=False, partial_rotary_factor=0.75, sliding_window=262144,
               tie_word_embeddings=True),
    ),
    "Phi-3.5-MoE, without the bias of its head": Checkpoint(
        41_873_153_344 - 32_064,
        _llama("phimoe", 32, 4096, 6400, 32, 8, 32064, attention_bias=True, hidden_dropout=0.0, input_jitter_noise=0.01,
               lm_head_bias=True, num_experts_per_tok=2, num_local_experts=16, router_aux_loss_coef=0.0,
               router_jitter_noise=0.01, sliding_window=131072, tie_word_embeddings=False),
    ),
    "Granite-3.1-8B": Checkpoint(
        8_170_848_256,
        _llama("granite", 40, 4096, 12800, 32, 8, 49155, attention_bias=False, attention_multiplier=0.0078125,
               embedding_multiplier=12.0, logits_scaling=16.0, mlp_bias=False, residual_multiplier=0.22,
               tie_word_embeddings=True),
    ),
    "OLMoE-1B-7B": Checkpoint(
        6_919_161_856,
        _llama("olmoe", 16, 2048, 1024, 16, 16, 50304, attention_bias=False, clip_qkv=None, norm_topk_prob=False, num_experts=64,
               num_experts_per_tok=8, output_router_logits=False, router_aux_loss_coef=0.01, tie_word_embeddings=False),
    ),
    "InternLM2-7B": Checkpoint(
        7_737_708_544,
        _llama("internlm2", 32, 4096, 14336, 32, 8, 92544, attn_implementation="eager", bias=False, tie_word_embeddings=False),
    ),
    "Baichuan2-7B": Checkpoint(
        7_505_973_248,
        _without(_llama("baichuan", 32, 4096, 11008, 32, 32, 125696, _from_model_config=True, model_max_length=4096,
                        tie_word_embeddings=False, z_loss_weight=0), "num_key_value_heads", "rope_theta"),
    ),
    "Command-R": Checkpoint(
        34_980_831_232,
        _without(_llama("cohere", 40, 8192, 22528, 64, 64, 256000, attention_bias=False, layer_norm_eps=1e-05,
                        logit_scale=0.0625, model_max_length=131072), "rms_norm_eps"),
    ),
    "Command-R+": Checkpoint(
        103_810_674_688,
        _llama("cohere", 64, 12288, 33792, 96, 8, 256000, attention_bias=False, logit_scale=0.8333, use_qk_norm=True),
    ),
    "Command-R7B": Checkpoint(
        8_028_033_024,
        _llama("cohere2", 32, 4096, 14336, 32, 8, 256000, head_dim=128, layer_switch=4, logit_scale=0.25,
               order_of_interleaved_layers="local_attn_first", position_embedding_type="rope_gptj", rotary_pct=1.0,
               sliding_window=4096, sliding_window_pattern=4, use_embedding_sharing=True, use_gated_activation=True,
               use_parallel_block=True, use_parallel_embedding=False, use_qk_norm=False, attention_bias=False),
    ),
    "DBRX": Checkpoint(
        131_596_523_520,
        {
            "architectures": ["DbrxForCausalLM"], "model_type": "dbrx", "d_model": 6144, "emb_pdrop": 0.0,
            "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "model_type": "", "rope_theta": 500000},
            "ffn_config": {"ffn_hidden_size": 10752, "model_type": "", "moe_jitter_eps": 0.01, "moe_loss_weight": 0.05,
                           "moe_num_experts": 16, "moe_top_k": 4},
            "initializer_range": 0.02, "max_seq_len": 32768, "n_heads": 48, "n_layers": 40, "output_router_logits": False,
            "resid_pdrop": 0.0, "router_aux_loss_coef": 0.05, "tie_word_embeddings": False, "vocab_size": 100352,
        },
    ),
    "MPT-7B": Checkpoint(
        6_649_286_656,
        {
            "architectures": ["MPTForCausalLM"], "model_type": "mpt", "d_model": 4096, "emb_pdrop": 0, "embedding_fraction": 1.0,
            "attn_config": {"alibi": True, "alibi_bias_max": 8, "attn_impl": "torch", "attn_pdrop": 0,
                            "attn_type": "multihead_attention", "attn_uses_sequence_id": False, "clip_qkv": None,
                            "prefix_lm": False, "qk_ln": False, "softmax_scale": None},
            "expansion_ratio": 4, "init_config": {"name": "kaiming_normal_"}, "init_device": "cpu", "learned_pos_emb": True,
            "logit_scale": None, "max_seq_len": 2048, "n_heads": 32, "n_layers": 32, "no_bias": True,
            "norm_type": "low_precision_layernorm", "resid_pdrop": 0, "tokenizer_name": "EleutherAI/gpt-neox-20b", "verbose": 0,
            "vocab_size": 50432,
        },
    ),
    "Falcon-7B": Checkpoint(
        6_921_720_704,
        _FALCON | {"hidden_size": 4544, "multi_query": True, "new_decoder_architecture": False, "num_attention_heads": 71,
                   "num_hidden_layers": 32},
    ),
    "Falcon-40B, without the second norm of each layer": Checkpoint(
        41_303_293_952 - 60 * 2 * 8192,
        _FALCON | {"hidden_size": 8192, "multi_query": True, "new_decoder_architecture": True, "num_attention_heads": 128,
                   "num_hidden_layers": 60, "num_kv_heads": 8},
    ),
    "StarCoder2-3B": Checkpoint(
        3_030_371_328,
        {
            "model_type": "starcoder2", "attention_dropout": 0.1, "embedding_dropout": 0.1, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 3072, "intermediate_size": 12288, "layer_norm_epsilon": 1e-05, "max_position_embeddings": 16384,
            "mlp_type": "default", "norm_epsilon": 1e-05, "norm_type": "layer_norm", "num_attention_heads": 24,
            "num_hidden_layers": 30, "num_key_value_heads": 2, "residual_dropout": 0.1, "rope_theta": 999999.4420358813,
            "sliding_window": 4096, "use_bias": True, "vocab_size": 49152,
        },
    ),
    "StarCoder": Checkpoint(
        15_517_456_384,
        {
            "model_type": "gpt_bigcode", "activation_function": "gelu", "attention_softmax_in_fp32": True, "attn_pdrop": 0.1,
            "inference_runner": 0, "max_batch_size": None, "max_sequence_length": None, "multi_query": True, "n_embd": 6144,
            "n_head": 48, "n_inner": 24576, "n_layer": 40, "n_positions": 8192, "pad_key_length": True,
            "pre_allocate_kv_cache": False, "scale_attention_softmax_in_fp32": True, "scale_attn_weights": True,
            "validate_runner_input": True, "vocab_size": 49152,
        },
    ),
    "GPT-J-6B, without the bias of its head": Checkpoint(
        6_050_882_784 - 50_400,
        {
            "model_type": "gptj", "activation_function": "gelu_new", "attn_pdrop": 0.0, "gradient_checkpointing": False,
            "n_embd": 4096, "n_head": 16, "n_inner": None, "n_layer": 28, "n_positions": 2048, "rotary": True, "rotary_dim": 64,
            "scale_attn_weights": True, "tie_word_embeddings": False, "vocab_size": 50400,
        },
    ),
    "ChatGLM3-6B": Checkpoint(
        6_243_584_000,
        {
            "model_type": "chatglm", "add_bias_linear": False, "add_qkv_bias": True, "apply_query_key_layer_scaling": True,
            "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0, "attention_softmax_in_fp32": True,
            "bias_dropout_fusion": True, "ffn_hidden_size": 13696, "fp32_residual_connection": False, "hidden_dropout": 0.0,
            "hidden_size": 4096, "kv_channels": 128, "layernorm_epsilon": 1e-05, "multi_query_attention": True,
            "multi_query_group_num": 2, "num_attention_heads": 32, "num_layers": 28, "original_rope": True,
            "padded_vocab_size": 65024, "post_layer_norm": True, "rmsnorm": True, "seq_length": 8192,
            "tie_word_embeddings": False,
        },
    ),
    "GLM-4-32B-0414": Checkpoint(
        32_566_081_536,
        _llama("glm4", 61, 6144, 23040, 48, 2, 151552, attention_bias=False, head_dim=128, partial_rotary_factor=0.5,
               tie_word_embeddings=False),
    ),
    "Seed-OSS-36B": Checkpoint(
        36_151_104_512,
        _llama("seed_oss", 64, 5120, 27648, 80, 8, 155136, attention_bias=True, attention_out_bias=False, head_dim=128,
               mlp_bias=False, residual_dropout=0.1, tie_word_embeddings=False),
    ),
    "SmolLM3-3B": Checkpoint(
        3_075_098_624,
        _llama("smollm3", 36, 2048, 11008, 16, 4, 128256, attention_bias=False, layer_types=["full_attention"] * 36,
               max_window_layers=28, mlp_bias=False, no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0] * 9,
               pretraining_tp=2, sliding_window=None, use_sliding_window=False),
    ),
    "EXAONE-4.0-32B": Checkpoint(
        32.0e9,
        _llama("exaone4", 64, 5120, 27392, 40, 8, 102400, head_dim=128, sliding_window=4096, sliding_window_pattern="LLLG",
               layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 16, tie_word_embeddings=False),
        0.005, "published as 32.0B",
    ),
    "ERNIE-4.5-21B-A3B": Checkpoint(21_825_437_888, _ERNIE_21B, 0.005, "published as 21B with 3B active"),
    "ERNIE-4.5-300B-A47B": Checkpoint(
        300e9,
        _ERNIE_21B | {"hidden_size": 8192, "intermediate_size": 28672, "moe_intermediate_size": 3584, "num_hidden_layers": 54,
                      "num_attention_heads": 64, "num_key_value_heads": 8, "moe_k": 8, "moe_num_shared_experts": 0,
                      "moe_layer_start_index": 3, "moe_layer_end_index": 53, "tie_word_embeddings": False},
        0.005, "published as 300B with 47B active",
    ),
    "Hunyuan-A13B": Checkpoint(80_393_183_232, _HUNYUAN_A13B),
    "Ling-1T": Checkpoint(
        1e12,
        _llama("bailing_moe_v2", 80, 8192, 18432, 64, 8, 157184, architectures=["BailingMoeV2ForCausalLM"], attention_dropout=0.0,
               embedding_dropout=0.0, first_k_dense_replace=4, head_dim=128, max_window_layers=80, moe_intermediate_size=2048,
               moe_router_enable_expert_bias=True, moe_shared_expert_intermediate_size=2048, n_group=8, norm_topk_prob=True,
               num_experts=256, num_experts_per_tok=8, num_nextn_predict_layers=0, num_shared_experts=1, output_dropout=0.0,
               output_router_logits=False, partial_rotary_factor=0.5, routed_scaling_factor=2.5, router_dtype="fp32",
               score_function="sigmoid", tie_word_embeddings=False, topk_group=4, use_bias=False, use_qk_norm=True,
               use_qkv_bias=False, use_rmsnorm=True),
        0.005, "published as 1T",
    ),
    "GLM-4.7-Flash": Checkpoint(
        30e9,
        _llama("glm4_moe_lite", 47, 2048, 10240, 20, 20, 154880, head_dim=64, n_routed_experts=64, n_shared_experts=1,
               num_experts_per_tok=4, moe_intermediate_size=1536, first_k_dense_replace=1, kv_lora_rank=512, q_lora_rank=768,
               qk_nope_head_dim=192, qk_rope_head_dim=64, v_head_dim=256, routed_scaling_factor=1.8,
               tie_word_embeddings=False),
        0.005, "published as 30B with 3B active",
    ),
    "GLM-4.6": Checkpoint(
        357e9,
        _llama("glm4_moe", 92, 5120, 12288, 96, 8, 151552, attention_bias=True, first_k_dense_replace=3, head_dim=128,
               moe_intermediate_size=1536, n_group=1, n_routed_experts=160, n_shared_experts=1, norm_topk_prob=True,
               num_experts_per_tok=8, num_nextn_predict_layers=1, partial_rotary_factor=0.5, routed_scaling_factor=2.5,
               tie_word_embeddings=False, topk_group=1, use_qk_norm=True),
        0.015, "357B counts its prediction block, which stands beside the main model here",
    ),
    "DeepSeek-V2-Lite": Checkpoint(
        15_706_484_224,
        _llama("deepseek_v2", 27, 2048, 10944, 16, 16, 102400, attention_bias=False, aux_loss_alpha=0.001,
               first_k_dense_replace=1, kv_lora_rank=512, moe_intermediate_size=1408, moe_layer_freq=1, n_group=1,
               n_routed_experts=64, n_shared_experts=2, norm_topk_prob=False, num_experts_per_tok=6, q_lora_rank=None,
               qk_nope_head_dim=128, qk_rope_head_dim=64, routed_scaling_factor=1.0, scoring_func="softmax", seq_aux=True,
               topk_group=1, topk_method="greedy", v_head_dim=128, tie_word_embeddings=False),
    ),
    "Arctic": Checkpoint(480e9, _ARCTIC, 0.005, "published as 480B with 17B active"),
    "Grok-1": Checkpoint(
        315_684_820_992,
        _without(_llama("grok-1", 64, 6144, 32768, 48, 8, 131072, attn_output_multiplier=0.08838834764831845,
                        embedding_multiplier_scale=78.38367176906169, max_attn_value=30.0, num_experts=8,
                        num_experts_per_tok=2, output_multiplier_scale=0.5773502691896257, output_router_logits=False,
                        router_aux_loss_coef=0.001, tie_word_embeddings=True), "hidden_act", "rope_theta"),
    ),
    "Pythia-6.9B, without the second norm of each layer": Checkpoint(
        6_857_302_016 - 32 * 2 * 4096,
        {
            "model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 4096, "intermediate_size": 16384,
            "layer_norm_eps": 1e-05, "num_attention_heads": 32, "num_hidden_layers": 32, "rotary_emb_base": 10000,
            "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True, "vocab_size": 50432,
        },
    ),
    "StableLM-3B-4E1T": Checkpoint(
        2_795_443_200,
        _without(_llama("stablelm", 32, 2560, 6912, 32, 32, 50304, layer_norm_eps=1e-05, partial_rotary_factor=0.25,
                        tie_word_embeddings=False, use_qkv_bias=False, use_parallel_residual=False), "rms_norm_eps"),
    ),
    "GLM-4-9B": Checkpoint(
        9_399_951_360,
        _llama("glm", 40, 4096, 13696, 32, 2, 151552, attention_bias=True, head_dim=128, partial_rotary_factor=0.5,
               tie_word_embeddings=False),
    ),
    "dots.llm1": Checkpoint(
        142e9,
        _llama("dots1", 62, 4096, 10944, 32, 32, 152064, attention_bias=False, first_k_dense_replace=1,
               moe_intermediate_size=1408, moe_layer_freq=1, n_routed_experts=128, n_shared_experts=2,
               norm_topk_prob=True, num_experts_per_tok=6,
               n_group=1, topk_group=1, topk_method="noaux_tc", routed_scaling_factor=2.5, scoring_func="noaux_tc",
               sliding_window=None, use_sliding_window=False, max_window_layers=62, tie_word_embeddings=False),
        0.006, "published as 142B with 14B active",
    ),
    "InternLM3-8B": Checkpoint(
        8_804_241_408,
        _llama("internlm3", 48, 4096, 10240, 32, 2, 128512, bias=False, qkv_bias=False, head_dim=128, tie_word_embeddings=False),
    ),
    "InternLM-20B": Checkpoint(
        20e9,
        _without(_llama("internlm", 60, 5120, 13824, 40, 40, 103168, bias=False, tie_word_embeddings=False),
                 "num_key_value_heads"),
        0.005, "published as 20B",
    ),
    "ERNIE-4.5-0.3B": Checkpoint(
        360_748_032,
        _llama("ernie4_5", 18, 1024, 3072, 16, 2, 103424, head_dim=128, use_bias=False, tie_word_embeddings=True),
    ),
    "Hunyuan-7B": Checkpoint(
        7.5e9,
        _llama("hunyuan_v1_dense", 32, 4096, 14336, 32, 8, 128167, attention_bias=False, head_dim=128, mlp_bias=False,
               num_experts=1, moe_topk=1, use_cla=False, use_qk_norm=True, tie_word_embeddings=True),
        0.005, "published as 7.5B",
    ),
    "Ministral-3-8B": Checkpoint(
        8.5e9,
        {
            "architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10, "model_type": "mistral3",
            "text_config": _llama("ministral3", 34, 4096, 14336, 32, 8, 131072, head_dim=128, sliding_window=None,
                                  rope_parameters={"llama_4_scaling_beta": 0.1}, tie_word_embeddings=False),
            "vision_config": {"model_type": "pixtral"}, "vision_feature_layer": -1, "tie_word_embeddings": False,
        },
        0.005, "published as 8.4B beside an encoder of 0.4B",
    ),
    "Granite-3.0-3B-A800M": Checkpoint(
        3.3e9,
        _llama("granitemoe", 32, 1536, 512, 24, 8, 49155, attention_bias=False, attention_multiplier=0.015625,
               embedding_multiplier=12.0, logits_scaling=6.0, num_experts_per_tok=8, num_local_experts=40,
               residual_multiplier=0.22, router_aux_loss_coef=0.0, tie_word_embeddings=True),
        0.005, "published as 3.3B with 800M active",
    ),
    "Gemma-2-27B": Checkpoint(
        27_227_128_320,
        {
            "model_type": "gemma2", "attention_bias": False, "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid",
            "final_logit_softcapping": 30.0, "head_dim": 128, "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 4608, "intermediate_size": 36864,
            "num_attention_heads": 32, "num_hidden_layers": 46, "num_key_value_heads": 16, "query_pre_attn_scalar": 144,
            "sliding_window": 4096, "vocab_size": 256000,
        },
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[Config, str]] = {
    "Jamba-1.5": ({"model_type": "jamba", "attn_layer_period": 8}, "state-space layers"),
    "MiniMax-M1": ({"model_type": "minimax_m1", "attn_type_list": [0] * 7 + [1]}, "linear-attention layers"),
    "Hunyuan-Large": ({"model_type": "hunyuan", "use_cla": True}, "share keys and values"),
    "Gemma-3n": ({"model_type": "gemma3n", "text_config": {"model_type": "gemma3n_text"}}, "per-layer embeddings"),
    "Llama-3.1-Nemotron-Ultra-253B": ({"model_type": "nemotron-nas", "block_configs": []}, "differ one by one"),
}
"""Published models that cannot be imported, and what the refusal must name."""
