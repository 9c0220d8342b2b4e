"""Flags of Megatron-LM that change nothing a training step does here, by the reason why, and those that do and are not simulated.

A flag that is in neither list and that no reader asks for is refused by name.
"""

from __future__ import annotations

_HARMLESS: dict[str, str] = {
    "is about files, logs and checkpoints": """
        save load save-interval log-interval eval-interval eval-iters tensorboard-dir tensorboard-log-interval wandb-project
        wandb-exp-name wandb-save-dir log-throughput log-timers-to-tensorboard log-memory-to-tensorboard
        log-num-zeros-in-grad log-params-norm log-validation-ppl-to-tensorboard no-load-optim no-load-rng no-save-optim
        no-save-rng ckpt-format dist-ckpt-format async-save use-dist-ckpt use-checkpoint-args finetune exit-interval
        exit-duration-in-mins exit-signal-handler auto-detect-ckpt-format ckpt-fully-parallel-load
        ckpt-fully-parallel-save ckpt-assume-constant-structure dist-ckpt-strictness timing-log-level timing-log-option
        log-world-size-to-tensorboard log-progress no-ckpt-fully-parallel-save use-persistent-ckpt-worker
        tensorboard-queue-size profile profile-ranks profile-step-start profile-step-end use-pytorch-profiler
        record-memory-history logging-level log-straggler disable-straggler-on-startup straggler-minmax-count
        non-persistent-save-interval non-persistent-ckpt-type no-use-tokenizer-model-from-checkpoint-args
        load-main-params-from-ckpt exit-on-missing-checkpoint pretrained-checkpoint ckpt-step ckpt-convert-format
        result-path trace train-mode""",
    "is about data and tokens": """
        data-path train-data-path valid-data-path test-data-path data-cache-path split tokenizer-type tokenizer-model
        vocab-file merge-file mock-data num-workers reset-position-ids reset-attention-mask eod-mask-loss dataloader-type
        create-attention-mask-in-dataloader no-create-attention-mask-in-dataloader no-mmap-bin-files
        num-dataset-builder-threads data-impl short-seq-prob mask-prob tiktoken-pattern tiktoken-num-special-tokens
        per-split-data-args-path data-args-path no-shared-storage mid-level-dataset-surplus s3-cache-path
        vocab-extra-ids handle-special-tokens dataset patch-tokenizer-type hf-tokenizer-path tokenizer-name-or-path
        tokenizer-not-use-fast max-padding-length padded-samples enable-shuffle tokenizer-padding-side""",
    "sets the course of training, not the work of a step": """
        lr min-lr lr-decay-style lr-decay-iters lr-decay-samples lr-warmup-fraction lr-warmup-iters lr-warmup-samples
        lr-warmup-init lr-wsd-decay-style lr-wsd-decay-iters lr-wsd-decay-samples weight-decay clip-grad adam-beta1
        adam-beta2 adam-eps train-iters train-samples seed init-method-std attention-dropout hidden-dropout
        weight-decay-incr-style start-weight-decay end-weight-decay override-opt_param-scheduler
        override-opt-param-scheduler use-checkpoint-opt_param-scheduler rampup-batch-size loss-scale initial-loss-scale
        min-loss-scale loss-scale-window hysteresis embedding-init-method-std calculate-per-token-loss
        check-for-nan-in-loss-and-grad no-check-for-nan-in-loss-and-grad check-for-spiky-loss
        check-for-large-grads decoupled-lr decoupled-min-lr skip-train decrease-batch-size-if-needed
        moe-aux-loss-coeff moe-z-loss-coeff moe-router-bias-update-rate moe-router-load-balancing-type
        moe-router-topk-scaling-factor mtp-loss-scaling-factor moe-input-jitter-eps rerun-mode
        no-initialization perform-initialization sgd-momentum muon-momentum muon-scale-mode muon-extra-scale-factor
        muon-split-qkv muon-use-nesterov muon-fp32-matmul-prec muon-num-ns-steps-default qk-clip qk-clip-alpha
        qk-clip-threshold moe-router-pre-softmax moe-router-dtype moe-router-padding-for-fp8 apply-layernorm-1p
        norm-epsilon layernorm-epsilon seq-aux norm-topk-prob routed-scaling-factor router-gating-in-fp32
        moe-device-level-aux-loss-coeff moe-comm-aux-loss-coeff fix-router moe-revert-type-after-topk load-balance-type
        scale-emb scale-depth dim-model-base""",
    "turns positions into rotations, which have no weights": """
        rotary-base rotary-percent rotary-scaling-factor rotary-seq-len-interpolation-factor rotary-interleaved
        use-rope-scaling rope-scaling-factor mscale mscale-all-dim original-max-position-embeddings beta-fast beta-slow
        rope-scaling-type rope-scaling-beta-fast rope-scaling-beta-slow rope-scaling-mscale rope-scaling-mscale-all-dim
        rope-scaling-original-max-position-embeddings use-fused-rotary-pos-emb
        no-rope-fusion no-rope-freq rope-type apply-rope-fusion use-fused-rope enable-mrope mrope-section""",
    "chooses among kernels and processes; their speed is in the assumptions": """
        use-mcore-models use-legacy-models transformer-impl spec use-flash-attn attention-backend use-fused-rmsnorm
        use-fused-swiglu use-rotary-position-embeddings-fused attention-softmax-in-fp32 no-masked-softmax-fusion
        no-bias-gelu-fusion no-bias-swiglu-fusion no-bias-dropout-fusion no-gradient-accumulation-fusion
        no-persist-layer-norm moe-grouped-gemm moe-permute-fusion cross-entropy-loss-fusion
        cross-entropy-fusion-impl fused-linear-cross-entropy apply-query-key-layer-scaling te-rng-tracker
        distributed-backend distributed-timeout-minutes local-rank lazy-mpu-init use-cpu-initialization
        cuda-graph-warmup-steps manual-gc
        manual-gc-interval manual-gc-eval nccl-communicator-config-path
        align-grad-reduce align-param-gather no-align-grad-reduce no-align-param-gather ddp-bucket-size
        ddp-num-buckets ddp-average-in-collective ddp-pad-buckets-for-high-nccl-busbw use-sharp
        sharp-enabled-group high-priority-stream-groups batch-p2p-communication
        tp-comm-overlap-cfg tp-comm-bootstrap-backend disable-tp-comm-overlap-ag disable-tp-comm-overlap-rs
        tp-comm-overlap-rs-dgrad disable-tp-comm-split-ag disable-tp-comm-split-rs deepep-num-sms moe-deepep-num-sms
        moe-hybridep-num-sms moe-use-legacy-grouped-gemm empty-unused-memory-level deterministic-mode
        no-async-tensor-model-parallel-allreduce overlap-p2p-communication-warmup-flush
        fp8-amax-compute-algo fp8-amax-history-len fp8-interval fp8-margin keep-fp8-transpose-cache
        use-torch-optimizer-for-cpu-offload
        nccl-ub disable-bf16-reduced-precision-matmul tp-only-amax-red moe-router-force-load-balancing
        init-model-with-meta-device use-ring-exchange-p2p gradient-accumulation-fusion
        moe-router-fusion accumulate-allreduce-grads-in-fp32
        moe-enable-routing-replay
        data-parallel-random-init no-contiguous-buffers-in-local-ddp fsdp-double-buffer use-nccl-ub
        enable-experimental npu-deterministic gemm-gradient-accumulation-fusion mla-mm-split mla-fa-without-pad
        use-fused-moe-token-permute-and-unpermute use-fused-ring-attention-update use-cp-send-recv-overlap use-fusion-attn-v2
        sparse-mode attention-mask-type use-mc2 use-ascend-mc2 use-ascend-coc moe-permutation-async-comm
        jit-compile stage transformer-impl-backend use-mamba-mem-eff-path disable-mamba-mem-eff-path
       """,
}

HARMLESS: dict[str, str] = {flag.replace("-", "_"): reason for reason, flags in _HARMLESS.items() for flag in flags.split()}
"""Flag, as Megatron's argument dump writes it (underscores) -> why it is left out."""

NOT_SIMULATED: dict[str, str] = {
    "moe_expert_capacity_factor": "tokens dropped beyond an expert's capacity",
    "moe_pad_expert_input_to_capacity": "padding to an expert's capacity",
    "moe_token_drop_policy": "tokens dropped beyond an expert's capacity",
    "moe_shared_expert_overlap": "a shared expert beside the dispatch of the same layer, unless overlap.ep is on",
    "delay_wgrad_compute": "weight gradients put off until communication needs cover",
    "defer_embedding_wgrad_compute": "the head's weight gradient put off to the end",
    "wgrad_deferral_limit": "the head's weight gradient put off to the end",
    "fp8_param_gather": "parameters gathered in FP8 (assumptions: quantised_gather)",
    "fp8_param": "parameters kept and gathered in FP8 (assumptions: quantised_gather)",
    "moe_router_padding_for_fp8": "experts' rows padded by the router, not by copies (assumptions: expert_padding)",
    "moe_router_padding_for_quantization": "experts' rows padded by the router, not by copies (assumptions: expert_padding)",
    "grad_reduce_in_bf16": "gradients reduced in bf16 (assumptions: gradient_reduce)",
    "use_precision_aware_optimizer": "optimizer state in other precisions (assumptions: master, moments)",
    "main_grads_dtype": "the gradients' precision (assumptions: gradients)",
    "main_params_dtype": "the master weights' precision (assumptions: master)",
    "exp_avg_dtype": "the moments' precision (assumptions: moments)",
    "exp_avg_sq_dtype": "the moments' precision (assumptions: moments)",
    "first_last_layers_bf16": "a few layers left in bf16 under FP8",
    "num_layers_at_start_in_bf16": "a few layers left in bf16 under FP8",
    "num_layers_at_end_in_bf16": "a few layers left in bf16 under FP8",
    "distribute_saved_activations": "saved activations spread over tensor-parallel ranks",
    "overlap_param_gather_with_optimizer_step": "parameters gathered while the optimizer still runs",
    "microbatch_group_size_per_vp_stage": "groups of micro-batches of another size in the interleaved schedule",
    "variable_seq_lengths": "packed sequences of unequal lengths",
    "moe_alltoall_overlap_comm": "expert exchanges beside the shared expert and weight gradients of the same layer",
    "moe_allgather_overlap_comm": "expert exchanges beside the shared expert and weight gradients of the same layer",
    "moe_zero_memory": "expert activations made again beside their exchanges",
    "mtp_mem_efficient_logits": "logits of prediction blocks freed before the main ones",
    "swap_optimizer": "optimizer state kept in the host and brought up for the update (plan.offload: optimizer)",
    "reuse_fp32_param": "16-bit weights kept inside their 32-bit ones (assumptions: gradients, master)",
    "recompute_activation_function": "recomputing the activation of the FFN (recompute_modules: [mlp_act, moe_act])",
    "recompute_in_advance": "recomputation moved into bubbles",
    "recompute_in_bubble": "recomputation moved into bubbles",
    "swap_attention": "activations of attention kept in the host (plan.offload: activations)",
    "moe_layer_recompute": "recomputing whole expert layers (recompute_modules: [moe])",
}
"""Flags that change a step and that nothing here follows -> what they would do; each is named in the account."""
