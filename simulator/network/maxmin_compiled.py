"""Max-min fair rates of very many flows, compiled: one link after the other in the order of their levels.

The textbook with a heap of links. A link's level only rises while others freeze, so the level that the heap knows is never too
high: the least of the heap is looked at again, and frozen if it is still the least. Needs numba, which is imported when rates are
first asked for; compiled code is kept on disk beside this file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from topologies.fabric import Floats, Ints

#: What subtracting may have lost of a sum, relative to the sum before anything was subtracted.
LOST = 1e-12


def rise(flow: Ints, link: Ints, load: Floats, flows: int, capacity: Floats, tie: float) -> Floats:
    """As :func:`simulator.network.maxmin_many.rise`. Raises ImportError without numba."""
    sort, fill = _compiled()
    of_link, crossing = sort(link, flow, load, len(capacity))
    of_flow, crossed = sort(flow, link, load, flows)
    demand = np.bincount(link, weights=load, minlength=len(capacity)).astype(np.float64)
    level: Floats = fill(of_link, crossing, of_flow, crossed, capacity, demand, tie)
    return level


@cache
def _compiled() -> tuple[Any, Any]:
    import numba

    compiler = numba.njit(cache=True, nogil=True)
    return compiler(_sorted_by), compiler(_fill)


def _sorted_by(own, other, load, count):  # type: ignore[no-untyped-def]
    """The entries sorted by one side: where each item starts; (the other side, the load) side by side for the cache's sake."""
    start = np.zeros(count + 1, np.int64)
    for entry in range(len(own)):
        start[own[entry] + 1] += 1
    for item in range(count):
        start[item + 1] += start[item]
    at = start[:-1].copy()
    found = np.empty((len(own), 2))
    for entry in range(len(own)):
        place = at[own[entry]]
        at[own[entry]] += 1
        found[place, 0], found[place, 1] = other[entry], load[entry]
    return start, found


def _fill(of_link, crossing, of_flow, crossed, capacity, demand, tie):  # type: ignore[no-untyped-def]
    """The level of each flow. The heap is put in order in one place: what is at ``at`` sinks."""
    links = len(capacity)
    level, frozen = np.full(len(of_flow) - 1, np.inf), np.zeros(len(of_flow) - 1, np.bool_)
    lost = LOST * demand
    key, heap = capacity / (demand + lost), np.flatnonzero(demand > 0.0)
    state = np.empty((links, 2))  # of each link: capacity that is left, load of open flows at level 1
    state[:, 0], state[:, 1], size = capacity, demand, len(heap)
    unsorted = size // 2
    at = unsorted
    while size > 0:
        here = heap[at]
        while 2 * at + 1 < size:
            child = 2 * at + 1
            if child + 1 < size and key[heap[child + 1]] < key[heap[child]]:
                child += 1
            if key[heap[child]] >= key[here]:
                break
            heap[at] = heap[child]
            at = child
        heap[at] = here
        if unsorted > 0:
            unsorted -= 1
            at = unsorted
            continue
        at, here = 0, heap[0]
        now = max(state[here, 0], 0.0) / (state[here, 1] + lost[here])
        if now > key[here]:
            key[here] = now
            continue
        wanted = 0.0  # made anew: what was subtracted has lost digits
        for entry in range(of_link[here], of_link[here + 1]):
            if not frozen[int(crossing[entry, 0])]:
                wanted += crossing[entry, 1]
        if wanted > 0.0:
            now = max(state[here, 0], 0.0) / wanted
            if now > key[here] * (1.0 + 2.0 * tie):
                state[here, 1], key[here], lost[here] = wanted, now, LOST * wanted
                continue
            for entry in range(of_link[here], of_link[here + 1]):
                one = int(crossing[entry, 0])
                if frozen[one]:
                    continue
                frozen[one] = True
                level[one] = now
                for other in range(of_flow[one], of_flow[one + 1]):
                    met = int(crossed[other, 0])
                    state[met, 0] -= crossed[other, 1] * now
                    state[met, 1] -= crossed[other, 1]
        size -= 1
        heap[0] = heap[size]
    return level
