"""The lightest recomputation that fits: of a list of ways, and (``auto-layers``) layer by layer between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from workloads.groups import Groups
from workloads.instructions import StageMemory
from workloads.memory import MemoryBudget, rank_memory
from workloads.model import Model
from workloads.outline import Outline
from workloads.pieces import Pieces
from workloads.recompute import Recompute, mixed, recompute_steps
from workloads.resolved import ResolvedPlan

Order = Sequence[Outline]
"""Of every pipeline rank."""

Held = list[tuple[Pieces, list[StageMemory]]]
"""Each load class's pieces, and what its pipeline ranks hold."""


def fitting(model: Model, plan: ResolvedPlan, groups: Groups, order: Order, memory: MemoryBudget) -> Held:
    """What every rank holds under the lightest way that fits all of them, the heaviest if none does.

    Under ``auto-layers`` the first layers of each stage alone are made again in that way, as few as fit, the others in the
    next lighter one.
    """
    found: Held = []
    steps = recompute_steps(plan)
    for number, way in enumerate(steps):
        found = _held(model, plan, groups, order, way)
        if _most(found) <= memory.capacity:
            finer = plan.recompute == "auto-layers" and number > 0
            return _finer(model, plan, groups, order, memory, (steps[number - 1], way)) if finer else found
    return found


def stages_of(plan: ResolvedPlan, rank: int) -> list[int]:
    """The stages whose weights a pipeline rank holds: its chunks, or its own and its mirror's."""
    return [stage for owners in plan.owners for stage, owner in enumerate(owners) if owner == rank]


def _held(model: Model, plan: ResolvedPlan, groups: Groups, order: Order, way: Recompute) -> Held:
    every = [Pieces(model, plan, groups, way, load_class) for load_class in range(len(plan.loads.positions))]
    return [
        (pieces, [rank_memory(model, pieces, stages_of(plan, rank), order[rank]) for rank in range(plan.pp)]) for pieces in every
    ]


def _most(held: Held) -> float:
    return max(part.total for _, footprint in held for part in footprint)


def _finer(
    model: Model, plan: ResolvedPlan, groups: Groups, order: Order, memory: MemoryBudget, ways: tuple[Recompute, Recompute]
) -> Held:
    """Each rank takes the fewest layers a stage that it fits with; a stage that two ranks hold takes the more of theirs."""
    lighter, heavier = ways

    @cache
    def under(count: int) -> tuple[float, ...]:
        held = _held(model, plan, groups, order, mixed(lighter, heavier, (count,)))
        return tuple(max(footprint[rank].total for _, footprint in held) for rank in range(plan.pp))

    longest = max(len(stage) for stage in Pieces(model, plan, groups, heavier).stages)
    counts = [0] * plan.stages
    for rank in range(plan.pp):
        low, high = 0, longest
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if under(middle)[rank] <= memory.capacity else (middle + 1, high)
        for stage in stages_of(plan, rank):
            counts[stage] = max(counts[stage], low)
    return _held(model, plan, groups, order, mixed(lighter, heavier, tuple(counts)))
