"""1F1B and its relatives: a rank warms up with forwards, then takes a forward and a backward in turn.

Stages are laid round: stage s of an interleaved order lives on rank s % pp.
"""

from __future__ import annotations

from workloads.instructions import Slot, Work, WorkKind
from workloads.schedules.layout import Order


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


def _interleaved_warmup(rank: int, pp: int, vpp: int) -> int:
    return 2 * (pp - 1 - rank) + (vpp - 1) * pp


def _stage_order(rank: int, pp: int, micro_batches: int, vpp: int) -> tuple[list[Work], list[Work]]:
    """A rank's forwards and its backwards, each in the order they run; groups of pp micro-batches per chunk."""
    if vpp == 1:
        places = [(0, micro_batch) for micro_batch in range(micro_batches)]
    else:
        groups = -(-micro_batches // pp)
        cells = [(chunk, group * pp + member) for group in range(groups) for chunk in range(vpp) for member in range(pp)]
        places = cells[: micro_batches * vpp]
    forward, backward = WorkKind.F, WorkKind.B
    stages, mirrored = [chunk * pp + rank for chunk in range(vpp)], [(vpp - 1 - chunk) * pp + rank for chunk in range(vpp)]
    return (
        [Work(forward, stages[chunk], micro_batch) for chunk, micro_batch in places],
        [Work(backward, mirrored[chunk], micro_batch) for chunk, micro_batch in places],
    )


def _alternate(work: tuple[list[Work], list[Work]], warmup: int, *, joined: bool) -> list[Slot]:
    """Warm-up forwards, then a forward and a backward in turn (or as one slot), then the remaining backwards."""
    forwards, backwards = work
    warmup = min(warmup, len(forwards))
    steady = len(forwards) - warmup
    slots: list[Slot] = [(forward,) for forward in forwards[:warmup]]
    for forward, backward in zip(forwards[warmup:], backwards[:steady], strict=True):
        slots += [(forward, backward)] if joined else [(forward,), (backward,)]
    return slots + [(backward,) for backward in backwards[steady:]]
