"""Zero-bubble schedules: backwards split into I (inputs) and W (weights), and W put where a rank would idle.

I is on the way of every earlier stage, W only of the rank's own update, so W can wait. These are the orders drawn by hand
in the papers and shipped by PyTorch; they depend on counts alone.

Leaves out: the orders that the papers' code searches for with measured times (an order of one's own can be given as a
table), and their optimizer that updates before the step has been checked, without which ranks that ended early wait for the
last one.
"""

from __future__ import annotations

from workloads.instructions import Slot, Work, WorkKind
from workloads.schedules.layout import Order

F, I, W = WorkKind.F, WorkKind.I, WorkKind.W  # noqa: E741  (the field's own letters)


def zb_h1(pp: int, micro_batches: int, vpp: int = 1) -> Order:
    """ZB-H1: 1F1B whose weight gradients lag, on rank r by r micro-batches, so that every rank holds pp of them.

    Makespan of equal stages: M(F + I + W) + (PP - 1)(F + I - W), where W <= F, I and M >= PP; at most pp micro-batches in
    flight, as the first rank of 1F1B has. Source: Qi et al. 2023, arXiv 2401.10241, section 2 and table 2.

    >>> [str(work.kind) + str(work.micro_batch) for (work,) in zb_h1(2, 3)[1]]
    ['F0', 'I0', 'F1', 'I1', 'W0', 'F2', 'I2', 'W1', 'W2']
    """
    if vpp != 1:
        raise ValueError(f"zb-h1 runs one stage a rank (got vpp = {vpp})")
    return [_zb_h1_rank(rank, min(pp - 1 - rank, micro_batches), micro_batches) for rank in range(pp)]


def zb_v(pp: int, micro_batches: int, vpp: int = 2) -> Order:
    """ZB-V: two stages a rank laid in a V, so that the first backward starts on the rank that ran the first forward.

    Equal stages with F = I = W leave no rank idle between its first and its last work from 2 pp - 1 micro-batches on;
    rank r starts r F after the first, and so ends later by as much: (PP - 1) F of the step, F of one stage. At most 2 pp
    micro-batches of a stage are held, which is what 1F1B's first rank holds of stages twice as long.
    Fewer micro-batches than 2 pp - 1 run the same order with the missing ones left out.
    Source: Qi et al. 2023, arXiv 2401.10241, section 6; Qi et al. 2024, arXiv 2405.15362; PyTorch
    torch/distributed/pipelining/schedules.py, ScheduleZBVZeroBubble.

    >>> [f"{work.kind}{work.micro_batch}.{work.stage}" for (work,) in zb_v(1, 2)[0]]
    ['F0.0', 'F0.1', 'I0.1', 'W0.1', 'F1.0', 'I0.0', 'W0.0', 'F1.1', 'I1.1', 'W1.1', 'I1.0', 'W1.0']
    """
    if vpp != 2:
        raise ValueError(f"zb-v runs two stages a rank (got vpp = {vpp})")
    enough = max(2 * pp - 1, micro_batches)
    full = [_ZeroBubbleV(rank, pp, enough).run() for rank in range(pp)]
    return [[(work,) for work in works if work.micro_batch < micro_batches] for works in full]


def _zb_h1_rank(rank: int, warmup: int, micro_batches: int) -> list[Slot]:
    slots: list[Slot] = [(Work(F, rank, micro_batch),) for micro_batch in range(warmup)]
    for micro_batch in range(micro_batches):
        if warmup + micro_batch < micro_batches:
            slots.append((Work(F, rank, warmup + micro_batch),))
        slots.append((Work(I, rank, micro_batch),))
        if micro_batch >= rank:
            slots.append((Work(W, rank, micro_batch - rank),))
    return slots + [(Work(W, rank, late),) for late in range(max(micro_batches - rank, 0), micro_batches)]


class _ZeroBubbleV:
    """One rank's walk; its stages are called down (on the way in) and up (on the way back)."""

    def __init__(self, rank: int, pp: int, micro_batches: int) -> None:
        self.rank = rank
        self.ahead = pp - rank
        self.micro_batches = micro_batches
        self.down, self.up = rank, 2 * pp - 1 - rank
        self.done: dict[tuple[WorkKind, int], int] = {}
        self.works: list[Work] = []

    def run(self) -> list[Work]:
        self._repeat(2 * self.ahead - 1, (F, self.down))
        self._repeat(self.rank, (F, self.up), (F, self.down))
        self._repeat(self.ahead, (F, self.up), (I, self.up), (W, self.up))
        while self._count(F, self.up) < self.micro_batches:
            if self._count(F, self.down) < self.micro_batches:
                self._put(F, self.down)
            for kind, stage in ((I, self.down), (W, self.down), (F, self.up), (I, self.up), (W, self.up)):
                self._put(kind, stage)
        self._repeat(self.rank, (I, self.down), (I, self.up))
        self._repeat(self.ahead, (I, self.down), (W, self.down))
        for stage in (self.up, self.down):
            self._repeat(self._count(I, stage) - self._count(W, stage), (W, stage))
        return self.works

    def _repeat(self, times: int, *steps: tuple[WorkKind, int]) -> None:
        for _ in range(times):
            for kind, stage in steps:
                self._put(kind, stage)

    def _count(self, kind: WorkKind, stage: int) -> int:
        return self.done.get((kind, stage), 0)

    def _put(self, kind: WorkKind, stage: int) -> None:
        micro_batch = self._count(kind, stage)
        self.done[kind, stage] = micro_batch + 1
        self.works.append(Work(kind, stage, micro_batch))
