"""What a plan asks for and changes nothing, and what it says in words that nobody reads: told with the answer, not dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.accounting.precision import is_quantised
from workloads.model import Model
from workloads.router import router_load

if TYPE_CHECKING:
    from workloads.plan import Plan, Training

PURE = "pure bf16"
"""A ``precision_detail`` that begins so: parameters, gradients and optimizer state all in bf16."""

ROWWISE = "rowwise"
"""A ``precision_detail`` that begins so: rows and columns of an operand have scales of their own."""

BLOCKWISE = "blockwise"
"""A ``precision_detail`` that begins so: one scale a block of values, which parameters are not gathered in."""

MODELLED_DETAILS = (PURE, ROWWISE, "amp", BLOCKWISE, "per-tensor")
"""Beginnings of a ``precision_detail`` that are modelled: no fp32 state, scales by row, or what is assumed anyway (an fp32
master copy beside 16-bit computing, one scale a block of values)."""


def without_effect(plan: Plan, model: Model, stages: int, training: Training) -> tuple[str, ...]:
    """What was asked for and changes nothing here."""
    found = list[str]()
    precision, kind = training.precision, router_load(training.router).kind
    if plan.zero == 2 and stages > 1 and plan.cut_gradients is None:
        found.append(
            "zero 2 acts as zero 1 in a pipeline: gradients of all micro-batches are summed before they are cut, as stacks do;"
            " plan.cut_gradients: micro-batch cuts each, for less memory and more traffic."
        )
    if plan.context_exchange is not None and (plan.cp or 1) == 1:
        found.append(f"context_exchange {plan.context_exchange} has no effect: cp is 1.")
    for key, value in (
        ("dispatcher", plan.dispatcher),
        ("dispatch_precision", plan.dispatch_precision),
        ("overlap.ep", "true" if plan.overlap and plan.overlap.ep else None),
        ("router", kind if kind != "balanced" else None),
    ):
        if value is not None and not model.has_experts:
            found.append(f"{key} {value} has no effect: the model has no experts.")
    if plan.expert_kernels == "fused" and not is_quantised(precision):
        found.append(f"expert_kernels fused has no effect in {precision}: kernels with such epilogues take 8 or 4 bits.")
    return tuple(found)


def unread_detail(training: Training) -> tuple[str, ...]:
    """A detail of the precision that begins like none that is modelled."""
    detail = training.precision_detail
    if detail is None or detail.startswith(MODELLED_DETAILS):
        return ()
    return (f"training.precision_detail {detail!r} is not modelled; those that begin with {', '.join(MODELLED_DETAILS)} are.",)
