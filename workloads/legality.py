"""What makes a plan impossible, each with the sentence that says what to change.

Every function raises PlanError; numbers in the remedies are ones that would pass the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulator.spec.errors import NotModelled, PlanError, Words
from simulator.spec.near import nearest
from workloads.accounting.attention import check_pieces
from workloads.accounting.sections import RECOMPUTE_MODULES
from workloads.attention_kinds import CompressedAttention, GroupedQueryAttention
from workloads.schedules.layout import V_SHAPED
from workloads.stages import fewest_layers_allowed

if TYPE_CHECKING:
    from workloads.model import Model
    from workloads.resolved import ResolvedPlan
    from workloads.schedules.table import TableOrder


#: More micro-batches than this in one step are a slip of the pen: the largest published runs have a few hundred.
MOST_MICRO_BATCHES = 16_384


def data_parallel(ranks: int, tp: int, pp: int, cp: int, given: int | None) -> int:
    """The data-parallel degree, ranks / (tp pp cp), refused if it does not divide or is not the one given."""
    product = tp * pp * cp
    if ranks % product:
        raise PlanError(f"plan needs tp*pp*cp = {product} to divide {ranks} ranks", do=_lower(ranks, tp, pp, cp))
    dp = ranks // product
    if given is not None and given != dp:
        raise PlanError(
            f"{ranks} ranks over tp*pp*cp = {product} leave dp = {dp}",
            got=given,
            do=f"Leave dp out, write {dp}, or use {product * given} ranks.",
            path="plan.dp",
        )
    return dp


def check_experts(model: Model, stage_ranks: int, ep: int, etp: int, redundant: int = 0) -> None:
    """Experts, with the places for copies of them, are cut into ep equal parts, each over etp ranks, which tile a stage."""
    if model.moe is None:
        if ep > 1 or etp > 1:
            raise PlanError(
                f"{model.name} has no routed experts to spread", got=f"ep {ep}, etp {etp}", do="Set ep and etp to 1.",
                path="plan.ep",
            )  # fmt: skip
        return
    experts = model.moe.experts
    if redundant:
        _check_redundant(experts, redundant, ep)
    elif experts % ep:
        places = 0 if stage_ranks % etp else stage_ranks // etp  # a remedy that the next rule would take back is none
        raise PlanError(f"ep must divide the {experts} experts", got=ep, do=_use(ep, experts, "ep", places), path="plan.ep")
    if stage_ranks % (ep * etp):
        etp_fits = stage_ranks % etp == 0
        raise PlanError(
            f"ep*etp = {ep * etp} must divide the tp*cp*dp = {stage_ranks} ranks of a stage",
            do=_use(ep, stage_ranks // etp, "ep", experts + redundant) if etp_fits else _use(etp, stage_ranks, "etp"),
            path="plan.ep",
        )
    if model.moe.width % etp:
        raise PlanError(
            f"etp must divide the experts' width {model.moe.width}", got=etp, do=_use(etp, model.moe.width, "etp"),
            path="plan.etp",
        )  # fmt: skip


def _check_redundant(experts: int, redundant: int, ep: int) -> None:
    """Places for copies are as many on every rank, and a copy lies on another rank than its expert."""
    path = "training.router.redundant_experts"
    if ep == 1:
        raise PlanError("copies of experts lie on other ranks, and ep = 1 has none", got=redundant, do="Leave it out.", path=path)
    if (experts + redundant) % ep:
        more = -(experts + redundant) % ep
        raise PlanError(
            f"ep = {ep} must divide the {experts} experts and the places for copies together", got=redundant,
            do=f"Use {redundant + more}.", path=path,
        )  # fmt: skip
    if redundant > experts * (ep - 1):
        raise PlanError(
            f"{experts} experts have at most {experts * (ep - 1)} copies on the other ranks", got=redundant,
            do="Lower it.", path=path,
        )  # fmt: skip


def micro_batches(global_batch: int, dp: int, micro_batch: int) -> int:
    """Micro-batches of one pipeline in one step."""
    if global_batch % (dp * micro_batch):
        below = max(global_batch // (dp * micro_batch), 1) * dp * micro_batch
        raise PlanError(
            f"global_batch must be a multiple of dp*micro_batch = {dp}*{micro_batch} = {dp * micro_batch}",
            got=global_batch,
            do=f"Use {below}, or change micro_batch or the plan.",
            path="training.global_batch",
        )
    count = global_batch // (dp * micro_batch)
    if count > MOST_MICRO_BATCHES:
        raise PlanError(
            f"a pipeline has {count:,} micro-batches in one step; at most {MOST_MICRO_BATCHES:,} are simulated",
            got=global_batch,
            do="Check training.global_batch; it counts sequences.",
            path="training.global_batch",
        )
    return count


def default_chunks(layers: int, pp: int) -> int:
    """The most chunks a rank can hold with equally many layers in each; embedding and head may count as layers.

    >>> default_chunks(126, 16), default_chunks(96, 8), default_chunks(61, 16)
    (8, 12, 2)
    """
    for counted in (layers, layers + 2):
        if pp > 1 and counted % pp == 0 and counted // pp > 1:
            return counted // pp
    return 2 if layers >= fewest_layers_allowed(2 * pp) else 1


def check_recompute_modules(modules: Iterable[str]) -> None:
    """Only names that accounting knows can be dropped and recomputed."""
    for module in modules:
        if module not in RECOMPUTE_MODULES:
            known = ", ".join(RECOMPUTE_MODULES)
            close = nearest(module, RECOMPUTE_MODULES)
            hint = f"Did you mean {close}? Known: {known}." if close else f"Known: {known}."
            raise PlanError("no such module to recompute", got=module, do=hint, path="plan.recompute_modules")


def check(plan: ResolvedPlan, model: Model) -> None:
    """Everything that needs the whole plan."""
    _check_tensor_parallel(plan, model)
    _check_sequence(plan)
    _check_stages(plan, model)
    _check_schedule(plan)
    _check_zero(plan)
    _check_waves(plan, model)
    if plan.attention == "flash-fp8" and plan.precision not in ("fp8", "mxfp8"):
        raise PlanError(
            "attention: flash-fp8 goes with linear layers in 8 bits", got=f"precision {plan.precision}",
            do="Set training.precision to fp8 or mxfp8, or attention to flash.", path="plan.attention",
        )  # fmt: skip


def _check_tensor_parallel(plan: ResolvedPlan, model: Model) -> None:
    tp, heads = plan.tp, model.attention.heads
    if heads % tp:
        raise PlanError(f"tp must divide the {heads} attention heads", got=tp, do=_use(tp, heads, "tp"), path="plan.tp")
    if isinstance(model.attention, GroupedQueryAttention):
        kv_heads = model.attention.kv_heads
        if kv_heads % tp:
            raise PlanError(f"tp must divide the {kv_heads} key-value heads", got=tp, do=_use(tp, kv_heads, "tp"), path="plan.tp")
    if isinstance(model.attention, CompressedAttention) and model.attention.output_groups % tp:
        groups = model.attention.output_groups
        raise PlanError(f"tp must divide the {groups} output groups", got=tp, do=_use(tp, groups, "tp"), path="plan.tp")
    if model.hybrid is not None:
        check_pieces(model.name, model.hybrid.mixer.pieces, tp * plan.context_heads)
        if plan.cp > plan.context_heads:
            raise NotModelled(
                f"plan.cp by a ring is not simulated for layers that keep a state ({model.name}): nothing there goes round."
                " Set context_exchange: all-to-all, which trades their heads, or cp to 1."
            )
    if model.ffn is not None and model.ffn.width % tp:
        width = model.ffn.width
        raise PlanError(f"tp must divide the FFN width {width}", got=tp, do=_use(tp, width, "tp"), path="plan.tp")
    if model.moe is not None and tp > 1 and not plan.sequence_parallel:
        raise PlanError(
            "routed experts with tp > 1 need sequence parallelism, or every tp rank would dispatch the same tokens",
            do="Set sequence_parallel: true, or tp to 1.",
            path="plan.sequence_parallel",
        )


def _check_sequence(plan: ResolvedPlan) -> None:
    pieces = plan.cp * (plan.tp if plan.sequence_parallel else 1)
    # A causal sequence is cut into 2 cp pieces, an early and a late one for each rank, so that all have equal work.
    pieces *= 2 if plan.cp > 1 else 1
    if plan.sequence_length % pieces:
        raise PlanError(
            f"sequence_length must be a multiple of {pieces}, the pieces that cp = {plan.cp} and tp = {plan.tp} cut it into",
            got=plan.sequence_length,
            do=f"Use {max(plan.sequence_length // pieces, 1) * pieces}, or lower cp.",
            path="training.sequence_length",
        )


def _check_stages(plan: ResolvedPlan, model: Model) -> None:
    if model.layers < fewest_layers_allowed(plan.stages):
        chunks = f"pp*vpp = {plan.pp}*{plan.vpp}" if plan.vpp > 1 else "pp"
        raise PlanError(
            f"{model.layers} layers cannot fill {chunks} = {plan.stages} stages" if plan.vpp > 1
            else f"{model.layers} layers cannot fill pp = {plan.pp} stages",
            do=f"Lower {'vpp or pp' if plan.vpp > 1 else 'pp'} to at most {model.layers + 2} stages.",
            path="plan.pp",
        )  # fmt: skip
    if plan.layout is not None:
        _check_layout(plan.layout, plan, model)


def _check_layout(layout: tuple[int, ...], plan: ResolvedPlan, model: Model) -> None:
    """A layout by hand names every stage, and all layers."""
    if len(layout) != plan.stages:
        raise PlanError(
            f"layout must name the layers of all pp*vpp = {plan.stages} stages", got=f"{len(layout)} of them",
            do="Add or remove some.", path="plan.layout",
        )  # fmt: skip
    if sum(layout) != model.layers:
        raise PlanError(
            f"the layers of a layout must add up to the model's {model.layers}", got=sum(layout),
            do=f"{'Add' if sum(layout) < model.layers else 'Take away'} {abs(model.layers - sum(layout))}.", path="plan.layout",
        )  # fmt: skip
    least = [0 if stage in (0, len(layout) - 1) and len(layout) > 1 else 1 for stage in range(len(layout))]
    if any(count < fewest for count, fewest in zip(layout, least, strict=True)):
        raise PlanError(
            "every stage needs a layer but the first and the last, which embed and predict", got=str(list(layout)),
            do="Give it one of another stage.", path="plan.layout",
        )  # fmt: skip


def _check_schedule(plan: ResolvedPlan) -> None:
    schedule, pp, vpp, micro_batches = plan.schedule, plan.pp, plan.vpp, plan.micro_batches
    if plan.table:
        _check_table(plan, plan.table)
        return
    if schedule in V_SHAPED:
        _check_v_shaped(plan)
        return
    if vpp > 1 and pp == 1:
        raise PlanError("pp = 1 has no stages to interleave", got=vpp, do="Set vpp to 1 or raise pp.", path="plan.vpp")
    if vpp > 1 and schedule != "interleaved":
        raise PlanError(
            f"{schedule} runs one stage on a rank", got=vpp, do="Set vpp to 1 or schedule to interleaved.", path="plan.vpp"
        )
    if schedule == "interleaved" and micro_batches % pp:
        more = -(-micro_batches // pp) * pp
        raise PlanError(
            f"interleaved needs micro-batches in multiples of pp = {pp}", got=micro_batches,
            do=f"Raise global_batch to {more * plan.dp * plan.micro_batch} for {more} a pipeline, or set schedule to 1f1b.",
            path="plan.schedule",
        )  # fmt: skip
    if schedule == "dualpipe":
        _check_dualpipe(plan)


def _check_v_shaped(plan: ResolvedPlan) -> None:
    """A pipeline folded once: two stages on every rank, and for DualPipe-V enough micro-batches to meet."""
    schedule, pp, micro_batches = plan.schedule, plan.pp, plan.micro_batches
    if pp == 1:
        raise PlanError(f"{schedule} folds a pipeline, and pp = 1 is none", do="Raise pp, or use 1f1b.", path="plan.pp")
    if plan.vpp != 2:
        raise PlanError(f"{schedule} runs two stages on a rank", got=plan.vpp, do="Leave vpp out.", path="plan.vpp")
    if schedule == "dualpipe-v" and micro_batches < 2 * pp:
        raise PlanError(
            f"dualpipe-v needs at least 2*pp = {2 * pp} micro-batches a pipeline, or its two stages cannot overlap",
            got=micro_batches, do=f"Raise global_batch to {2 * pp * plan.dp * plan.micro_batch}, or lower pp or dp.",
            path="plan.schedule",
        )  # fmt: skip


def _check_table(plan: ResolvedPlan, table: TableOrder) -> None:
    if plan.vpp != table.vpp:
        raise PlanError(
            f"the schedule's table has {table.vpp} stages on a rank", got=plan.vpp, do=f"Set vpp to {table.vpp} or leave it out.",
            path="plan.vpp",
        )  # fmt: skip
    if plan.micro_batches != table.micro_batches:
        raise PlanError(
            f"the schedule's table has {table.micro_batches} micro-batches, a pipeline of this plan {plan.micro_batches}",
            do=f"Use global_batch {table.micro_batches * plan.dp * plan.micro_batch}, or another table.", path="plan.schedule",
        )  # fmt: skip
    ends = {table.owners[0][0], table.owners[0][-1]}
    if len(ends) == 2 and ends != {0, plan.pp - 1}:
        raise PlanError(
            "the first and the last stage are on the first and the last pipeline rank, or both on one",
            got=Words(f"ranks {min(ends)} and {max(ends)}"), do="Number the ranks along the pipeline.", path="plan.schedule",
        )  # fmt: skip


def _check_dualpipe(plan: ResolvedPlan) -> None:
    """Half of the micro-batches enter at each end, and each rank of one half faces one of the other."""
    pp, micro_batches, unit = plan.pp, plan.micro_batches, plan.dp * plan.micro_batch
    if pp % 2:
        raise PlanError(
            "dualpipe needs an even number of stages, for each rank holds two that mirror each other",
            got=pp, do=f"Use pp {pp + 1} or {max(pp - 1, 2)}, or schedule 1f1b.", path="plan.pp",
        )  # fmt: skip
    if micro_batches < 2 * pp:
        raise PlanError(
            f"dualpipe needs at least 2*pp = {2 * pp} micro-batches a pipeline, or its two directions cannot overlap",
            got=micro_batches, do=f"Raise global_batch to {2 * pp * unit}, or lower pp or dp.", path="plan.schedule",
        )  # fmt: skip
    if micro_batches % 2:
        raise PlanError(
            "dualpipe needs an even number of micro-batches, half for each direction",
            got=micro_batches, do=f"Use global_batch {(micro_batches + 1) * unit} or {(micro_batches - 1) * unit}.",
            path="plan.schedule",
        )  # fmt: skip


def _check_zero(plan: ResolvedPlan) -> None:
    if (plan.dp * plan.cp) % plan.zero_size:
        ranks = plan.dp * plan.cp
        raise PlanError(
            f"zero_group must divide dp*cp = {ranks}", got=plan.zero_size, do=_use(plan.zero_size, ranks, "zero_group"),
            path="plan.zero_group",
        )  # fmt: skip
    copies = plan.dp * plan.cp // plan.zero_size
    if plan.zero > 0 and plan.expert_dp % copies:
        fitting = min(size for size in range(plan.zero_size, plan.dp * plan.cp + 1) if _copies_fit(plan, size))
        raise PlanError(
            f"zero_group makes {copies} copies of the state, and {plan.expert_dp} ranks hold the same experts: they cannot be cut"
            f" into {copies} groups",
            got=plan.zero_size, do=f"Raise zero_group to {fitting}, or lower ep.", path="plan.zero_group",
        )  # fmt: skip


def _copies_fit(plan: ResolvedPlan, size: int) -> bool:
    ranks = plan.dp * plan.cp
    return ranks % size == 0 and plan.expert_dp % (ranks // size) == 0


def _check_waves(plan: ResolvedPlan, model: Model) -> None:
    """Waves are of whole experts, and of those that one rank holds."""
    waves = plan.overlap.ep_waves
    if waves == 1:
        return
    if model.moe is None or plan.ep == 1:
        reason = "the model has none" if model.moe is None else "ep = 1 sends them nothing"
        raise PlanError(f"waves are of experts, and {reason}", got=waves, do="Leave ep_waves out.", path="plan.overlap.ep_waves")
    if plan.etp > 1:
        raise NotModelled("plan.overlap.ep_waves with etp > 1 is not simulated: waves hold whole experts.")
    spares = plan.loads.spares
    places = spares.places if spares else model.moe.experts // plan.ep
    if waves > places:
        raise PlanError(
            f"a wave holds at least one of the {places} {'places' if spares else 'experts'} of a rank", got=waves,
            do=f"Lower ep_waves from {waves} to {places}.", path="plan.overlap.ep_waves",
        )  # fmt: skip


def _lower(ranks: int, tp: int, pp: int, cp: int) -> str:
    """Lower one axis until the product divides, trying first what costs least: pp, then cp, then tp."""
    for name, size, others in (("pp", pp, tp * cp), ("cp", cp, tp * pp), ("tp", tp, pp * cp)):
        fitting = [smaller for smaller in range(min(size - 1, ranks // others), 0, -1) if ranks % (smaller * others) == 0]
        if fitting:
            return f"Lower {name} from {size} to {fitting[0]}."
    return f"Lower tp, pp and cp: their product may be {_below(tp * pp * cp, ranks)}."


def _use(given: int, total: int, name: str, also: int = 0) -> str:
    """The largest value below ``given`` that divides ``total`` (and ``also``)."""
    fitting = [value for value in range(min(given, total), 0, -1) if total % value == 0 and also % value == 0]
    return f"Lower {name} from {given} to {fitting[0]}."


def _below(given: int, total: int) -> int:
    return next(value for value in range(min(given, total), 0, -1) if total % value == 0)
