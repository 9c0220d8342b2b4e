"""Flags that other trainers built on Megatron-LM have of their own, said in Megatron-LM's words before they are read.

MindSpeed-LLM (Ascend) names latent attention, dense first layers and groups of experts as Hugging Face does, fills layers up
with ones that do nothing, spreads experts over the tensor-parallel ranks too, and runs DualPipe-V; Pai-Megatron-Patch
shares some of these names. What changes the step and nothing here follows stays with the lists in
:mod:`workloads.importers.megatron_flags`.

Source: MindSpeed-LLM docs and mindspeed_llm/training/arguments.py; Pai-Megatron-Patch megatron_patch/arguments.py.
"""

from __future__ import annotations

from simulator.spec.errors import NotModelled
from workloads.importers.launch import Flags

_RENAMED = {
    "multi_head_latent_attention": "multi_latent_attention",
    "qk_rope_head_dim": "qk_pos_emb_head_dim",
    "qk_nope_head_dim": "qk_head_dim",
    "moe_intermediate_size": "moe_ffn_hidden_size",
    "n_group": "moe_router_num_groups",
    "topk_group": "moe_router_group_topk",
    "num_mtp_predictor": "mtp_num_layers",
    "moe_fb_overlap": "overlap_moe_expert_parallel_comm",
}
"""Name of a flag elsewhere -> Megatron-LM's."""

_OF_MINDSPEED = (
    "use_fused_rotary_pos_emb", "use_fused_rmsnorm", "use_fused_swiglu", "tokenizer_name_or_path", "noop_layers",
    "moe_fb_overlap",
    "multi_head_latent_attention", "moe_tp_extend_ep", "context_parallel_algo", "schedules_method", "num_layer_list",
)  # fmt: skip
"""Flags by which a launch of MindSpeed-LLM is recognised."""

_CONTEXT = {"megatron_cp_algo": "p2p", "ulysses_cp_algo": "a2a", "hybrid_cp_algo": "a2a+p2p"}
_SCHEDULES = {"dualpipev": "dualpipe-v"}


def is_mindspeed(flags: Flags) -> bool:
    """Whether the launch is one of MindSpeed-LLM's."""
    return any(name in flags.values for name in _OF_MINDSPEED)


def translate(flags: Flags) -> None:
    """Say in Megatron-LM's words what the launch says in others. Raises PlanError where both are there and differ."""
    flags.has("use_multi_token_prediction")  # Pai-Megatron-Patch's switch; the number of blocks stands beside it
    for name, ours in _RENAMED.items():
        if flags.has(name):
            _say(flags, name, ours, flags.values[name])
    _drop_idle_layers(flags)
    layers = flags.whole("num_layers")
    if flags.has("first_k_dense_replace"):
        dense, every = flags.whole("first_k_dense_replace"), _frequency(flags)
        sparse = [int(index >= dense and index % every == 0) for index in range(layers)]
        flags.values["moe_layer_freq"] = ["[" + ",".join(map(str, sparse)) + "]"]
    if flags.has("n_shared_experts"):
        width = flags.whole("n_shared_experts") * flags.whole("moe_ffn_hidden_size")
        _say(flags, "n_shared_experts", "moe_shared_expert_intermediate_size", [str(width)])
    if flags.has("moe_tp_extend_ep"):
        ranks = flags.whole("expert_model_parallel_size", 1) * flags.whole("tensor_model_parallel_size", 1)
        flags.values["expert_model_parallel_size"] = [str(ranks)]
        _say(flags, "moe_tp_extend_ep", "expert_tensor_parallel_size", ["1"])
    if flags.has("moe_token_dispatcher_type") and flags.text("moe_token_dispatcher_type") == "alltoall_seq":
        flags.values["moe_token_dispatcher_type"] = ["alltoall"]
    _translate_context(flags)


def idle_layers(flags: Flags) -> tuple[int, ...]:
    """The layers, counted from 0, that do nothing and only fill up pipeline ranks."""
    if not flags.has("noop_layers"):
        return ()
    words = flags.text("noop_layers").split(",")
    if not all(word.isdecimal() for word in words):
        raise flags.refuse("noop_layers", "must be layers apart by commas", "Write --noop-layers 61,62,63.")
    return tuple(sorted({int(word) for word in words}))


def schedule_of(flags: Flags) -> str | None:
    """The schedule that the launch names, if it names one."""
    if not flags.has("schedules_method"):
        return None
    word = flags.text("schedules_method")
    if word not in _SCHEDULES:
        raise NotModelled(f"--schedules-method {word} cannot be imported; {', '.join(_SCHEDULES)} can.")
    return _SCHEDULES[word]


def layers_of_stages(flags: Flags, stages: int) -> list[int] | None:
    """Layers of every stage in model order where the launch lists them or fills them up; None where all are alike."""
    idle = idle_layers(flags)
    if flags.has("num_layer_list"):
        words = flags.text("num_layer_list").split(",")
        if len(words) != stages or not all(word.isdecimal() for word in words):
            raise flags.refuse("num_layer_list", f"must give the layers of all {stages} stages", "Correct it.")
        counts = [int(word) for word in words]
    elif idle:
        layers = flags.whole("num_layers") + len(idle)
        if layers % stages:
            raise flags.refuse("noop_layers", f"{layers} layers do not go evenly into {stages} stages", "Correct num-layers.")
        counts = [layers // stages] * stages
    else:
        return None
    ends = [sum(counts[: stage + 1]) for stage in range(stages)]
    return [count - sum(end - count <= layer < end for layer in idle) for count, end in zip(counts, ends, strict=True)]


def _drop_idle_layers(flags: Flags) -> None:
    """``--num-layers`` counts the layers that do nothing; the model has none of them."""
    idle = idle_layers(flags)
    layers = flags.whole("num_layers")
    if idle and (idle[-1] >= layers or len(idle) >= layers):
        raise flags.refuse("noop_layers", f"must be some of the layers 0 to {layers - 1}", "Correct it.")
    if idle:
        flags.values["num_layers"] = [str(layers - len(idle))]


def _frequency(flags: Flags) -> int:
    return flags.whole("moe_layer_freq", 1)


def _translate_context(flags: Flags) -> None:
    if not flags.has("context_parallel_algo"):
        flags.has("ulysses_degree_in_cp")
        return
    cp = flags.whole("context_parallel_size", 1)
    word = flags.text("context_parallel_algo")
    if cp == 1:
        flags.has("ulysses_degree_in_cp")
        return
    if word not in _CONTEXT:
        raise NotModelled(f"--context-parallel-algo {word} cannot be imported; {', '.join(_CONTEXT)} can.")
    _say(flags, "context_parallel_algo", "cp_comm_type", [_CONTEXT[word]])
    if word == "hybrid_cp_algo":
        heads = flags.whole("ulysses_degree_in_cp")
        if cp % heads:
            raise flags.refuse("ulysses_degree_in_cp", f"must divide the context-parallel size {cp}", "Correct it.")
        _say(flags, "ulysses_degree_in_cp", "hierarchical_context_parallel_sizes", [str(heads), str(cp // heads)])


def _say(flags: Flags, name: str, ours: str, words: list[str]) -> None:
    """Give a flag in Megatron-LM's name, in the place of the one that was written."""
    if ours in flags.values and flags.values[ours] != words and not flags.dumped:
        raise flags.refuse(
            name, f"says otherwise than {flags.flag(ours)} {' '.join(flags.values[ours])}", "Remove the wrong one."
        )
    if ours not in flags.values:
        flags.renamed[ours] = name
    flags.values[ours] = list(words)
    if name in flags.lines:
        flags.lines.setdefault(ours, flags.lines[name])
