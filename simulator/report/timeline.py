"""The recorded columns turned into what a timeline shows: cells of the schedule, other work, and idle time with its cause.

A rank's slot lane holds one span a work, named ``F12 stage 3`` (``reverse`` appended for DualPipe's other direction);
two works that overlap in time share a row. What the compute lane does outside every cell (optimizer) is other work;
idle time outside the cells is shown by cause, idle time inside a cell is a property of the cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.engine.recorder import LANES, PICO, Recording
from simulator.spec.errors import IdentityBroken

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SLOT, COMPUTE, IDLE = LANES.index("slot"), LANES.index("compute"), LANES.index("idle")
CELL = re.compile(r"(?P<kind>[FBIW])(?P<micro_batch>\d+) stage (?P<stage>\d+)(?P<reverse> reverse)?")


@dataclass(frozen=True, slots=True)
class Cells:
    """One row a work of the schedule: times [s], its row of the timeline, and the idle seconds inside it by cause.

    ``half`` is 0 where the work has the row to itself; 1 (upper) or 2 (lower) where it runs beside another.
    """

    row: Ints
    start: Floats
    end: Floats
    kind: npt.NDArray[np.str_]
    micro_batch: Ints
    stage: Ints
    direction: Ints
    half: Ints
    waiting: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of time on rows [s]."""

    row: Ints
    start: Floats
    end: Floats


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that is drawn, rows in pipeline order."""

    labels: tuple[str, ...]
    cells: Cells
    other_work: Stretches
    idle: dict[str, Stretches]
    end: float


def timeline(recording: Recording) -> Timeline:
    """The timeline of a run: one row a rank class, ordered by pipeline rank."""
    order = sorted(recording.ranks, key=lambda rank: (rank.pp_rank, rank.key))
    row_of = {rank.key: row for row, rank in enumerate(order)}
    spans = recording.spans
    rows = np.array([row_of[int(key)] for key in spans.rank_class], dtype=np.int64)
    cells = _cells(recording, rows)
    covered = [_union(cells.start[cells.row == row], cells.end[cells.row == row]) for row in range(len(order))]
    work = _outside(rows, spans.start, spans.end, spans.lane == COMPUTE, covered)
    idle = {}
    for cause in _causes(recording):
        stretches = _outside(rows, spans.start, spans.end, _idle_mask(recording, cause), covered)
        if len(stretches.row):
            idle[cause] = stretches
    labels = tuple(rank.label for rank in order)
    return Timeline(labels, cells, work, idle, recording.end / PICO)


def _cells(recording: Recording, rows: Ints) -> Cells:
    spans = recording.spans
    index = np.flatnonzero(spans.lane == SLOT)
    order = index[np.lexsort((spans.end[index], spans.start[index], rows[index]))]
    matches = [_work(spans.names[name]) for name in spans.name[order]]
    row, start, end = rows[order], spans.start[order] / PICO, spans.end[order] / PICO
    kind = np.array([match["kind"] for match in matches], dtype=np.str_)
    return Cells(
        row=row,
        start=start,
        end=end,
        kind=kind,
        micro_batch=np.array([int(match["micro_batch"]) for match in matches], dtype=np.int64),
        stage=np.array([int(match["stage"]) for match in matches], dtype=np.int64),
        direction=np.array([int(match["reverse"] is not None) for match in matches], dtype=np.int64),
        half=_halves(row, start, end, kind),
        waiting=_waiting(recording, rows, row, start, end),
    )


def _work(name: str) -> re.Match[str]:
    match = CELL.fullmatch(name)
    if match is None:
        raise IdentityBroken(f"a span of the slot lane is no work of the schedule (got {name!r})")
    return match


def _halves(row: Ints, start: Floats, end: Floats, kind: npt.NDArray[np.str_]) -> Ints:
    """Which half of its row a cell gets: forwards above where two works overlap. Cells come sorted by row and start."""
    half = np.zeros(len(row), dtype=np.int64)
    for later in range(1, len(row)):
        earlier = later - 1
        if row[earlier] != row[later] or end[earlier] <= start[later]:
            continue
        upper = later if kind[later] == "F" and kind[earlier] != "F" else earlier
        lower = earlier + later - upper
        if half[earlier]:  # keep the half that an earlier overlap gave it
            upper, lower = (earlier, later) if half[earlier] == 1 else (later, earlier)
        half[upper], half[lower] = 1, 2
    return half


def _waiting(recording: Recording, rows: Ints, row: Ints, start: Floats, end: Floats) -> dict[str, Floats]:
    """Idle seconds of the compute lane inside each cell, by cause."""
    spans = recording.spans
    waiting: dict[str, Floats] = {}
    for cause in _causes(recording):
        chosen = _idle_mask(recording, cause)
        inside = np.zeros(len(row))
        for number in np.unique(rows[chosen]):
            mine, cells = chosen & (rows == number), row == number
            inside[cells] = overlap(spans.start[mine] / PICO, spans.end[mine] / PICO, start[cells], end[cells])
        if inside.any():
            waiting[cause] = inside
    return waiting


def overlap(starts: Floats, ends: Floats, lower: Floats, upper: Floats) -> Floats:
    """Length of [lower, upper] covered by disjoint intervals, for many windows at once.

    >>> overlap(np.array([0.0, 5.0]), np.array([2.0, 6.0]), np.array([1.0]), np.array([5.5])).tolist()
    [1.5]
    """
    if not len(starts):
        return np.zeros(len(lower))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    moments = np.column_stack((starts, ends)).ravel()
    lengths = np.concatenate(([0.0], np.cumsum(ends - starts)))
    covered = np.column_stack((lengths[:-1], lengths[1:])).ravel()
    result: Floats = np.interp(upper, moments, covered) - np.interp(lower, moments, covered)
    return result


def _causes(recording: Recording) -> list[str]:
    spans = recording.spans
    return sorted({spans.names[name] for name in np.unique(spans.name[spans.lane == IDLE])})


def _idle_mask(recording: Recording, cause: str) -> npt.NDArray[np.bool_]:
    spans = recording.spans
    mask: npt.NDArray[np.bool_] = (spans.lane == IDLE) & (spans.name == spans.names.index(cause))
    return mask


def _union(start: Floats, end: Floats) -> list[tuple[float, float]]:
    """Disjoint intervals that cover the same time; the starts come sorted."""
    merged: list[tuple[float, float]] = []
    for begin, finish in zip(start.tolist(), end.tolist(), strict=True):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], finish))
        else:
            merged.append((begin, finish))
    return merged


def _outside(
    rows: Ints, start: Ints, end: Ints, chosen: npt.NDArray[np.bool_], covered: list[list[tuple[float, float]]]
) -> Stretches:
    """What of the chosen spans lies outside the covered intervals of their row; what touches is joined."""
    found: list[tuple[int, float, float]] = []
    for row, intervals in enumerate(covered):
        mine = np.flatnonzero(chosen & (rows == row))
        mine = mine[np.argsort(start[mine], kind="stable")]
        gaps = _gaps(intervals)
        gap = 0
        for begin, finish in zip((start[mine] / PICO).tolist(), (end[mine] / PICO).tolist(), strict=True):
            while gaps[gap][1] <= begin:
                gap += 1
            number = gap
            while number < len(gaps) and gaps[number][0] < finish:
                low, high = max(begin, gaps[number][0]), min(finish, gaps[number][1])
                if found and found[-1][0] == row and low - found[-1][2] < 1e-9:
                    found[-1] = (row, found[-1][1], high)
                else:
                    found.append((row, low, high))
                number += 1
    columns = list(zip(*found, strict=True)) or [(), (), ()]
    return Stretches(np.array(columns[0], dtype=np.int64), np.array(columns[1]), np.array(columns[2]))


def _gaps(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The complement of disjoint sorted intervals over all time."""
    edges = [-np.inf, *(edge for interval in intervals for edge in interval), np.inf]
    return [(float(low), float(high)) for low, high in zip(edges[::2], edges[1::2], strict=True)]
