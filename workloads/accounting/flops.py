"""Forward FLOPs a token, by component: what a model asks for, whoever computes it.

Two FLOPs a weight for every product a token passes (top_k of the experts), attention cores at their causal average over the
sequence, the recurrence of layers with a state, and the mixing of hyper-connections. Backward is twice forward. Norms, rotations,
convolutions of a channel with itself, activations, softmax and Sinkhorn count none.
"""

from __future__ import annotations

from collections import Counter

from workloads.accounting import attention, head, hyper_connections, scans
from workloads.accounting.layer import layer_cores, layer_weights
from workloads.accounting.weights import linears
from workloads.model import LayerShape, Model


def forward_flops_per_token(model: Model, sequence_length: float, *, last: bool = False) -> dict[str, float]:
    """Forward FLOPs a token by component: averaged over the sequence, or of its ``last`` token [FLOP].

    ``mtp`` holds the products and cores of the prediction blocks, heads included, and ``mtp_hyper_connections`` their mixing.
    """
    total: Counter[str] = Counter()
    for shape, count in Counter(model.layer_shapes()).items():
        for component, flops in layer_flops(model, shape, sequence_length, last=last).items():
            total[component] += count * flops  # type: ignore[assignment]  # Counter is typed for whole numbers
    found: dict[str, float] = dict(total)
    found["lm_head"] = 2.0 * head.head_linear(model).matrix
    if model.mtp.depth:
        found |= _mtp_flops(model, sequence_length, last=last)
    return found


def layer_flops(model: Model, shape: LayerShape, sequence_length: float, *, last: bool = False) -> dict[str, float]:
    """Forward FLOPs a token of one layer by component [FLOP]."""
    found: dict[str, float] = {}
    for linear in linears(layer_weights(model, shape)):
        if linear.component == hyper_connections.COMPONENT:
            continue
        share = model.moe.top_k / model.moe.experts if linear.experts and model.moe else 1.0
        found[linear.component] = found.get(linear.component, 0.0) + 2.0 * linear.matrix * share
    for core in layer_cores(model, shape):
        found[core.component] = found.get(core.component, 0.0) + core.flops(sequence_length, last=last)
    recurrence = attention.state_flops(model, shape)
    if recurrence:
        found[scans.COMPONENT] = recurrence
    if model.hyper_connections is not None:
        found[hyper_connections.COMPONENT] = hyper_connections.flops_per_layer(model)
    return found


def total_flops_per_token(model: Model, sequence_length: float, *, last: bool = False, mtp: bool = True) -> float:
    """Sum of :func:`forward_flops_per_token`, with the prediction blocks if the model has them [FLOP]."""
    found = forward_flops_per_token(model, sequence_length, last=last)
    return sum(flops for component, flops in found.items() if mtp or not component.startswith("mtp"))


def _mtp_flops(model: Model, sequence_length: float, *, last: bool) -> dict[str, float]:
    layer = layer_flops(model, model.mtp_layer(), sequence_length, last=last)
    mixing = layer.pop(hyper_connections.COMPONENT, 0.0)
    products = sum(layer.values()) + 2.0 * (head.mtp_projection(model).matrix + head.head_linear(model).matrix)
    found = {"mtp": model.mtp.depth * products}
    if model.hyper_connections is not None:
        found["mtp_hyper_connections"] = model.mtp.depth * mixing
    return found
