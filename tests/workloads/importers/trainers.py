"""Launches of trainers that are built on Megatron-LM and have flags of their own, as their repositories publish them.

Shortened by what is about data, logs and learning rates. Sources: Ascend/MindSpeed-LLM
examples/mcore/deepseek3/pretrain_deepseek3_671b_4k_A3_ptd.sh, alibaba/Pai-Megatron-Patch
examples/deepseek_v3/run_mcore_deepseek.sh.
"""

from __future__ import annotations

MINDSPEED_V3 = r"""#!/bin/bash
NPUS_PER_NODE=16
NNODES=32
TP=2
PP=8
EP=16
CP=1
CP_TYPE='ulysses_cp_algo'
NUM_LAYERS=64
SEQ_LEN=4096
MBS=1
GBS=3840
DISTRIBUTED_ARGS="
    --nproc_per_node $NPUS_PER_NODE \
    --nnodes $NNODES \
"
MLA_ARGS="
    --multi-head-latent-attention --qk-rope-head-dim 64 --qk-nope-head-dim 128 --q-lora-rank 1536 --kv-lora-rank 512 \
    --v-head-dim 128 --qk-layernorm --mla-mm-split --mla-fa-without-pad \
"
MOE_ARGS="
    --moe-grouped-gemm --moe-permutation-async-comm --moe-token-dispatcher-type alltoall_seq --first-k-dense-replace 3 \
    --moe-layer-freq 1 --n-shared-experts 1 --num-experts 256 --moe-router-topk 8 --moe-intermediate-size 2048 \
    --moe-ffn-hidden-size 2048 --moe-router-load-balancing-type noaux_tc --n-group 8 --topk-group 4 \
    --routed-scaling-factor 2.5 --moe-aux-loss-coeff 0.0001 --seq-aux --norm-topk-prob \
    --moe-router-score-function sigmoid --moe-router-enable-expert-bias --moe-tp-extend-ep --router-gating-in-fp32 \
"
MTP_ARGS="
    --mtp-num-layers 1 --mtp-loss-scaling-factor 0.3 \
"
DUALPIPE_ARGS="
    --moe-fb-overlap --schedules-method dualpipev \
"
MEM_ARGS="
    --mtp-mem-efficient-logits --swap-optimizer --recompute-granularity full --recompute-method block --recompute-num-layers 8 \
"
ROPE_ARGS="
    --rope-scaling-beta-fast 32 --rope-scaling-beta-slow 1 --rope-scaling-factor 40 --rope-scaling-mscale 1.0 \
    --rope-scaling-mscale-all-dim 1.0 --rope-scaling-original-max-position-embeddings 4096 --rope-scaling-type yarn
"
GPT_ARGS="
    --spec mindspeed_llm.tasks.models.spec.deepseek_spec layer_spec --reset-position-ids --gemm-gradient-accumulation-fusion \
    --noop-layers 61,62,63 --manual-gc --manual-gc-interval 50 --no-shared-storage --use-distributed-optimizer \
    --use-flash-attn \
    --use-mcore-models --tensor-model-parallel-size ${TP} --pipeline-model-parallel-size ${PP} \
    --expert-model-parallel-size ${EP} --sequence-parallel --context-parallel-size ${CP} --context-parallel-algo  ${CP_TYPE} \
    --num-layers ${NUM_LAYERS} --hidden-size 7168 --ffn-hidden-size 18432 --num-attention-heads 128 \
    --tokenizer-type PretrainedFromHF  --tokenizer-name-or-path t --seq-length ${SEQ_LEN} --max-position-embeddings 163840 \
    --micro-batch-size ${MBS} --global-batch-size ${GBS} --make-vocab-size-divisible-by 1 --lr 1.0e-5 --train-iters 2000 \
    --untie-embeddings-and-output-weights --disable-bias-linear --position-embedding-type rope --normalization RMSNorm \
    --use-fused-rotary-pos-emb --use-rotary-position-embeddings --use-fused-swiglu --use-fused-rmsnorm --swiglu \
    --vocab-size 129280 --padded-vocab-size 129280 --rotary-base 10000 --norm-epsilon 1e-6 --bf16 \
    --distributed-timeout-minutes 120 \
"
python -m torch.distributed.launch $DISTRIBUTED_ARGS pretrain_gpt.py $GPT_ARGS $MLA_ARGS \
    $DUALPIPE_ARGS $MEM_ARGS $ROPE_ARGS $MOE_ARGS $MTP_ARGS --distributed-backend nccl | tee logs/x.log
"""

PAI_V3 = r"""#!/bin/bash
set -e
ENV=$1
if [ $ENV = dsw ]; then
    NNODES=1
    GPUS_PER_NODE=8
elif [ $ENV = dlc ]; then
    NNODES=${WORLD_SIZE}
    GPUS_PER_NODE=8
fi
DISTRIBUTED_ARGS="--nproc_per_node $GPUS_PER_NODE --nnodes $NNODES --node_rank $NODE_RANK"
MODEL_SIZE=$2
BATCH_SIZE=$3
GLOBAL_BATCH_SIZE=$4
SEQ_LEN=$7
PR=$9
TP=${10}
PP=${11}
CP=${12}
EP=${13}
SP=${14}
DO=${15}
AC=${18}
if [ $MODEL_SIZE = A37B ]; then

HIDDEN_SIZE=7168
NUM_ATTENTION_HEADS=128
NUM_LAYERS=61
INTERMEDIATE_SIZE=18432
MOE_INTERMEDIATE_SIZE=2048
NUM_EXPERTS=256
ROUTER_TOPK=8
NUM_SHARED_EXPERTS=1
moe_options=" \
    --moe-grouped-gemm \
    --moe-token-dispatcher-type alltoall \
    --moe-router-topk ${ROUTER_TOPK} \
    --num-experts ${NUM_EXPERTS} \
    --expert-model-parallel-size ${EP} \
    --moe-ffn-hidden-size ${MOE_INTERMEDIATE_SIZE} \
    --moe-layer-freq '([0]*3+[1]*58)' \
    --moe-shared-expert-intermediate-size $((${MOE_INTERMEDIATE_SIZE} * ${NUM_SHARED_EXPERTS} )) \
    --qk-nope-head-dim 128 \
    "
fi
if [ $PR = bf16 ]; then
    pr_options=" \
        --bf16"
fi
megatron_options="  \
        --micro-batch-size ${BATCH_SIZE} \
        --global-batch-size ${GLOBAL_BATCH_SIZE} \
        --num-layers ${NUM_LAYERS} \
        --hidden-size ${HIDDEN_SIZE} \
        --num-attention-heads ${NUM_ATTENTION_HEADS} \
        --ffn-hidden-size ${INTERMEDIATE_SIZE} \
        --seq-length ${SEQ_LEN} \
        --tensor-model-parallel-size ${TP} \
        --pipeline-model-parallel-size ${PP} \
        --extra-vocab-size 467 \
        --use-rotary-position-embeddings \
        --position-embedding-type rope --normalization RMSNorm --swiglu --multi-latent-attention --qk-layernorm \
        --use-multi-token-prediction --num-mtp-predictor 1 \
        "
run_cmd="torchrun $DISTRIBUTED_ARGS pretrain_deepseek.py
 ${megatron_options} ${pr_options} ${moe_options}"
echo ${run_cmd}
eval ${run_cmd}
set +x
"""
