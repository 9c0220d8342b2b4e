"""In which order a pipeline rank runs forwards and backwards: plain functions from counts to an order.

An order is a list of slots per pipeline rank (:mod:`workloads.instructions`); nothing here knows how long anything
takes. ``pp`` counts pipeline ranks, ``micro_batches`` those of one pipeline in one step, ``vpp`` the model stages
(chunks) that a rank holds. Stage ``s`` of an interleaved order lives on rank ``s % pp``.

Leaves out: ZB-H1, ZB-V and DualPipe-V (a plan that asks for them is refused in plan.py).
"""

from __future__ import annotations

from collections import deque

from workloads.instructions import Slot, Work, WorkKind

Order = list[list[Slot]]


def one_f_one_b(pp: int, micro_batches: int, vpp: int = 1) -> Order:
    """One forward, one backward (PipeDream-flush): rank r warms up with pp - 1 - r forwards, then alternates.

    At most pp - r micro-batches are in flight on rank r. Makespan of equal stages without send cost:
    (M + PP - 1)(F + B). Source: Narayanan et al. 2021, arXiv 2104.04473, section 2.2.

    >>> [str(work.kind) + str(work.micro_batch) for (work,) in one_f_one_b(2, 3)[0]]
    ['F0', 'F1', 'B0', 'F2', 'B1', 'B2']
    """
    if vpp != 1:
        raise ValueError(f"1f1b runs one stage a rank (got vpp = {vpp}); use interleaved")
    return [_alternate(_stage_order(rank, pp, micro_batches, 1), pp - 1 - rank, joined=False) for rank in range(pp)]


def interleaved(pp: int, micro_batches: int, vpp: int) -> Order:
    """Megatron's interleaved 1F1B: groups of pp micro-batches pass through each of a rank's vpp stages in turn.

    Warm-up of rank r: 2 (pp - 1 - r) + (vpp - 1) pp forwards. Makespan of equal stages: M(F + B) + (PP - 1)(F + B)/v with F
    and B the work of a whole rank. Needs micro_batches to be a multiple of pp (checked by the plan).
    Source: Narayanan et al. 2021, arXiv 2104.04473, section 2.2; Megatron-LM core/pipeline_parallel/schedules.py.
    """
    return [
        _alternate(_stage_order(rank, pp, micro_batches, vpp), _interleaved_warmup(rank, pp, vpp), joined=False)
        for rank in range(pp)
    ]


def overlapped_one_f_one_b(pp: int, micro_batches: int, vpp: int) -> Order:
    """1F1B with expert parallelism overlapped: in the steady state a forward and a backward share one slot.

    The two must be of different micro-batches, so each rank warms up with one forward more than interleaved does.
    With vpp = 1 the warm-up is 2 (pp - 1 - r) + 1: a joined slot sends both ways at its end, so a neighbour two slots
    ahead is the least that keeps every rank busy (plain 1F1B's warm-up would halve the speed).
    Source: Megatron-LM core/pipeline_parallel/schedules.py and combined_1f1b.py (overlap_moe_expert_parallel_comm).

    >>> ["+".join(str(work.kind) + str(work.micro_batch) for work in slot) for slot in overlapped_one_f_one_b(1, 3, 1)[0]]
    ['F0', 'F1+B0', 'F2+B1', 'B2']
    """
    return [
        _alternate(_stage_order(rank, pp, micro_batches, vpp), _interleaved_warmup(rank, pp, vpp) + 1, joined=True)
        for rank in range(pp)
    ]


def dualpipe(pp: int, micro_batches: int, vpp: int = 1) -> Order:
    """DeepSeek's bidirectional pipeline: half of the micro-batches enter at each end, forwards overlap backwards.

    Rank r holds stage r for direction 0 and stage pp - 1 - r for direction 1. Micro-batches 0 .. M/2 - 1 go in
    direction 0, the rest in direction 1. The eight steps are those of the published code; where it stores weight
    gradients for later (``enable_zb``), B is split into I and W, and W is taken first in, first out.
    Bubble of equal stages: (PP/2 - 1)(FB + B - 3W), FB an overlapped forward and backward.
    Needs pp and micro_batches even and micro_batches >= 2 pp (checked by the plan).
    Source: github.com/deepseek-ai/DualPipe dualpipe/dualpipe.py; DeepSeek-V3 report, arXiv 2412.19437, table 2.
    """
    if vpp != 1:
        raise ValueError(f"dualpipe runs one stage a rank and direction (got vpp = {vpp})")
    return [_DualPipeRank(rank, pp, micro_batches).run() for rank in range(pp)]


def stage_owners(schedule: str, pp: int, vpp: int) -> tuple[tuple[int, ...], ...]:
    """Which pipeline rank runs a stage, [direction][stage].

    >>> stage_owners("dualpipe", 4, 1)
    ((0, 1, 2, 3), (3, 2, 1, 0))
    """
    forward = tuple(stage % pp for stage in range(pp * vpp))
    return (forward, forward[::-1]) if schedule == "dualpipe" else (forward,)


def micro_batches_in_flight(slots: list[Slot] | tuple[Slot, ...]) -> tuple[int, dict[int, int]]:
    """The most micro-batches whose activations a rank holds at once, and how many of each stage then.

    Counted over the order as it is: a forward takes, the backward gives back; a split backward gives back at W, since
    the weight gradient still needs the inputs. In a joined slot the forward's are taken before the backward's are freed.
    """
    held: dict[int, int] = {}
    total, peak, at_peak = 0, 0, {}
    for slot in slots:
        for work in slot:
            if work.kind is WorkKind.F:
                held[work.stage] = held.get(work.stage, 0) + 1
                total += 1
        if total > peak:
            peak, at_peak = total, dict(held)
        for work in slot:
            if work.kind in (WorkKind.B, WorkKind.W):
                held[work.stage] -= 1
                total -= 1
    return peak, at_peak


def _interleaved_warmup(rank: int, pp: int, vpp: int) -> int:
    return 2 * (pp - 1 - rank) + (vpp - 1) * pp


def _stage_order(rank: int, pp: int, micro_batches: int, vpp: int) -> tuple[list[Work], list[Work]]:
    """A rank's forwards and its backwards, each in the order they run; groups of pp micro-batches per chunk."""
    forwards, backwards = [], []
    for position in range(micro_batches * vpp):
        group, within = divmod(position, pp * vpp)
        chunk, member = divmod(within, pp)
        micro_batch = group * pp + member if vpp > 1 else position
        chunk = chunk if vpp > 1 else 0
        forwards.append(Work(WorkKind.F, chunk * pp + rank, micro_batch))
        backwards.append(Work(WorkKind.B, (vpp - 1 - chunk) * pp + rank, micro_batch))
    return forwards, backwards


def _alternate(work: tuple[list[Work], list[Work]], warmup: int, *, joined: bool) -> list[Slot]:
    """Warm-up forwards, then a forward and a backward in turn (or as one slot), then the remaining backwards."""
    forwards, backwards = work
    warmup = min(warmup, len(forwards))
    steady = len(forwards) - warmup
    slots: list[Slot] = [(forward,) for forward in forwards[:warmup]]
    for forward, backward in zip(forwards[warmup:], backwards[:steady], strict=True):
        slots += [(forward, backward)] if joined else [(forward,), (backward,)]
    return slots + [(backward,) for backward in backwards[steady:]]


class _DualPipeRank:
    """One rank's walk through the eight steps. Phase 0 enters at the rank's own end of the pipeline."""

    def __init__(self, rank: int, pp: int, micro_batches: int) -> None:
        self.pp = pp
        self.half_micro_batches = micro_batches // 2
        self.half_rank = min(rank, pp - 1 - rank)
        self.second_half = rank >= pp // 2
        self.middle = rank in (pp // 2 - 1, pp // 2)
        self.stages = (rank, pp - 1 - rank)
        self.done: dict[tuple[WorkKind, int], int] = {}
        self.weight_queue: deque[Work] = deque()
        self.slots: list[Slot] = []

    def run(self) -> list[Slot]:
        outer = self.pp // 2 - self.half_rank - 1
        inner = self.half_rank + 1
        for _ in range(2 * outer):  # step 1: nF0
            self._forward(0)
        for _ in range(inner):  # step 2: nF0F1
            self._forward(0)
            self._forward(1)
        for _ in range(outer):  # step 3: nI1W1F1
            self._backward(1, split=True)
            self._weight()
            self._forward(1)
        self._main_step(self.half_micro_batches - self.pp + inner)
        for _ in range(outer):  # step 5: nB1F1B0
            self._backward(1)
            self._joined(1, 0)
        self._drain(inner)
        for _ in range(outer):  # step 7: nWI0
            self._weight()
            self._backward(0, split=True)
        for _ in range(inner):  # step 8: nW
            self._weight()
        return self.slots

    def _main_step(self, repeats: int) -> None:
        """Step 4: nF0B1F1B0. The middle ranks keep the first pair apart, which shortens the bubble."""
        for index in range(repeats):
            if index == 0 and self.middle:
                self._forward(0)
                self._backward(1)
            else:
                self._joined(0, 1)
            self._joined(1, 0)

    def _drain(self, repeats: int) -> None:
        """Step 6: nB1B0; from the half of it on, backwards are split."""
        split = False
        for index in range(repeats):
            if index == repeats // 2 and self.half_rank % 2 == 1:
                split = True
            self._backward(1, split=split)
            if index == repeats // 2 and self.half_rank % 2 == 0:
                split = True
            self._backward(0, split=split)

    def _next(self, kind: WorkKind, phase: int, counted_as: WorkKind) -> Work:
        direction = phase ^ self.second_half
        index = self.done.get((counted_as, direction), 0)
        self.done[counted_as, direction] = index + 1
        return Work(kind, self.stages[direction], direction * self.half_micro_batches + index, direction)

    def _forward(self, phase: int) -> None:
        self.slots.append((self._next(WorkKind.F, phase, WorkKind.F),))

    def _backward(self, phase: int, *, split: bool = False) -> None:
        work = self._next(WorkKind.I if split else WorkKind.B, phase, WorkKind.B)
        if split:
            self.weight_queue.append(Work(WorkKind.W, work.stage, work.micro_batch, work.direction))
        self.slots.append((work,))

    def _joined(self, forward_phase: int, backward_phase: int) -> None:
        forward = self._next(WorkKind.F, forward_phase, WorkKind.F)
        self.slots.append((forward, self._next(WorkKind.B, backward_phase, WorkKind.B)))

    def _weight(self) -> None:
        self.slots.append((self.weight_queue.popleft(),))
