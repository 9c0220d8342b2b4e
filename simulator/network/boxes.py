"""Everybody to everybody in boxes of coordinates: the classes of all pairs of all sources at once, in closed form.

A box holds every combination of the coordinates along some sub-dimensions, at one place of the others. The classes of its pairs
are combinations of the types along each sub-dimension, so their numbers are products, and their lowest ranks sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from simulator.network.contract import RankClass
from simulator.network.orbits import Orbits
from simulator.network.paths import Heading
from topologies.fabric import Ints

#: Classes of pairs that are made at once; each takes about a hundred bytes.
BOXED = 1 << 18


@dataclass(frozen=True, slots=True)
class Box:
    """The sub-dimensions (their places in ``Orbits.parts``) along which a group has all coordinates."""

    along: tuple[int, ...]


def box_of(orbits: Orbits, members: Ints) -> Box | None:
    """The box that these ranks fill, each there once; None if they fill none, or ranks are no combinations of coordinates."""
    if not orbits.nested:
        return None
    parts = [column for column, part in enumerate(orbits.parts) if part.unit and part.size > 1]
    if len(members) < orbits.fabric.ranks:
        places = orbits.coordinates[members]
        parts = [column for column in parts if (places[:, column] != places[0, column]).any()]
    return Box(tuple(parts)) if prod(orbits.parts[column].size for column in parts) == len(members) else None


def pairs_within(orbits: Orbits, box: Box) -> int:
    """How many classes of pairs of different ranks of one box there are. All devices are alive."""
    number = prod(
        sum(len(types.kinds) if column in box.along else 1 for types in orbits.types_along(column))
        for column, part in enumerate(orbits.parts)
        if part.unit and part.size > 1
    )
    return number - len(orbits.representatives)


def headings_within(orbits: Orbits, rank_classes: Sequence[RankClass], box: Box) -> list[Heading]:
    """For each rank class the pairs of its representative with all others of its box. All devices are alive."""
    source, code, lowest, counts = (np.full(1, number, dtype=np.int64) for number in (0, 0, 0, 1))
    for column, part in reversed(list(enumerate(orbits.parts))):
        if not part.unit or part.size == 1:
            continue
        ends = []
        for here, types in zip(orbits.firsts_along(column), orbits.types_along(column), strict=True):
            alone = slice(None) if column in box.along else np.flatnonzero(types.kinds == types.code[here])
            kinds = types.kinds[alone]
            first = types.first[alone] if column in box.along else np.full(1, here, dtype=np.int64)
            ends.append((np.full(len(kinds), here * part.unit, dtype=np.int64), kinds, first * part.unit, types.counts[alone]))
        own, kinds, first, often = (np.concatenate(end) for end in zip(*ends, strict=True))
        source = (own[:, None] + source).ravel()
        code = (kinds[:, None] + code).ravel()  # outer codes lie apart by more than all inner ones
        lowest = (first[:, None] + lowest).ravel()
        counts = (often[:, None] * counts).ravel()
    key = orbits.rank_class[source]
    count = len(key)
    order = np.sort(key * count + np.arange(count, dtype=np.int64)) % count  # by source, else as they are
    order = order[lowest[order] != source[order]]  # only the rank itself is alike to itself in every part
    bounds = np.searchsorted(key[order], np.arange(len(rank_classes) + 1)).tolist()
    code, lowest, counts = code[order], lowest[order], counts[order]
    return [
        Heading(each, lowest[start:end], counts[start:end], code[start:end])
        for each, start, end in zip(rank_classes, bounds[:-1], bounds[1:], strict=True)
    ]
