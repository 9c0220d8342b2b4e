"""How many parameters a model has, by component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from workloads.accounting.head import embedding_weights, head_weights, mtp_weights
from workloads.accounting.layer import layer_weights, split_parameters
from workloads.accounting.sections import LayerParameters
from workloads.accounting.weights import Weight
from workloads.model import LayerShape, Model

#: Components that one row of a parameter table shows together.
_ROWS = {"indexer_projections": "indexer"}


def parameters(model: Model) -> dict[str, int]:
    """Parameters by component; ``mtp`` holds those of all multi-token-prediction blocks, all else is the main model."""
    total: Counter[str] = Counter()
    for shape, count in Counter(model.layer_shapes()).items():
        for component, number in _by_component(layer_weights(model, shape)).items():
            total[component] += count * number
    total.update(_by_component(embedding_weights(model) + head_weights(model)))
    if model.mtp.depth:
        total["mtp"] = model.mtp.depth * mtp_block_parameters(model).total
    return dict(total)


def total_parameters(model: Model, *, mtp: bool = False) -> int:
    """All parameters of the main model, with its prediction blocks if asked."""
    found = parameters(model)
    return sum(found.values()) - (0 if mtp else found.get("mtp", 0))


def active_parameters(model: Model) -> int:
    """Parameters one token uses: its chosen experts, all else but the input embedding and the prediction blocks.

    A tied head counts, for its product is taken.
    """
    found = parameters(model)
    moe = model.moe
    idle = found.get("routed_experts", 0) * (moe.experts - moe.top_k) // moe.experts if moe else 0
    embedding = 0 if model.tied_embeddings else found["embedding"]
    return total_parameters(model) - idle - embedding


def shape_parameters(model: Model, shape: LayerShape) -> dict[str, int]:
    """Parameters of one layer of this shape by component."""
    return dict(_by_component(layer_weights(model, shape)))


def embedding_parameters(model: Model) -> LayerParameters:
    """Parameters of the embedding by how a plan may cut them."""
    return split_parameters(embedding_weights(model))


def head_parameters(model: Model) -> LayerParameters:
    """Parameters of the head by how a plan may cut them; a tied head has none, but its stage holds a copy of the table."""
    return split_parameters(head_weights(model))


def mtp_block_parameters(model: Model) -> LayerParameters:
    """Parameters of one prediction block, its layer included; embedding and head are the model's own."""
    return split_parameters(layer_weights(model, model.mtp_layer()) + mtp_weights(model))


def _by_component(weights: Iterable[Weight]) -> Counter[str]:
    total: Counter[str] = Counter()
    for weight in weights:
        total[_ROWS.get(weight.component, weight.component)] += weight.parameters
    return total
