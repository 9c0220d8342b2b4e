"""Which pipeline rank holds which stage, and how many micro-batches an order keeps in flight.

Stages are laid *round*, stage s on rank s % pp, as Megatron's chunks are; in a *V*, down the ranks and up again, so that
the first and the last stage share a rank; or both ways at once (DualPipe), every stage on two ranks that mirror each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.instructions import Slot, WorkKind
from workloads.outline import Outline

Order = list[list[Slot]]
"""Slots of every pipeline rank, in the order it runs them."""

Owners = tuple[tuple[int, ...], ...]
"""The pipeline rank that runs a stage, [direction][stage]."""

V_SHAPED = ("zb-v", "dualpipe-v")
"""Schedules that fold the pipeline: rank r holds stage r and stage 2 pp - 1 - r."""


def stage_owners(schedule: str, pp: int, vpp: int) -> Owners:
    """Which pipeline rank runs a stage, [direction][stage].

    >>> stage_owners("dualpipe", 4, 1)
    ((0, 1, 2, 3), (3, 2, 1, 0))
    >>> stage_owners("zb-v", 3, 2)
    ((0, 1, 2, 2, 1, 0),)
    """
    if schedule in V_SHAPED:
        return (v_shaped(pp, vpp),)
    forward = laid_round(pp, vpp)
    return (forward, forward[::-1]) if schedule == "dualpipe" else (forward,)


def laid_round(pp: int, vpp: int) -> tuple[int, ...]:
    """Stage -> rank, starting over at rank 0 with every chunk."""
    return tuple(stage % pp for stage in range(pp * vpp))


def v_shaped(pp: int, vpp: int) -> tuple[int, ...]:
    """Stage -> rank, turning round with every chunk, so that neighbouring stages stay on one rank or its neighbour."""
    return tuple(rank if chunk % 2 == 0 else pp - 1 - rank for chunk in range(vpp) for rank in range(pp))


def micro_batches_in_flight(slots: Sequence[Slot] | Outline) -> tuple[int, dict[int, int]]:
    """The most micro-batches whose activations a rank holds at once, and how many of each stage then.

    Counted over the order as it is: a forward takes, the backward gives back; a split backward gives back at W, since
    the weight gradient still needs its inputs. In a joined slot the forward's are taken before the backward's are freed.
    """
    outline = slots if isinstance(slots, Outline) else Outline.of(slots)
    if not outline.works:
        return 0, {}
    taken, freed = (
        np.array([kind in kinds for kind, _, _ in outline.cells], dtype=np.int64)
        for kinds in ((WorkKind.F,), (WorkKind.B, WorkKind.W))
    )
    ends = np.append(outline.first[1:], len(outline.works))
    before = np.concatenate(([0], np.cumsum((taken - freed)[outline.cell])))[outline.first]
    during = before + np.add.reduceat(taken[outline.cell], outline.first)
    highest = int(during.argmax())
    if during[highest] <= 0:
        return 0, {}
    by_stage: dict[int, int] = {}
    times = np.bincount(outline.cell[: ends[highest]], minlength=len(outline.cells))
    late = np.bincount(outline.cell[outline.first[highest] : ends[highest]], minlength=len(outline.cells))
    for (_, stage, _), more, less in zip(outline.cells, (times * taken).tolist(), ((times - late) * freed).tolist(), strict=True):
        if more or less:
            by_stage[stage] = by_stage.get(stage, 0) + more - less
    return int(during[highest]), by_stage
