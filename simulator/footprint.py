"""What a job holds in memory, without simulating its step: the plan laid out, every pipeline rank at its peak.

A schedule's order alone decides how many micro-batches a rank holds at once, so no clock has to run.
"""

from __future__ import annotations

from simulator.prepare import Prepared, prepare
from simulator.results import MemoryResult, StageMemoryResult
from simulator.scenario import Scenario
from workloads.instructions import Program, RankProgram

GIB = 2.0**30


def footprint(scenario: Scenario) -> MemoryResult:
    """The memory of a scenario: peak, parts, stages, does it fit.

    Raises what :func:`simulator.prepare.prepare` raises.
    """
    return memory_of(prepare(scenario))


def memory_of(prepared: Prepared) -> MemoryResult:
    """What a job that was laid out holds on its chips; nothing needs to be simulated for it."""
    per_chip = prepared.fabric.ranks_per_chip / GIB
    stages = tuple(
        StageMemoryResult(
            pp_rank=rank.pp_rank,
            total_gib=rank.memory.total * per_chip,
            weights_gib=rank.memory.weights * per_chip,
            gradients_gib=rank.memory.gradients * per_chip,
            optimizer_gib=rank.memory.optimizer * per_chip,
            activations_gib=rank.memory.activations * per_chip,
            buffers_gib=rank.memory.buffers * per_chip,
            micro_batches_in_flight=rank.memory.micro_batches_in_flight,
            host_gib=rank.memory.host * per_chip,
        )
        for rank in (_fullest(prepared.program, pp_rank) for pp_rank in range(prepared.plan.pp))
    )
    fullest = max(stages, key=lambda stage: stage.total_gib)
    capacity = prepared.chip.memory_capacity.value / GIB
    usable = prepared.usable_memory * per_chip
    parts = {name: getattr(fullest, f"{name}_gib") for name in ("weights", "gradients", "optimizer", "activations", "buffers")}
    host = prepared.chip.host
    return MemoryResult(
        peak_gib_per_chip=fullest.total_gib,
        capacity_gib_per_chip=capacity,
        usable_gib_per_chip=usable,
        fits=fullest.total_gib <= usable,
        recompute=prepared.program.recompute,
        parts=parts,
        stages=stages,
        host_gib_per_chip=max(stage.host_gib for stage in stages),
        host_usable_gib_per_chip=host.memory_capacity.value / GIB if host and host.memory_capacity else None,
    )


def _fullest(program: Program, pp_rank: int) -> RankProgram:
    """Of the classes of a pipeline rank the one that holds most."""
    return max(program.of_stage(pp_rank), key=lambda rank: rank.memory.total)
