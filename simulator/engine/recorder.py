"""What happened, as columns: spans on lanes, idle time with its cause, link utilisation as step functions.

Columns (parallel lists of ints) cost a tenth of objects and become numpy arrays at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, islice

import numpy as np
import numpy.typing as npt

from simulator.engine.repetition import Ints, Repetition
from simulator.engine.slowest import ALIKE, Slowest

#: Lanes of a rank. ``slot`` shows the cells of the pipeline schedule, ``idle`` the compute lane's idle time and its cause.
LANES = ("slot", "compute", "tp", "cp", "ep", "dp", "pp", "idle", "to_host", "host_update", "from_host")
PICO = 1_000_000_000_000

#: In place of the number of a micro-batch: the name of a span has none.
UNNUMBERED = -1


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
        name, names = _named(form, number, list(forms))
        last = (rank_class * len(LANES) + lane) * len(names) + name
        when, row = _laid_out(sheets, [starts for _, starts, _ in recorders])
        row, until = _in_order(when, row, end - start, last)
        return Spans(rank_class[row], lane[row], name[row], when, until, names)

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


def _laid_out(sheets: Sequence[Ints], starts: Sequence[Ints]) -> tuple[Ints, Ints]:
    """When every span began [ps], once from each start of its sheet on, and its row in all sheets: in that order."""
    whole = sum(sheet.shape[1] * len(moments) for sheet, moments in zip(sheets, starts, strict=True))
    when, row = np.empty(whole, dtype=np.int64), np.empty(whole, dtype=np.int64)
    at = first = 0
    for sheet, moments in zip(sheets, starts, strict=True):
        rows, times = sheet.shape[1], len(moments)
        part = slice(at, at + rows * times)
        np.add.outer(moments, sheet[0], out=when[part].reshape(times, rows))
        row[part].reshape(times, rows)[:] = np.arange(first, first + rows)
        at, first = part.stop, first + rows
    order = np.argsort(when, kind="stable")
    return when[order], row[order]


def _in_order(when: Ints, row: Ints, lasting: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Rows that begin together put in order by when they end, and then by ``last``; and when each ends [ps].

    Most are already, for every sheet is: only those beginnings are sorted at which one is not.
    """
    end, key = when + lasting[row], last[row]
    together = when[1:] == when[:-1]
    wrong = together & ((end[1:] < end[:-1]) | ((end[1:] == end[:-1]) & (key[1:] < key[:-1])))
    if wrong.any():
        moment = np.concatenate(([0], np.cumsum(~together)))
        mixed = np.zeros(int(moment[-1]) + 1, dtype=bool)
        mixed[moment[1:][wrong]] = True
        places = np.flatnonzero(mixed[moment])
        order = places[np.lexsort((key[places], end[places], when[places]))]
        row[places], end[places] = row[order], end[order]
    return row, end


def _named(form: Ints, micro_batch: Ints, forms: list[str]) -> tuple[Ints, tuple[str, ...]]:
    """The name of every row as a number into all names, which are sorted; and these."""
    width = int(micro_batch.max(initial=UNNUMBERED)) + 2
    code = form * width + micro_batch + 1
    used = np.zeros(len(forms) * width, dtype=bool)
    used[code] = True
    codes = np.flatnonzero(used)
    cut = [one.partition("{}") for one in forms]
    heads, tails = [part[0] for part in cut], [part[2] for part in cut]
    numbers = ["{}", *(str(number) for number in range(width - 1)), ""]
    which, number = np.divmod(codes, width)
    number[np.array([not part[1] for part in cut], dtype=bool)[which]] = width
    # By what stands before the number, then by it, then by what follows: as a rule the order of the names, and much sooner there.
    order = np.lexsort((_ranks(tails)[which], _ranks(numbers)[number], _ranks(heads)[which]))
    rows = zip(which[order].tolist(), number[order].tolist(), strict=True)
    written = [heads[one] + numbers[at] + tails[one] for one, at in rows]
    place = np.zeros(len(used), dtype=np.int64)
    if all(map(str.__lt__, written, islice(written, 1, None))):
        place[codes[order]] = np.arange(len(written))
        return place[code], tuple(written)
    names = sorted(set(written))
    number_of = {name: number for number, name in enumerate(names)}
    place[codes[order]] = [number_of[name] for name in written]
    return place[code], tuple(names)


def _ranks(words: list[str]) -> Ints:
    """Where each word comes in the order of all, of equals the same."""
    rank = {word: place for place, word in enumerate(sorted(set(words)))}
    return np.array([rank[word] for word in words], dtype=np.int64)
