"""The links of each node, from flat arrays of ends: sorted once, and thinned where some links cannot be used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from topologies.fabric import Ints

KEPT = 8
"""Arrays of ends whose order is remembered: tails and heads of the last few fabrics; all faulty versions of one share theirs."""

RUNS = 64
"""Runs of neighbouring numbers that are cut out piece by piece."""

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
    left: Ints = starts - np.searchsorted(np.flatnonzero(~kept), starts)
    return order[kept], left


def largest(values: Ints) -> int:
    """The largest of an array that never changes (-1: none), remembered as the order of ends is."""
    known = _LARGEST.get(id(values))
    if known is None:
        while len(_LARGEST) >= 2 * KEPT:
            del _LARGEST[next(iter(_LARGEST))]
        known = _LARGEST[id(values)] = (values, int(values.max(initial=-1)))
    return known[1]


_LARGEST: dict[int, tuple[Ints, int]] = {}


def links_at(ends: Ints, node: int) -> Ints:
    """The links that have the node at this end, in order of their numbers."""
    order, starts = by_end(ends)
    return order[starts[node] : starts[node + 1]] if node + 1 < len(starts) else order[:0]


def between(tail: Ints, head: Ints, a: int, b: int) -> Ints:
    """The links from node ``a`` to node ``b``, in order of their numbers."""
    out = links_at(tail, a)
    found: Ints = out[head[out] == b]
    return found


def links_of(order: Ints, start: Ints, nodes: Ints) -> Ints:
    """The links of these nodes (ascending), from :func:`by_end`: cut out in one piece for each run of neighbouring numbers."""
    breaks = np.flatnonzero(nodes[1:] - nodes[:-1] != 1)
    if len(breaks) > RUNS:
        return spans(order, start, nodes)[0]
    firsts = [0, *(breaks + 1).tolist()] if len(nodes) else []
    lasts = [*breaks.tolist(), len(nodes) - 1]
    pieces = [order[start[nodes[first]] : start[nodes[last] + 1]] for first, last in zip(firsts, lasts, strict=False)]
    return pieces[0] if len(pieces) == 1 else np.concatenate([order[:0], *pieces])


def spans(values: Ints, start: Ints, nodes: Ints) -> tuple[Ints, Ints]:
    """``values[start[n]:start[n + 1]]`` of all nodes in one array, and the place in ``nodes`` that each belongs to."""
    counts = start[nodes + 1] - start[nodes]
    owner = np.repeat(np.arange(len(nodes), dtype=np.int64), counts)
    offset = np.arange(len(owner), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return values[start[nodes][owner] + offset], owner


def in_order(items: Ints) -> Ints:
    """The places of numbers in ascending order, of equals as they are: a stable argsort, in a fifth of its time."""
    count = len(items)
    if not count or (items[1:] >= items[:-1]).all():
        return np.arange(count, dtype=np.int64)
    low, high = int(items.min()), int(items.max())
    if (high - low + 1) * count >= 2**63:
        return np.argsort(items, kind="stable")
    return np.sort((items - low) * count + np.arange(count, dtype=np.int64)) % count
