"""What happened, as columns: spans on lanes, idle time with its cause, link utilisation as step functions.

Columns (parallel lists of ints) cost a tenth of objects and become numpy arrays at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    _repeated: list[tuple[Recorder, npt.NDArray[np.int64]]] = field(default_factory=list)

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

    def copy(self, rank_class: int, to: int) -> None:
        """Give one rank class all the spans of another."""
        places = [place for place, key in enumerate(self.rank_class) if key == rank_class]
        self.rank_class += [to] * len(places)
        for column in (self.lane, self.name, self.start, self.end):
            column += [column[place] for place in places]

    def repeat(self, other: Recorder, starts: Sequence[int]) -> None:
        """Add all the spans of another recorder, once from each of these moments on [ps]."""
        if other.start and starts:
            self._repeated.append((other, np.array(starts, dtype=np.int64)))

    def spans(self) -> Spans:
        """The columns as arrays, ordered by start, end, rank class, lane and name: the same however they were collected."""
        names = sorted({*self.names, *(name for other, _ in self._repeated for name in other.names)})
        place = {name: number for number, name in enumerate(names)}
        columns = [_columns(self, place, np.zeros(1, dtype=np.int64))]
        columns += [_columns(other, place, starts) for other, starts in self._repeated]
        whole = np.concatenate(columns, axis=1)
        start, end, rank_class, lane, name = whole[:, np.lexsort(whole[::-1])]
        return Spans(rank_class, lane, name, start, end, tuple(names))


def _columns(recorder: Recorder, place: dict[str, int], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Start, end, rank class, lane and name of every span, once from each start on; shape (5, spans x starts)."""
    number = np.array([place[name] for name in recorder.names], dtype=np.int64)
    times = [np.add.outer(starts, np.array(column, dtype=np.int64)).ravel() for column in (recorder.start, recorder.end)]
    name = number[np.array(recorder.name, dtype=np.int64)] if recorder.name else np.zeros(0, dtype=np.int64)
    fixed = (np.array(recorder.rank_class, dtype=np.int64), np.array(recorder.lane, dtype=np.int64), name)
    return np.array([*times, *(np.tile(column, len(starts)) for column in fixed)])
