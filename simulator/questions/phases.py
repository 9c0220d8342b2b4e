"""What a step consists of as pipeline papers print it: lone forwards, lone backwards, joined pairs, the optimizer, the rest.

The names are those of DeepSeek's table (arXiv 2505.09343, table 4), where they sum to the step: ``1F_s`` forwards alone,
``1B_s`` backwards alone (whole ones, and those of inputs only), ``1W_s`` weight gradients alone, ``1F1B_s`` a forward and a
backward joined in one slot, ``opt_s`` the optimizer with its collectives that nothing hides, ``bubble_s`` all else. Seconds of
one step, on the ranks of the first stage and as fast as a typical one of them: what rank 0 of a job logs.

That the first stage is meant is inferred from the table. Its lone weight gradients take 0.48 s. The first rank of DualPipe has 15
of them, so that each computes at 590 TFLOP/s; the average rank has 11.5, which would be 450, less than any kernel of theirs.

A slot counts from its start to its end, with whatever it waits for inside: collectives, and others of its groups that are
slower (:mod:`simulator.engine.slowest`). Waiting for a slower rank of the pipeline is bubble, for one elsewhere in the job part
of ``opt_s``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from simulator.engine.recorder import LANES, PICO, Recording
from simulator.engine.spans import Spans

SLOT, COMPUTE, IDLE = (LANES.index(lane) for lane in ("slot", "compute", "idle"))
NAMES = {"F": "1F_s", "B": "1B_s", "I": "1B_s", "W": "1W_s"}
"""Letters that begin the name of a slot's span, and where a slot of one such work counts."""
JOINED = "1F1B_s"

PHASES = frozenset({"1F_s", "1B_s", "1W_s", JOINED, "opt_s", "bubble_s"})
"""All that a step consists of."""

Ticks = npt.NDArray[np.int64]


def phases(recording: Recording) -> dict[str, float]:
    """Seconds of one step by phase on the first stage; they sum to the step [s]."""
    found = dict.fromkeys(("1F_s", "1B_s", "1W_s", JOINED, "opt_s"), 0.0)
    first = min(rank.pp_rank for rank in recording.ranks)
    chosen = [rank for rank in recording.ranks if rank.pp_rank == first]
    total = sum(rank.size for rank in chosen)
    for rank in chosen:
        for name, ticks in _of(recording, rank.key):
            found[name] += ticks / PICO * rank.size / total
    found["bubble_s"] = recording.end / PICO - sum(found.values())
    return found


def errors(measured: Mapping[str, float], predicted: Mapping[str, float]) -> dict[str, float]:
    """Predicted / measured - 1 of everything that both have; nothing can be said beside a measured zero."""
    return {name: predicted[name] / value - 1 for name, value in measured.items() if value and name in predicted}


def _of(recording: Recording, rank_class: int) -> Iterator[tuple[str, float]]:
    """What a rank class spends on each phase, its bubbles apart [ps]. The slowest rank was recorded."""
    slowest, spans = recording.slowest, recording.spans
    works, exposed = _Busy.of(spans, rank_class, COMPUTE), _Busy.of(spans, rank_class, IDLE, "exposed_dp")
    inside = exposed_inside = 0.0
    for name, start, end in _slots(spans, rank_class):
        work = works.between(start, end)
        inside += work
        exposed_inside += exposed.between(start, end)
        yield name, end - start - work * (1.0 - slowest.in_slot / slowest.in_job)
    yield "opt_s", works.total - inside + exposed.total - exposed_inside
    yield "opt_s", inside * (1.0 - slowest.in_pipeline / slowest.in_job)


class _Busy:
    """How long a lane was busy by a given moment."""

    def __init__(self, start: Ticks, end: Ticks) -> None:
        order = np.argsort(start, kind="stable")
        self._edges = np.stack((start[order], end[order]), axis=1).ravel()
        lasting = np.stack((np.zeros(len(order)), (end - start)[order]), axis=1).ravel()
        self._sums = np.cumsum(lasting)
        self.total = float(lasting.sum())

    @classmethod
    def of(cls, spans: Spans, rank_class: int, lane: int, name: str | None = None) -> _Busy:
        """Of all spans of a lane, or of those of a name."""
        chosen = (spans.rank_class == rank_class) & (spans.lane == lane)
        if name is not None:
            chosen &= spans.name == (spans.names.index(name) if name in spans.names else -1)
        return cls(spans.start[chosen], spans.end[chosen])

    def between(self, start: int, end: int) -> float:
        """Of a stretch of time [ps]."""
        if not len(self._edges):
            return 0.0
        before, after = np.interp((start, end), self._edges, self._sums, left=0.0)
        return float(after - before)


def _slots(spans: Spans, rank_class: int) -> Iterator[tuple[str, int, int]]:
    """Slots of a rank class in order: phase, start and end [ps]. Works that run side by side are one slot."""
    chosen = np.flatnonzero((spans.rank_class == rank_class) & (spans.lane == SLOT))
    open_name, open_start, open_end = "", 0, 0
    for row in chosen[np.argsort(spans.start[chosen], kind="stable")]:
        name, start, end = NAMES[spans.names[spans.name[row]][0]], int(spans.start[row]), int(spans.end[row])
        if open_name and start < open_end:
            open_name, open_end = JOINED, max(open_end, end)
            continue
        if open_name:
            yield open_name, open_start, open_end
        open_name, open_start, open_end = name, start, end
    if open_name:
        yield open_name, open_start, open_end
