"""A plan with nothing left open: what program.py builds from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workloads.axes import Parts
from workloads.checkpoint_names import Policy
from workloads.expert_load import Loads
from workloads.offload import NOTHING, ResolvedOffload
from workloads.schedules.layout import Owners, stage_owners
from workloads.schedules.table import TableOrder

PRECISION_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0}


@dataclass(frozen=True, slots=True)
class ParameterBytes:
    """Bytes per parameter of everything a rank keeps or sends for it [B].

    ``weights``: the copy that computes; ``quantised``: low-precision copies beside it; ``gradients``: the accumulator;
    ``gradient_reduce`` and ``expert_gradient_reduce``: on the wire when gradients are reduced; ``parameter_gather``: on
    the wire when parameters are gathered; ``master`` and ``moment``: the optimizer's own copy and each of its moments.
    ``sharded_copy``: whether ZeRO-3 keeps its share of
    ``weights`` and ``quantised`` beside the master copy, or makes them as it gathers.
    """

    weights: float
    quantised: float
    gradients: float
    gradient_reduce: float
    expert_gradient_reduce: float
    parameter_gather: float
    master: float
    moment: float
    sharded_copy: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedOverlap:
    """Which communication may run beside computation.

    ``ep_waves``: waves of experts that a layer's exchange and products are cut into (1: none).
    ``tp``: gathers and reductions run beside the matrix multiplication they belong to; ``tp_gradients``: in the backward pass the
    input's gradient is reduced beside the weight gradient. ``cp``: keys and values travel while attention runs (ring); heads
    never do.
    """

    ep: bool
    ep_waves: int
    tp: bool
    tp_gradients: bool
    pp: bool
    cp: bool
    grad_reduce: bool
    param_gather: bool


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """A legal plan on a given number of ranks, every default filled in.

    ``micro_batches`` counts those of one pipeline in one step; global_batch and micro_batch are in sequences.
    ``expert_dp`` ranks hold the same routed experts. ``zero_size`` ranks share one copy of the optimizer state.
    ``cuts_every_micro_batch``: whether gradients are reduce-scattered after every micro-batch, and not once a step.
    ``loads``: what the router sends the experts of each rank.
    ``ffn_inputs`` is the precision in which an FFN's activation keeps its input ("": 16 bits), ``loss_bytes`` what the loss
    holds at its peak for each logit. ``boundary_in_parts``: how tp ranks without sequence parallelism send an activation to the
    next stage. ``dispatch_precision`` is that of tokens on the wire on their way to the experts (bf16 on the way back).
    ``replicas_last``: whether gradients cut over a sharded group are summed over its copies when all else is done.
    ``fused_experts``: whether the experts' products activate and cast in their epilogues; ``bias_by_row``: whether biases of
    experts are picked for each of their rows; ``copies_first``: whether a token is copied for each of its experts before the
    wire; ``pads_experts``: whether the experts' rows are copied to be padded; ``fused_casts``: whether no cast passes through
    memory on its own; ``cast_first``: whether tensor-parallel ranks cast an operand before they gather it; ``rowwise``: whether
    operands are cast once by rows and once by columns.
    ``graphs``: which kernels the host issues as captured graphs: none, partial, full.
    ``table`` is the order itself where ``schedule`` is "table". ``layout`` is the layers of each stage where they are given.
    ``context_heads`` of the cp ranks exchange heads; ``order`` and ``expert_order`` lay the axes on rank numbers (empty: the
    default).
    ``recompute_layers``, ``recompute_method``: of which layers something is made again (workloads/recompute.py); ``policy``:
    what, where it goes by a policy's name. ``offload``: what is kept in the host.
    """

    ranks: int
    tp: int
    pp: int
    vpp: int
    cp: int
    dp: int
    ep: int
    etp: int
    expert_dp: int
    zero: int
    zero_size: int
    cuts_every_micro_batch: bool
    schedule: str
    recompute: str
    recompute_modules: tuple[str, ...]
    sequence_parallel: bool
    overlap: ResolvedOverlap
    dispatcher: str
    dispatch_precision: str
    sequence_length: int
    global_batch: int
    micro_batch: int
    micro_batches: int
    precision: str
    optimizer: str
    state: ParameterBytes
    loads: Loads
    warnings: tuple[str, ...] = ()
    table: TableOrder | None = None
    attention: str = "flash"
    graphs: str = "none"
    fused_experts: bool = False
    bias_by_row: bool = False
    copies_first: bool = False
    pads_experts: bool = False
    fused_casts: bool = False
    cast_first: bool = False
    rowwise: bool = False
    dropout: bool = False
    ffn_inputs: str = ""
    loss_bytes: float = 6.0
    pipeline_buffers: str = "one"
    boundary_in_parts: bool = False
    replicas_last: bool = False
    layout: tuple[int, ...] | None = None
    context_heads: int = 1
    order: Parts = ()
    expert_order: Parts = ()
    recompute_layers: tuple[int, ...] = ()
    recompute_method: Literal["block", "uniform", "every"] = "block"
    policy: Policy | None = None
    offload: ResolvedOffload = NOTHING

    @property
    def stages(self) -> int:
        """Model stages that the data visits, in order."""
        return self.pp * self.vpp

    @property
    def directions(self) -> int:
        """From how many ends micro-batches enter the pipeline."""
        return 2 if self.schedule == "dualpipe" else 1

    @property
    def gathers_boundary(self) -> bool:
        """Whether tp ranks that share an activation send a part of it each to the next stage, where it is gathered."""
        return self.boundary_in_parts and self.pp > 1 and self.tp > 1 and not self.sequence_parallel

    @property
    def owners(self) -> Owners:
        """Which pipeline rank runs a stage, [direction][stage]."""
        return self.table.owners if self.table else stage_owners(self.schedule, self.pp, self.vpp)

    @property
    def ends_meet(self) -> bool:
        """Whether a rank that holds the first stage holds the last one too."""
        return self.owners[0][0] == self.owners[-1][-1]

    @property
    def deduplicate(self) -> bool:
        """Whether the dispatcher sends one copy of a token per scale-up domain and forwards it inside."""
        return self.dispatcher in ("deepep", "hybridep")

    @property
    def tokens(self) -> float:
        """Tokens of one step, of the whole job."""
        return float(self.global_batch * self.sequence_length)
