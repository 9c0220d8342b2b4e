"""What happened, as columns: spans on lanes, idle time with its cause, link utilisation as step functions.

Columns (parallel lists of ints) cost a tenth of objects and become numpy arrays at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress

import numpy as np
import numpy.typing as npt

from simulator.engine.repetition import Ints, Repetition
from simulator.engine.slowest import ALIKE, Slowest
from simulator.engine.spans import UNNUMBERED, Spans, laid_out, named

#: Lanes of a rank. ``slot`` shows the cells of the pipeline schedule, ``idle`` the compute lane's idle time and its cause.
LANES = ("slot", "compute", "tp", "cp", "ep", "dp", "pp", "idle", "to_host", "host_update", "from_host")
PICO = 1_000_000_000_000


@dataclass(frozen=True, eq=False)
class LinkSeries:
    """Utilisation of one link class over time: ``value[i]`` from ``time[i]`` [ps] on; wire bytes over raw capacity.

    ``draw`` works that out; it is asked when somebody looks, or takes it to another process.
    """

    link: str
    tier: str
    draw: Callable[[], tuple[Ints, npt.NDArray[np.float64]]] | None

    @cached_property
    def drawn(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        assert self.draw is not None
        return self.draw()

    @property
    def time(self) -> Ints:
        return self.drawn[0]

    @property
    def value(self) -> npt.NDArray[np.float64]:
        return self.drawn[1]

    def __getstate__(self) -> dict[str, object]:
        return {"link": self.link, "tier": self.tier, "draw": None, "drawn": self.drawn}


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
    slowest: Slowest = ALIKE  # the ranks whose spans these are, beside typical ones


#: Of a recorder: one entry a span in each.
COLUMNS = ("rank_class", "lane", "name", "micro_batch", "start", "end")


@dataclass(slots=True)
class Recorder:
    """Collects spans while the engine runs. A name holds ``{}`` where the number of its micro-batch belongs."""

    rank_class: list[int] = field(default_factory=list)
    lane: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    micro_batch: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)
    _repeated: list[tuple[Recorder, Ints, int | None]] = field(default_factory=list)
    _left_out: tuple[Repetition, int] | None = None  # and how many others had been repeated before
    _written: list[Recorder] = field(default_factory=list)  # sheets that were added whole
    _sheet: Ints | None = field(default=None, init=False, repr=False, compare=False)

    def add(self, rank_class: int, lane: int, name: str, start: int, end: int, micro_batch: int = UNNUMBERED) -> None:
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
        self.micro_batch.append(micro_batch)
        self.start.append(start)
        self.end.append(end)

    def write(self, rank_class: int, lane: int, names: Sequence[str], columns: tuple[Ints, Ints, Ints, Ints]) -> None:
        """Many spans of one lane: for each the place of its name in ``names``, its micro-batch, its start and its end [ps]."""
        found = Recorder(names=list(names))
        some = columns[3] > columns[2]
        name, micro_batch, start, end = (column[some] for column in columns)
        same = np.ones((2, len(start)), dtype=np.int64) * [[rank_class], [lane]]
        found._keep(np.array((start, end, *same, name, micro_batch)))
        self._written.append(found)

    def copy(self, rank_class: int, to: Sequence[int]) -> None:
        """Give other rank classes all the spans of one."""
        places = [place for place, key in enumerate(self.rank_class) if key == rank_class]
        for key in to:
            self.rank_class += [key] * len(places)
        for column in (self.lane, self.name, self.micro_batch, self.start, self.end):
            column.extend([column[place] for place in places] * len(to))

    def of_another(self, rank_class: int) -> Recorder:
        """A recorder that says of one rank class what this one says of the only one it knows."""
        return replace(self, rank_class=[rank_class] * len(self.rank_class))

    def without(self, until: Mapping[int, int]) -> Recorder:
        """The same but for what had ended by then [ps], rank class by rank class."""
        ends = zip(self.rank_class, self.end, strict=True)
        kept = [end > until.get(key, -1) for key, end in ends]
        found = replace(self)
        for name in COLUMNS:
            setattr(found, name, list(compress(getattr(self, name), kept)))
        return found

    def until(self, time: int, rank_classes: Collection[int]) -> Recorder:
        """What it says of some rank classes and had ended by then [ps]."""
        kept = [end <= time and key in rank_classes for key, end in zip(self.rank_class, self.end, strict=True)]
        found = self.another()
        for name in COLUMNS:
            setattr(found, name, list(compress(getattr(self, name), kept)))
        return found

    def another(self) -> Recorder:
        """One that says the same, and to which more may be added."""
        found = Recorder(names=list(self.names), _ids=dict(self._ids))
        for name in COLUMNS:
            setattr(found, name, list(getattr(self, name)))
        return found

    def repeat(self, other: Recorder, starts: Sequence[int], rank_class: int | None = None) -> None:
        """Add all the spans of another recorder, once from each of these moments on [ps]; as those of this class, if given."""
        if other.start and starts:
            self._repeated.append((other, np.array(starts, dtype=np.int64), rank_class))

    def spread(self, repetition: Repetition) -> None:
        """Let what was repeated have happened as often as it did: done when spans are asked for, as they not always are."""
        assert not self._written, "a step that is told without a clock leaves nothing out"
        self._left_out = repetition, len(self._repeated)

    def _spread(self, repetition: Repetition, before: int) -> None:
        places, late = repetition.spread(np.array(self.start, dtype=np.int64))
        for column in (self.rank_class, self.lane, self.name, self.micro_batch, self.start, self.end):
            column[:] = np.array(column, dtype=np.int64)[places].tolist()
        numbered = np.array(self.micro_batch, dtype=np.int64)
        numbered += np.where(numbered == UNNUMBERED, 0, late * repetition.micro_batches)
        self.micro_batch[:] = numbered.tolist()
        for column in (self.start, self.end):
            column[:] = (np.array(column, dtype=np.int64) + late * repetition.period).tolist()
        self._repeated[:before] = [(other, repetition.moments(starts), key) for other, starts, key in self._repeated[:before]]
        self._sheet = None

    def spans(self) -> Spans:
        """The columns as arrays, ordered by start, end, rank class, lane and name: the same however they were collected."""
        if self._left_out is not None:
            left_out, self._left_out = self._left_out, None
            self._spread(*left_out)
        # Its own come last: slots, which are the longest of what begins when they do, and so mostly in order there.
        once: Ints = np.zeros(1, dtype=np.int64)
        recorders = [*self._repeated, *((sheet, once, None) for sheet in (*self._written, self))]
        forms = {form: place for place, form in enumerate(dict.fromkeys(form for one, *_ in recorders for form in one.names))}
        sheets = [one._rows(forms, rank_class) for one, _, rank_class in recorders]
        start, end, rank_class, lane, form, number = np.concatenate(sheets, axis=1)
        name, names = named(form, number, list(forms))
        order = np.lexsort(((rank_class * len(LANES) + lane) * len(names) + name, end - start))
        when, row = laid_out(sheets, [starts for _, starts, _ in recorders], order)
        return Spans(when, names, np.array((rank_class, lane, name, end - start))[:, order], row)

    def _rows(self, forms: dict[str, int], rank_class: int | None) -> Ints:
        """Start, end, rank class, lane, form of name and micro-batch of its own spans, by start and end; [6, spans].

        Kept but for the numbers of names, and for the rank class where they are those of another.
        """
        if self._sheet is None or self._sheet.shape[1] < len(self.start):
            columns = (self.start, self.end, self.rank_class, self.lane, self.name, self.micro_batch)
            self._keep(np.array(columns, dtype=np.int64).reshape(len(columns), -1))
        assert self._sheet is not None
        sheet = self._sheet.copy()
        if sheet.size:
            sheet[4] = np.array([forms[name] for name in self.names], dtype=np.int64)[sheet[4]]
        if rank_class is not None:
            sheet[2] = rank_class
        return sheet

    def _keep(self, sheet: Ints) -> None:
        self._sheet = sheet[:, np.lexsort((sheet[1], sheet[0]))]


class Silence(Recorder):
    """Writes nothing down: of a step whose spans nobody will ask for."""

    def add(self, rank_class: int, lane: int, name: str, start: int, end: int, micro_batch: int = UNNUMBERED) -> None:
        """Nothing."""

    def write(self, rank_class: int, lane: int, names: Sequence[str], columns: tuple[Ints, Ints, Ints, Ints]) -> None:
        """Nothing."""

    def repeat(self, other: Recorder, starts: Sequence[int], rank_class: int | None = None) -> None:
        """Nothing."""
