"""What links carried where a few stretches of time come again and again: worked out once a stretch, and laid out if asked.

A step that is told without a clock is made of sheets: what a rank did by itself between two rests, or one letter on its way. Each
is written down once, in shares of its own numbering, with the moments from which on it happened. As long as nothing else was on
a link at the same time, the highest it carried is the highest in any of its sheets, and so on: no moments need to be put in
order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from topologies.fabric import Floats, Ints

#: A link counts as saturated above this utilisation.
SATURATED = 0.95

Uses = Sequence[tuple[int, float]]
"""Shares with what each loads one link with [utilisation]."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Utilisation of one link over a sheet: it is ``value[i]`` from ``time[i]`` [ps since its start] on, the last 0.

    ``high``: ticks above SATURATED, from ``first_high`` on.
    """

    time: Ints
    value: Floats
    peak: float
    high: int
    first_high: int | None

    @classmethod
    def of(cls, time: Ints, value: Floats) -> Track:
        high = value > SATURATED
        places = np.flatnonzero(high)
        first = int(time[places[0]]) if len(places) else None
        return cls(time, value, float(value.max()), int(np.diff(time)[high[:-1]].sum()), first)


@dataclass(slots=True, eq=False)
class Sheet:
    """Columns: share ``share[i]``, a number of the sheet's own, held from ``start[i]`` to ``end[i]`` [ps since its start]."""

    start: array[int]
    end: array[int]
    share: array[int]
    _tracks: dict[tuple[tuple[int, float], ...], Track] = field(default_factory=dict, repr=False)
    _held: dict[int, int] | None = field(default=None, repr=False)

    @property
    def extent(self) -> tuple[int, int]:
        """When anything first and last was on the links."""
        return min(self.start), max(self.end)

    @property
    def held(self) -> dict[int, int]:
        """How long each share held [ps]."""
        if self._held is None:
            found: dict[int, int] = {}
            for start, end, share in zip(self.start, self.end, self.share, strict=True):
                found[share] = found.get(share, 0) + end - start
            self._held = found
        return self._held

    def track(self, uses: tuple[tuple[int, float], ...]) -> Track:
        """What a link carries that its shares load so; kept, for whoever is alike has links that are loaded so."""
        found = self._tracks.get(uses)
        if found is None:
            amount = np.zeros(max(self.share) + 1)
            for share, load in uses:
                amount[share] = load
            on = amount[np.array(self.share, dtype=np.int64)]
            rows = np.flatnonzero(on)
            start, end = np.array(self.start, dtype=np.int64)[rows], np.array(self.end, dtype=np.int64)[rows]
            found = self._tracks[uses] = Track.of(*stacked(np.concatenate((start, end)), np.concatenate((on[rows], -on[rows]))))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A sheet that happened from each of these moments on [ps]. ``keys``: its shares, by their numbers there.

    ``lane``: sheets of one lane are of one rank, or one way of mail.
    """

    sheet: Sheet
    keys: Sequence[int]
    starts: Ints
    lane: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A sheet on one link."""

    laid: Laid
    track: Track


class Layout:
    """All sheets of one step."""

    def __init__(self, laid: Sequence[Laid]) -> None:
        self.laid = laid
        self._at: dict[int, list[tuple[int, int]]] = {}  # by share: sheets that it is in, and its number there
        for number, each in enumerate(laid):
            for local, key in enumerate(each.keys):
                self._at.setdefault(key, []).append((number, local))
        self._follow: dict[int, bool] = {}  # by lane

    def parts(self, uses: Uses) -> list[Part]:
        """The sheets in which a link is loaded by shares."""
        found: dict[int, list[tuple[int, float]]] = {}
        for share, load in uses:
            for number, local in self._at.get(share, ()):
                found.setdefault(number, []).append((local, load))
        return [Part(self.laid[number], self.laid[number].sheet.track(tuple(on))) for number, on in found.items()]

    def apart(self, parts: Sequence[Part]) -> bool:
        """Whether never two of them are on the link at the same time."""
        lanes = {part.laid.lane for part in parts}
        if len(lanes) == 1 and self._follows(*lanes):
            return True
        return _disjoint((part.laid.starts, int(part.track.time[0]), int(part.track.time[-1])) for part in parts)

    def _follows(self, lane: int) -> bool:
        found = self._follow.get(lane)
        if found is None:
            mine = [each for each in self.laid if each.lane == lane]
            found = self._follow[lane] = _disjoint((each.starts, *each.sheet.extent) for each in mine)
        return found

    def rows(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Starts, ends [ps] and shares of all that happened, sheet by sheet."""
        for each in self.laid:
            start, end, share = (
                np.array(column, dtype=np.int64) for column in (each.sheet.start, each.sheet.end, each.sheet.share)
            )
            shift = each.starts[:, None]
            keys = np.array(each.keys, dtype=np.int64)
            yield (start + shift).ravel(), (end + shift).ravel(), np.tile(keys[share], len(each.starts))


class Carried:
    """What one link carried: the highest utilisation, ticks above SATURATED, the first of them [ps]; and all of it over time."""

    def __init__(self, parts: Sequence[Part], peak: float, high: int, first_high: int | None) -> None:
        self.peak = peak
        self.high = high
        self.first_high = first_high
        self._parts = parts

    @classmethod
    def of(cls, track: Track) -> Carried:
        found = cls((), track.peak, track.high, track.first_high)
        found.steps = track.time, track.value
        return found

    @classmethod
    def nothing(cls) -> Carried:
        """Of a link that nothing was ever on."""
        return cls.of(Track.of(np.zeros(1, dtype=np.int64), np.zeros(1)))

    @classmethod
    def of_parts(cls, parts: Sequence[Part], *, apart: bool) -> Carried:
        """``apart``: never two of them at the same time."""
        if not apart:
            return cls.of(Track.of(*laid_out(parts)))
        firsts = [int(part.laid.starts.min()) + part.track.first_high for part in parts if part.track.first_high is not None]
        high = sum(part.track.high * len(part.laid.starts) for part in parts)
        return cls(parts, max(part.track.peak for part in parts), high, min(firsts, default=None))

    @cached_property
    def steps(self) -> tuple[Ints, Floats]:
        """Utilisation from moments [ps] on."""
        return laid_out(self._parts)


def laid_out(parts: Sequence[Part]) -> tuple[Ints, Floats]:
    """What a link carried over the step: utilisation from moments [ps] on."""
    times, changes = [], []
    for part in parts:
        times.append(np.add.outer(part.laid.starts, part.track.time).ravel())
        changes.append(np.tile(np.diff(part.track.value, prepend=0.0), len(part.laid.starts)))
    return stacked(np.concatenate(times), np.concatenate(changes))


def stacked(time: Ints, changes: Floats) -> tuple[Ints, Floats]:
    """The sum of changes as a step function: (time, value from then on), the last value 0."""
    order = np.argsort(time, kind="stable")
    time = time[order]
    new = np.ones(len(time), dtype=bool)
    np.not_equal(time[1:], time[:-1], out=new[1:])
    value: Floats = np.cumsum(np.bincount(np.cumsum(new) - 1, weights=changes[order]))
    return changed(time[new], value)


def changed(time: Ints, value: Floats) -> tuple[Ints, Floats]:
    """A step function without the moments at which nothing changes, and without what rounding leaves of nothing."""
    value[value < 1e-12] = 0.0
    differs: npt.NDArray[np.bool_] = np.ones(len(value), dtype=bool)
    np.not_equal(value[1:], value[:-1], out=differs[1:])
    return time[differs], value[differs]


def _disjoint(parts: Iterable[tuple[Ints, int, int]]) -> bool:
    """Whether spans of time that begin and end so long after any of their starts never overlap."""
    spans = [(starts + begin, starts + end) for starts, begin, end in parts]
    begins, ends = (np.concatenate(column) for column in zip(*spans, strict=True))
    order = np.argsort(begins, kind="stable")
    return bool(np.all(ends[order][:-1] <= begins[order][1:]))
