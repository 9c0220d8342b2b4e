"""What a fluid network did: who had which rates from when to when, and what was completed how often."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.network.contract import OperationClass
from simulator.network.sheets import Laid, Sheet
from topologies.fabric import Ints


@dataclass(slots=True)
class History:
    """Columns: share ``share[i]`` held from ``start[i]`` to ``end[i]`` [ps]; and how often each operation was completed.

    ``laid``: what else was done, in sheets that are not written out.
    """

    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))
    share: array[int] = field(default_factory=lambda: array("q"))
    completed: dict[int, int] = field(default_factory=dict)
    operations: dict[int, OperationClass] = field(default_factory=dict)
    laid: list[Laid] = field(default_factory=list)

    def lay(
        self, sheet: Sheet, keys: Sequence[int], starts: Sequence[int], done: Iterable[tuple[OperationClass, int]], lane: int
    ) -> None:
        """Add all that a sheet notes, once from each of these moments on [ps], without writing it out.

        ``keys``: its shares; ``done``: operations that are completed each time, and how often; ``lane`` as of a :class:`Laid`.
        """
        if len(sheet.start):
            self.laid.append(Laid(sheet, keys, np.array(starts, dtype=np.int64), lane))
        for operation, times in done:
            self.operations[operation.key] = operation
            self.completed[operation.key] = self.completed.get(operation.key, 0) + times * len(starts)

    def spread(self, places: Ints, later: Ints) -> None:
        """Keep the rows at ``places``, each as often as it is named, ``later`` by so much [ps]."""
        for column, by in ((self.start, later), (self.end, later), (self.share, np.zeros_like(later))):
            kept = np.array(column, dtype=np.int64)[places] + by
            del column[:]
            column.frombytes(kept.tobytes())

    def repeat(self, other: History, starts: Sequence[int]) -> None:
        """Add all that another history notes, once from each of these moments on [ps]."""
        shift = np.array(starts, dtype=np.int64)[:, None]
        for column, added in ((self.start, other.start), (self.end, other.end)):
            column.frombytes((np.array(added, dtype=np.int64) + shift).tobytes())
        self.share.frombytes(np.tile(np.array(other.share, dtype=np.int64), len(starts)).tobytes())
        self.operations.update(other.operations)
        for key, times in other.completed.items():
            self.completed[key] = self.completed.get(key, 0) + times * len(starts)
