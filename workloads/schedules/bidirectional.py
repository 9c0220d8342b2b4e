"""DualPipe and DualPipe-V: two streams of work meet on every rank, and one's forwards overlap the other's backwards.

In DualPipe the streams are micro-batches that enter at opposite ends. DualPipe-V cuts that pipeline in half: one rank
takes over what two mirrored ranks did, its first stage feeding one stream, its last stage the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from workloads.instructions import Slot, Work, WorkKind
from workloads.schedules.layout import Order

Cell = Callable[[int, int], tuple[int, int, int]]
"""(phase, how many of that phase came before) -> stage, micro-batch, direction."""


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
    half = micro_batches // 2

    def cells(rank: int) -> Cell:
        stages, second_half = (rank, pp - 1 - rank), rank >= pp // 2

        def cell(phase: int, index: int) -> tuple[int, int, int]:
            direction = phase ^ second_half
            return stages[direction], direction * half + index, direction

        return cell

    return [_Walk(min(rank, pp - 1 - rank), pp // 2, half, cells(rank)).run() for rank in range(pp)]


def dualpipe_v(pp: int, micro_batches: int, vpp: int = 2) -> Order:
    """DualPipe cut in half: rank r holds stages r and 2 pp - 1 - r of a pipeline of 2 pp stages.

    Every rank walks the eight steps that DualPipe's rank r of 2 pp walks, its phase 0 being the first of its two stages,
    with all micro-batches in both. Bubble of equal stages: (pp - 1)(FB + B - 3W) with the times of one stage, and 2 pp + 1
    micro-batches of a stage are held at once. Needs micro_batches >= 2 pp (checked by the plan).
    Source: github.com/deepseek-ai/DualPipe dualpipe/dualpipev.py and its table of bubbles, where PP counts stages.
    """
    if vpp != 2:
        raise ValueError(f"dualpipe-v runs two stages a rank (got vpp = {vpp})")

    def cells(rank: int) -> Cell:
        stages = (rank, 2 * pp - 1 - rank)
        return lambda phase, index: (stages[phase], index, 0)

    return [_Walk(rank, pp, micro_batches, cells(rank)).run() for rank in range(pp)]


class _Walk:
    """One rank's walk through the eight steps. Phase 0 enters at the rank's own end of the pipeline.

    ``depth`` is how far the rank is from that end, of ``depths`` in all; each phase has ``count`` micro-batches.
    """

    def __init__(self, depth: int, depths: int, count: int, cell: Cell) -> None:
        self.depth = depth
        self.outer = depths - depth - 1
        self.inner = depth + 1
        self.repeats = count - 2 * depths + self.inner
        self.cell = cell
        self.done: dict[tuple[WorkKind, int], int] = {}
        self.weight_queue: deque[Work] = deque()
        self.slots: list[Slot] = []

    def run(self) -> list[Slot]:
        for _ in range(2 * self.outer):  # step 1: nF0
            self._forward(0)
        for _ in range(self.inner):  # step 2: nF0F1
            self._forward(0)
            self._forward(1)
        for _ in range(self.outer):  # step 3: nI1W1F1
            self._backward(1, split=True)
            self._weight()
            self._forward(1)
        self._main_step()
        for _ in range(self.outer):  # step 5: nB1F1B0
            self._backward(1)
            self._joined(1, 0)
        self._drain()
        for _ in range(self.outer):  # step 7: nWI0
            self._weight()
            self._backward(0, split=True)
        for _ in range(self.inner):  # step 8: nW
            self._weight()
        return self.slots

    def _main_step(self) -> None:
        """Step 4: nF0B1F1B0. Where the streams turn round, the first pair stays apart, which shortens the bubble."""
        for index in range(self.repeats):
            if index == 0 and self.outer == 0:
                self._forward(0)
                self._backward(1)
            else:
                self._joined(0, 1)
            self._joined(1, 0)

    def _drain(self) -> None:
        """Step 6: nB1B0; from the half of it on, backwards are split."""
        split = False
        for index in range(self.inner):
            if index == self.inner // 2 and self.depth % 2 == 1:
                split = True
            self._backward(1, split=split)
            if index == self.inner // 2 and self.depth % 2 == 0:
                split = True
            self._backward(0, split=split)

    def _next(self, kind: WorkKind, phase: int, counted_as: WorkKind) -> Work:
        index = self.done.get((counted_as, phase), 0)
        self.done[counted_as, phase] = index + 1
        return Work(kind, *self.cell(phase, index))

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
