"""Draws what every pipeline rank holds over a step, when it is asked for: the layout, and when its works ran."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from simulator.engine.recorder import LANES, PICO, Recording
from simulator.memory_timeline import PARTS, MemoryTimeline
from simulator.prepare import Prepared
from workloads.fitting import fitting
from workloads.instructions import StageMemory, Work, WorkKind
from workloads.memory import MemoryBudget
from workloads.memory_course import Floats, Span, changes, course, shares
from workloads.pieces import Pieces
from workloads.program import outlines

GIB = 2.0**30
SLOT = LANES.index("slot")
CELL = re.compile(r"(?P<kind>[FBIW])(?P<micro_batch>\d+) stage (?P<stage>\d+)(?P<reverse> reverse)?")


class Drawn:
    """Curves that came from another process."""

    def __init__(self, curves: tuple[MemoryTimeline, ...]) -> None:
        self._curves = curves

    def timelines(self) -> tuple[MemoryTimeline, ...]:
        """One a pipeline rank."""
        return self._curves


class MemoryBook:
    """Knows what was laid out and when its works ran; draws the curves when they are asked for."""

    def __init__(self, prepared: Prepared, recording: Recording) -> None:
        self._prepared = prepared
        self._recording = recording
        self._drawn: tuple[MemoryTimeline, ...] | None = None

    def __reduce__(self) -> tuple[type[Drawn], tuple[tuple[MemoryTimeline, ...]]]:
        """Another process gets the curves: what they are drawn from stays with the run."""
        return Drawn, (self.timelines(),)

    def timelines(self) -> tuple[MemoryTimeline, ...]:
        """One a pipeline rank, of its ranks that hold most."""
        if self._drawn is None:
            prepared = self._prepared
            order = outlines(prepared.plan)
            held = fitting(prepared.model, prepared.plan, prepared.groups, order, MemoryBudget(prepared.usable_memory))
            self._drawn = tuple(
                self._timeline(rank, *max(((pieces, parts[rank]) for pieces, parts in held), key=lambda found: found[1].total))
                for rank in range(prepared.plan.pp)
            )
        return self._drawn

    def _timeline(self, pp_rank: int, pieces: Pieces, memory: StageMemory) -> MemoryTimeline:
        device, loads = self._prepared.device, self._prepared.plan.loads
        known: dict[tuple[int, int, WorkKind], tuple[Floats, Sequence[float]]] = {}

        def held(work: Work) -> tuple[Floats, Sequence[float]]:
            pattern = loads.pattern(work.micro_batch)
            found = known.get((pattern, work.stage, work.kind))
            if found is None:
                stage = pieces.under(pattern)[work.stage]
                moments = shares(stage, work.kind, lambda operator: device.time(operator).total)
                found = known[pattern, work.stage, work.kind] = (moments, changes(stage, work.kind))
            return found

        per_chip = self._prepared.fabric.ranks_per_chip / GIB
        times, activations = course(self._spans(pp_rank), held)
        flat = {name: np.full(len(times), getattr(memory, name) * per_chip) for name in PARTS[:-1]}
        # What rounding leaves of nothing is nothing.
        left = np.where(np.abs(activations) > 1e-9 * max(activations.max(), 1.0), activations, 0.0)
        return MemoryTimeline(pp_rank, self._recording.end / PICO, times, {**flat, "activations": left * per_chip})

    def _spans(self, pp_rank: int) -> Iterator[Span]:
        """The works of the first class of this pipeline rank, as they ran."""
        key = next(rank.key for rank in self._recording.ranks if rank.pp_rank == pp_rank)
        spans = self._recording.spans
        chosen: npt.NDArray[np.int64] = np.flatnonzero((spans.lane == SLOT) & (spans.rank_class == key))
        for place in chosen:
            cell = CELL.fullmatch(spans.names[spans.name[place]])
            assert cell, spans.names[spans.name[place]]
            work = Work(WorkKind(cell["kind"]), int(cell["stage"]), int(cell["micro_batch"]), int(cell["reverse"] is not None))
            yield Span(work, spans.start[place] / PICO, spans.end[place] / PICO)
