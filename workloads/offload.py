"""What a plan keeps in the memory of the host: activations between forward and backward, state of the optimizer.

Activations leave when their layer's forward pass is over and come back, one layer ahead, before its backward pass. A fraction of
the optimizer's state is updated by the host: gradients go down, parameters come up. Moments alone leave the chip (Megatron-LM's
HybridDeviceOptimizer keeps its master weights there), or with ``master`` those too (DeepSpeed's ZeRO-Offload).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import NotModelled, PlanError
from workloads.accounting.sections import SavedTensor
from workloads.checkpoint_names import Policy, tensors_of

EVERYTHING = "activations"
OPTIMIZER = "optimizer"
OF_LAYERS = re.compile(r"activations of (\d+) layers?")


class Offload(Spec):
    """What goes to the host; a list of names is short for ``activations``.

    ``activations``: names of MaxText or Megatron-LM, or "activations" for all that a layer keeps. ``layers``: of the first so
    many layers of a stage only. ``optimizer``: fraction of the parameters whose state is there. ``master``: with their master
    weights. ``overlap``: gradients leave as soon as they are reduced and each layer's parameters return as they are updated;
    else all of one, then all of the next.
    """

    activations: tuple[str, ...] = ()
    layers: int | None = Field(default=None, ge=0)
    optimizer: float = Field(default=0.0, ge=0.0, le=1.0)
    master: bool = False
    overlap: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedOffload:
    """The same with names read: ``tensors`` of workloads.accounting, None for all of a layer; () for none."""

    tensors: tuple[str, ...] | None = ()
    layers: int | None = None
    optimizer: float = 0.0
    master: bool = False
    overlap: bool = True

    @property
    def activations(self) -> bool:
        """Whether any activation goes to the host."""
        return self.tensors != () and self.layers != 0

    @property
    def anything(self) -> bool:
        return self.activations or self.optimizer > 0.0

    def bytes_of(self, kept: Iterable[SavedTensor], position: int | None) -> float:
        """What goes to the host of what the layer at a ``position`` of its stage keeps; None: a prediction block's [B]."""
        if not self.activations or (self.layers is not None and (position is None or position >= self.layers)):
            return 0.0
        return sum(tensor.bytes for tensor in kept if self.tensors is None or tensor.name in self.tensors)


NOTHING = ResolvedOffload()
"""All stays on the chip."""


def read_offload(given: Offload | tuple[str, ...] | None, policy: Policy | None) -> ResolvedOffload:
    """What a plan says of the host, and what its policy of recomputation adds. Raises PlanError for unknown names."""
    found = given if isinstance(given, Offload) else _from_names(given or ())
    names = dict.fromkeys((*found.activations, *(policy.offloaded if policy else ())))
    everything = EVERYTHING in names
    tensors = None if everything else tuple(dict.fromkeys(tensor for name in names for tensor in tensors_of(name)))
    if found.layers is not None and not names:
        raise PlanError(
            "offload.layers counts layers whose activations leave", do="Name offload.activations.", path="plan.offload"
        )
    return ResolvedOffload(tensors, found.layers, found.optimizer, found.master, found.overlap)


def check_offload(offload: ResolvedOffload, *, optimizer: str, fp32_only: bool) -> None:
    """Refuse what is not simulated; ``fp32_only``: the stack keeps one fp32 copy of its parameters and no other."""
    if offload.optimizer and optimizer != "adamw":
        raise NotModelled(
            f"plan.offload.optimizer is simulated for adamw, whose update is one pass; {optimizer} multiplies matrices."
        )
    if offload.optimizer and fp32_only:
        raise NotModelled(
            "plan.offload.optimizer is not simulated for a stack that keeps parameters in fp32 alone and shards them (ZeRO-3):"
            " its own offload moves the parameters before every use."
        )


def _from_names(names: tuple[str, ...]) -> Offload:
    """A list of names: activations, "optimizer", or "activations of 20 layers" as recipes say it."""
    layers: int | None = None
    activations = []
    for name in names:
        of_layers = OF_LAYERS.fullmatch(name)
        if of_layers:
            layers = int(of_layers[1])
        elif name != OPTIMIZER:
            activations.append(name)
    if layers is not None:
        activations.append(EVERYTHING)
    return Offload(activations=tuple(activations), layers=layers, optimizer=float(OPTIMIZER in names))
