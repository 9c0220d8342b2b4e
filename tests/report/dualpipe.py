"""A made-up run for the tests of tables, figures and traces: DualPipe on a few pipeline ranks, timed by hand-set durations.

The order of work is DualPipe's (DeepSeek-V3 technical report, section 3.2.1, and the released scheduler's eight steps);
the times are invented, the shape of the recording is what the engine writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from simulator.engine.recorder import LANES, PICO, LinkSeries, RankInfo, Recorder, Recording
from topologies.fabric import Floats, Ints

MILLI = PICO // 1000
FORWARD, INPUT, WEIGHT = 31 * MILLI, 34 * MILLI, 27 * MILLI
OVERLAPPED = 90 * MILLI
HOP = 2 * MILLI


@dataclass(frozen=True, slots=True)
class Cell:
    kind: str  # F, B, I or W
    direction: int
    micro_batch: int


def order(pp: int, micro_batches: int, rank: int) -> list[tuple[Cell, ...]]:
    """The slots of one rank, in DualPipe's eight steps."""
    near = 0 if rank < pp // 2 else 1  # the direction whose early stages this rank runs
    half, depth = pp // 2, min(rank, pp - 1 - rank)
    chunks = micro_batches // 2
    counters: dict[tuple[str, int], int] = {}
    slots: list[tuple[Cell, ...]] = []
    waiting: list[Cell] = []

    def cell(kind: str, phase: int) -> Cell:
        direction = near ^ phase
        number = counters.get((kind[0] if kind in "FB" else "B", phase), 0)
        counters["F" if kind == "F" else "B", phase] = number + 1
        made = Cell(kind, direction, number + direction * chunks)
        if kind == "I":
            waiting.append(Cell("W", direction, made.micro_batch))
        return made

    def weight() -> tuple[Cell, ...]:
        return (waiting.pop(0),)

    slots += [(cell("F", 0),) for _ in range((half - depth - 1) * 2)]
    for _ in range(depth + 1):
        slots += [(cell("F", 0),), (cell("F", 1),)]
    for _ in range(half - depth - 1):
        slots.append((cell("I", 1),))
        slots += [weight(), (cell("F", 1),)]
    for _ in range(chunks - pp + depth + 1):
        slots += [(cell("F", 0), cell("B", 1)), (cell("F", 1), cell("B", 0))]
    for _ in range(half - depth - 1):
        slots += [(cell("B", 1),), (cell("F", 1), cell("B", 0))]
    for step in range(depth + 1):
        kind = "I" if 2 * step >= depth + 1 else "B"
        slots += [(cell(kind, 1),), (cell("I" if 2 * step + 1 >= depth + 1 else "B", 0),)]
    for _ in range(half - depth - 1):
        if waiting:
            slots.append(weight())
        slots.append((cell("I", 0),))
    while waiting:
        slots.append(weight())
    return slots


def _duration(slot: tuple[Cell, ...], jitter: float) -> int:
    lengths = {"F": FORWARD, "I": INPUT, "W": WEIGHT, "B": INPUT + WEIGHT}
    base = OVERLAPPED if len(slot) == 2 else lengths[slot[0].kind]
    return int(base * jitter)


def _timed(pp: int, micro_batches: int) -> list[list[tuple[int, int, tuple[Cell, ...]]]]:
    """Start and end of every slot [ps]: each waits for its rank and for the stage before (forward) or after (backward)."""
    orders = [order(pp, micro_batches, rank) for rank in range(pp)]
    done: dict[tuple[str, int, int, int], int] = {}
    free, position = [0] * pp, [0] * pp
    timed: list[list[tuple[int, int, tuple[Cell, ...]]]] = [[] for _ in range(pp)]

    def ready(rank: int, slot: tuple[Cell, ...]) -> int | None:
        latest = free[rank]
        for cell in slot:
            stage = rank if cell.direction == 0 else pp - 1 - rank
            before = stage - 1 if cell.kind == "F" else stage + 1
            if cell.kind == "W" or not 0 <= before < pp:
                continue
            moment = done.get(("F" if cell.kind == "F" else "B", cell.direction, before, cell.micro_batch))
            if moment is None:
                return None
            latest = max(latest, moment + HOP)
        return latest

    remaining = sum(len(slots) for slots in orders)
    while remaining:
        moved = False
        for rank in range(pp):
            if position[rank] == len(orders[rank]):
                continue
            slot = orders[rank][position[rank]]
            start = ready(rank, slot)
            if start is None:
                continue
            end = start + _duration(slot, 1.0 + 0.03 * ((rank * 7 + position[rank]) % 5 - 2) / 2)
            for cell in slot:
                stage = rank if cell.direction == 0 else pp - 1 - rank
                done["F" if cell.kind == "F" else "B", cell.direction, stage, cell.micro_batch] = end
            timed[rank].append((start, end, slot))
            free[rank], position[rank] = end, position[rank] + 1
            remaining, moved = remaining - 1, True
        assert moved, "the made-up schedule is stuck"
    return timed


def recording(pp: int = 16, micro_batches: int = 48, ranks_per_stage: int = 512) -> Recording:
    """Spans on every lane, idle causes, link utilisation."""
    recorder, lanes = Recorder(), {name: index for index, name in enumerate(LANES)}
    timed = _timed(pp, micro_batches)
    last = max(slots[-1][1] for slots in timed)
    step = last + 240 * MILLI
    for rank, slots in enumerate(timed):
        clock = 0
        for start, end, slot in slots:
            recorder.add(rank, lanes["idle"], "pipeline_bubble", clock, start)
            for cell in slot:
                recorder.add(
                    rank, lanes["slot"], cell_name(cell, rank, pp), start, end - (len(slot) == 2 and cell.kind == "F") * MILLI
                )
            _inside(recorder, lanes, rank, start, end, slot)
            clock = end
        recorder.add(rank, lanes["idle"], "exposed_dp", clock, clock + 60 * MILLI)
        recorder.add(rank, lanes["dp"], "gradients", clock, clock + 60 * MILLI)
        recorder.add(rank, lanes["idle"], "straggler_wait", clock + 60 * MILLI, last + 80 * MILLI)
        recorder.add(rank, lanes["compute"], "optimizer", last + 80 * MILLI, step)
    moments = np.arange(0, step, 20 * MILLI, dtype=np.int64)
    links = tuple(
        LinkSeries(name, tier, partial(_wave, moments, shift))
        for shift, (name, tier) in enumerate((("chip -> board switch", "board"), ("chip -> L1 switch", "scale-up")))
    )
    infos = tuple(RankInfo(rank, f"pp {rank}", ranks_per_stage, rank) for rank in range(pp))
    return Recording(recorder.spans(), links, infos, step)


def cell_name(cell: Cell, rank: int, pp: int) -> str:
    """As the engine names the works of its slot lane."""
    stage = rank if cell.direction == 0 else pp - 1 - rank
    return f"{cell.kind}{cell.micro_batch} stage {stage}" + (" reverse" if cell.direction else "")


def _inside(recorder: Recorder, lanes: dict[str, int], rank: int, start: int, end: int, slot: tuple[Cell, ...]) -> None:
    """Four layers of attention and experts in a slot, and the dispatch between them, part of it exposed."""
    layer = (end - start) // 4
    for number in range(4):
        at = start + number * layer
        recorder.add(rank, lanes["compute"], "attention", at, at + layer * 4 // 10)
        recorder.add(rank, lanes["ep"], "dispatch", at + layer * 3 // 10, at + layer * 5 // 10)
        recorder.add(rank, lanes["idle"], "exposed_ep", at + layer * 4 // 10, at + layer * 5 // 10)
        recorder.add(rank, lanes["compute"], "experts", at + layer * 5 // 10, at + layer)


def _wave(moments: Ints, shift: int) -> tuple[Ints, Floats]:
    """Utilisation that rises and falls."""
    return moments, (0.5 + 0.45 * np.sin(moments / (400 * MILLI) + shift)).astype(np.float64)
