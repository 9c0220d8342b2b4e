"""A Megatron-LM launch as a scenario of ours: model, training and plan from its flags, with an account of each.

What the flags leave out takes the default of Megatron-LM's argument parser. A flag that may change the step and is not known is
refused by name; one that is known and not simulated is named in the account.

Source: Megatron-LM megatron/training/arguments.py. Leaves out: rampup of the batch (the full one is taken), other optimizers
than Adam and Muon, retrieval, multimodal and BERT or T5 models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.spec.errors import InputError, NotModelled
from workloads.importers.attention_readers import Fields
from workloads.importers.launch import Flags, read_flags
from workloads.importers.megatron_flags import HARMLESS, NOT_SIMULATED
from workloads.importers.megatron_layout import layout, virtual_stages
from workloads.importers.megatron_model import read_model
from workloads.importers.mindspeed import is_mindspeed, schedule_of, translate

_REFUSED = {
    "encoder_num_layers": "an encoder beside the decoder",
    "use_custom_fsdp": "a stage of its own kind of FSDP",
    "moe_latent_size": "experts that work on a narrower latent",
    "heterogeneous_layers_config_path": "layers that differ one by one",
}
_FSDP = {"no_shard": 0, "optim": 1, "optim_grads": 2, "optim_grads_params": 3}
_PRECISIONS = {"blockwise": ("fp8", "blockwise"), "mxfp8": ("mxfp8", None), "tensorwise": ("fp8", None), "delayed": ("fp8", None)}
_CONTEXT = {
    "p2p": "ring",
    "allgather": "all-gather",
    "all_gather": "all-gather",
    "a2a": "all-to-all",
    "a2a+p2p": "all-to-all+ring",
}


@dataclass(frozen=True, slots=True)
class ImportedLaunch:
    """A launch that was imported: the scenario as plain data, and what was made of each flag.

    ``defaults``: variables of the script that no one set, with the default it gives them; ``questions``: what else the
    launch expands to and only its author knows.
    """

    document: dict[str, Any]
    understood: tuple[str, ...]
    harmless: Mapping[str, str]
    not_simulated: Mapping[str, str]
    ignored: tuple[str, ...]
    defaults: Mapping[str, str]
    questions: tuple[str, ...]


def import_launch(
    source: str,
    *,
    system: str,
    chips: int | None = None,
    ranks_per_chip: int = 1,
    name: str | None = None,
    define: Mapping[str, str] = {},
    added: str = "",
    ignore: Collection[str] = (),
) -> ImportedLaunch:
    """Import a script, a dump of arguments (both by path), or flags as text; a launch counts ranks, a machine chips.

    Raises InputError (file, line, flag) for a flag that is wrong, missing or not known, NotModelled for what has no
    counterpart here.
    """
    text, file = _text(source)
    flags = read_flags(text, file, defined=define, added=added)
    for flag, what in _REFUSED.items():
        if flags.has(flag):
            raise NotModelled(f"{flags.flag(flag)}: {what} cannot be imported.")
    translate(flags)
    tensor_parallel = flags.whole("tensor_model_parallel_size", 1)
    ranks = chips * ranks_per_chip if chips is not None else _ranks(flags)
    if ranks % ranks_per_chip:
        raise InputError(
            f"a chip of {system} is {ranks_per_chip} ranks", got=f"{ranks} ranks", do="Correct the launch.", where=flags.file
        )
    document: dict[str, Any] = {
        "name": name or Path(file).stem,
        "cluster": {"system": system, "chips": ranks // ranks_per_chip},
        "model": read_model(flags, tensor_parallel),
        "training": _training(flags, ranks),
        "plan": _plan(flags, tensor_parallel, ranks),
        "assumptions": "mindspeed" if is_mindspeed(flags) else "megatron-core",
    }
    flags.check_all_read(ignore)
    given = [flag for flag in flags.values if not flags.dumped or flags.has(flag)]
    told = {flag.lstrip("-").replace("-", "_") for flag in ignore}
    return ImportedLaunch(
        document=document,
        understood=tuple(flags.flag(flag) for flag in flags.read if flag in flags.values and flag not in flags.renamed),
        harmless={flags.flag(flag): HARMLESS[flag] for flag in given if flag in HARMLESS},
        not_simulated={flags.flag(flag): NOT_SIMULATED[flag] for flag in given if flag in NOT_SIMULATED},
        ignored=tuple(flags.flag(flag) for flag in flags.values if flag in told),
        defaults=flags.defaults,
        questions=tuple(flags.questions),
    )


def _text(source: str) -> tuple[str, str]:
    if source.lstrip().startswith("--"):
        return source, "flags"
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8"), source
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError("is no script that can be read", got=source, do=f"{reason}.") from None


def _ranks(flags: Flags) -> int:
    """Ranks of the job: the world of a dump, or nodes x processes of the launcher."""
    if flags.has("world_size"):
        return flags.whole("world_size")
    try:
        return int(flags.launcher["nnodes"]) * int(flags.launcher["nproc_per_node"])
    except (KeyError, ValueError):
        raise InputError(
            "the launch does not say on how many chips it runs", do="Add --chips N.", where=flags.file, path="--chips"
        ) from None


def _training(flags: Flags, ranks: int) -> Fields:
    micro_batch = flags.whole("micro_batch_size")
    fields: Fields = {"sequence_length": flags.whole("seq_length")}
    flags.has("decoder_seq_length")
    if not flags.has("global_batch_size"):
        raise flags.refuse("global_batch_size", "is missing", 'Give it: --add "--global-batch-size N".')
    fields |= {"global_batch": flags.whole("global_batch_size"), "micro_batch": micro_batch}
    fields |= _precision(flags)
    optimizer = flags.text("optimizer", "adam")
    names = {"adam": "adamw", "adamw": "adamw", "muon": "muon", "dist_muon": "muon"}
    if optimizer not in names:
        raise flags.refuse("optimizer", f"must be one of {', '.join(names)}", "Others are not simulated.")
    return fields | {"optimizer": names[optimizer]}


def _precision(flags: Flags) -> Fields:
    half, brain = flags.has("fp16"), flags.has("bf16")
    sixteen = "fp16" if half else "bf16"
    if half and brain:
        raise flags.refuse("bf16", f"stands beside {flags.flag('fp16')}", "Remove one of them.")
    if not half and not brain:
        raise NotModelled("training in fp32 is not simulated; give --bf16 or --fp16 with --add.")
    if flags.has("fp4_format") or flags.has("fp4"):
        flags.has("fp4_recipe")
        return {"precision": "nvfp4"}
    if not flags.has("fp8_format") and not flags.has("fp8"):
        flags.has("fp8_recipe")
        return {"precision": sixteen}
    recipe = flags.text("fp8_recipe", "delayed")
    if recipe not in _PRECISIONS:
        raise flags.refuse("fp8_recipe", f"must be one of {', '.join(_PRECISIONS)}", "Others are not simulated.")
    precision, detail = _PRECISIONS[recipe]
    return {"precision": precision} | ({"precision_detail": detail} if detail else {})


def _plan(flags: Flags, tensor_parallel: int, ranks: int) -> Fields:
    layers, pp = flags.whole("num_layers"), flags.whole("pipeline_model_parallel_size", 1)
    plan: Fields = {"tp": tensor_parallel, "pp": pp, "cp": flags.whole("context_parallel_size", 1)}
    schedule = schedule_of(flags)
    vpp = 2 if schedule == "dualpipe-v" else virtual_stages(flags, layers, pp)
    plan["vpp"] = vpp
    plan["ep"] = flags.whole("expert_model_parallel_size", 1)
    etp = flags.has("expert_tensor_parallel_size")
    # Megatron cuts experts by tp too, unless told otherwise.
    plan["etp"] = flags.whole("expert_tensor_parallel_size") if etp else tensor_parallel if flags.has("num_experts") else 1
    plan["zero"] = _zero(flags)
    if flags.has("num_distributed_optimizer_instances"):
        copies = flags.whole("num_distributed_optimizer_instances")
        if copies > 1:
            plan["zero_group"] = max(ranks // (tensor_parallel * pp) // copies, 1)
    plan["schedule"] = schedule or ("interleaved" if vpp > 1 else "1f1b")
    plan |= _recompute(flags, layers, pp * vpp)
    plan |= _offload(flags)
    plan |= layout(flags, layers, pp, vpp)
    plan["sequence_parallel"] = flags.has("sequence_parallel")
    fsdp = plan["zero"] == 3
    plan["overlap"] = {
        "ep": flags.has("overlap_moe_expert_parallel_comm"),
        "tp": flags.has("tp_comm_overlap"),
        "pp": not (vpp > 1 and flags.has("no_overlap_p2p_communication")),
        "grad_reduce": flags.has("overlap_grad_reduce") or fsdp,
        "param_gather": flags.has("overlap_param_gather") or fsdp,
    }
    dispatcher = _dispatcher(flags)
    if flags.has("num_experts"):
        plan["dispatcher"] = dispatcher
    plan |= _graphs(flags)
    plan |= _context(flags, plan["cp"])
    if flags.has("use_tp_pp_dp_mapping"):
        plan["placement"] = "tp-cp-ep-pp-dp"
    return plan


def _graphs(flags: Flags) -> Fields:
    """Which kernels are captured. Without a scope whole layers are, which leaves out experts whose shapes depend on the data."""
    asked = [flags.has("enable_cuda_graph"), flags.has("external_cuda_graph")]
    kind = flags.word("cuda_graph_impl", ("none", "local", "transformer_engine"), "local" if any(asked) else "none")
    scope = flags.values["cuda_graph_scope"] if flags.has("cuda_graph_scope") else []
    if kind == "none":
        return {}
    whole = "full_iteration" in scope or (not scope and not flags.has("num_experts"))
    return {"graphs": "full" if whole else "partial"}


def _context(flags: Flags, cp: int) -> Fields:
    """What the ranks of a sequence exchange; a list of one kind a layer is read where all are one."""
    name, levels = "cp_comm_type", "hierarchical_context_parallel_sizes"
    sizes = flags.values[levels] if flags.has(levels) else []
    if not flags.has(name) or cp == 1:
        return {}
    kinds = set(flags.values[name])
    if len(kinds) != 1 or not kinds <= _CONTEXT.keys():
        given = " ".join(flags.values[name])
        raise NotModelled(
            f"{flags.flag(name)} {given}".rstrip() + f" cannot be imported; {', '.join(_CONTEXT)} can, one for all layers."
        )
    found = _CONTEXT[kinds.pop()]
    if found != "all-to-all+ring":
        return {"context_exchange": found}
    if len(sizes) != 2 or not all(size.isdecimal() for size in sizes) or int(sizes[0]) * int(sizes[1]) != cp:
        raise flags.refuse(levels, f"must be two sizes whose product is the context-parallel size {cp}", "Correct it.")
    return {"context_exchange": found, "context_heads": int(sizes[0])}


def _zero(flags: Flags) -> int:
    if flags.has("use_torch_fsdp2"):
        return 3
    if flags.has("use_megatron_fsdp"):
        strategy = flags.text("data_parallel_sharding_strategy", "no_shard")
        if strategy not in _FSDP:
            raise flags.refuse("data_parallel_sharding_strategy", f"must be one of {', '.join(_FSDP)}", "Correct it.")
        flags.has("use_distributed_optimizer")
        return _FSDP[strategy]
    flags.has("data_parallel_sharding_strategy")
    return int(flags.has("use_distributed_optimizer"))


def _recompute(flags: Flags, layers: int, stages: int) -> Fields:
    if flags.has("recompute_activations"):
        return {"recompute": "selective", "recompute_modules": ["core_attn"]}
    if not flags.has("recompute_granularity"):
        for unused in ("recompute_method", "recompute_num_layers", "recompute_modules"):
            flags.has(unused)
        return {"recompute": "none"}
    if flags.word("recompute_granularity", ("full", "selective"), "full") == "selective":
        modules = flags.values["recompute_modules"] if flags.has("recompute_modules") else ["core_attn"]
        return {"recompute": "selective", "recompute_modules": list(modules)}
    flags.has("recompute_modules")  # of selective recomputation only
    method = flags.text("recompute_method", "uniform")
    every = flags.whole("recompute_num_layers", 1)
    if method not in ("uniform", "block"):
        raise flags.refuse("recompute_method", "must be uniform or block", "Correct it.")
    whole = every == 1 if method == "uniform" else every >= -(-layers // stages)
    return {"recompute": "full"} if whole else {"recompute": "full", "recompute_method": method, "recompute_layers": every}


def _offload(flags: Flags) -> Fields:
    """What goes to the host: inputs of submodules, everything of some layers, a fraction of the optimizer's moments."""
    found: Fields = {}
    modules = flags.values["offload_modules"] if flags.has("offload_modules") else []
    if flags.has("fine_grained_activation_offloading"):
        found["activations"] = list(modules)
    if flags.has("cpu_offloading_num_layers") and flags.whole("cpu_offloading_num_layers"):
        found |= {"activations": ["activations"], "layers": flags.whole("cpu_offloading_num_layers")}
    if flags.has("optimizer_cpu_offload"):
        try:
            found["optimizer"] = float(flags.text("optimizer_offload_fraction", "1.0"))
        except ValueError:
            raise flags.refuse("optimizer_offload_fraction", "must be a number from 0 to 1", "Correct it.") from None
        found["overlap"] = flags.has("overlap_cpu_optimizer_d2h_h2d")
    return {"offload": found} if found else {}


def _dispatcher(flags: Flags) -> str:
    kind = flags.word("moe_token_dispatcher_type", ("allgather", "alltoall", "flex"), "allgather")
    backend = flags.text("moe_flex_dispatcher_backend", "deepep")
    flags.has("moe_enable_deepep")
    if kind == "flex":
        return backend
    if kind == "allgather" and flags.has("num_experts") and flags.whole("expert_model_parallel_size", 1) > 1:
        raise NotModelled("--moe-token-dispatcher-type allgather cannot be imported; alltoall and flex are.")
    return "alltoall"
