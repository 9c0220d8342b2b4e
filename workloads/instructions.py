"""What a rank is told to do: the vocabulary between workloads and the engine.

A *program* is a list of blocks in schedule order; a block is a straight line of instructions. Nothing here knows
chips, links or time: an :class:`Operator` states FLOPs and bytes, a :class:`Communication` states a collective, a
group and a payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from workloads.outline import Outline


class Phase(StrEnum):
    """Why an operator runs; recompute is forward work done again in the backward pass."""

    FORWARD = "forward"
    BACKWARD_INPUT = "backward_input"
    BACKWARD_WEIGHT = "backward_weight"
    RECOMPUTE = "recompute"
    OPTIMIZER = "optimizer"


class Kernel(StrEnum):
    """Which operator-time form applies (see simulator/engine/chip.py)."""

    GEMM = "gemm"
    GROUPED_GEMM = "grouped_gemm"
    ATTENTION = "attention"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator on one rank, for one micro-batch.

    ``flops`` counts 2 per multiply-add over all groups [FLOP]; ``bytes_moved`` is what it reads from and writes to HBM
    when nothing stays in cache [B]. ``m, n, k`` is the shape of one GEMM of ``groups`` equal ones; attention uses
    ``m`` = queries per sequence, ``n`` = keys attended on average, ``k`` = head dimension, ``groups`` = heads x sequences,
    ``window`` = keys that a query may attend at most, itself included (0: no limit).
    ``counted``: the share of its FLOPs that a model's count holds, below 1 where a kernel also computes what a mask discards.
    """

    name: str
    component: str
    kernel: Kernel
    phase: Phase
    flops: float
    bytes_moved: float
    precision: str = "bf16"
    m: float = 0.0
    n: float = 0.0
    k: float = 0.0
    groups: float = 1.0
    causal: bool = False
    launches: int = 1
    counted: float = 1.0
    window: int = 0


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a dispatch departs from equal shares, by position along its group.

    From position s to position d go payload x ``send[s]`` x ``receive[d]`` bytes, in a combine the same from d to s.
    ``send`` is 1 for a source that routes all its tokens, ``receive`` sums to the share of copies that is not dropped.
    ``whole``: what is received in all where this is a part of an exchange, whose copies may serve its other parts too.
    """

    send: tuple[float, ...]
    receive: tuple[float, ...]
    whole: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Communication:
    """One collective as the rank sees it.

    ``payload`` is the per-rank buffer of the nccl-tests convention [B]: all-gather: the full gathered result;
    reduce-scatter and all-reduce: the full input; all-to-all: all that one rank holds for the group, its own share
    included (so a peer gets payload / group size); send: what is sent; dispatch and combine: tokens x top_k x hidden x bytes
    per element, one copy per chosen expert. A library that sends one copy per scale-up domain and forwards inside it
    (``deduplicate``) moves less over the scale-out: ``top_k`` experts a token, in at most ``max_domains`` domains (0: no limit).
    ``skew``: who sends and gets more of it than others; without it every member sends every member the same.
    ``kind`` is who pays for it in the breakdown: tp, cp, ep, dp or pp. ``group`` names the axis of groups.py.
    """

    name: str
    kind: str
    collective: str  # all-to-all | dispatch | combine | all-gather | reduce-scatter | all-reduce | send
    group: str  # an axis or a span of axes: tp | cp | dp | ep | etp | expert_dp | dp_cp ... (see groups.Groups)
    payload: float
    top_k: int = 0
    max_domains: int = 0
    deduplicate: bool = False
    skew: Skew | None = None


@dataclass(frozen=True, slots=True)
class Compute:
    """Run these operators back to back on the compute lane."""

    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a collective on the communication lane of its kind and go on; ``token`` names it within the block."""

    communication: Communication
    token: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on only when the collective started under ``token`` is done (in this block, or earlier on this rank)."""

    token: str


class HostLane(StrEnum):
    """Where work with the host queues, in order: copies to its memory, copies from it, and updates by its processors."""

    TO = "to_host"
    UPDATE = "host_update"
    FROM = "from_host"


@dataclass(frozen=True, slots=True)
class HostWork:
    """Begin a copy to or from the host's memory, or an update by the host, and go on.

    ``amount``: what is copied, or what the host reads and writes of its memory [B]. It begins in the order of its lane, and
    when what was started under ``after`` is done. ``token`` as of :class:`Start`.
    """

    name: str
    lane: HostLane
    amount: float
    token: str
    after: str = ""


Instruction = Compute | Start | Wait | HostWork


@dataclass(frozen=True, slots=True)
class Amount:
    """What operators of one phase in one precision execute: FLOPs (what a mask discards apart), and bytes to and from HBM."""

    phase: Phase
    precision: str
    flops: float
    bytes_moved: float


@dataclass(frozen=True, slots=True)
class Block:
    """A straight line of instructions; blocks are shared between micro-batches and programs, never mutated.

    What is asked of it again and again is worked out once.
    """

    name: str
    instructions: tuple[Instruction, ...]
    _communications: tuple[Communication, ...] | None = field(default=None, init=False, repr=False, compare=False)
    _amounts: tuple[Amount, ...] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def communications(self) -> tuple[Communication, ...]:
        """The collectives that it starts, each once, in its order."""
        found = self._communications
        if found is None:
            found = tuple({step.communication: None for step in self.instructions if isinstance(step, Start)})
            object.__setattr__(self, "_communications", found)
        return found

    @property
    def amounts(self) -> tuple[Amount, ...]:
        """What its operators execute, by phase and precision."""
        found = self._amounts
        if found is None:
            sums: dict[tuple[Phase, str], tuple[float, float]] = {}
            for step in self.instructions:
                for each in step.operators if isinstance(step, Compute) else ():
                    flops, moved = sums.get((each.phase, each.precision), (0.0, 0.0))
                    sums[each.phase, each.precision] = flops + each.flops * each.counted, moved + each.bytes_moved
            found = tuple([Amount(*of, *amounts) for of, amounts in sums.items()])
            object.__setattr__(self, "_amounts", found)
        return found


class WorkKind(StrEnum):
    """F: forward. B: whole backward. I: backward for inputs only. W: backward for weights (the rest of I)."""

    F = "F"
    B = "B"
    I = "I"  # noqa: E741  (the field's own letter)
    W = "W"

    __hash__ = str.__hash__  # that of an enumeration runs Python; works are looked up by kind as often as they run


class Work(NamedTuple):
    """One cell of a pipeline schedule: this kind of work, on this model stage, for this micro-batch.

    ``stage`` counts model stages 0 .. pp*vpp-1 in the order the data visits them. ``direction`` is 0, or 1 for the
    micro-batches that DualPipe feeds from the other end. Works joined in one tuple run at the same time on a rank's lanes.
    """

    kind: WorkKind
    stage: int
    micro_batch: int
    direction: int = 0


Slot = tuple[Work, ...]  # one work, or a forward and a backward overlapped


@dataclass(frozen=True, slots=True)
class StageMemory:
    """What one pipeline rank holds at its peak [B], by part; ``host``: what it keeps in the host beside that."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    buffers: float
    micro_batches_in_flight: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers


@dataclass(frozen=True, slots=True)
class RankProgram:
    """All that one pipeline rank does in a step; where experts are loaded unequally, one class of its ranks.

    ``blocks`` maps (stage, direction, kind, variant) to its block; the variant is "first" for a rank's first micro-batch
    on that stage (parameters may still be arriving), "last" for the last one (gradients leave), else "".
    A missing variant falls back to "".
    ``prologue`` runs before the first slot, ``epilogue`` after the last (gradient reduction, optimizer, parameters).
    ``load_class`` counts the classes of a pipeline rank, ``share`` is the part of its ranks in this one. ``patterns`` gives the
    router's pattern of each micro-batch where the load changes with time; :meth:`variant` then adds it to a variant's name.
    """

    pp_rank: int
    slots: tuple[Slot, ...]
    blocks: dict[tuple[int, int, str, str], Block]
    prologue: Block
    epilogue: Block
    memory: StageMemory
    load_class: int = 0
    share: float = 1.0
    patterns: tuple[int, ...] = ()
    _outline: Outline | None = field(default=None, repr=False, compare=False)
    _executed: tuple[tuple[Block, int], ...] | None = field(default=None, init=False, repr=False, compare=False)
    _ends: dict[tuple[int, int, str], tuple[Work, Work]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def variant(self, name: str, micro_batch: int) -> str:
        """The variant as a key of ``blocks`` for this micro-batch."""
        return f"{name}@{self.patterns[micro_batch]}" if self.patterns else name

    @property
    def ends(self) -> dict[tuple[int, int, str], tuple[Work, Work]]:
        """The first and the last work of each (stage, direction, kind) in the schedule."""
        found = self._ends
        if not found:
            works = self.outline.works
            places = self.outline.ends.items()
            found.update({(stage, turn, str(kind)): (works[one], works[other]) for (kind, stage, turn), (one, other) in places})
        return found

    @property
    def outline(self) -> Outline:
        """Its slots as columns."""
        if self._outline is None:
            object.__setattr__(self, "_outline", Outline.of(self.slots))
        assert self._outline is not None
        return self._outline

    def executed(self) -> tuple[tuple[Block, int], ...]:
        """The plain blocks of all works of the step, each with the number of times that it runs."""
        if self._executed is None:
            works, which = self.outline.sorts(self.patterns)
            found = [
                (self.blocks[work.stage, work.direction, str(work.kind), self.variant("", work.micro_batch)], count)
                for work, count in zip(works, np.bincount(which).tolist(), strict=True)
            ]
            object.__setattr__(self, "_executed", tuple(found))
        assert self._executed is not None
        return self._executed


@dataclass(frozen=True, slots=True)
class Program:
    """The step of every pipeline rank, and what passes between stages.

    ``ranks`` holds the programs of pipeline rank 0, then those of 1 and so on, each one a class of load.
    ``load_classes`` is the class of each position of an expert-parallel group.
    ``rank_of[direction][stage]`` is the pipeline rank that runs a stage. ``boundary_bytes`` is what one rank sends to the
    next stage for one micro-batch, forward; the gradient that comes back has the same size [B].
    ``model_flops`` and ``hardware_flops`` are the whole job's FLOPs of one step [FLOP], without and with recompute.
    ``recompute`` says what is recomputed, in words: where the plan left it open, what was chosen.
    """

    ranks: tuple[RankProgram, ...]
    rank_of: tuple[tuple[int, ...], ...]
    boundary_bytes: float
    overlap_pp: bool
    tokens: float
    model_flops: float
    hardware_flops: float
    parameters: float
    micro_batches: int
    warnings: tuple[str, ...] = field(default=())
    recompute: str = "none"
    load_classes: tuple[int, ...] = (0,)

    def of(self, pp_rank: int, load_class: int = 0) -> RankProgram:
        """The program of one class of ranks."""
        return self.ranks[pp_rank * (max(self.load_classes) + 1) + load_class]

    def of_stage(self, pp_rank: int) -> tuple[RankProgram, ...]:
        """The programs of all classes of a pipeline rank."""
        classes = max(self.load_classes) + 1
        return self.ranks[pp_rank * classes : (pp_rank + 1) * classes]
