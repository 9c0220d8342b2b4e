"""One training step: every rank class as a process on one clock, all their traffic in one fluid network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simulator.engine.accounts import Accounts, Waiting
from simulator.engine.alike import KEPT
from simulator.engine.chip import Device, SegmentBook
from simulator.engine.clock import Clock
from simulator.engine.cohort import Cohort
from simulator.engine.lanes import Rendezvous
from simulator.engine.macro import Macro
from simulator.engine.post import Post
from simulator.engine.rank import KINDS, Contention, Rank, World, refresh
from simulator.engine.recorder import Recorder, Silence
from simulator.engine.rehearsal import Rehearsals
from simulator.engine.repetition import Repetition
from simulator.engine.rounds import Rounds
from simulator.network.contract import Folding
from simulator.network.fluid import FluidNetwork
from simulator.network.usage import Usage
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Phase, Program, RankProgram

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one simulated step left behind. ``end`` [ps]; ``accounts`` one per rank class, in their order."""

    end: int
    accounts: tuple[Accounts, ...]
    network: FluidNetwork
    recorder: Recorder
    events: int
    repeated: int  # slots of rank classes that were not played but repeated
    left_out: int = 0  # of the end, rounds that were not simulated because they repeat another [ps]
    usage: Usage | None = None  # of the links, where it had to be known


def run_step(
    program: Program,
    folding: Folding,
    device: Device,
    progress: Progress | None = None,
    *,
    slots: str = "exact",
    macro: bool = True,
    record: bool = True,
) -> StepOutcome:
    """Simulate the step and close the books. ``slots`` and ``record`` as of :func:`simulator.run.simulate`.

    ``macro=False``: on a common clock even where stages meet by mail only (:mod:`simulator.engine.macro`); the same step.
    Raises IdentityBroken if the simulation ends with a rank still waiting (a deadlock in the program), or the books don't sum.
    """
    if macro and slots == "exact":
        world, network = _world(program, folding, device, lambda: None, record=record)
        ranks = _ranks(world, device)
        found = Macro(world, network, ranks)
        usage = found.run()
        if usage is not None:
            return replace(_closed(network, world.recorder, ranks, found.events, found.repeated), usage=usage)
    world, network = _world(program, folding, device, _progress(program, folding, progress), record=record)
    return _clocked(world, network, device, slots)


def _clocked(world: World, network: FluidNetwork, device: Device, slots: str) -> StepOutcome:
    """The step of ranks that share a clock."""
    clock = world.clock
    rehearsals = Rehearsals(world, network, isolated=slots == "isolated") if slots != "played" else None
    ranks = _ranks(replace(world, rehearsals=rehearsals), device)
    network.on_rates = lambda rank_classes: refresh([ranks[key] for key in rank_classes])
    rounds = None
    if rehearsals:
        rehearsals.attend(ranks)
        rounds = Rounds(clock, network, world.post, rehearsals, list(ranks.values()))
    for rank in ranks.values():
        clock.process(Cohort(rank.world, [rank]).begin())
    clock.run()
    stuck = [key for key, rank in ranks.items() if rank.finished < 0]
    if stuck or world.rendezvous.unmet:
        raise IdentityBroken(f"the step ended in a deadlock: rank classes {stuck} still wait")
    repetition = rounds.repetition if rounds else None
    left_out = repetition.left_out if repetition else 0
    if rehearsals is None:
        return _closed(network, world.recorder, ranks, clock.events, 0)
    found = _closed(network, world.recorder, ranks, clock.events + rehearsals.events, rehearsals.repeated, left_out)
    if repetition:
        _spread(repetition, network, world.recorder, rehearsals)
    rehearsals.record()
    return found


def _world(
    program: Program, folding: Folding, device: Device, on_slot: Callable[[], None], *, record: bool
) -> tuple[World, FluidNetwork]:
    """A clock, links and everything else that ranks share, before the step."""
    clock, recorder = Clock(), Recorder() if record else Silence()
    network = FluidNetwork(clock, folding)
    world = World(
        clock=clock,
        network=network,
        folding=folding,
        program=program,
        rendezvous=Rendezvous(clock, network),
        post=Post(clock, network, recorder),
        recorder=recorder,
        contention=_contention(device),
        segment=SegmentBook(device),
        on_slot=on_slot,
        host=device.host,
        device=KEPT.device(device),
    )
    return world, network


def _ranks(world: World, device: Device) -> dict[int, Rank]:
    """All rank classes, by key."""
    classes, program = world.folding.rank_classes, world.program
    worlds = {speed: _at_speed(world, device, speed) for speed in {rank_class.speed for rank_class in classes}}
    return {
        rank_class.key: Rank(worlds[rank_class.speed], rank_class.key, program.of(rank_class.pp_rank, rank_class.load_class))
        for rank_class in classes
    }


def _closed(
    network: FluidNetwork, recorder: Recorder, ranks: dict[int, Rank], events: int, repeated: int, left_out: int = 0
) -> StepOutcome:
    """The books of all ranks once the last one is through."""
    end = max(rank.finished for rank in ranks.values())
    for rank in ranks.values():
        _close(rank, end, left_out)
    accounts = tuple(rank.accounts for rank in ranks.values())
    return StepOutcome(end + left_out, accounts, network, recorder, events, repeated, left_out)


def _spread(repetition: Repetition, network: FluidNetwork, recorder: Recorder, rehearsals: Rehearsals) -> None:
    """Write down the rounds that were left out."""
    places, late = repetition.spread(np.array(network.history.start, dtype=np.int64))
    network.history.spread(places, late * repetition.period)
    recorder.spread(repetition)
    rehearsals.spread(repetition)


def _at_speed(world: World, device: Device, speed: float) -> World:
    """The world as a chip sees it that has this fraction of its rates left."""
    if speed == 1.0:
        return world
    slow = device.slowed(speed)
    return replace(world, segment=SegmentBook(slow), contention=_contention(slow), device=KEPT.device(slow))


def _close(rank: Rank, end: int, left_out: int) -> None:
    """The step is over when its last rank is: the others wait for that one. The books hold what was left out as well."""
    accounts = rank.accounts
    if rank.finished < end:
        accounts.waits.append(Waiting(rank.finished, end, rank.finished, end, "pp", "pipeline_bubble"))
    accounts.close_idle(end)
    total = sum(accounts.parts.values())
    step = end + left_out
    if abs(total - step) > 1e-9 * step + 1e3:
        raise IdentityBroken(f"the books of rank class {rank.rank_class} sum to {total} ps, the step lasts {step} ps")


def _contention(device: Device) -> Contention:
    efficiency = device.efficiency
    taken = {kind: figure.value for kind, figure in efficiency.communication_cores.items()}
    return Contention(
        cores={kind: taken.get(kind, 0.0) for kind in KINDS},
        memory_factor=efficiency.communication_memory.value,
        memory_bandwidth=device.memory_bandwidth,
    )


def _progress(program: Program, folding: Folding, progress: Progress | None) -> Callable[[], None]:
    """Count finished slots; report about a hundred times."""
    if progress is None:
        return lambda: None
    total = sum(len(program.of(rank_class.pp_rank).slots) for rank_class in folding.rank_classes)
    every = max(1, total // 100)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            progress(done / total, "simulating the step")

    return tick


def program_flops(rank: RankProgram, *, optimizer: bool = True) -> tuple[dict[str, float], float]:
    """What one rank of a class executes in a step: FLOPs by precision (what a mask discards apart), and HBM bytes.

    Summed from the program itself, so that it can be held against the model's own count.
    """
    flops: dict[str, float] = {}
    moved = 0.0
    for block, count in [(rank.prologue, 1), (rank.epilogue, 1), *rank.executed()]:
        for amount in block.amounts:
            if optimizer or amount.phase is not Phase.OPTIMIZER:
                flops[amount.precision] = flops.get(amount.precision, 0.0) + amount.flops * count
                moved += amount.bytes_moved * count
    return flops, moved
