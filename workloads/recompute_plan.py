"""What a plan says of recomputation, read: modules under their own names, a policy, and of which layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.errors import PlanError
from workloads import legality
from workloads.checkpoint_names import ALL_EXCEPT, Policy, check_policy, covers, read_policy
from workloads.recompute import Method

if TYPE_CHECKING:
    from workloads.model import Model
    from workloads.plan import Plan, PlanDefaults

MODULE_ALIASES = {
    "rmsnorm": ("layernorm",),
    "swiglu": ("mlp_act", "moe_act"),
    "shared_expert": ("shared_experts",),
    # MaxText's policy "minimal" saves the outputs of linear layers and makes all else again.
    "maxtext:minimal": ("layernorm", "mlp_act", "moe_act", "core_attn"),
    # torchtitan's selective_ac_option "op" saves attention and every second product in the order they run.
    "torchtitan:op": ("layernorm", "key_proj", "out_proj", "mlp_up", "mlp_act"),
}
"""Other names that recipes use for modules of ours; a remark in parentheses may follow a name."""

AUTO = ("auto", "auto-layers")


@dataclass(frozen=True, slots=True)
class ChosenRecompute:
    """``mode`` as a plan writes it, the ``modules`` of a selective one or its ``policy``, and of which layers (none: all)."""

    mode: str
    modules: tuple[str, ...] = ()
    policy: Policy | None = None
    layers: tuple[int, ...] = ()
    method: Method = "block"


def chosen_recompute(plan: Plan, defaults: PlanDefaults, model: Model, stages: int) -> ChosenRecompute:
    """The plan's recomputation, or the stack's where it is silent. Raises PlanError for what does not go together."""
    mode = plan.recompute or ("selective" if plan.recompute_modules else defaults.recompute)
    layers = _layers(plan, mode, stages)
    method = plan.recompute_method or "block"
    if mode != "selective":
        if plan.recompute_modules:
            raise PlanError(
                "recompute_modules belong to recompute: selective", got=f"recompute {mode}",
                do="Set recompute to selective, or leave recompute_modules out.", path="plan.recompute_modules",
            )  # fmt: skip
        if mode == "full" and not layers and defaults.full_recompute == "what is read" and covers(model):
            return ChosenRecompute("selective", policy=read_policy((ALL_EXCEPT,)))
        return ChosenRecompute(mode, layers=layers, method=method)
    if method == "uniform" and layers:
        raise PlanError(
            "runs of layers are made again from one input, all of them", got="recompute selective",
            do="Set recompute to full, or recompute_method to block or every.", path="plan.recompute_method",
        )  # fmt: skip
    names = [name.split(" (")[0] for name in plan.recompute_modules or defaults.recompute_modules]
    policy = read_policy(names)
    if policy:
        check_policy(model)
        return ChosenRecompute(mode, policy=policy, layers=layers, method=method)
    modules = [module for name in names for module in MODULE_ALIASES.get(name, (name,))]
    legality.check_recompute_modules(modules)
    return ChosenRecompute(mode, tuple(dict.fromkeys(modules)), layers=layers, method=method)


def _layers(plan: Plan, mode: str, stages: int) -> tuple[int, ...]:
    given = plan.recompute_layers
    if given is None:
        if plan.recompute_method is not None:
            raise PlanError(
                "recompute_method goes by recompute_layers", do="Give recompute_layers.", path="plan.recompute_method"
            )
        return ()
    if mode not in ("selective", "full"):
        raise PlanError(
            "recompute_layers says of which layers something is made again", got=f"recompute {mode}",
            do="Set recompute to full or selective, or leave recompute_layers out.", path="plan.recompute_layers",
        )  # fmt: skip
    layers = (given,) if isinstance(given, int) else given
    if len(layers) not in (1, stages):
        raise PlanError(
            f"recompute_layers is one number for all, or one for each of {stages} stages", got=len(layers),
            do=f"Write {stages} numbers, or one.", path="plan.recompute_layers",
        )  # fmt: skip
    least = 0 if (plan.recompute_method or "block") == "block" else 1
    if min(layers) < least:
        raise PlanError(f"must be at least {least}", got=min(layers), path="plan.recompute_layers")
    return layers
