"""Imports and plans that are wrong, each with what its one-line error must name: the rule, and the remedy where there is one."""

from __future__ import annotations

import json
from typing import Any

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "rope_theta": 500000.0,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip

LAUNCH = """--num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32 --group-query-attention
--num-query-groups 8 --normalization RMSNorm --disable-bias-linear --swiglu --untie-embeddings-and-output-weights
--position-embedding-type rope --vocab-size 32000 --num-experts 8 --moe-token-dispatcher-type alltoall
--pipeline-model-parallel-size 4 --expert-model-parallel-size 8 --seq-length 4096 --micro-batch-size 1
--global-batch-size 256 --bf16"""


def config(**changes: Any) -> str:
    """The good configuration with some keys changed."""
    return json.dumps(CONFIG | changes, indent=2)


def without(key: str) -> str:
    """The good configuration without a key."""
    return json.dumps({other: value for other, value in CONFIG.items() if other != key}, indent=2)


def launch(old: str, new: str) -> str:
    """The good launch with one text replaced."""
    assert old in LAUNCH
    return LAUNCH.replace(old, new)


#: name -> (text of config.json, texts that the error must contain)
CONFIGURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "an unknown key": (config(twist=2), ("config.json:11:3 twist", "may change a shape", "--ignore twist")),
    "an unknown key that is null": (config(twist=None), ("twist", "--ignore twist")),
    "no model_type": (without("model_type"), ("model_type is missing",)),
    "an unknown model_type": (config(model_type="lama"), ("config.json:2:3 model_type", "Did you mean llama", "--as")),
    "a state-space model": (config(model_type="mamba2"), ("mamba2", "state-space")),
    "a linear hybrid": (config(model_type="minimax"), ("minimax", "linear-attention")),
    "no layers": (without("num_hidden_layers"), ("num_hidden_layers is missing", "n_layer")),
    "text for a size": (config(hidden_size="4096"), ("config.json:3:3 hidden_size", "whole number", "'4096'")),
    "a fraction of a layer": (config(num_hidden_layers=32.5), ("num_hidden_layers", "whole number")),
    "layers beyond reason": (config(num_hidden_layers=10**9), ("config.json:7:3 num_hidden_layers", "at most 10,000")),
    "negative heads": (config(num_attention_heads=-32), ("num_attention_heads", "at least 1")),
    "a number for a switch": (config(tie_word_embeddings=1), ("tie_word_embeddings", "true or false")),
    "heads that do not divide": (config(num_attention_heads=36), ("num_attention_heads", "hidden size 4096", "head_dim")),
    "groups of unequal heads": (config(num_key_value_heads=7), ("config.json attention.kv_heads", "multiple of kv_heads")),
    "two names that differ": (config(n_layer=31), ("num_hidden_layers and n_layer", "differ")),
    "an unknown activation": (config(hidden_act="snake"), ("hidden_act", "silu", "'snake'")),
    "layer types of too few layers": (config(layer_types=["full_attention"]), ("layer_types", "32 layers")),
    "a layer type with state": (config(layer_types=["mamba"] * 32), ("layer_types", "mamba", "not simulated")),
    "an encoder": (config(is_encoder_decoder=True), ("is_encoder_decoder", "not simulated")),
    "broken JSON": ('{"model_type": "llama", ', ("config.json:",)),
    "a list": ("[1, 2]", ("mapping",)),
    "empty": ("", ("empty",)),
}

#: name -> (flags, texts that the error must contain)
LAUNCHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "an unknown flag": (LAUNCH + " --moe-router-topp 2", ("--moe-router-topp", "Did you mean --moe-router-topk", "--ignore")),
    "no vocabulary": (launch("--vocab-size 32000", ""), ("--vocab-size", "tokenizer", "--add")),
    "no batch": (launch("--global-batch-size 256", ""), ("--global-batch-size", "missing")),
    "no layers at all": (launch("--num-layers 32", ""), ("--num-layers is missing",)),
    "text for a length": (launch("--seq-length 4096", "--seq-length long"), ("--seq-length", "whole number", "'long'")),
    "two values for one": (launch("--seq-length 4096", "--seq-length 4096 8192"), ("--seq-length", "one value")),
    "no precision": (launch("--bf16", ""), ("fp32", "--bf16")),
    "an unknown optimizer": (LAUNCH + " --optimizer lion", ("--optimizer", "adam", "'lion'")),
    "a hybrid": (LAUNCH + " --hybrid-override-pattern M-M", ("--hybrid-override-pattern", "by M, *, - and E")),
    "an exchange without a word": (LAUNCH + " --context-parallel-size 2 --cp-comm-type", ("--cp-comm-type cannot", "p2p")),
    "two precisions": (LAUNCH + " --fp16", ("--bf16", "beside --fp16")),
    "an unknown granularity": (LAUNCH + " --recompute-granularity partial", ("--recompute-granularity", "full, selective")),
    "an unknown dispatcher": (launch("type alltoall", "type wild"), ("--moe-token-dispatcher-type", "alltoall", "'wild'")),
    "unknown positions": (launch("type rope", "type relative"), ("--position-embedding-type", "'relative'")),
    "an unknown norm": (launch("RMSNorm", "rmsnorm"), ("--normalization", "RMSNorm", "'rmsnorm'")),
    "unknown graphs": (LAUNCH + " --cuda-graph-impl full", ("--cuda-graph-impl", "local", "'full'")),
    "heads that do not divide": (
        launch("--num-attention-heads 32", "--num-attention-heads 36"),
        ("--num-attention-heads", "hidden size 4096"),
    ),
    "a broken list of layers": (LAUNCH + " --moe-layer-freq [1]*", ("--moe-layer-freq", "list")),
    "a list of too few layers": (LAUNCH + " --moe-layer-freq ([1]*31)", ("--moe-layer-freq", "32 layers", "31")),
    "experts that do not divide": (launch("parallel-size 8", "parallel-size 16"), ("ep must divide the 8 experts",)),
    "a pipeline that does not divide": (launch("parallel-size 4", "parallel-size 5"), ("5", "64 ranks")),
    "a batch that does not divide": (launch("size 256", "size 250"), ("global_batch", "250")),
    "an unknown recipe": (LAUNCH + " --fp8-format e4m3 --fp8-recipe wild", ("--fp8-recipe", "blockwise", "'wild'")),
}

SCENARIO = """\
cluster: {system: dgx-h100, chips: 64}
model: MODEL
training: {sequence_length: 8192, global_batch: 128, micro_batch: 1, TRAINING}
plan: {PLAN}
"""


def plan(text: str, model: str = "llama3.1-8b", training: str = "precision: bf16") -> str:
    """A scenario of one plan."""
    return SCENARIO.replace("PLAN", text).replace("MODEL", model).replace("TRAINING", training)


#: name -> (scenario, texts that the error must contain)
PLANS: dict[str, tuple[str, tuple[str, ...]]] = {
    "too much tensor parallelism": (plan("tp: 16"), ("8 key-value heads", "Lower tp from 16 to 8")),
    "more ranks than there are": (plan("tp: 8, pp: 16"), ("tp*pp*cp = 128", "64 ranks", "Lower pp from 16 to 8")),
    "dp that is not what is left": (plan("tp: 8, dp: 16"), ("dp = 8", "16", "plan.dp")),
    "experts of a dense model": (plan("ep: 8"), ("no routed experts", "Set ep")),
    "ep beyond a stage": (plan("ep: 32, pp: 4", "mixtral-8x7b"), ("8 experts", "Lower ep from 32 to 8")),
    "a remedy for two rules": (plan("ep: 12, pp: 16", "mixtral-8x7b"), ("8 experts", "Lower ep from 12 to 4")),
    "a degree beyond reason": (plan("pp: 1000000000"), ("64 ranks", "Lower pp from 1000000000 to 64")),
    "layers beyond reason": (plan("pp: 4", "{preset: llama3.1-8b, layers: 1000000000}"), ("model.layers", "10000")),
    "prediction blocks beyond reason": (
        plan("pp: 4", "{preset: deepseek-v3, mtp_depth: 1000000000}"), ("model.mtp.depth", "10000"),
    ),
    "ep that tiles no stage": (plan("ep: 8, pp: 16", "mixtral-8x7b"), ("ep*etp = 8", "4 ranks of a stage")),
    "etp that cuts no width": (plan("etp: 3, ep: 1", "mixtral-8x7b"), ("etp",)),
    "experts without sequence parallelism": (
        plan("tp: 2, sequence_parallel: false", "mixtral-8x7b"), ("sequence parallelism", "sequence_parallel: true"),
    ),
    "more stages than layers": (plan("pp: 64, tp: 1"), ("32 layers", "64 stages")),
    "chunks without a pipeline": (plan("vpp: 4"), ("pp = 1", "vpp")),
    "chunks under 1f1b": (plan("pp: 4, vpp: 2, schedule: 1f1b"), ("1f1b", "interleaved")),
    "interleaved with odd micro-batches": (
        plan("pp: 4, vpp: 2", training="precision: bf16").replace("128", "144"), ("multiples of pp = 4", "Raise global_batch"),
    ),
    "dualpipe with too few micro-batches": (plan("pp: 8, schedule: dualpipe").replace("128", "64"), ("2*pp = 16",)),
    "dualpipe on an odd pipeline": (
        plan("pp: 3, schedule: dualpipe").replace("chips: 64", "chips: 48"), ("even number of stages", "got 3"),
    ),
    "zero_group without zero": (plan("zero: 0, zero_group: 8"), ("zero_group needs zero",)),
    "zero_group that does not divide": (plan("zero_group: 7"), ("zero_group must divide dp*cp = 64", "Lower zero_group")),
    "modules of no selective recomputation": (plan("recompute: full, recompute_modules: [mlp]"), ("selective",)),
    "an unknown module": (plan("recompute: selective, recompute_modules: [core_atn]"), ("core_atn", "core_attn")),
    "cp that cuts no sequence": (plan("cp: 8, tp: 1").replace("8192", "8200"), ("multiple of 16", "8200")),
    "an unknown dispatcher": (plan("ep: 8, dispatcher: deepp", "mixtral-8x7b"), ("plan.dispatcher", "deepep")),
    "zero 4": (plan("zero: 4"), ("plan.zero", "3")),
    "a precision below the chip": (plan("tp: 8", training="precision: nvfp4"), ("nvfp4", "fp8")),
}  # fmt: skip
