"""What a pipeline rank holds over a step: a step function of time, by part.

Weights, gradients, the optimizer's state and buffers are there all along; activations follow the works as they ran, piece by
piece (workloads/memory_course.py), each piece for its share of the work's time by what its operators take alone. The highest
moment is the peak that the result reports; where a forward and a backward run side by side the report adds their highest
moments, which may not coincide, so there the curve may stay below it.

Leaves out: the update and what it holds for a moment; gradients and buffers as they come and go.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.memory_course import Floats

PARTS = ("weights", "gradients", "optimizer", "buffers", "activations")


@dataclass(frozen=True, slots=True)
class MemoryTimeline:
    """One pipeline rank over one step of ``step_time_s``: GiB a chip by part, ``parts[name][i]`` from ``time_s[i]`` [s] on."""

    pp_rank: int
    step_time_s: float
    time_s: Floats
    parts: dict[str, Floats]

    @property
    def total(self) -> Floats:
        """All parts together [GiB per chip]."""
        whole: Floats = np.sum(list(self.parts.values()), axis=0)
        return whole

    @property
    def peak_gib(self) -> float:
        """The most that it holds [GiB per chip]."""
        return float(self.total.max())

    @property
    def peak_s(self) -> float:
        """When it first holds that [s]."""
        total = self.total
        return float(self.time_s[np.flatnonzero(total >= total.max() * (1 - 1e-12))[0]])

    @property
    def mean_gib(self) -> float:
        """Average over the step [GiB per chip]."""
        seconds = np.diff(self.time_s, append=max(self.step_time_s, float(self.time_s[-1])))
        return float(self.total @ seconds) / self.step_time_s

    def rows(self) -> Iterator[dict[str, float]]:
        """One row a value: pipeline rank, start [s], every part and the total [GiB per chip]."""
        columns = {f"{name}_gib": values for name, values in self.parts.items()} | {"total_gib": self.total}
        for place, start in enumerate(self.time_s):
            amounts = {name: float(values[place]) for name, values in columns.items()}
            yield {"pp_rank": self.pp_rank, "start_s": float(start), **amounts}

    def to_dict(self) -> dict[str, Any]:
        """Columns as plain lists."""
        return {
            "pp_rank": self.pp_rank,
            "peak_gib": self.peak_gib,
            "peak_s": self.peak_s,
            "mean_gib": self.mean_gib,
            "start_s": self.time_s.tolist(),
            **{f"{name}_gib": values.tolist() for name, values in self.parts.items()},
        }


def to_csv(timelines: Sequence[MemoryTimeline]) -> str:
    """The rows of all ranks as comma-separated text with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["pp_rank", "start_s", *(f"{part}_gib" for part in PARTS), "total_gib"], lineterminator="\n")
    writer.writeheader()
    for timeline in timelines:
        writer.writerows(timeline.rows())
    return text.getvalue()


def as_text(timelines: Sequence[MemoryTimeline], *, table: bool) -> str:
    """All ranks as one document: a table (CSV), or JSON ``{"unit": "GiB per chip", "stages": [...]}``."""
    if table:
        return to_csv(timelines)
    return json.dumps({"unit": "GiB per chip", "stages": [timeline.to_dict() for timeline in timelines]}, indent=2) + "\n"
