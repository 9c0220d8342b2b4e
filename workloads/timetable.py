"""Plays an order on paper: does every piece of work find its inputs, and when would it run at given durations?

This is the reference that the closed forms of pipeline schedules are checked with; the engine, with communication
and contention, is not used. Nothing is sent at a cost here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.spec.errors import PlanError, Words
from workloads.instructions import Slot, Work, WorkKind

Key = tuple[WorkKind, int, int, int]  # kind, stage, micro-batch, direction


@dataclass(frozen=True, slots=True)
class Timetable:
    """When the slots of every rank run [s]; ``busy`` is the sum of a rank's slot durations."""

    start: tuple[tuple[float, ...], ...]
    end: tuple[tuple[float, ...], ...]
    busy: tuple[float, ...]

    @property
    def makespan(self) -> float:
        return max(ends[-1] for ends in self.end)

    @property
    def idle(self) -> tuple[float, ...]:
        """Time within the makespan that each rank has nothing to do [s]."""
        return tuple(self.makespan - busy for busy in self.busy)


def play(
    order: Sequence[Sequence[Slot]], stages: int, duration: Callable[[Slot], float] = lambda slot: float(len(slot))
) -> Timetable:
    """Run every rank's slots in order, each as soon as its rank is free and its inputs are there.

    Raises PlanError when the order can't be run: work whose input never comes (a deadlock), or work missing.
    """
    done: dict[Key, float] = {}
    position = [0] * len(order)
    clock = [0.0] * len(order)
    starts: list[list[float]] = [[] for _ in order]
    ends: list[list[float]] = [[] for _ in order]
    moved = True
    while moved:
        moved = False
        for rank, slots in enumerate(order):
            while position[rank] < len(slots):
                slot = slots[position[rank]]
                inputs = [key for work in slot for key in inputs_of(work, stages)]
                if any(key not in done for key in inputs):
                    break
                start = max([clock[rank], *(done[key] for key in inputs)])
                clock[rank] = start + duration(slot)
                for work in slot:
                    done[_output(work)] = clock[rank]
                starts[rank].append(start)
                ends[rank].append(clock[rank])
                position[rank] += 1
                moved = True
    _refuse_deadlock(order, position, stages, done)
    busy = tuple(sum(map(duration, slots)) for slots in order)
    return Timetable(tuple(map(tuple, starts)), tuple(map(tuple, ends)), busy)


def check_order(order: Sequence[Sequence[Slot]], owners: Sequence[Sequence[int]], micro_batches: int) -> None:
    """Raise PlanError unless the order runs every micro-batch once through every stage, on the rank that owns it.

    A backward is either one B, or one I with one W later; ``owners`` is [direction][stage] -> rank.
    """
    seen: dict[tuple[int, int], list[WorkKind]] = {}
    for rank, slots in enumerate(order):
        for work in (work for slot in slots for work in slot):
            if owners[work.direction][work.stage] != rank:
                raise PlanError("a stage runs on the rank that owns it", got=Words(f"{_name(work)} on rank {rank}"))
            seen.setdefault((work.stage, work.micro_batch), []).append(work.kind)
    stages = len(owners[0])
    allowed = ([WorkKind.F, WorkKind.B], [WorkKind.F, WorkKind.I, WorkKind.W])
    for stage in range(stages):
        for micro_batch in range(micro_batches):
            kinds = seen.pop((stage, micro_batch), [])
            if kinds not in allowed:
                raise PlanError(
                    "every micro-batch passes every stage forward once, then backward once, as F B or F I W",
                    got=Words(f"{' '.join(kinds) or 'nothing'} of micro-batch {micro_batch} on stage {stage}"),
                    do="Correct the works of that micro-batch.",
                )
    if seen:
        raise PlanError("an order holds only the micro-batches it was made for", got=Words(str(sorted(seen)[:3])))
    play(order, stages)


def inputs_of(work: Work, stages: int) -> list[Key]:
    """What must be done before ``work``: a backward counts as done for its neighbour when its input gradient is."""
    stage, micro_batch, direction = work.stage, work.micro_batch, work.direction
    if work.kind is WorkKind.F:
        return [(WorkKind.F, stage - 1, micro_batch, direction)] if stage > 0 else []
    if work.kind is WorkKind.W:
        return [(WorkKind.B, stage, micro_batch, direction)]
    keys = [(WorkKind.F, stage, micro_batch, direction)]
    return keys + ([(WorkKind.B, stage + 1, micro_batch, direction)] if stage + 1 < stages else [])


def _name(work: Work) -> str:
    return f"{work.kind}{work.micro_batch} of stage {work.stage}"


def _output(work: Work) -> Key:
    kind = WorkKind.B if work.kind is WorkKind.I else work.kind
    return kind, work.stage, work.micro_batch, work.direction


def _refuse_deadlock(order: Sequence[Sequence[Slot]], position: list[int], stages: int, done: dict[Key, float]) -> None:
    for rank, slots in enumerate(order):
        if position[rank] < len(slots):
            slot = slots[position[rank]]
            kind, stage, micro_batch, _ = next(key for work in slot for key in inputs_of(work, stages) if key not in done)
            works = "+".join(_name(work) for work in slot)
            awaited = _name(Work(kind, stage, micro_batch))
            raise PlanError(
                "an order lets every rank go on",
                got=Words(f"pipeline rank {rank} waits for {awaited} before {works}, its work number {position[rank] + 1}"),
                do="Run what it waits for earlier.",
            )
