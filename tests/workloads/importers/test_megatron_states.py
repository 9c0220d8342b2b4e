"""Megatron-LM launches of models with layers that keep a state."""

from __future__ import annotations

import pytest

import workloads
from simulator.spec.errors import InputError, NotModelled
from simulator.spec.files import make
from workloads.accounting import parameters
from workloads.importers.megatron import import_launch
from workloads.model import Model

#: As published for Nemotron 3 Nano, flags of training and data apart.
NANO = (
    '--is-hybrid-model --hybrid-override-pattern "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME" --mamba-num-heads 64'
    " --mamba-head-dim 64 --num-layers 52 --hidden-size 2688 --ffn-hidden-size 1856 --num-attention-heads 32"
    " --group-query-attention --num-query-groups 2 --kv-channels 128 --squared-relu --disable-bias-linear --normalization RMSNorm"
    " --position-embedding-type none --untie-embeddings-and-output-weights --num-experts 128 --moe-router-topk 6"
    " --moe-grouped-gemm --moe-router-score-function sigmoid --moe-router-enable-expert-bias"
    " --moe-shared-expert-intermediate-size 3712 --moe-token-dispatcher-type alltoall --vocab-size 131072"
)
NEXT = (
    "--experimental-attention-variant gated_delta_net --linear-attention-freq 4 --attention-output-gate --num-layers 48"
    " --hidden-size 2048 --num-attention-heads 16 --group-query-attention --num-query-groups 2 --kv-channels 256 --qk-layernorm"
    " --swiglu --disable-bias-linear --normalization RMSNorm --position-embedding-type rope --untie-embeddings-and-output-weights"
    " --num-experts 512 --moe-router-topk 10 --moe-ffn-hidden-size 512 --moe-shared-expert-intermediate-size 512"
    " --moe-shared-expert-gate --moe-token-dispatcher-type alltoall --vocab-size 151936"
)
TRAINING = (
    " --seq-length 8192 --max-position-embeddings 8192 --micro-batch-size 1 --global-batch-size 512"
    " --expert-model-parallel-size 8 --bf16 --use-distributed-optimizer"
)


def model_of(flags: str) -> Model:
    return make(import_launch(flags + TRAINING, system="dgx-h100", chips=16).document["model"], Model)


@pytest.mark.parametrize(
    ("flags", "name", "buffers"), [(NANO, "nemotron-3-nano-30b-a3b", 23 * 128), (NEXT, "qwen3-next-80b-a3b", 0)]
)
def test_a_launch_of_a_hybrid_is_our_preset(flags: str, name: str, buffers: int) -> None:
    """All components; Megatron keeps the experts' bias as a buffer (128 a sparse layer), which no optimizer sees."""
    found, preset = model_of(flags), workloads.load(name)
    expected = parameters(preset) | {"router": parameters(preset)["router"] - buffers}
    assert parameters(found) == expected
    assert found.layer_shapes() == preset.layer_shapes()
    assert found.hybrid is not None and preset.hybrid is not None and found.hybrid.mixer == preset.hybrid.mixer


def test_what_mamba_flags_leave_out_takes_megatron_s_defaults() -> None:
    """Twice the hidden width in heads of 64, states of 128, eight groups."""
    dense = (
        "--hybrid-override-pattern M-M* --num-layers 4 --hidden-size 4096 --num-attention-heads 32 --squared-relu"
        " --disable-bias-linear --normalization RMSNorm --position-embedding-type none --vocab-size 1024"
    )
    model = make(
        import_launch(dense + TRAINING.replace("--expert-model-parallel-size 8", ""), system="dgx-h100", chips=16).document[
            "model"
        ],
        Model,
    )
    assert model.hybrid is not None
    mixer = model.hybrid.mixer
    assert mixer.kind == "state-space" and (mixer.heads, mixer.head_dim, mixer.state, mixer.groups) == (128, 64, 128, 8)
    assert model.ffn is not None and model.ffn.width == 4 * 4096


@pytest.mark.parametrize(
    ("flags", "error", "rule"),
    [
        (NANO.replace("--num-layers 52", "--num-layers 50"), InputError, "must name all 50 layers by M"),
        (NANO.replace("MEMEM*", "GEMEM*"), InputError, "by M, \\*, - and E"),
        (NEXT.replace("gated_delta_net", "dsa"), NotModelled, "dsa cannot be imported; gated_delta_net can"),
        ("--hybrid-attention-ratio 0.1 " + NEXT, NotModelled, "chosen by a ratio"),
    ],
)
def test_what_cannot_be_read_is_refused(flags: str, error: type[Exception], rule: str) -> None:
    with pytest.raises(error, match=rule):
        model_of(flags)
