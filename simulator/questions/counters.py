"""FLOP counters: what a software stack means by the TFLOP/s and the MFU it prints.

Stacks agree on 6 FLOPs a parameter and token (embedding look-up left out) and disagree on attention: the mean over a causal
mask or the whole square of the sequence, sliding windows counted or not, prediction blocks or not. Rules, with what they were
checked on, are in simulator/presets/flop_counters.yaml. A printed number is compared under its own counter only.
"""

from __future__ import annotations

from collections import Counter as Tally
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from simulator.questions.stacks import family_of
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, NotModelled
from simulator.spec.files import read_spec
from simulator.spec.sources import Source
from workloads.accounting.cores import Core
from workloads.accounting.flops import forward_flops_per_token
from workloads.accounting.head import head_linear
from workloads.accounting.layer import layer_cores
from workloads.model import Model

FILE = Path(__file__).parent.parent / "presets" / "flop_counters.yaml"


class FlopCounter(Spec):
    """One way to count, and whose it is."""

    stack: str = ""
    systems: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    attention: Literal["causal", "square"] = "causal"
    windows: bool = True
    mtp: bool = True
    expert_gate: bool = True
    recomputed_attention: float = 1.0
    source: str = ""
    note: str = ""

    def matches(self, stack: str, system: str, model: str) -> bool:
        """Whether a run of this stack, system and model prints by this counter."""
        named = family_of(stack, [self.stack]) is not None
        return named and (not self.systems or system in self.systems) and (not self.models or model in self.models)


class FlopCounters(Spec):
    """The file of rules, first match first."""

    sources: dict[str, Source]
    rules: tuple[FlopCounter, ...]

    @model_validator(mode="after")
    def _sources_exist(self) -> FlopCounters:
        for rule in self.rules:
            if rule.source not in self.sources:
                raise InputError("a rule names its source", got=rule.source, do="Add it to sources.", path="rules")
        return self


OWN = FlopCounter(stack="", note="the simulator's own definition: causal mean, prediction blocks counted when trained")


def counter_of(stack: str | None, system: str, model: str) -> tuple[FlopCounter, bool]:
    """The counter of a run, and whether a rule names it (else the simulator's own)."""
    for rule in _rules().rules:
        if rule.matches(stack or "", system, model):
            return rule, True
    return OWN, False


def model_flops_per_token(model: Model, sequence_length: int, counter: FlopCounter = OWN) -> float:
    """Forward and backward FLOPs a token, recomputation left out: three forward passes [FLOP]."""
    components = forward_flops_per_token(model, sequence_length)
    forward = sum(flops for name, flops in components.items() if counter.mtp or not name.startswith("mtp"))
    forward += _attention(model, sequence_length, counter) - _attention(model, sequence_length, OWN, mtp=counter.mtp)
    if not counter.expert_gate and model.moe is not None and model.moe.gated:
        sparse = sum(shape.moe for shape in model.layer_shapes())
        forward -= sparse * 2.0 * model.moe.top_k * model.hidden * model.moe.width
    return 3.0 * forward


def recomputed_flops_per_token(model: Model, sequence_length: int, counter: FlopCounter, recompute: str) -> float:
    """What a counter of hardware FLOPs adds for recomputation: nothing, the attention kernel, or every layer [FLOP].

    ``recompute`` is what the run did: none, full, or selective with its modules after a colon or in brackets.
    Raises NotModelled for other modules: no published counter says what it adds for them.
    """
    if recompute == "none":
        return 0.0
    if recompute == "full":
        heads = 2.0 * head_linear(model).matrix * (1 + (model.mtp.depth if counter.mtp else 0))
        return model_flops_per_token(model, sequence_length, counter) / 3.0 - heads
    if "core_attn" in recompute:
        return counter.recomputed_attention * _attention(model, sequence_length, counter)
    raise NotModelled(f"no hardware FLOP counter is known for recompute {recompute}.")


def _attention(model: Model, sequence_length: int, counter: FlopCounter, *, mtp: bool | None = None) -> float:
    """Forward FLOPs a token of the attention cores [FLOP]."""
    total = 0.0
    for shape, layers in Tally(model.layer_shapes()).items():
        total += layers * sum(_core(core, sequence_length, counter) for core in layer_cores(model, shape))
    if model.mtp.depth and (counter.mtp if mtp is None else mtp):
        cores = layer_cores(model, model.mtp_layer())
        total += model.mtp.depth * sum(_core(core, sequence_length, counter) for core in cores)
    return total


def _core(core: Core, sequence_length: int, counter: FlopCounter) -> float:
    """Forward FLOPs a token of one core: 2 x heads x (key width + value width) x keys counted."""
    if counter.attention == "square" and any(span.ratio > 1 for span in core.spans):
        raise NotModelled("no counter is known that counts compressed attention at its full square.")
    if counter.attention == "square":
        keys = float(sequence_length)
    elif counter.windows:
        keys = core.keys(sequence_length)
    else:
        keys = (sequence_length + 1) / 2
    return 2.0 * core.heads * (core.key_dim + core.value_dim) * keys


@cache
def _rules() -> FlopCounters:
    return read_spec(FILE, FlopCounters)
