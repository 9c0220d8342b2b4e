"""What frameworks call the parts of a layer that are kept, moved to the host, or made again.

MaxText names the results of a layer's products and says of each whether it stays on the chip, goes to the host or is made again
(``remat_policy``); what is not named is made again. Megatron-LM names submodules whose *inputs* go to the host
(``--offload-modules``). A policy here is the list of recompute paths (workloads/accounting/sections.py) that it makes again, in
forward order before a layer's backward pass, and of results that it keeps although no gradient reads them.

Sources: MaxText's decoders.py, https://github.com/AI-Hypercomputer/maxtext; Megatron Core, fine-grained activation offloading,
https://docs.nvidia.com/megatron-core/developer-guide/latest/user-guide/features/fine_grained_activation_offloading.html.
Leaves out: policies on latent and compressed attention and hyper-connections (refused); "minimal", which is a list of modules
(:data:`workloads.plan.MODULE_ALIASES`); that XLA may keep what is cheaper to keep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.spec.errors import NotModelled, PlanError
from simulator.spec.near import nearest
from workloads.attention_kinds import GroupedQueryAttention
from workloads.model import Model

ALL_EXCEPT = "all_except:"
PREFIX = "maxtext:"

EVERYTHING = (
    "layernorm", "qkv_proj", "core_attn", "context", "out_proj", "residual", "mlp_gate", "mlp_up", "mlp_act",
    "moe_router", "moe_permute", "moe_up", "moe_act", "moe_down", "moe_unpermute", "shared_up",
)  # fmt: skip
"""Recompute paths that make everything of a layer again but the product that ends a dense FFN, which no gradient reads."""

PROJECTIONS = {"query_proj", "key_proj", "value_proj"}


@dataclass(frozen=True, slots=True)
class Named:
    """A name that frameworks use: the recompute ``paths`` not run where it is kept, the saved ``tensors`` that it is, and the
    ``results`` that it is where no gradient reads them.
    """

    paths: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


RESULTS = ("dense_down_output", "expert_down_output", "shared_down_output")
_UP = ("dense_up_output", "expert_up_output", "shared_up_output")

NAMES: dict[str, Named] = {
    "decoder_layer_input": Named(tensors=("attention_residual", "attention_streams")),
    "query_proj": Named(("query_proj",), ("queries", "unnormalised_qk")),
    "key_proj": Named(("key_proj",), ("keys",)),
    "value_proj": Named(("value_proj",), ("values",)),
    "qkv_proj": Named(tuple(PROJECTIONS), ("queries", "keys", "values", "unnormalised_qk", "qkv")),
    "context": Named(("core_attn", "context"), ("attention_output", "attention_output_cast", "log_sum_exp")),
    "out_proj": Named(("out_proj", "residual"), ("ffn_residual",)),
    "mlpwi_0": Named(("mlp_gate",), ("dense_up_output", "dense_up_output_gate")),
    "mlpwi_1": Named(("mlp_up",), ("dense_up_output_beside_gate",)),
    "mlpwi": Named(("mlp_gate", "mlp_up", "moe_up", "shared_up"), (*_UP, "dense_up_output_gate", "dense_up_output_beside_gate")),
    "mlpwo": Named(("moe_down", "moe_unpermute"), RESULTS, RESULTS),
}
"""MaxText's names."""

INPUTS: dict[str, tuple[str, ...]] = {
    "attn_norm": ("attention_residual", "attention_streams"),
    "qkv_linear": ("attention_input",),
    "core_attn": ("queries", "keys", "values", "qkv"),
    "attn_proj": ("attention_output", "attention_output_cast"),
    "mlp_norm": ("ffn_residual", "ffn_streams"),
    "expert_fc1": ("expert_input",),
    "moe_act": ("expert_up_output",),
}
"""Megatron-LM's submodules -> the tensors that are their inputs."""

POLICIES: dict[str, tuple[str, ...]] = {
    "save_qkv_proj": ("qkv_proj",),
    "save_out_proj": ("out_proj",),
    "save_dot_except_mlp": ("qkv_proj", "out_proj"),
    "save_dot_except_mlpwi": ("qkv_proj", "out_proj", "mlpwo"),
    "save_dot_with_context_except_mlp": ("qkv_proj", "context", "out_proj"),
    "minimal_with_context": ("qkv_proj", "context", "out_proj", "mlpwi", "mlpwo"),
    "qkv_proj_offloaded": ("qkv_proj",),
    "minimal_offloaded": ("qkv_proj", "out_proj", "mlpwi", "mlpwo"),
}
"""MaxText's policies by name -> what they keep; those that end in "offloaded" keep it in the host."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is made again (recompute paths), which results are kept that nothing reads, and what the policy moves to the host."""

    label: str
    modules: tuple[str, ...]
    results: tuple[str, ...] = ()
    offloaded: tuple[str, ...] = ()


def read_policy(names: Iterable[str]) -> Policy | None:
    """The policy that a list of recomputed modules names, None if it names modules.

    ``maxtext:save_qkv_proj``, or ``all_except:qkv_proj,out_proj`` with the names that are kept. Raises PlanError for an
    unknown one.
    """
    names = tuple(names)
    found = [name for name in names if name.startswith(ALL_EXCEPT) or name.removeprefix(PREFIX) in POLICIES]
    if not found:
        return None
    if len(names) > 1:
        raise PlanError(
            "a policy by name stands alone", got=", ".join(names), do=f"Write {found[0]} only.", path="plan.recompute_modules"
        )
    (name,) = found
    if name.startswith(ALL_EXCEPT):
        return _keeping([part.strip() for part in name.removeprefix(ALL_EXCEPT).split(",") if part.strip()], ())
    kept = POLICIES[name.removeprefix(PREFIX)]
    return _keeping(kept, kept if name.endswith("_offloaded") else ())


def covers(model: Model) -> bool:
    """Whether the names cover the parts of a model's layers."""
    plain = model.hyper_connections is None and model.hybrid is None
    return isinstance(model.attention, GroupedQueryAttention) and plain


def check_policy(model: Model) -> None:
    """Refuse a policy on a layer whose parts its names do not cover."""
    if not covers(model):
        raise NotModelled(
            f"policies by name are simulated for grouped-query attention in all layers and plain residuals, and {model.name} has"
            " others; list plan.recompute_modules, or set plan.recompute to full."
        )


def tensors_of(name: str) -> tuple[str, ...]:
    """The saved tensors that a name of either framework stands for. Raises PlanError for one that nobody uses."""
    if name in INPUTS:
        return INPUTS[name]
    if name in NAMES:
        return NAMES[name].tensors
    known = (*NAMES, *INPUTS)
    close = nearest(name, known)
    hint = f"Did you mean {close}? " if close else ""
    raise PlanError(
        "no such activation to keep in the host", got=name, do=f"{hint}Known: {', '.join(known)}.", path="plan.offload"
    )


def _keeping(kept: Iterable[str], offloaded: tuple[str, ...]) -> Policy:
    kept = tuple(kept)
    for name in kept:
        if name not in NAMES:
            close = nearest(name, tuple(NAMES))
            hint = f"Did you mean {close}? " if close else ""
            raise PlanError(
                "no such result to keep", got=name, do=f"{hint}Known: {', '.join(NAMES)}.", path="plan.recompute_modules"
            )
    spared = {path for name in kept for path in NAMES[name].paths}
    if {"mlpwi_0", "mlpwi_1"} <= set(kept):
        spared |= set(NAMES["mlpwi"].paths)
    results = tuple(result for name in kept for result in NAMES[name].results)
    modules = [path for path in EVERYTHING if path not in spared and path != "qkv_proj"]
    remade = [path for path in ("query_proj", "key_proj", "value_proj") if path not in spared]
    modules += ["qkv_proj"] if len(remade) == len(PROJECTIONS) else ["rope", *remade]
    return Policy(f"all but {', '.join(kept)}" if kept else "all", tuple(modules), results, offloaded)
