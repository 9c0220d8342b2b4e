"""How a job is trained and laid out: what a scenario file says, and what it means on a given number of ranks.

A key left out takes the default of the software stack (:class:`PlanDefaults`, kept with the assumptions). ``resolve`` fills
every gap, checks the plan against the ranks and the model, and says in one sentence what is wrong and what to change.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import PlanError
from workloads import legality
from workloads.accounting.precision import element_bytes, is_quantised
from workloads.context import ContextExchange, check_heads, ranks_exchanging_heads
from workloads.expert_load import loads
from workloads.model import Model
from workloads.offload import Offload, check_offload, read_offload
from workloads.rank_order import AxisSizes, RankOrder, check_blocks, rank_orders
from workloads.recompute_plan import chosen_recompute
from workloads.remarks import BLOCKWISE, PURE, ROWWISE, unread_detail, without_effect
from workloads.resolved import ParameterBytes, ResolvedOverlap, ResolvedPlan
from workloads.router import Kind, RouterLoad, router_load
from workloads.schedules.layout import V_SHAPED
from workloads.schedules.table import ScheduleTable, TableOrder, read_table

__all__ = ["Overlap", "Plan", "PlanDefaults", "ResolvedPlan", "Training", "resolve"]

Precision = Literal["bf16", "fp16", "fp8", "mxfp8", "mxfp4", "nvfp4"]
Optimizer = Literal["adamw", "muon"]
Schedule = Literal["1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipe-v"]
Recompute = Literal["none", "selective", "full", "auto", "auto-layers"]
RecomputeMethod = Literal["block", "uniform", "every"]
WirePrecision = Literal["bf16", "fp8", "mxfp8", "mxfp4", "nvfp4"]
Dispatcher = Literal["alltoall", "deepep", "hybridep"]
Storage = Literal["fp32", "bf16"]
AttentionKernel = Literal["flash", "flash-fp8", "unfused"]
Graphs = Literal["none", "partial", "full"]
ExpertKernels = Literal["separate", "fused"]

SELECTIVE_DEFAULT = ("core_attn",)
"""What Megatron recomputes under ``recompute: selective`` when no modules are named."""


class Overlap(Spec):
    """Which communication runs beside computation (true), or stands in its way (false).

    ``ep_waves``: in how many waves of experts a layer's dispatch, products and combine follow each other; 1 is all at once.
    """

    ep: bool | None = None
    ep_waves: int | None = Field(default=None, ge=1)
    tp: bool | None = None
    pp: bool | None = None
    grad_reduce: bool | None = None
    param_gather: bool | None = None


class Plan(Spec):
    """A parallel plan as a scenario writes it; every key may be left out.

    ``dp`` is derived, and checked where it is given. ``zero_group`` is how many ranks share one copy of the optimizer state
    (all dp x cp of them if left out). ``reshard_after_forward`` false: parameters of FSDP (zero 3), once gathered, stay whole to
    the end of the step, which sends and holds what zero 2 does. ``recompute_modules`` are names of workloads.accounting, or a
    policy by name; ``recompute_layers`` and ``recompute_method`` say of which layers (workloads/recompute.py). ``layout``: layers
    of each stage, in the order that data visits them; left out, they are spread (workloads/stages.py). ``placement`` is the order
    in which axes fill rank numbers (workloads/rank_order.py), ``context_exchange`` what the ranks of a sequence send
    (workloads/context.py).
    ``graphs``: which kernels the host issues as captured graphs: none, all but those of routed experts and their permutation
    (partial), or all (full). ``expert_kernels``: whether activation and casts between the products of routed experts are
    kernels of their own (separate) or epilogues of the products (fused), which no library has in 16 bits.
    """

    tp: int | None = Field(default=None, ge=1)
    pp: int | None = Field(default=None, ge=1)
    vpp: int | None = Field(default=None, ge=1)
    cp: int | None = Field(default=None, ge=1)
    ep: int | None = Field(default=None, ge=1)
    etp: int | None = Field(default=None, ge=1)
    dp: int | None = Field(default=None, ge=1)
    zero: int | None = Field(default=None, ge=0, le=3)
    zero_group: int | None = Field(default=None, ge=1)
    cut_gradients: Literal["step", "micro-batch"] | None = None
    reshard_after_forward: bool | None = None
    schedule: Schedule | ScheduleTable | None = None
    recompute: Recompute | None = None
    recompute_modules: tuple[str, ...] | None = None
    recompute_layers: Annotated[int, Field(ge=0)] | tuple[int, ...] | None = None
    recompute_method: RecomputeMethod | None = None
    sequence_parallel: bool | None = None
    overlap: Overlap | None = None
    offload: Offload | tuple[str, ...] | None = None
    dispatcher: Dispatcher | None = None
    dispatch_precision: WirePrecision | None = None
    placement: str | RankOrder | None = None
    context_exchange: ContextExchange | None = None
    context_heads: int | None = Field(default=None, ge=1)
    attention: AttentionKernel | None = None
    graphs: Graphs | None = None
    expert_kernels: ExpertKernels | None = None
    layout: tuple[int, ...] | None = None


MOST_TOKENS = 2**30
"""A longer sequence is a slip of the pen: the longest contexts in use are some millions of tokens."""


class Training(Spec):
    """What one optimizer step trains on, and in which precision. Batches are in sequences."""

    sequence_length: int = Field(ge=1, le=MOST_TOKENS)
    global_batch: int | None = Field(default=None, ge=1)
    global_batch_tokens: int | None = Field(default=None, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    precision: Precision = "bf16"
    precision_detail: str | None = None
    optimizer: Optimizer | None = None
    router: Kind | RouterLoad | None = None
    dropout: bool | None = None


class PlanDefaults(Spec):
    """What a software stack does where a plan is silent; kept in its assumptions file.

    ``sequence_parallel`` left out means: when tp > 1. ``context_exchange``: ring overlaps keys and values with attention,
    all-gather brings them together first, all-to-all exchanges heads instead. ``dispatch_precision`` left out means fp8 when
    DeepEP or HybridEP carries an fp8 or mxfp8 job, else bf16. ``gradients``, ``gradient_reduce``, ``master`` and ``moments`` say
    in which precision state is kept or sent; ``quantised_copies`` how many low-precision copies of a weight stay beside the bf16
    one (row-wise and column-wise: 2); with ``quantised_gather`` the bf16 copy is gone and fp8 of one scale a tensor gathered as
    it is, mxfp8 in 16 bits (blockwise fp8 and four bits keep the copy).
    ``attention``: whether scores stay inside a kernel (flash; flash-fp8 multiplies in 8 bits) or go through memory (unfused);
    ``dropout`` drops scores too.
    ``zero_in_pipeline``: the ZeRO stage where pp > 1, if another; ``micro_batch`` may be cut so that there are as many as stages;
    ``chunks``: vpp of an interleaved schedule that says none, if not the most that divide the layers; ``sharded_copy``: whether
    ZeRO-3 keeps 16-bit and quantised shards beside its master copy; ``loss_bytes``: what the loss holds at its peak for each
    logit [B] (16-bit logits and their fp32 softmax: 6); ``ffn_inputs``: in which precision the activation of an FFN keeps its
    input when training below 16 bits. ``pipeline_buffers``: one each way between stages, or one for every micro-batch, and the
    logits of all of them until the step ends. ``full_recompute``: whether recomputing all runs every operator again or, as a
    compiler has it, not the last product of a dense layer, which no gradient reads. ``casts``: whether the cast of an operand
    is a pass over memory, or goes with whatever makes or reads it. ``operand_gather``: whether tensor-parallel ranks gather a
    quantised product's operand in 16 bits and each casts all of it, or cast their own tokens and gather those (not where scales
    are by rows and columns). ``expert_padding``: whether rows of experts below 16 bits are copied to be padded as kernels ask,
    where neither HybridEP pads them on their way nor a capacity cuts them. ``expert_bias``: whether the biases of routed experts
    are added group by group, or picked for each row first. ``etp``: whether a plan that says nothing of it cuts experts by tp too
    (Megatron without folding), or not. ``boundary``: whether each tp rank sends the next stage all of an activation that they
    share, or its part, which the receivers gather (Megatron's scatter/gather, SC21 section 4.1). ``replicas``: whether gradients
    that leave early and are cut are summed over other copies layer by layer too, or once at the end (a compiler's loop).
    """

    zero: int = Field(default=1, ge=0, le=3)
    etp: Literal["one", "tp"] = "one"
    sequence_parallel: bool | None = None
    schedule: Schedule | None = None
    recompute: Recompute = "auto"
    recompute_modules: tuple[str, ...] = SELECTIVE_DEFAULT
    micro_batch: Annotated[int, Field(ge=1)] | Literal["batch over stages"] = 1
    optimizer: Optimizer = "adamw"
    overlap: Overlap = Overlap(ep=False, tp=False, pp=True, grad_reduce=True, param_gather=True)
    dispatcher: Dispatcher = "alltoall"
    context_exchange: Literal["ring", "all-gather", "all-to-all"] = "ring"
    dispatch_precision: WirePrecision | None = None
    gradients: Storage = "fp32"
    gradient_reduce: Storage | None = None
    master: Storage | None = "fp32"
    moments: Storage = "fp32"
    quantised_copies: int = Field(default=2, ge=0, le=2)
    quantised_gather: bool = False
    attention: AttentionKernel = "flash"
    graphs: Graphs = "none"
    expert_kernels: ExpertKernels = "separate"
    full_recompute: Literal["all", "what is read"] = "all"
    casts: Literal["passes", "fused"] = "passes"
    operand_gather: Literal["16 bits", "as cast"] = "as cast"
    expert_padding: Literal["none", "copies"] = "none"
    expert_bias: Literal["by group", "by row"] = "by group"
    dropout: bool = False
    zero_in_pipeline: int | None = Field(default=None, ge=0, le=3)
    chunks: int | None = Field(default=None, ge=1)
    sharded_copy: bool = True
    loss_bytes: float = Field(default=6.0, ge=4.0, le=32.0)
    ffn_inputs: Literal["16 bits", "fp8"] = "16 bits"
    pipeline_buffers: Literal["one", "every micro-batch"] = "one"
    boundary: Literal["whole", "in parts"] = "whole"
    replicas: Literal["layer by layer", "at the end"] = "layer by layer"


def resolve(plan: Plan, training: Training, model: Model, ranks: int, defaults: PlanDefaults | None = None) -> ResolvedPlan:
    """The plan on ``ranks`` ranks, concrete and legal.

    Raises PlanError for a plan that these ranks or this model can't carry, NotModelled for what is legal but not simulated.
    """
    defaults = defaults or PlanDefaults()
    tp, pp, cp = plan.tp or 1, plan.pp or 1, plan.cp or 1
    ep, etp = plan.ep or 1, plan.etp or (tp if defaults.etp == "tp" and model.moe is not None else 1)
    dp = legality.data_parallel(ranks, tp, pp, cp, plan.dp)
    router = router_load(training.router)
    legality.check_experts(model, tp * cp * dp, ep, etp, router.redundant_experts or 0)
    exchange = plan.context_exchange or defaults.context_exchange
    context_heads = ranks_exchanging_heads(exchange, plan.context_heads, cp)
    check_heads(model, tp, cp, context_heads)
    expert_dp = tp * cp * dp // (ep * etp)
    order, expert_order = rank_orders(plan.placement, AxisSizes(tp, cp, dp, pp, etp, ep, expert_dp))
    table = read_table(plan.schedule, pp) if isinstance(plan.schedule, ScheduleTable) else None
    schedule, vpp = _schedule(plan, defaults, model, pp, table)
    micro_batch = _micro_batch(training, defaults, pp * vpp, dp)
    global_batch, warnings = _global_batch(training, dp, micro_batch)
    warnings += unread_detail(training) + without_effect(plan, model, pp * vpp, training)
    micro_batches = legality.micro_batches(global_batch, dp, micro_batch)
    zero = _zero(plan, defaults, pp)
    if zero == 0 and plan.zero_group is not None:
        raise PlanError("zero_group needs zero 1, 2 or 3", got=0, do="Set zero, or leave zero_group out.", path="plan.zero")
    optimizer = training.optimizer or defaults.optimizer
    dispatcher = plan.dispatcher or defaults.dispatcher
    chosen = chosen_recompute(plan, defaults, model, pp * vpp)
    state = _state(training, defaults, optimizer)
    overlap = _overlap(plan, defaults, schedule, exchange)
    offload = read_offload(plan.offload, chosen.policy)
    check_offload(offload, optimizer=optimizer, fp32_only=zero == 3 and not state.sharded_copy)
    quantised = is_quantised(training.precision)
    rowwise = quantised and (training.precision_detail or "").startswith(ROWWISE)
    sequence_parallel = tp > 1 and _first(plan.sequence_parallel, defaults.sequence_parallel, True)
    resolved = ResolvedPlan(
        ranks=ranks, tp=tp, pp=pp, vpp=vpp, cp=cp, dp=dp, ep=ep, etp=etp, expert_dp=expert_dp,
        zero=zero,
        zero_size=1 if zero == 0 else plan.zero_group or dp * cp,
        cuts_every_micro_batch=_cuts_every_micro_batch(plan, zero, pp * vpp),
        schedule=schedule,
        recompute=chosen.mode,
        recompute_modules=chosen.modules,
        recompute_layers=chosen.layers,
        recompute_method=chosen.method,
        policy=chosen.policy,
        offload=offload,
        sequence_parallel=sequence_parallel,
        overlap=overlap,
        dispatcher=dispatcher,
        dispatch_precision=_dispatch_precision(plan, defaults, dispatcher, training.precision),
        sequence_length=training.sequence_length,
        global_batch=global_batch,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        precision=training.precision,
        optimizer=optimizer,
        state=state,
        loads=loads(router, model, ep, pp, micro_batches, overlap.ep_waves),
        warnings=warnings,
        table=table,
        attention=plan.attention or defaults.attention,
        graphs=plan.graphs or defaults.graphs,
        fused_experts=quantised and (plan.expert_kernels or defaults.expert_kernels) == "fused",
        bias_by_row=defaults.expert_bias == "by row",
        copies_first=ep > 1 and dispatcher == "alltoall",
        pads_experts=quantised
        and defaults.expert_padding == "copies"
        and dispatcher != "hybridep"
        and router.capacity_factor is None,
        fused_casts=defaults.casts == "fused",
        cast_first=sequence_parallel and quantised and not rowwise and defaults.operand_gather == "as cast",
        rowwise=rowwise,
        dropout=_first(training.dropout, defaults.dropout),
        ffn_inputs="fp8" if defaults.ffn_inputs == "fp8" and quantised else "",
        loss_bytes=defaults.loss_bytes,
        pipeline_buffers=defaults.pipeline_buffers,
        boundary_in_parts=defaults.boundary == "in parts",
        replicas_last=defaults.replicas == "at the end",
        layout=plan.layout,
        context_heads=context_heads,
        order=order,
        expert_order=expert_order,
    )  # fmt: skip
    legality.check(resolved, model)
    check_blocks(order, expert_order, resolved.zero_size, dp * cp // resolved.zero_size, context_heads)
    return resolved


def _zero(plan: Plan, defaults: PlanDefaults, pp: int) -> int:
    """What the plan says; else the stack's, which may be another in a pipeline. 3 that keeps what it gathered acts as 2."""
    if plan.reshard_after_forward is False:
        if plan.zero not in (None, 3):
            raise PlanError(
                "reshard_after_forward is about parameters that zero 3 gathers", got=f"zero {plan.zero}",
                do="Set zero to 3, or leave reshard_after_forward out.", path="plan.reshard_after_forward",
            )  # fmt: skip
        return 2
    if plan.zero is not None:
        return plan.zero
    return defaults.zero if pp == 1 or defaults.zero_in_pipeline is None else defaults.zero_in_pipeline


def _cuts_every_micro_batch(plan: Plan, zero: int, stages: int) -> bool:
    """When gradients are cut: as the plan says, else once a step under ZeRO-1, and under ZeRO-2 in a pipeline, as stacks do."""
    if plan.cut_gradients is None:
        return zero == 3 or (zero == 2 and stages == 1)
    if zero < 2 and plan.cut_gradients == "micro-batch":
        raise PlanError(
            "gradients are cut after every micro-batch under zero 2 and 3 only", got=f"zero {zero}",
            do="Set zero to 2, or leave cut_gradients out.", path="plan.cut_gradients",
        )  # fmt: skip
    return plan.cut_gradients == "micro-batch"


def _micro_batch(training: Training, defaults: PlanDefaults, stages: int, dp: int) -> int:
    """Sequences of a micro-batch; a stack that cuts a batch into as many as there are stages does so only in a pipeline."""
    if training.micro_batch is not None:
        return training.micro_batch
    if defaults.micro_batch != "batch over stages":
        return defaults.micro_batch
    sequences = training.global_batch or (training.global_batch_tokens or 0) / training.sequence_length
    return max(1, int(sequences / (dp * stages))) if stages > 1 else 1


def _first(*values: bool | None) -> bool:
    return next(value for value in values if value is not None)


def _schedule(plan: Plan, defaults: PlanDefaults, model: Model, pp: int, table: TableOrder | None) -> tuple[str, int]:
    """The schedule and vpp; interleaved without vpp takes the most chunks that divide the layers evenly.

    Embedding and head may count as a layer each, as Megatron's recipes do: 126 layers on 16 ranks run 8 chunks.
    A V has two chunks a rank, a table those it names.
    """
    if table:
        return "table", plan.vpp or table.vpp
    assert not isinstance(plan.schedule, ScheduleTable)
    schedule = plan.schedule or defaults.schedule or ("interleaved" if (plan.vpp or 1) > 1 and pp > 1 else "1f1b")
    if schedule == "interleaved" and plan.vpp is None and pp > 1:
        return schedule, defaults.chunks or legality.default_chunks(model.layers, pp)
    if schedule == "interleaved" and (plan.vpp or 1) == 1:
        return "1f1b", 1  # one chunk, or one stage: nothing to interleave
    return schedule, plan.vpp or (2 if schedule in V_SHAPED else 1)


def _global_batch(training: Training, dp: int, micro_batch: int) -> tuple[int, tuple[str, ...]]:
    """Sequences a step; a batch in tokens is rounded to whole micro-batches on every pipeline."""
    if training.global_batch is not None:
        tokens = training.global_batch * training.sequence_length
        if training.global_batch_tokens not in (None, tokens):
            raise PlanError(
                f"global_batch {training.global_batch} of {training.sequence_length} tokens each makes {tokens} tokens",
                got=training.global_batch_tokens, do="Leave global_batch or global_batch_tokens out.",
                path="training.global_batch_tokens",
            )  # fmt: skip
        return training.global_batch, ()
    if training.global_batch_tokens is None:
        raise PlanError("a step needs training.global_batch [sequences] or training.global_batch_tokens")
    unit = dp * micro_batch
    sequences = training.global_batch_tokens / training.sequence_length
    rounded = max(1, round(sequences / unit)) * unit
    if rounded * training.sequence_length == training.global_batch_tokens:
        return rounded, ()
    return rounded, (f"global_batch_tokens {training.global_batch_tokens} is taken as {rounded} whole sequences.",)


def _overlap(plan: Plan, defaults: PlanDefaults, schedule: str, exchange: ContextExchange) -> ResolvedOverlap:
    given, usual = plan.overlap or Overlap(), defaults.overlap
    return ResolvedOverlap(
        # DualPipe exists to overlap dispatch and combine; only an explicit false takes it away.
        ep=_first(given.ep, True if schedule in ("dualpipe", "dualpipe-v") else None, usual.ep, False),
        ep_waves=given.ep_waves or usual.ep_waves or 1,
        tp=_first(given.tp, usual.tp, False),
        # Megatron and Transformer Engine do this without being asked; only an explicit false takes it away.
        tp_gradients=_first(given.tp, True),
        pp=_first(given.pp, usual.pp, True),
        cp=exchange in ("ring", "all-to-all+ring"),
        grad_reduce=_first(given.grad_reduce, usual.grad_reduce, True),
        param_gather=_first(given.param_gather, usual.param_gather, True),
    )


def _dispatch_precision(plan: Plan, defaults: PlanDefaults, dispatcher: str, precision: str) -> str:
    told = plan.dispatch_precision or defaults.dispatch_precision
    if told is not None:
        return told
    quantised = dispatcher in ("deepep", "hybridep") and precision in ("fp8", "mxfp8")
    return "fp8" if quantised else "bf16"


def _state(training: Training, defaults: PlanDefaults, optimizer: str) -> ParameterBytes:
    """Bytes per parameter. ``precision_detail`` that begins with "pure bf16" means no fp32 master and no fp32 gradients."""
    pure = (training.precision_detail or "").startswith(PURE)
    gradients = 2.0 if pure else element_bytes(defaults.gradients)
    reduce = element_bytes(defaults.gradient_reduce) if defaults.gradient_reduce else gradients
    quantised = element_bytes(training.precision) if is_quantised(training.precision) else 0.0
    blocks = (training.precision_detail or "").startswith(BLOCKWISE)
    quantised_only = defaults.quantised_gather and training.precision in ("fp8", "mxfp8") and not blocks
    return ParameterBytes(
        weights=0.0 if quantised_only else 2.0,
        quantised=quantised * defaults.quantised_copies,
        gradients=gradients,
        gradient_reduce=reduce,
        # DeepSeek-V4's Muon sums expert gradients from bf16 copies (report, arXiv 2606.19348).
        expert_gradient_reduce=min(reduce, 2.0) if optimizer == "muon" else reduce,
        # Microscaled rows and columns differ: they are gathered in 16 bits, in the gradients' buffer, and cast on every rank.
        parameter_gather=quantised if quantised_only and training.precision == "fp8" else 2.0,
        master=0.0 if pure or defaults.master is None else element_bytes(defaults.master),
        moment=2.0 if pure else element_bytes(defaults.moments),
        sharded_copy=defaults.sharded_copy or pure or defaults.master is None,
    )
