"""What happened, as columns: spans on lanes, idle time with its cause, link utilisation as step functions.

Columns (parallel lists of ints) cost a tenth of objects and become numpy arrays at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

#: Lanes of a rank. ``slot`` shows the cells of the pipeline schedule, ``idle`` the compute lane's idle time and its cause.
LANES = ("slot", "compute", "tp", "cp", "ep", "dp", "pp", "idle")
PICO = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Spans:
    """One row a span. ``lane`` indexes LANES, ``name`` indexes ``names``, times in picoseconds."""

    rank_class: npt.NDArray[np.int64]
    lane: npt.NDArray[np.int64]
    name: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkSeries:
    """Utilisation of one link class over time: ``value[i]`` from ``time[i]`` [ps] on; wire bytes over raw capacity."""

    link: str
    tier: str
    time: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankInfo:
    """How a rank class is shown."""

    key: int
    label: str
    size: int
    pp_rank: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything the figures and the trace are drawn from."""

    spans: Spans
    links: tuple[LinkSeries, ...]
    ranks: tuple[RankInfo, ...]
    end: int  # [ps]


@dataclass(slots=True)
class Recorder:
    """Collects spans while the engine runs."""

    rank_class: list[int] = field(default_factory=list)
    lane: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)

    def add(self, rank_class: int, lane: int, name: str, start: int, end: int) -> None:
        """One span; a span of no length is dropped."""
        if end <= start:
            return
        number = self._ids.get(name)
        if number is None:
            number = self._ids[name] = len(self.names)
            self.names.append(name)
        self.rank_class.append(rank_class)
        self.lane.append(lane)
        self.name.append(number)
        self.start.append(start)
        self.end.append(end)

    def spans(self) -> Spans:
        """The columns as arrays."""
        return Spans(
            rank_class=np.array(self.rank_class, dtype=np.int64),
            lane=np.array(self.lane, dtype=np.int64),
            name=np.array(self.name, dtype=np.int64),
            start=np.array(self.start, dtype=np.int64),
            end=np.array(self.end, dtype=np.int64),
            names=tuple(self.names),
        )
