"""Keys of a Hugging Face configuration that change no weight and no FLOP we count, by the reason why.

A key that is not here and that no family reads is refused: it may change a shape.
"""

from __future__ import annotations

_BY_REASON: dict[str, str] = {
    "names the checkpoint and the code that wrote it": """
        _name_or_path architectures auto_map transformers_version model_type custom_pipelines _commit_hash unsloth_version
        unsloth_fixed _attn_implementation_autoset for_llm_compressor tokenizer_class prefix problem_type task_specific_params
        finetuning_task id2label label2id num_labels language nemo_version
        _from_model_config tokenizer_name verbose init_device init_config""",
    "is a token's number": """
        bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id
        forced_bos_token_id forced_eos_token_id bad_words_ids begin_suppress_tokens suppress_tokens image_token_id
        image_token_index video_token_id audio_token_id boi_token_index eoi_token_index boi_token_id eoi_token_id
        boa_token_id eoa_token_id eoa_token_index eos_token_ids tokenizer_len media_placeholder_token_id
        vision_start_token_id vision_end_token_id pad_token tie_weights_keys""",
    "is about how weights are stored; training.precision says how they are trained": """
        torch_dtype dtype quantization_config compression_config expert_dtype params_dtype weight_dtype quantization
        ep_size num_dtype use_bfloat16 torchscript pruned_heads""",
    "is about generating text": """
        use_cache do_sample temperature top_k top_p typical_p repetition_penalty length_penalty max_length min_length
        num_beams num_beam_groups diversity_penalty early_stopping no_repeat_ngram_size encoder_no_repeat_ngram_size
        num_return_sequences output_scores output_attentions output_hidden_states return_dict return_dict_in_generate
        exponential_decay_length_penalty remove_invalid_values generation_config cache_implementation is_decoder
        is_encoder_decoder_cache use_return_dict output_router_logits is_decoder_only chunk_size_feed_forward
        num_logits_to_keep mamba_ssm_cache_dtype
        inference_runner max_batch_size pad_key_length pre_allocate_kv_cache validate_runner_input""",
    "sets random starting values or dropout": """
        initializer_range init_std initializer_factor init_method initializer_cutoff_factor attention_dropout dropout
        hidden_dropout resid_pdrop attn_pdrop embd_pdrop embedding_dropout attention_probs_dropout_prob
        hidden_dropout_prob activation_dropout layerdrop resid_dropout embd_dropout mlp_dropout summary_activation
        summary_first_dropout summary_proj_to_labels summary_type summary_use_proj classifier_dropout
        router_jitter_noise input_jitter_noise scale_emb rms_norm_init num_experts_dropout
        rescale_prenorm_residual residual_dropout emb_pdrop output_dropout moe_jitter_eps""",
    "is a constant of an element-wise operator": """
        rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon hc_eps swiglu_limit attn_logit_softcapping
        final_logit_softcapping query_pre_attn_scalar embedding_multiplier logits_scaling residual_multiplier
        attention_multiplier attn_scale floor_scale attn_temperature_tuning scale_attn_weights
        scale_attn_by_inverse_layer_idx reorder_and_upcast_attn attention_softmax_in_fp32 softmax_scale
        layernorm_full_attention_alpha layernorm_full_attention_beta layernorm_linear_attention_alpha
        layernorm_linear_attention_beta layernorm_mlp_alpha layernorm_mlp_beta logit_scale clip_qkv swiglu_alpha
        apply_query_key_layer_scaling attention_value_scale
        time_step_floor time_step_limit time_step_max time_step_min time_step_rank
        layernorm_epsilon attn_output_multiplier embedding_multiplier_scale max_attn_value output_multiplier_scale""",
    "turns positions into rotations, which have no weights": """
        rope_theta rope_scaling rope_parameters rope_local_base_freq rotary_dim rotary_pct rotary_emb_base
        partial_rotary_factor rope_interleave rope_type original_max_position_embeddings compress_rope_theta
        indexer_rope_interleave rope_ratio sliding_window_rope_theta global_rope_theta swa_rope_theta rotary_percent
        initial_context_length original_rope rope_base use_mrope interpolate_factor alibi_bias_max
        no_rope_layers no_rope_layer_interval""",
    "is a limit, not a size: rotary positions have no weights": """
        max_position_embeddings model_max_length seq_length max_seq_len n_ctx max_sequence_length max_context_length
        max_window_size""",
    "weighs or balances experts without changing how many serve a token": """
        routed_scaling_factor norm_topk_prob aux_loss_alpha seq_aux router_aux_loss_coef router_z_loss_coef
        router_aux_loss_factor router_loss_coef moe_router_load_balancing_type moe_aux_loss_coef expert_bias_update_rate
        num_local_experts_per_rank seq_aux_loss_coef bias_update_speed
        moe_renormalize use_grouped_topk
        moe_loss_weight moe_use_aux_free moe_capacity capacity_factor moe_eval_capacity_factor moe_train_capacity_factor
        moe_min_capacity z_loss_weight router_dtype moe_normalize_expert_weights moe_gate_act""",
    "is about how a layer is computed, not about what it holds": """
        use_mamba_kernels residual_in_fp32
        pretraining_tp slow_but_exact masked_softmax_fusion bias_dropout_fusion skip_bias_add skip_bias_add_qkv offset_alibi
        gradient_checkpointing _attn_implementation attn_implementation use_flash_attn flash_attn fused_bias_fc
        gradient_checkpointing_use_reentrant moe_implementation cross_attention_hidden_size
        tie_encoder_decoder use_bidirectional_attention attention_softmax_in_float32
        scale_attention_softmax_in_fp32 attn_impl enable_expert_tensor_parallelism""",
    "belongs to the vision or audio encoder, which is left out": """
        vision_config audio_config vision_feature_layer vision_feature_select_strategy mm_tokens_per_image projector_hidden_act
        multimodal_projector_bias spatial_merge_size vision_soft_tokens_per_image audio_soft_tokens_per_image
        mm_projector_type mm_hidden_size projector_ln_eps video_placeholder use_unified_vision_chunk ignore_index
        vision_chunk_size""",
}

HARMLESS: dict[str, str] = {key: reason for reason, keys in _BY_REASON.items() for key in keys.split()}
"""Key -> why it is left out."""
