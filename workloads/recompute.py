"""What the backward pass makes again, layer by layer.

A way of recomputing is a list of modules, or a whole layer from its input; ``layers`` and ``method`` say of which layers:

    block    the first ``layers[stage]`` of every stage (Megatron-LM's --recompute-method block)
    uniform  all, in runs of that many, of which the first input alone is kept (--recompute-method uniform)
    every    every so many-th of a stage (torchtitan's selective_ac_option)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from workloads.resolved import ResolvedPlan

Method = Literal["block", "uniform", "every"]


@dataclass(frozen=True, slots=True)
class Recompute:
    """What the backward pass makes again: the listed modules, or (``full``) whole layers from their inputs.

    ``results``: what is kept although no gradient reads it. ``at_once``: in forward order before a layer's backward pass, not
    each module before its own. ``layers``: counts for ``method``, one a stage or one for all; none for all layers.
    ``others``: what the layers that ``method`` leaves out do.
    """

    modules: tuple[str, ...] = ()
    full: bool = False
    results: tuple[str, ...] = ()
    at_once: bool = False
    label: str = ""
    layers: tuple[int, ...] = ()
    method: Method = "block"
    others: Recompute | None = None

    def __str__(self) -> str:
        if self.full:
            what = "full"
        elif self.label:
            what = f"selective ({self.label})"
        else:
            what = f"selective ({', '.join(self.modules)})" if self.modules else "none"
        if not self.layers:
            return what
        counts = ", ".join(map(str, self.layers))
        where = {
            "block": f"of the first {counts} layers of a stage",
            "uniform": f"in runs of {counts} layers",
            "every": f"of every layer that {counts} divides",
        }[self.method]
        return f"{what} {where}" + (f", else {self.others}" if self.others and self.others.makes_anything else "")

    @property
    def makes_anything(self) -> bool:
        """Whether anything is made again."""
        return self.full or bool(self.modules)

    def count(self, stage: int) -> int:
        """The number that ``method`` goes by in a stage."""
        return self.layers[stage] if len(self.layers) > 1 else self.layers[0]

    def of_layer(self, stage: int, position: int) -> Recompute:
        """What is made again of the ``position``-th layer of a stage, counted from 0."""
        if not self.layers:
            return self
        plain = replace(self, layers=(), others=None)
        if self.method == "uniform":
            return plain
        count = self.count(stage)
        chosen = position < count if self.method == "block" else (position + 1) % count == 0
        return plain if chosen else self.others or Recompute()

    def run(self, stage: int) -> int:
        """How many layers are made again together from one input."""
        return self.count(stage) if self.layers and self.method == "uniform" else 1


LIGHT = ("layernorm", "mlp_act", "moe_act")
MIDDLE = (*LIGHT, "mla_up_proj", "hyper_connection")


def recompute_steps(plan: ResolvedPlan) -> tuple[Recompute, ...]:
    """The ways of recomputing to try, lightest first; one only unless the plan says ``auto``.

    Auto gives up first what costs little to make again for its size: outputs of norms and activations; then latent
    up-projections and hyper-connection streams; then attention and dense FFNs; at last whole layers.
    """
    if plan.recompute not in ("auto", "auto-layers"):
        full = plan.recompute == "full"
        policy = plan.policy
        way = Recompute(full=full) if full or plan.recompute == "none" else Recompute(plan.recompute_modules)
        if policy:
            way = Recompute(policy.modules, results=policy.results, at_once=True, label=policy.label)
        return (replace(way, layers=plan.recompute_layers, method=plan.recompute_method),)
    return (
        Recompute(),
        Recompute(LIGHT),
        Recompute(MIDDLE),
        Recompute((*MIDDLE, "core_attn", "mlp", "shared_experts")),
        Recompute(full=True),
    )


def mixed(lighter: Recompute, heavier: Recompute, layers: tuple[int, ...]) -> Recompute:
    """The heavier way for the first ``layers[stage]`` layers of each stage, the lighter one for the others."""
    return replace(heavier, layers=layers, method="block", others=lighter)
