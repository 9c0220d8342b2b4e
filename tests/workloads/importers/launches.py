"""Launches in the styles that people write them: arrays, strings, defaults of the environment, flags alone, a dump."""

from __future__ import annotations

GPT3 = r"""#!/bin/bash
# GPT-3 175B, arrays of flags, as Megatron-LM's own examples are written
export CUDA_DEVICE_MAX_CONNECTIONS=1
GPUS_PER_NODE=8
NUM_NODES=${NNODES:-128}
WORLD_SIZE=$(($GPUS_PER_NODE*$NUM_NODES))
CHECKPOINT_PATH=$1 # <where>
DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
    --nnodes $NUM_NODES
    --master_addr $(hostname)
)
GPT_MODEL_ARGS=(
    --num-layers 96    # layers
    --hidden-size 12288
    --num-attention-heads 96
    --seq-length 2048
    --max-position-embeddings 2048
    --vocab-size 50257
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 1536
    --lr 6.0e-5
    --clip-grad 1.0
    --fp16
)
MODEL_PARALLEL_ARGS="--tensor-model-parallel-size 8 \
  --pipeline-model-parallel-size 16"
cat <<USAGE
run --this and --that
USAGE
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \
    ${GPT_MODEL_ARGS[@]} \
    ${TRAINING_ARGS[@]} \
    $MODEL_PARALLEL_ARGS --save "$CHECKPOINT_PATH" 2>&1 | tee log.txt
"""

V3_MODEL = """
  --num-layers 61 --hidden-size 7168 --ffn-hidden-size 18432 --num-attention-heads 128
  --multi-latent-attention --q-lora-rank 1536 --kv-lora-rank 512 --qk-head-dim 128 --qk-pos-emb-head-dim 64 --v-head-dim 128
  --qk-layernorm --normalization RMSNorm --disable-bias-linear --swiglu --untie-embeddings-and-output-weights
  --position-embedding-type rope --vocab-size 129280 --make-vocab-size-divisible-by 128 --max-position-embeddings 163840
  --num-experts 256 --moe-router-topk 8 --moe-ffn-hidden-size 2048 --moe-shared-expert-intermediate-size 2048
  --moe-layer-freq "([0]*3+[1]*58)" --moe-router-score-function sigmoid --moe-router-num-groups 8 --moe-router-group-topk 4
  --moe-router-enable-expert-bias --mtp-num-layers 1
"""

V3 = f"""
MODEL_ARGS=({V3_MODEL})
TRAIN="--seq-length 4096 --micro-batch-size 1 --global-batch-size 8192 --bf16 --fp8-format e4m3 --fp8-recipe blockwise \\
   --optimizer adam --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"
PARALLEL=(--tensor-model-parallel-size 1 --pipeline-model-parallel-size 16 --expert-model-parallel-size 16
  --expert-tensor-parallel-size 1 --moe-token-dispatcher-type flex --moe-enable-deepep)
if [ "$DEBUG" = 1 ]; then
  LR=1e-3
fi
srun bash -c "torchrun --nnodes 32 --nproc-per-node 8 pretrain_gpt.py ${{MODEL_ARGS[*]}} ${{TRAIN}} ${{PARALLEL[*]}} --lr $LR"
"""

MIXTRAL = """--num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32 --group-query-attention
--num-query-groups 8 --normalization RMSNorm --disable-bias-linear --swiglu --untie-embeddings-and-output-weights
--position-embedding-type rope --max-position-embeddings 32768 --vocab-size 32000 --make-vocab-size-divisible-by 32
--num-experts 8 --moe-router-topk 2 --moe-token-dispatcher-type alltoall --tensor-model-parallel-size 1
--pipeline-model-parallel-size 4 --num-layers-per-virtual-pipeline-stage 2 --expert-model-parallel-size 8 --seq-length 4096
--micro-batch-size 1 --global-batch-size 256 --bf16 --use-distributed-optimizer --recompute-granularity selective
--recompute-modules core_attn moe_act --moe-aux-loss-coeff 1e-2"""

QWEN3 = """
arr=()
MODEL_ARGS=(
   --disable-bias-linear
   --qk-layernorm
   --group-query-attention
   --num-attention-heads 32
   --num-query-groups 4
   --kv-channels 128
   --num-layers 48
   --hidden-size 2048
   --ffn-hidden-size 6144
   --normalization RMSNorm
   --position-embedding-type rope
   --norm-epsilon 1e-6
   --swiglu
   --untie-embeddings-and-output-weights
   --vocab-size 151936
   --moe-ffn-hidden-size 768
   --moe-router-score-function softmax
   --moe-token-dispatcher-type alltoall
   --moe-router-topk 8
   --moe-layer-freq "'([1]*48)'"
   --num-experts 128
   --moe-grouped-gemm
)
RUN_ARGS=(--seq-length 4096 --micro-batch-size 1 --global-batch-size 128 --bf16 --expert-model-parallel-size 8
   --expert-tensor-parallel-size 1)
"""


def dump(**arguments: object) -> str:
    """The list of arguments that Megatron-LM prints when a run begins."""
    known: dict[str, object] = {
        "num_layers": 80, "hidden_size": 8192, "ffn_hidden_size": 28672, "num_attention_heads": 64, "group_query_attention": True,
        "num_query_groups": 8, "kv_channels": 128, "normalization": "RMSNorm", "add_bias_linear": False, "swiglu": True,
        "untie_embeddings_and_output_weights": True, "position_embedding_type": "rope", "padded_vocab_size": 128256,
        "max_position_embeddings": 8192, "seq_length": 8192, "micro_batch_size": 1, "global_batch_size": 128, "bf16": True,
        "fp16": False, "fp8": None, "optimizer": "adam", "tensor_model_parallel_size": 4, "pipeline_model_parallel_size": 4,
        "context_parallel_size": 2, "sequence_parallel": True, "use_distributed_optimizer": True, "world_size": 64,
        "num_experts": None, "recompute_granularity": None, "virtual_pipeline_model_parallel_size": 5,
        "cp_comm_type": "['p2p']", "overlap_grad_reduce": True, "qk_layernorm": False, "hybrid_override_pattern": None,
        "multi_latent_attention": False, "some_argument_of_next_year": 7,
    } | arguments  # fmt: skip
    body = "".join(f"  {name} {'.' * (48 - len(name))} {value}\n" for name, value in sorted(known.items()))
    return f"using world size: 64\n------------------------ arguments ------------------------\n{body}"
