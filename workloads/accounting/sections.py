"""The vocabulary of accounting: what one rank holds of a layer, and the runs of operators it executes.

A layer is cut into *sections* wherever a collective may stand: tensor-parallel gathers and reductions, context-parallel
exchange, expert dispatch and combine. Inside a section nothing communicates.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from workloads.instructions import Operator, Phase

#: Sections in the order the forward pass visits them; a layer has only those its shape needs. The shared expert and the
#: routed path (router .. unpermute) both start from ffn_pre and meet in ffn_post; a dense layer has dense_ffn instead.
SECTION_ORDER = (
    "attention_pre",
    "attention_in",
    "attention_core",
    "attention_out",
    "ffn_pre",
    "dense_ffn",
    "router",
    "shared_expert",
    "permute",
    "experts",
    "unpermute",
    "ffn_post",
)

#: Names a selective recompute may list; policies by name also list paths below them (checkpoint_names.py). A saved tensor
#: carries a path of them ("moe/moe_act"): recomputing any name on the path drops it.
#: layernorm: the normalised inputs; core_attn: what the attention kernel keeps for itself;
#: mla_up_proj: queries, keys and values that latent up-projections make; mlp, moe: a whole FFN but its input;
#: mlp_gate, mlp_up: a gated FFN's gate, and the product beside it (of a plain one mlp_gate is all); query_proj, key_proj,
#: value_proj, qkv_proj (all three, with their rotation), out_proj: the projections of grouped-query attention;
#: mlp_act, moe_act: the activation's output; hyper_connection: the residual streams between sublayers.
RECOMPUTE_MODULES = (
    "core_attn",
    "layernorm",
    "mla_up_proj",
    "mlp",
    "mlp_act",
    "mlp_up",
    "mlp_gate",
    "qkv_proj",
    "query_proj",
    "key_proj",
    "value_proj",
    "out_proj",
    "moe",
    "moe_act",
    "shared_experts",
    "hyper_connection",
)

#: Paths that policies by name list too: the rotation of queries and keys, the attention's output in 16 bits, the residual stream
#: between sublayers, and the parts of an FFN and of the routed path.
POLICY_PATHS = (
    *("rope", "context", "residual", "mlp_down", "shared_up", "shared_down"),
    *("moe_router", "moe_permute", "moe_up", "moe_down", "moe_unpermute"),
)


@dataclass(frozen=True, slots=True)
class Shard:
    """What one rank holds of a layer for one micro-batch.

    ``tokens``: tokens of the micro-batch on the attention side, shared by a tp group (sequence / cp x micro_batch).
    ``sequence_length``: the whole sequence, before context parallelism cuts it [tokens].
    ``context_heads``: how many of the cp ranks exchange heads around the attention core (1: none do): there a rank has the tokens
    of all of them and as many times fewer heads.
    ``precision``: of the linear layers: bf16, fp16, fp8, mxfp8, mxfp4 or nvfp4.
    ``expert_tokens``: token copies this rank's experts process, over its ``local_experts`` (balanced:
    tokens x top_k x etp / tp; whoever knows the router's load says it).
    ``attention``: flash, or unfused (scores in memory). ``dropout``: whether scores, sublayers and embedding drop values.
    ``ffn_inputs``: in which precision an FFN's activation keeps its input; "" means 16 bits.
    ``fused_experts``: whether the epilogues of the experts' products activate and cast, and nothing passes through memory for it.
    ``bias_by_row``: whether the experts' biases are picked for each row, and their gradients put back row by row.
    ``copies_first``: whether a token is copied for each of its experts before the wire, and their outputs summed after it.
    ``pads_experts``: whether the experts' rows are copied to be padded to what their kernels ask for, and back.
    ``fused_casts``: whether casts go with whatever makes or reads an operand, and none passes through memory on its own.
    ``cast_first``: whether tensor-parallel ranks cast their own tokens and gather those, where a quantised product needs all.
    ``rowwise``: whether rows and columns of an operand have scales of their own, so that it is cast twice.
    ``dispatch_precision``: of tokens on the wire; "" means bf16. A quantised dispatch moves the cast before the wire.
    """

    tokens: float
    sequence_length: float
    cp: int = 1
    tp: int = 1
    context_heads: int = 1
    sequence_parallel: bool = True
    ep: int = 1
    etp: int = 1
    precision: str = "bf16"
    expert_tokens: float = 0.0
    local_experts: float = 0.0
    dispatch_precision: str = ""
    attention: str = "flash"
    dropout: bool = False
    ffn_inputs: str = ""
    fused_experts: bool = False
    bias_by_row: bool = False
    copies_first: bool = False
    pads_experts: bool = False
    fused_casts: bool = False
    cast_first: bool = False
    rowwise: bool = False

    @property
    def local_tokens(self) -> float:
        """Tokens this rank works on outside tensor-parallel regions: its sequence-parallel share, or all of them."""
        return self.tokens / self.tp if self.sequence_parallel else self.tokens

    @property
    def core_tokens(self) -> float:
        """Tokens of this rank's queries in the attention core."""
        return self.tokens * self.context_heads

    @property
    def core_cut(self) -> int:
        """Ranks over which the attention core's heads are cut."""
        return self.tp * self.context_heads

    @property
    def sequences(self) -> float:
        """Sequences in the micro-batch."""
        return self.tokens * self.cp / self.sequence_length


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """An activation kept for the backward pass, on one rank for one micro-batch [B]."""

    name: str
    bytes: float
    module: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A run of operators without communication inside.

    ``modules[i]`` is the recompute path of ``forward[i]``; ``parts`` are paths with operators that do a part of a forward one,
    for recomputation that needs no more of it. ``gather_bytes``: the full input a tensor-parallel group
    gathers before this section under sequence parallelism; only each rank's share is kept, so the backward pass gathers it
    again for the weight gradient, and reduce-scatters the input's gradient (without sequence parallelism nothing is
    gathered and that gradient is all-reduced). ``reduce_bytes``: the full output reduced afterwards (reduce-scatter under
    sequence parallelism, else all-reduce). ``context_bytes``: keys and values of all the group's tokens that context
    parallelism brings together before this section. ``heads_in`` and ``heads_out``: queries, keys and values (and afterwards
    outputs) of the rank's own tokens, which ranks that exchange heads trade for those of fewer heads and more tokens. All are
    whole buffers of the micro-batch, 0 where the section has no such exchange [B]. ``gather_wire`` and ``gradient_wire``: what of
    ``gather_bytes``, and of ``reduce_bytes`` for the output's gradient, is on the wire as they are gathered: less than all where
    operands are cast before. ``weight_operands``: what the weight gradients still need once the inputs' gradients are made, the
    input of every product and the gradient of its output in the precision of
    the product; of an input that is gathered again only the rank's share [B].
    ``on_request``: results that no gradient needs, kept where a plan asks for them all the same.
    Leaves out: that sections share an input; gradients of tables and gains, which no product makes.
    """

    name: str
    forward: tuple[Operator, ...] = ()
    backward_input: tuple[Operator, ...] = ()
    backward_weight: tuple[Operator, ...] = ()
    saved: tuple[SavedTensor, ...] = ()
    modules: tuple[str, ...] = ()
    parts: tuple[tuple[str, Operator], ...] = ()
    gather_bytes: float = 0.0
    reduce_bytes: float = 0.0
    gather_wire: float = 1.0
    gradient_wire: float = 1.0
    context_bytes: float = 0.0
    heads_in: float = 0.0
    heads_out: float = 0.0
    weight_operands: float = 0.0
    on_request: tuple[SavedTensor, ...] = ()

    def saved_bytes(self, recomputed: Collection[str] = ()) -> float:
        """What stays in memory when these modules are recomputed [B]."""
        return sum(tensor.bytes for tensor in self.kept(recomputed))

    def kept(self, recomputed: Collection[str] = (), requested: Collection[str] = ()) -> tuple[SavedTensor, ...]:
        """The tensors that stay when these modules are recomputed, and those ``requested`` that no gradient reads."""
        asked = tuple(tensor for tensor in self.on_request if tensor.name in requested)
        return tuple(tensor for tensor in self.saved if not _listed(tensor.module, recomputed)) + asked

    def recompute(self, recomputed: Collection[str]) -> tuple[Operator, ...]:
        """Forward operators run again in the backward pass when these modules are recomputed."""
        whole = zip(self.modules, self.forward, strict=True)
        chosen = [operator for module, operator in whole if _listed(module, recomputed)]
        chosen[:0] = [part for path, part in self.parts if _listed(path, recomputed) and not _listed_above(path, recomputed)]
        return tuple(replace(operator, phase=Phase.RECOMPUTE) for operator in chosen)


def _listed_above(path: str, recomputed: Collection[str]) -> bool:
    """Whether something that holds all of this path is recomputed already."""
    return "/" in path and _listed(path.rpartition("/")[0], recomputed)


def _listed(path: str, recomputed: Collection[str]) -> bool:
    return any(name in recomputed for name in path.split("/"))


@dataclass(frozen=True, slots=True)
class LayerParameters:
    """Parameters of one layer by how a plan may cut them.

    ``sharded`` divides by tp, ``replicated`` is whole on every tp rank (norms, routers, latent down-projections, shared
    keys), ``experts`` are the routed experts and divide by ep x etp.
    """

    sharded: int
    replicated: int
    experts: int

    @property
    def total(self) -> int:
        return self.sharded + self.replicated + self.experts
