"""What one pipeline rank holds at its peak: state of its parameters, activations in flight, buffers.

Weights: the bf16 copy and its quantised copies; gradients: the accumulator; optimizer: master copy and moments. ZeRO divides
them: the optimizer's from 1 on, gradients from 2 on (where they are cut after every micro-batch), weights from 3 on. Under
DualPipe a rank holds two stages, and its mirror the same two: weights and gradients double, the optimizer's state does not.
Activations follow the order of the schedule as it is, micro-batch by micro-batch and stage by stage: a whole backward frees
them; of a split one, the part for inputs leaves what the part for weights needs (every product's input and its output's
gradient, which recomputation does not make smaller), and that one frees it.

Leaves out: fragmentation and what libraries reserve (the caller's budget knows), temporary outputs inside an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from workloads.accounting import Matrix
from workloads.accounting.head import logits
from workloads.accounting.knapsack import deal, elements
from workloads.instructions import StageMemory, Work, WorkKind
from workloads.model import Model
from workloads.outline import Outline
from workloads.pieces import Piece, Pieces
from workloads.resolved import ResolvedPlan
from workloads.schedules.layout import micro_batches_in_flight
from workloads.traffic import TOKEN_BYTES, ShardParameters, Traffic

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a rank may hold [B]: its share of the chip's memory without what software reserves."""

    capacity: float


def rank_memory(
    model: Model,
    pieces: Pieces,
    held: Iterable[int],
    order: Outline,
) -> StageMemory:
    """The peak of one pipeline rank that holds the stages ``held`` and runs this order."""
    traffic = pieces.traffic
    plan, state = traffic.plan, traffic.plan.state
    own = list(held)
    held_pieces = [piece for stage in own for piece in pieces.stages[stage]]
    parameters = sum((piece.parameters for piece in held_pieces), ShardParameters())
    cut = _divided(parameters, traffic)
    levels = activation_levels(order, held_by(pieces), plan.loads.patterns)
    in_flight, _ = micro_batches_in_flight(order)
    away, state_away = _in_host(pieces, order), 0.0
    optimizer = optimizer_bytes(model, traffic, held_pieces)
    if plan.offload.optimizer:
        state_away = optimizer - optimizer_bytes(model, traffic, held_pieces, offloaded=True)
    return StageMemory(
        weights=weight_bytes(traffic, held_pieces),
        gradients=(cut if plan.cuts_every_micro_batch else parameters.total) * state.gradients,
        optimizer=optimizer - state_away,
        activations=float(levels.max(initial=0.0)),
        buffers=_buffers(model, traffic, held_pieces, pieces.most_expert_tokens)
        + _between_stages(model, traffic, own, in_flight)
        + _copies(held_pieces, order),
        micro_batches_in_flight=float(in_flight),
        host=away + state_away,
    )


def held_by(pieces: Pieces) -> Callable[[Work], StageActivations]:
    """What a work's micro-batch holds in its stage, under the router's pattern of that micro-batch."""
    loads = pieces.plan.loads
    by_pattern = [[StageActivations.of(stage) for stage in pieces.under(pattern)] for pattern in range(len(loads.counts))]
    return lambda work: by_pattern[loads.pattern(work.micro_batch)][work.stage]


def _in_host(pieces: Pieces, order: Outline) -> float:
    """The most activations that an order keeps in the host [B]; a split backward brings them back in its part for inputs."""
    if not pieces.plan.offload.activations:
        return 0.0
    loads = pieces.plan.loads
    away = [
        [StageActivations(sum(piece.offloaded for piece in stage), 0.0) for stage in pieces.under(pattern)]
        for pattern in range(len(loads.counts))
    ]
    levels = activation_levels(order, lambda work: away[loads.pattern(work.micro_batch)][work.stage], loads.patterns)
    return float(levels.max(initial=0.0))


def _copies(pieces: Iterable[Piece], order: Outline) -> float:
    """What is on the chip of activations on their way [B]: one layer's that leaves or comes, and one's that is being used.

    Where a forward and a backward run side by side, both.
    """
    largest = max((piece.offloaded for piece in pieces), default=0.0)
    return 2.0 * largest * int(order.lengths.max(initial=1))


@dataclass(frozen=True, slots=True)
class StageActivations:
    """What one micro-batch of one stage holds [B].

    ``saved``: what its forward keeps; ``left``: what the part of its backward for inputs leaves for the one for weights. While a
    backward runs it may hold more: ``remade`` more than ``saved`` where it is whole, ``growing`` more where it is split.
    """

    saved: float
    left: float
    remade: float = 0.0
    growing: float = 0.0

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> StageActivations:
        """Of the pieces of a stage: the backward walks them from the last, making each again, freeing it or leaving its operands.

        A loss comes first, with the copies it makes; by the time a layer is made again the head has given back what it kept.
        """
        whole = split = 0.0
        remade = growing = 0.0
        for piece in reversed(pieces):
            remade, growing = max(remade, whole + piece.made_again), max(growing, split + piece.made_again)
            whole -= piece.saved
            split += piece.for_weights - piece.saved
            growing = max(growing, split)
        return cls(sum(piece.saved for piece in pieces), sum(piece.for_weights for piece in pieces), remade, growing)


def activation_levels(order: Outline, held_by: Callable[[Work], StageActivations], patterns: Sequence[int] = ()) -> Floats:
    """The most bytes that an order holds during each of its slots [B]; ``held_by`` a work's micro-batch in its stage.

    Within a slot what is taken is taken before anything is freed. ``patterns`` of micro-batches, where they differ: works of one
    cell and one pattern hold the same.
    """
    works, which = order.sorts(patterns)
    both = [_change(work.kind, held_by(work)) for work in works]
    change, more = np.array(both, dtype=np.float64).reshape(-1, 2).T
    levels: Floats = np.concatenate(([0.0], np.cumsum(change[which])))[order.first]
    for place in range(int(order.lengths.max(initial=0))):
        some = order.lengths > place
        levels[some] += more[which[order.first[some] + place]]
    return levels


def _change(kind: WorkKind, held: StageActivations) -> tuple[float, float]:
    """By how much a work changes what is held [B], and how much more it may hold while it runs."""
    match kind:
        case WorkKind.F:
            return held.saved, held.saved
        case WorkKind.B:
            return -held.saved, held.remade
        case WorkKind.I:
            return held.left - held.saved, held.growing
        case WorkKind.W:
            return -held.left, 0.0


def weight_bytes(traffic: Traffic, pieces: Iterable[Piece]) -> float:
    """The copies that compute: 16 bits and quantised ones for what has them, 16 bits for tables and heads [B]."""
    state, total = traffic.plan.state, 0.0
    for piece in pieces:
        if traffic.plan.zero == 3 and not state.sharded_copy:
            continue
        elements = _divided(piece.parameters, traffic) if traffic.plan.zero == 3 else piece.parameters.total
        total += elements * (state.weights + state.quantised if piece.quantised else TOKEN_BYTES)
    return total


def optimizer_bytes(model: Model, traffic: Traffic, pieces: Iterable[Piece], *, offloaded: bool = False) -> float:
    """Master copy and moments of what this rank updates [B]; Muon keeps one moment of matrices, AdamW two of the rest.

    ``offloaded``: what the plan leaves of it on the chip, of the fraction that the host updates.
    """
    plan, state = traffic.plan, traffic.plan.state
    pieces = list(pieces)
    owned = owned_parameters(traffic, pieces)
    moments = 2.0 * owned.total
    if plan.optimizer == "muon":
        moments -= sum(matrix.rows * matrix.columns * matrix.count for matrix in owned_matrices(traffic, pieces))
    away = plan.offload.optimizer if offloaded else 0.0
    return owned.total * state.master * (1.0 - away * plan.offload.master) + moments * state.moment * (1.0 - away)


def owned_parameters(traffic: Traffic, pieces: Iterable[Piece]) -> ShardParameters:
    """The parameters this rank updates: its share under ZeRO, halved where a mirror holds the same stages.

    Under Muon the busiest rank's share: whole matrices as they were dealt out, and an even part of the rest.
    """
    pieces = list(pieces)
    parameters = sum((piece.parameters for piece in pieces), ShardParameters())
    mirrored, plan = _mirrors(traffic.plan), traffic.plan
    dense, experts = traffic.dense_copies * mirrored, traffic.expert_copies * mirrored
    places = plan.loads.spares.share if plan.loads.spares else 1.0  # copies of experts are updated at home
    owned = ShardParameters(parameters.dense / dense, parameters.experts / experts / places, parameters.replicated / dense)
    if plan.optimizer != "muon":
        return owned
    held = [matrix for piece in pieces for matrix in piece.matrices]
    dealt = owned_matrices(traffic, pieces)
    even = {False: dense * plan.tp, True: experts * plan.ep * plan.etp}
    more = {kind: elements(dealt, kind) - elements(held, kind) / even[kind] for kind in (False, True)}
    return ShardParameters(owned.dense + more[False], owned.experts + more[True], owned.replicated)


def owned_matrices(traffic: Traffic, pieces: Iterable[Piece]) -> list[Matrix]:
    """The whole matrices that the busiest rank orthogonalises: they are dealt out whole over the ranks that share them.

    Dense ones over the ranks that share a copy of the state, and tp (a rank gathers the parts of its own); experts over the
    ranks that hold the same.
    """
    plan, mirrored = traffic.plan, _mirrors(traffic.plan)
    held = [matrix for piece in pieces for matrix in piece.matrices]
    dense = deal([matrix for matrix in held if not matrix.experts], traffic.dense_copies * plan.tp * mirrored)
    local = [replace(matrix, count=matrix.count / plan.ep) for matrix in held if matrix.experts]
    return dense + deal(local, traffic.expert_copies * plan.etp * mirrored)


def _mirrors(plan: ResolvedPlan) -> int:
    """Ranks along the pipeline that hold the same stages and share their update."""
    return 2 if plan.directions == 2 and plan.zero > 0 else 1


def _divided(parameters: ShardParameters, traffic: Traffic) -> float:
    return parameters.dense / traffic.dense_copies + parameters.experts / traffic.expert_copies


def _between_stages(model: Model, traffic: Traffic, stages: Sequence[int], in_flight: int) -> float:
    """What arrives from other stages, and what leaves the last one [B]: one buffer each way, or as PyTorch's pipelines do it.

    They have a receive buffer for every micro-batch and stage, activations and gradients (of those in flight the activations are
    what their first layer keeps anyway), and hold the last stage's 16-bit logits of all micro-batches until the step is over.
    """
    plan = traffic.plan
    if plan.stages == 1:
        return 0.0
    boundary = traffic.boundary_bytes
    if plan.pipeline_buffers == "one":
        return 2.0 * boundary
    ahead = sum(stage > 0 for stage in stages) * plan.micro_batches - in_flight
    behind = sum(stage < plan.stages - 1 for stage in stages) * plan.micro_batches
    outputs = (plan.micro_batches - 1) * logits(model, traffic.shard) * TOKEN_BYTES if plan.stages - 1 in stages else 0.0
    return (max(ahead, 0) + behind) * boundary + outputs


def _buffers(model: Model, traffic: Traffic, pieces: Sequence[Piece], expert_tokens: float) -> float:
    """Expert tokens on their way (out and back), gathered parameters of two pieces, reduced gradients of one (ZeRO-3) [B]."""
    plan, state, total = traffic.plan, traffic.plan.state, 0.0
    if model.moe is not None and plan.ep > 1:
        total += 2.0 * expert_tokens * model.hidden * TOKEN_BYTES
    largest = max((piece.parameters.total for piece in pieces), default=0.0)
    if plan.zero == 3 and traffic.dense_copies > 1:
        total += largest * (2.0 * (state.weights + state.quantised) + state.gradients)
    elif plan.cuts_every_micro_batch:
        total += largest * state.gradients
    return total
