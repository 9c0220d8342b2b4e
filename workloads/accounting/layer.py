"""One layer, whichever its shape: its weights, its attention cores, and its sections on one rank."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.accounting import attention, dense, experts, hyper_connections
from workloads.accounting.cores import Core
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.sections import SECTION_ORDER, LayerParameters, Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight
from workloads.model import LayerShape, Model


@dataclass(frozen=True, slots=True)
class Matrix:
    """``count`` weight matrices of ``rows`` x ``columns``; the optimizer works on whole ones."""

    rows: float
    columns: float
    count: float = 1.0
    experts: bool = False


def layer_weights(model: Model, shape: LayerShape) -> tuple[Weight, ...]:
    """Every weight of a layer of this shape."""
    ffn = experts.weights(model, shape) if shape.moe else dense.weights(model, shape) if shape.ffn else ()
    return attention.weights(model, shape) + hyper_connections.weights(model, shape) + ffn


def layer_cores(model: Model, shape: LayerShape) -> tuple[Core, ...]:
    """The parts of a layer that grow with the sequence."""
    return attention.cores(model, shape)


def layer_sections(model: Model, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """The sections of a layer of this shape on one rank, for one micro-batch, in forward order.

    Those that run no operator are left out (the residual addition of a parallel block's attention, say).
    """
    sections = attention.sections(model, shape, shard)
    if model.parallel_block:
        # One norm feeds both sublayers; their outputs meet in one addition.
        sections["ffn_pre"] = Ledger("ffn_pre", shard).section()
    else:
        between = Ledger("ffn_pre", shard)
        if shape.attention != "none":
            hyper_connections.enter_after(between, model, "attention")
        if shape.ffn:
            hyper_connections.enter_before(between, model, "ffn", keep_16_bits=shape.moe)
        sections["ffn_pre"] = between.section()
    if shape.ffn:
        sections |= _ffn_sections(model, shape, shard)
    return {name: sections[name] for name in SECTION_ORDER if name in sections and sections[name].forward}


def _ffn_sections(model: Model, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """The FFN of a layer, dense or sparse, and the addition of its output."""
    sections = experts.sections(model, shape, shard) if shape.moe else {"dense_ffn": dense.section(model, shard)}
    after = Ledger("ffn_post", shard)
    if shape.moe and shard.copies_first:
        moved = experts.copied_elements(model, shard) * ACTIVATION
        after.memory("combine_sum", "permutation", moved, moved)
    outputs = 2 if model.parallel_block or "shared_expert" in sections else 1
    hyper_connections.enter_after(after, model, "ffn", outputs)
    sections["ffn_post"] = after.section()
    return sections


def layer_input_bytes(model: Model, shard: Shard) -> float:
    """What full recompute keeps of a layer: its input, all streams of it [B]."""
    return shard.local_tokens * model.residual_width * ACTIVATION


def layer_parameters(model: Model, shape: LayerShape) -> LayerParameters:
    """Parameters of a layer by how a plan may cut them."""
    return split_parameters(layer_weights(model, shape))


def split_parameters(weights: tuple[Weight, ...]) -> LayerParameters:
    """Parameters of these weights by how a plan may cut them; a bias added after a reduction is whole on every rank."""
    sharded = replicated = routed = 0
    for weight in weights:
        match weight:
            case Linear(experts=True):
                routed += weight.parameters
            case Linear(split=Split.REPLICATED) | Vector(split=Split.REPLICATED):
                replicated += weight.parameters
            case Linear(split=Split.ROW):
                sharded, replicated = sharded + weight.matrix, replicated + weight.bias
            case _:
                sharded += weight.parameters
    return LayerParameters(sharded, replicated, routed)


def layer_matrices(model: Model, shape: LayerShape) -> tuple[Matrix, ...]:
    """The whole matrices of a layer, for optimizers that work on matrices (Muon); all else is for AdamW."""
    return tuple(
        Matrix(float(w.inputs), float(w.outputs), float(w.groups), w.experts)
        for w in layer_weights(model, shape)
        if isinstance(w, Linear)
    )
