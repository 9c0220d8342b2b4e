"""Spans in order: laid out from sheets that were repeated, sorted, and their names written.

Nearly all spans are one of a few thousand rows at another moment, so what is sorted is a moment and the number of a row, and
columns are made of that when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from simulator.engine.repetition import Ints

#: In place of the number of a micro-batch: the name of a span has none.
UNNUMBERED = -1

PIECE = 16384
"""Rows that are worked on at a time: few enough that they stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Spans:
    """One row a span. ``lane`` indexes LANES, ``name`` indexes ``names``, times in picoseconds.

    A row is a moment, ``start``, and a place, ``row``, in a ``table`` of rank class, lane, name and how long it lasts: many spans
    differ in nothing but when they began. Other columns are laid out when they are asked for.
    """

    start: Ints
    names: tuple[str, ...]
    table: Ints
    row: Ints

    @cached_property
    def rank_class(self) -> Ints:
        return self._column(0)

    @cached_property
    def lane(self) -> Ints:
        return self._column(1)

    @cached_property
    def name(self) -> Ints:
        return self._column(2)

    @cached_property
    def end(self) -> Ints:
        return self.start + self._column(3)

    def pieces(self) -> Iterator[Ints]:
        """Rank classes, lanes, names, starts and ends, column after column in pieces; each is overwritten by the next."""
        room = np.empty(min(PIECE, len(self.row)), dtype=np.int64)
        cuts = range(0, len(self.row), PIECE)
        for column in range(3):
            for at in cuts:
                yield self._taken(column, at, room)
        yield self.start
        for at in cuts:
            piece = self._taken(3, at, room)
            piece += self.start[at : at + PIECE]
            yield piece

    def _taken(self, column: int, at: int, room: Ints) -> Ints:
        row = self.row[at : at + PIECE]
        # Rows are in the table; "clip" spares a copy that checking it would make.
        return np.take(self.table[column], row, out=room[: len(row)], mode="clip")

    def _column(self, column: int) -> Ints:
        found: Ints = self.table[column][self.row]
        return found


def laid_out(sheets: Sequence[Ints], starts: Sequence[Ints], order: Ints) -> tuple[Ints, Ints]:
    """When every span began [ps], once from each start of its sheet on, and the place of its row in ``order``: sorted by both.

    Both are sorted as one number, where they go into one: that takes a third of sorting them one after the other.
    """
    whole = sum(sheet.shape[1] * len(moments) for sheet, moments in zip(sheets, starts, strict=True))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    when, row = np.empty(whole, dtype=np.int64), np.empty(whole, dtype=np.int64)
    at = first = 0
    for sheet, moments in zip(sheets, starts, strict=True):
        rows, times = sheet.shape[1], len(moments)
        part = slice(at, at + rows * times)
        np.add.outer(moments, sheet[0], out=when[part].reshape(times, rows))
        row[part].reshape(times, rows)[:] = place[first : first + rows]
        at, first = part.stop, first + rows
    bits = len(order).bit_length()
    if int(when.max(initial=0)).bit_length() + bits > 63:
        both = np.lexsort((row, when))
        return when[both], row[both]
    when <<= bits
    when |= row
    when.sort()
    np.bitwise_and(when, (1 << bits) - 1, out=row)
    when >>= bits
    return when, row


def named(form: Ints, micro_batch: Ints, forms: list[str]) -> tuple[Ints, tuple[str, ...]]:
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
