"""The order of a pipeline rank as columns of numbers: what is asked of all its works is then asked of a few sorts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from workloads.instructions import Slot, Work, WorkKind

Ints = npt.NDArray[np.int64]
Cell = tuple["WorkKind", int, int]
"""Works without their micro-batch: kind, stage, direction."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Slots one after the other. ``cells`` in the order of their first use; of every work ``cell``, its place there, and
    ``batch``, its micro-batch. ``first``: the place of each slot's first work.
    """

    slots: Sequence[Slot]
    works: tuple[Work, ...]
    cells: tuple[Cell, ...]
    cell: Ints
    batch: Ints
    first: Ints

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Outline:
        works = tuple(chain.from_iterable(slots))
        if not works:
            none = np.zeros(0, dtype=np.int64)
            return cls(slots, works, (), none, none, none)
        kinds, stages, batches, directions = zip(*works, strict=True)
        keys = list(zip(kinds, stages, directions, strict=True))
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        lengths = np.fromiter(map(len, slots), dtype=np.int64, count=len(slots))
        return cls(
            slots=slots,
            works=works,
            cells=tuple(numbers),
            cell=np.fromiter(map(numbers.__getitem__, keys), dtype=np.int64, count=len(keys)),
            batch=np.array(batches, dtype=np.int64),
            first=np.cumsum(lengths) - lengths,
        )

    @property
    def lengths(self) -> Ints:
        """Works of each slot."""
        return np.diff(self.first, append=len(self.works))

    @property
    def ends(self) -> dict[Cell, tuple[int, int]]:
        """The places of the first and of the last work of each cell."""
        _, firsts = np.unique(self.cell, return_index=True)
        _, backwards = np.unique(self.cell[::-1], return_index=True)
        lasts = len(self.cell) - 1 - backwards
        return dict(zip(self.cells, zip(firsts.tolist(), lasts.tolist(), strict=True), strict=True))

    def sorts(self, patterns: Sequence[int] = ()) -> tuple[list[Work], Ints]:
        """One work of each cell and each pattern of its micro-batch, as they are first used; and each work's place there."""
        key = self.cell
        if patterns:
            pattern = np.array(patterns, dtype=np.int64)
            key = self.cell * (int(pattern.max()) + 1) + pattern[self.batch]
        firsts, which = as_met(key)
        return [self.works[at] for at in firsts.tolist()], which


def as_met(keys: Ints) -> tuple[Ints, Ints]:
    """The places at which keys are met that were not met before, and of every key which of those it is.

    >>> as_met(np.array([7, 3, 7, 5]))
    (array([0, 1, 3]), array([0, 1, 0, 2]))
    """
    _, firsts, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return firsts[order], place[which]
