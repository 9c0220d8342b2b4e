"""The links of each node, from flat arrays of ends: sorted once, and thinned where some links cannot be used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from topologies.fabric import Ints

KEPT = 8
"""Arrays of ends whose order is remembered: tails and heads of the last few fabrics; all faulty versions of one share theirs."""

_SORTED: dict[int, tuple[Ints, Ints, Ints]] = {}


def by_end(ends: Ints, nodes: int = 0, usable: npt.NDArray[np.bool_] | None = None) -> tuple[Ints, Ints]:
    """Links in order of the nodes at their ``ends``, and where those of each of at least ``nodes`` nodes start.

    >>> by_end(np.array([1, 0, 1]))
    (array([1, 0, 2]), array([0, 1, 3]))
    """
    known = _SORTED.get(id(ends))
    if known is None:
        order = np.argsort(ends, kind="stable").astype(np.int64)
        starts = np.searchsorted(ends[order], np.arange(int(ends.max(initial=-1)) + 2)).astype(np.int64)
        while len(_SORTED) >= KEPT:
            del _SORTED[next(iter(_SORTED))]
        known = _SORTED[id(ends)] = (ends, order, starts)  # holds the array, so that its id stays its own
    _, order, starts = known
    if nodes >= len(starts):
        starts = np.concatenate((starts, np.full(nodes + 1 - len(starts), len(order), dtype=np.int64)))
    if usable is None or usable.all():
        return order, starts
    kept = usable[order]
    before: Ints = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(kept, dtype=np.int64)))
    return order[kept], before[starts]
