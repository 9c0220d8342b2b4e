"""A model under a plan becomes the instructions of every pipeline rank.

All ranks of one pipeline rank run the same instructions, so a program holds one list for each. The program's FLOPs are
counted from its instructions and held against the model's: they must agree.

Leaves out: the norm of all gradients (one scalar all-reduce), the loss's own reduction, data loading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.spec.errors import IdentityBroken
from workloads import schedules
from workloads.accounting import element_bytes, is_quantised, optimizer_operators, total_flops_per_token, total_parameters
from workloads.accounting.experts import routed_matrices
from workloads.accounting.optimizer import StateBytes
from workloads.blocks import StageBlocks
from workloads.chain import Chain
from workloads.expert_load import sparse_layers
from workloads.fitting import fitting
from workloads.groups import Groups
from workloads.host_update import HostUpdate
from workloads.instructions import (
    Block,
    Kernel,
    Operator,
    Phase,
    Program,
    RankProgram,
    StageMemory,
    Work,
    WorkKind,
)
from workloads.memory import MemoryBudget, owned_matrices, owned_parameters
from workloads.model import Model
from workloads.outline import Outline
from workloads.pieces import Piece, Pieces, copies_table, table_elements
from workloads.resolved import ResolvedPlan
from workloads.traffic import TOKEN_BYTES, ShardParameters

TOLERANCE = 1e-9

OWN_ORDERS: dict[str, Callable[[int, int], schedules.Order]] = {
    "zb-h1": schedules.zb_h1,
    "zb-v": schedules.zb_v,
    "dualpipe": schedules.dualpipe,
    "dualpipe-v": schedules.dualpipe_v,
}
"""Schedules whose order is one whatever overlaps."""


_Asked = tuple[ResolvedPlan, Groups, MemoryBudget, Model]

_KEPT: deque[tuple[_Asked, Program]] = deque(maxlen=8)
"""Programs that were built last: questions about a machine, its links or their faults ask for the same one again."""


_Written = tuple[Block, dict[tuple[int, int, str, str], Block], Block]
"""What a pipeline rank runs: before its first slot, in its slots by stage, direction, kind and variant, and after the last."""

_Known = dict[tuple[object, ...], _Written]

_WRITTEN: deque[tuple[tuple[Model, ResolvedPlan, Groups, object], _Known]] = deque(maxlen=8)
"""The same of plans that were asked for last, whatever their batch: another one runs the very same blocks more or less often."""


def build_program(model: Model, plan: ResolvedPlan, groups: Groups, memory: MemoryBudget) -> Program:
    """The step of every pipeline rank; the very same program for what was asked lately.

    ``recompute: auto`` takes the lightest way that fits ``memory`` on every rank, or the heaviest if none does. Raises
    IdentityBroken when the instructions' FLOPs are not the model's.
    """
    asked = plan, groups, memory, model
    for place, entry in enumerate(_KEPT):
        if entry[0] == asked:
            del _KEPT[place]
            _KEPT.append(entry)
            return entry[1]
    program = _built(model, plan, groups, memory)
    _KEPT.append((asked, program))
    return program


def _known(model: Model, plan: ResolvedPlan, groups: Groups) -> _Known:
    """What ranks of the same plan with another batch run, to look it up and to add to.

    Nothing is known where the router changes from one micro-batch to the next: then blocks hang on how many there are.
    """
    if plan.loads.patterns:
        return {}
    asked = model, replace(plan, global_batch=0, micro_batches=0, table=None, warnings=()), groups, plan.owners
    for of, known in tuple(_WRITTEN):  # others may ask meanwhile, on other threads
        if of == asked:
            return known
    new: _Known = {}
    _WRITTEN.append((asked, new))
    return new


def _built(model: Model, plan: ResolvedPlan, groups: Groups, memory: MemoryBudget) -> Program:
    order = outlines(plan)
    by_class = fitting(model, plan, groups, order, memory)
    known = _known(model, plan, groups)
    ranks = tuple(
        _RankBuilder(model, pieces, rank, order[rank]).build(footprint[rank], known)
        for rank in range(plan.pp)
        for pieces, footprint in by_class
    )
    pieces = by_class[0][0]
    useful, again = _flops(ranks, groups)
    model_flops = 3.0 * total_flops_per_token(model, plan.sequence_length) * plan.tokens - unserved_flops(model, plan)
    _check_flops(useful, model_flops, plan)
    return Program(
        ranks=ranks,
        rank_of=plan.owners,
        boundary_bytes=pieces.traffic.sent_bytes,
        overlap_pp=plan.overlap.pp,
        tokens=plan.tokens,
        model_flops=model_flops,
        hardware_flops=useful + again,
        parameters=float(total_parameters(model, mtp=True)),
        micro_batches=plan.micro_batches,
        warnings=plan.warnings,
        recompute=str(pieces.recompute),
        load_classes=plan.loads.classes,
    )


def schedule_order(plan: ResolvedPlan) -> schedules.Order:
    """The order of the plan's schedule; expert overlap joins forwards and backwards of 1F1B and interleaved."""
    if plan.table:
        return [list(slots) for slots in plan.table.order]
    own = OWN_ORDERS.get(plan.schedule)
    if own:
        return own(plan.pp, plan.micro_batches)
    if plan.overlap.ep and plan.ep > 1:
        return schedules.overlapped_one_f_one_b(plan.pp, plan.micro_batches, plan.vpp)
    if plan.schedule == "interleaved":
        return schedules.interleaved(plan.pp, plan.micro_batches, plan.vpp)
    return schedules.one_f_one_b(plan.pp, plan.micro_batches)


def outlines(plan: ResolvedPlan) -> list[Outline]:
    """The same of every pipeline rank, as columns."""
    return [Outline.of(tuple(slots)) for slots in schedule_order(plan)]


class _RankBuilder:
    """Writes the program of one pipeline rank."""

    def __init__(self, model: Model, pieces: Pieces, rank: int, order: Outline) -> None:
        self.model = model
        self.plan = pieces.plan
        self.load_class = pieces.load_class
        self.recompute = pieces.recompute
        self.traffic = pieces.traffic
        self.rank = rank
        self.order = order
        # In the order of their first use: parameters are sent for in that order.
        self.used = list(dict.fromkeys((stage, direction) for _, stage, direction in order.cells))
        self.kinds = {(stage, direction, kind) for kind, stage, direction in order.cells}
        ends = order.ends
        never = -1, -1
        last = {key: max(ends.get((kind, *key), never)[1] for kind in (WorkKind.B, WorkKind.W)) for key in self.used}
        self.last_gradient = {key: order.works[place] for key, place in last.items() if place >= 0}
        self.first_forward = {key: order.works[ends[WorkKind.F, *key][0]] for key in self.used if (WorkKind.F, *key) in ends}
        patterns = sorted({self.plan.loads.pattern(work.micro_batch) for work in order.sorts(self.plan.loads.patterns)[0]})
        self.stages = {
            (*key, pattern): StageBlocks(
                pieces.under(pattern)[key[0]],
                self.traffic,
                f"stage {key[0]}" + (" reverse" if key[1] else ""),
                pieces.scripts,
                ends=(key[0] == 0, key[0] == self.plan.stages - 1),
            )
            for key in self.used
            for pattern in patterns
        }
        self.pieces: list[Piece] = [piece for key in self.used for piece in pieces.stages[key[0]]]
        self.host = HostUpdate(self.traffic, self.pieces) if self.plan.offload.optimizer else None

    @property
    def gathers_early(self) -> bool:
        """Whether the step begins by gathering the parameters that the last one updated."""
        return self.plan.zero in (1, 2) and self.plan.overlap.param_gather

    @property
    def sends_early(self) -> bool:
        """Whether gradients leave from the last backward blocks: all of a step, or those cut each time to their other copies."""
        more = not self.is_final_cut and not self.plan.replicas_last
        return self.plan.overlap.grad_reduce and (more or not self.plan.cuts_every_micro_batch)

    @property
    def is_final_cut(self) -> bool:
        """Whether gradients that are reduced and cut are added to no other copy's."""
        return not self.traffic.reduce_replicas(ShardParameters(1.0, 1.0), "")

    def build(self, memory: StageMemory, known: _Known) -> RankProgram:
        last = tuple([str(self.last_gradient[key].kind) for key in self.used if key in self.last_gradient])
        key = self.recompute, self.load_class, self.rank, tuple(self.used), frozenset(self.kinds), last
        written = known.get(key)
        if written is None:
            prologue = self._prologue()
            blocks = self._blocks()
            written = known[key] = prologue, blocks, self._epilogue()
        prologue, blocks, epilogue = written
        loads = self.plan.loads
        share = loads.share(self.load_class)
        return RankProgram(
            self.rank,
            tuple(self.order.slots),
            blocks,
            prologue,
            epilogue,
            memory,
            self.load_class,
            share,
            loads.patterns,
            self.order,
        )

    def _prologue(self) -> Block:
        chain = Chain()
        if self.gathers_early:
            self._gather_mirror(chain)
            for key in self.used:
                self._under(self.first_forward[key]).gather_parameters(chain)
        return chain.block("prologue")

    def _under(self, work: Work) -> StageBlocks:
        """The blocks of a work's stage under the router's pattern of its micro-batch."""
        return self.stages[work.stage, work.direction, self.plan.loads.pattern(work.micro_batch)]

    def _blocks(self) -> dict[tuple[int, int, str, str], Block]:
        blocks: dict[tuple[int, int, str, str], Block] = {}
        for (index, direction, pattern), stage in self.stages.items():
            plain = f"@{pattern}" if self.plan.loads.patterns else ""
            blocks[index, direction, "F", plain] = stage.forward("")
            for kind in (WorkKind.B, WorkKind.I, WorkKind.W):
                if (index, direction, kind) in self.kinds:
                    blocks[index, direction, str(kind), plain] = stage.backward(kind, "")
        for index, direction in self.used:
            if self.gathers_early:
                first = self.first_forward[index, direction]
                blocks[index, direction, "F", self._variant("first", first)] = self._under(first).forward("first")
            if self.sends_early:
                self._send_on(index, direction)
                last = self.last_gradient[index, direction]
                blocks[index, direction, str(last.kind), self._variant("last", last)] = self._under(last).backward(
                    last.kind, "last"
                )
        return blocks

    def _send_on(self, index: int, direction: int) -> None:
        """Let a stage's gradients go on to the host once they are reduced, where nothing more is to be added to them."""
        host = self.host
        final = self.plan.directions == 1 and self.is_final_cut
        if host is None or not self.plan.offload.overlap or not final:
            return
        place = self.used.index((index, direction))
        before = sum(len(self._under(self.last_gradient[key]).pieces) for key in self.used[:place])

        def to_host(chain: Chain, piece: int, after: str) -> None:
            host.leave(chain, before + piece, after, f"host gradients {before + piece}")

        self._under(self.last_gradient[index, direction]).to_host = to_host

    def _variant(self, name: str, work: Work) -> str:
        loads = self.plan.loads
        return f"{name}@{loads.pattern(work.micro_batch)}" if loads.patterns else name

    def _epilogue(self) -> Block:
        """Gradients made whole, the update, and (where nothing overlaps) the parameters for the next step."""
        chain = Chain()
        parameters = sum((piece.parameters for piece in self.pieces), ShardParameters())
        if self.sends_early:
            for key in self.used:
                chain.wait(self._under(self.last_gradient[key]).gradient_tokens)
        elif not self.plan.cuts_every_micro_batch:
            chain.exchange(*self.traffic.reduce_gradients(parameters, "all"))
        chain.exchange(self.traffic.reduce_replicated(parameters))
        if not self.sends_early or self.plan.replicas_last:
            chain.exchange(*self.traffic.reduce_replicas(parameters, "all"))
        if copies_table(self.model, self.plan) and self.rank in (0, self.plan.pp - 1):
            chain.exchange(self.traffic.tied_embedding(table_elements(self.model, self.plan)))
        if self.plan.directions == 2:
            collective = "all-reduce" if self.plan.zero == 0 else "reduce-scatter"
            chain.exchange(self.traffic.mirror(parameters, collective, self.plan.state.gradient_reduce))
        chain.exchange(self.traffic.spare_gradients(parameters))
        if self.host:
            self.host.begin(chain)
        chain.run(self._update())
        if self.host:
            self.host.finish(chain)
        chain.exchange(self.traffic.spare_weights(parameters))
        if not self.gathers_early and self.plan.zero > 0:
            self._gather_mirror(chain)
            if self.plan.zero < 3:
                chain.exchange(*self.traffic.gather_parameters(self._gathered(), "all"))
        chain.run(self._casts())
        return chain.block("epilogue")

    def _gathered(self) -> ShardParameters:
        """Parameters as they count in a gather of quantised ones: twice, say, where they travel in twice the bytes."""
        heavier = TOKEN_BYTES / self.plan.state.parameter_gather
        parts = [piece.parameters.times(1.0 if piece.quantised else heavier) for piece in self.pieces]
        return sum(parts, ShardParameters())

    def _gather_mirror(self, chain: Chain) -> None:
        """The half of the update that the mirror rank made."""
        if self.plan.directions == 2 and self.plan.zero > 0:
            parameters = sum((piece.parameters for piece in self.pieces), ShardParameters())
            chain.exchange(self.traffic.mirror(parameters, "all-gather", self.plan.state.parameter_gather))

    def _update(self) -> tuple[Operator, ...]:
        owned = owned_parameters(self.traffic, self.pieces).times(1.0 - self.plan.offload.optimizer)
        state = self.plan.state
        matrices = owned_matrices(self.traffic, self.pieces) if self.plan.optimizer == "muon" else []
        states = StateBytes(state.gradients, state.master, state.moment, max(state.weights, state.parameter_gather))
        # Casting to the training precision is left to ``_casts``: every rank casts all its weights, not those it updates.
        return optimizer_operators(self.plan.optimizer, owned.dense, owned.experts, matrices, precision="bf16", states=states)

    def _casts(self) -> tuple[Operator, ...]:
        """The quantised copies of this rank's weights, once a step: read in bf16, written in rows and columns."""
        state = self.plan.state
        if not is_quantised(self.plan.precision) or (state.weights == 0 and state.parameter_gather < TOKEN_BYTES):
            return ()
        pieces = [piece for piece in self.pieces if piece.quantised]
        elements = sum(piece.parameters.total for piece in pieces)
        if self.plan.zero == 3:
            elements = owned_parameters(self.traffic, pieces).total
        moved = elements * (max(state.weights, state.parameter_gather) + 2 * element_bytes(self.plan.precision))
        return (Operator("weight_cast", "optimizer", Kernel.MEMORY, Phase.OPTIMIZER, 0.0, moved),)


def _flops(ranks: Sequence[RankProgram], groups: Groups) -> tuple[float, float]:
    """FLOPs of all ranks in a step, without recomputation and of recomputation alone; the optimizer's and masked ones apart."""
    useful = again = 0.0
    for rank in ranks:
        for block, count in rank.executed():
            for amount in block.amounts:
                if amount.phase is Phase.RECOMPUTE:
                    again += rank.share * count * amount.flops
                else:
                    useful += rank.share * count * amount.flops
    return useful * groups.ranks_per_stage, again * groups.ranks_per_stage


def unserved_flops(model: Model, plan: ResolvedPlan) -> float:
    """Forward and backward FLOPs of the copies of a step that no expert processes: padding, and tokens dropped."""
    if model.moe is None:
        return 0.0
    sparse = sparse_layers(model)
    missing = len(sparse) * (1.0 - plan.loads.mean(sparse, lambda load: load.served))
    each = 2.0 * model.moe.top_k / model.moe.experts * routed_matrices(model)
    return 3.0 * missing * each * plan.tokens


def _check_flops(executed: float, of_model: float, plan: ResolvedPlan) -> None:
    """Equal, but that tp ranks without sequence parallelism repeat what is whole on each of them."""
    repeats = plan.tp > 1 and not plan.sequence_parallel
    if executed < of_model * (1 - TOLERANCE) or (executed > of_model * (1 + TOLERANCE) and not repeats):
        raise IdentityBroken(f"the program executes {executed!r} FLOPs, the model asks for {of_model!r}")
