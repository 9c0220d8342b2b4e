"""A model cut into what a pipeline stage runs one after the other: embedding, layers, head, prediction blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from workloads.accounting import (
    Matrix,
    Shard,
    embedding_parameters,
    embedding_section,
    forward_flops_per_token,
    head_parameters,
    head_section,
    layer_input_bytes,
    layer_matrices,
    layer_parameters,
    layer_sections,
    mtp_block_parameters,
    mtp_sections,
)
from workloads.accounting.head import SOFTMAX_BYTES, logits
from workloads.accounting.sections import LayerParameters, SavedTensor, Section
from workloads.expert_load import ExpertLoad
from workloads.groups import Groups
from workloads.instructions import Instruction
from workloads.layers import Layer
from workloads.model import LayerShape, Model
from workloads.recompute import Recompute, recompute_steps
from workloads.resolved import ResolvedPlan
from workloads.stages import Stage, cut
from workloads.traffic import ShardParameters, Traffic
from workloads.waves import Wave, unequal_waves

__all__ = ["Piece", "Pieces", "Recompute", "copies_table", "head_in_layers", "make_shard", "recompute_steps", "table_elements"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stage on one rank.

    ``saved``: activations kept for the backward pass of one micro-batch; ``made_again``: what the backward pass holds for a
    moment while it recomputes this piece, or what a loss holds beside what it keeps; ``for_weights``: what stays between the two
    parts of a split backward, recomputed or not [B]. ``matrices``: whole weight matrices of the piece, before any cut.
    ``quantised``: whether its weights have low-precision copies under a training precision below 16 bits; tables and heads don't.
    ``offloaded``: what goes to the host between its forward and its backward pass, and is not in ``saved`` [B].
    """

    name: str
    layer: Layer
    parameters: ShardParameters
    saved: float
    made_again: float
    for_weights: float = 0.0
    matrices: tuple[Matrix, ...] = ()
    quantised: bool = True
    offloaded: float = 0.0


def make_shard(model: Model, plan: ResolvedPlan, load: ExpertLoad, position: int) -> Shard:
    """What the ranks at one position of their expert-parallel groups hold of a layer for one micro-batch under this plan.

    The etp ranks that share experts gather their copies together.
    """
    tokens = plan.micro_batch * plan.sequence_length / plan.cp
    local = tokens / plan.tp if plan.sequence_parallel else tokens
    return Shard(
        tokens=tokens,
        sequence_length=plan.sequence_length,
        cp=plan.cp,
        tp=plan.tp,
        context_heads=plan.context_heads,
        sequence_parallel=plan.sequence_parallel,
        ep=plan.ep,
        etp=plan.etp,
        precision=plan.precision,
        expert_tokens=load.tokens(position, local, model.moe.top_k) * plan.etp if model.moe else 0.0,
        local_experts=load.active[position] if model.moe else 0.0,
        dispatch_precision="" if plan.dispatch_precision == "bf16" else plan.dispatch_precision,
        attention=plan.attention,
        dropout=plan.dropout,
        ffn_inputs=plan.ffn_inputs,
        fused_experts=plan.fused_experts,
        bias_by_row=plan.bias_by_row,
        copies_first=plan.copies_first,
        pads_experts=plan.pads_experts,
        fused_casts=plan.fused_casts,
        cast_first=plan.cast_first,
        rowwise=plan.rowwise,
    )


class Pieces:
    """Makes the pieces of every stage under one way of recomputing, for the ranks of one class of load.

    Equal layers under equal loads share their sections.
    """

    def __init__(self, model: Model, plan: ResolvedPlan, groups: Groups, recompute: Recompute, load_class: int = 0) -> None:
        self.model = model
        self.plan = plan
        self.recompute = recompute
        self.load_class = load_class
        self.position = plan.loads.positions[load_class]
        self.groups = groups
        self.shard, self.traffic = self._under(0)
        self._layers: dict[tuple[LayerShape, int, Recompute, bool], Piece] = {}
        self._stages: dict[int, tuple[tuple[Piece, ...], ...]] = {}
        self.scripts: dict[tuple[str, tuple[int, ...]], tuple[Instruction, ...]] = {}  # see workloads.blocks

    @cached_property
    def stages(self) -> tuple[tuple[Piece, ...], ...]:
        """The pieces of every model stage, in the order the forward pass runs them, under the router's first pattern."""
        return self.under(0)

    def under(self, pattern: int) -> tuple[tuple[Piece, ...], ...]:
        """The pieces of every model stage under one of the router's patterns."""
        found = self._stages.get(pattern)
        if found is None:
            extra = head_in_layers(self.model, self.plan.sequence_length)
            stages = cut(self.model.layers, self.plan.stages, extra, self.plan.layout)
            found = self._stages[pattern] = tuple(self._stage(stage, number, pattern) for number, stage in enumerate(stages))
        return found

    @property
    def most_expert_tokens(self) -> float:
        """Copies of tokens that this rank's experts process at most, in any layer and micro-batch."""
        return max(self._under(case)[0].expert_tokens for case in range(len(self.plan.loads.cases)))

    def _under(self, case: int) -> tuple[Shard, Traffic]:
        """What a rank holds and sends of a layer in one case of load."""
        load = self.plan.loads.cases[case]
        shard = make_shard(self.model, self.plan, load, self.position)
        return shard, Traffic(self.model, self.plan, self.groups, shard, load.skew())

    def _waves(self, shape: LayerShape, case: int) -> tuple[Wave, ...]:
        """The waves of a sparse layer's experts, where they are unlike each other."""
        load = self.plan.loads.cases[case]
        shards = [make_shard(self.model, self.plan, load.of_wave(wave), self.position) for wave in load.waves]
        return unequal_waves(
            (
                layer_sections(self.model, shape, shard),
                Traffic(self.model, self.plan, self.groups, shard, load.skew_of(wave)),
            )
            for wave, shard in zip(load.waves, shards, strict=True)
        )

    def _stage(self, stage: Stage, number: int, pattern: int) -> tuple[Piece, ...]:
        model, loads = self.model, self.plan.loads
        layers = []
        for position, index in enumerate(stage.layers):
            way = self.recompute.of_layer(number, position)
            layers.append(self._layer(model.layer(index), loads.index(index, pattern), way, position))
        pieces = [self._embedding()] if stage.embedding else []
        pieces += _in_runs(layers, self.recompute.run(number))
        if stage.head:
            pieces.append(self._head())
            for depth in range(model.mtp.depth):
                pieces += self._mtp(loads.index(model.layers + depth, pattern))
        return tuple(pieces)

    def _embedding(self) -> Piece:
        section = embedding_section(self.model, self.shard)
        parameters = ShardParameters.of(embedding_parameters(self.model), self.plan)
        return self._plain("embedding", {"embedding": section}, parameters, quantised=False)

    def _head(self) -> Piece:
        """Norm, head and loss; where the last stage needs the embedding table and lacks it, it keeps a copy here."""
        parameters = ShardParameters.of(head_parameters(self.model), self.plan)
        if copies_table(self.model, self.plan):
            parameters += ShardParameters(table_elements(self.model, self.plan))
        return self._plain("head", {"head": head_section(self.model, self.shard)}, parameters, quantised=False, loss=True)

    def _mtp(self, case: int) -> tuple[Piece, ...]:
        """One prediction block: its input projection, its layer, and the model's head once more."""
        sections, shape = mtp_sections(self.model, self.shard), self.model.mtp_layer()
        block, layer = mtp_block_parameters(self.model), layer_parameters(self.model, shape)
        rest = LayerParameters(block.sharded - layer.sharded, block.replicated - layer.replicated, block.experts - layer.experts)
        entry = self._plain("mtp input", {"mtp_in": sections["mtp_in"]}, ShardParameters.of(rest, self.plan))
        head = self._plain("mtp head", {"mtp_head": sections["mtp_head"]}, ShardParameters(), loss=True)
        return entry, self._layer(shape, case, replace(self.recompute, layers=(), others=None), None), head

    def _layer(self, shape: LayerShape, case: int, way: Recompute, position: int | None) -> Piece:
        """A layer at a ``position`` of its stage (None: of a prediction block), made again in this way."""
        offload = self.plan.offload
        leaves = offload.activations and (offload.layers is None or (position is not None and position < offload.layers))
        key = (shape, case if shape.moe else 0, way, leaves)
        piece = self._layers.get(key)
        if piece is None:
            shard, traffic = self._under(case) if shape.moe else (self.shard, self.traffic)
            sections = layer_sections(self.model, shape, shard)
            everything = sum(tensor.bytes for section in sections.values() for tensor in section.saved)
            tensors = [tensor for section in sections.values() for tensor in section.kept(way.modules, way.results)]
            if way.full:
                tensors = [SavedTensor("attention_residual", layer_input_bytes(self.model, self.shard))]
            kept = sum(tensor.bytes for tensor in tensors)
            offloaded = offload.bytes_of(tensors, position)
            parts = [shape.attention if shape.attention != "none" else "", _ffn_name(shape), "mtp" if shape.mtp else "", "layer"]
            name = " ".join(part for part in parts if part)
            piece = self._layers[key] = Piece(
                name,
                Layer(
                    sections,
                    traffic,
                    way.modules,
                    full=way.full,
                    at_once=way.at_once,
                    waves=self._waves(shape, case) if shape.moe else (),
                ),
                ShardParameters.of(layer_parameters(self.model, shape), self.plan),
                kept - offloaded,
                max(everything - kept, 0.0),
                sum(section.weight_operands for section in sections.values()),
                layer_matrices(self.model, shape),
                offloaded=offloaded,
            )
        return piece

    def _plain(
        self, name: str, sections: Sections, parameters: ShardParameters, *, quantised: bool = True, loss: bool = False
    ) -> Piece:
        """A piece that is never recomputed; a loss holds more for each logit than the softmax that it keeps."""
        saved = sum(section.saved_bytes() for section in sections.values())
        copies = (self.plan.loss_bytes - SOFTMAX_BYTES) * logits(self.model, self.shard) if loss else 0.0
        left = sum(section.weight_operands for section in sections.values())
        return Piece(name, Layer(sections, self.traffic), parameters, saved, copies, left, quantised=quantised)


def _ffn_name(shape: LayerShape) -> str:
    return "experts" if shape.moe else "dense" if shape.ffn else ""


def _in_runs(layers: list[Piece], length: int) -> list[Piece]:
    """Layers made again in runs of this many from the first one's input: what each then keeps, and holds while it is made again.

    The backward pass comes to a run at its last layer, when all of it is made.
    """
    if length == 1:
        return layers
    found: list[Piece] = []
    for start in range(0, len(layers), length):
        held, run = 0.0, list[Piece]()
        for at, piece in enumerate(layers[start : start + length]):
            kept = piece.saved if at == 0 else 0.0
            held += piece.made_again + (piece.saved + piece.offloaded if at else 0.0)
            run.append(replace(piece, saved=kept, made_again=held, offloaded=piece.offloaded if at == 0 else 0.0))
        found += run
    return found


def head_in_layers(model: Model, sequence_length: float) -> float:
    """FLOPs of the head and of the prediction blocks, counted in average layers of the model."""
    found = forward_flops_per_token(model, sequence_length)
    end = sum(flops for component, flops in found.items() if component == "lm_head" or component.startswith("mtp"))
    return end / ((sum(found.values()) - end) / model.layers)


def copies_table(model: Model, plan: ResolvedPlan) -> bool:
    """Whether the last stage keeps a copy of the embedding table: for a tied head, or to embed what MTP predicts from.

    Under DualPipe, and where the pipeline is laid in a V, the rank of the last stage holds the first one too.
    """
    return plan.stages > 1 and not plan.ends_meet and (model.tied_embeddings or model.mtp.depth > 0)


def table_elements(model: Model, plan: ResolvedPlan) -> float:
    """One rank's part of the embedding table, cut along the vocabulary."""
    return model.vocab * model.hidden / plan.tp


Sections = dict[str, Section]
