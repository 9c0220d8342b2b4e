"""Codes of many things turned into the classes they make: as ``numpy.unique``, but without a sort where codes are small."""

from __future__ import annotations

import numpy as np

from topologies.fabric import Ints

#: Codes up to which a table is made of them whatever their number.
ROOMY = 1 << 16


def first_of_each(codes: Ints) -> tuple[Ints, Ints, Ints]:
    """The codes that occur, ascending, where each occurs first and how often: a ``unique`` without a sort if codes are small."""
    room = int(codes.max(initial=0)) + 1
    if room > 8 * len(codes):
        kinds, at, often = np.unique(codes, return_index=True, return_counts=True)
        return kinds, at, often
    counts = np.bincount(codes, minlength=room)
    first = np.zeros(room, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    kinds = np.flatnonzero(counts)
    return kinds, first[kinds], counts[kinds]


def numbered(codes: Ints) -> tuple[Ints, Ints]:
    """The codes that occur, ascending, and which of them each one is: without a sort if codes are small."""
    room = int(codes.max(initial=0)) + 1
    if room > ROOMY + 16 * len(codes):
        kinds, place = np.unique(codes, return_inverse=True)
        return kinds, place.astype(np.int64)
    return marked(codes, room)


def marked(codes: Ints, room: int) -> tuple[Ints, Ints]:
    """:func:`numbered` for codes below ``room``: by a table, whatever its size."""
    met = np.zeros(room, dtype=bool)
    met[codes] = True
    kinds = np.flatnonzero(met)
    number = np.empty(room, dtype=np.int64)  # only what was met is filled in, which is less than a running sum
    number[kinds] = np.arange(len(kinds), dtype=np.int64)
    return kinds, number[codes]


def places(codes: Ints) -> tuple[Ints, Ints]:
    """Where each code occurs first, in that order; and which of these each one is."""
    kinds, place = numbered(codes)
    first = np.zeros(len(kinds), dtype=np.int64)
    first[place[::-1]] = np.arange(len(codes) - 1, -1, -1)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[place]
