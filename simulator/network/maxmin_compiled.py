"""Max-min fair rates of very many flows, compiled: one link after the other in the order of their levels.

The textbook with a heap of links. A link's level only rises while others freeze, so the level that the heap knows is never too
high: the least of the heap is looked at again, and frozen if it is still the least. Needs numba, which is imported where this
module is; compiled code is kept on disk beside it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from topologies.fabric import Floats, Ints

#: What subtracting may have lost of a sum, relative to the sum before anything was subtracted.
LOST = 1e-12

_compiled: Any = numba.njit(cache=True, nogil=True)  # numba ships no types


def rise(flow: Ints, link: Ints, load: Floats, flows: int, capacity: Floats, tie: float) -> Floats:
    """As :func:`simulator.network.maxmin_many.rise`; ``tie`` is not needed, as links freeze one by one."""
    del tie
    level: Floats = _rise(flow, link, load.astype(np.float64), flows, capacity.astype(np.float64))
    return level


@_compiled
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


@_compiled
def _sink(heap, key, at, size):  # type: ignore[no-untyped-def]
    """Let the link at a place of the heap sink to where no link below it has a lower key."""
    link = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[link]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = link


@_compiled
def _rise(flow, link, load, flows, capacity):  # type: ignore[no-untyped-def]
    links = len(capacity)
    of_link, crossing = _sorted_by(link, flow, load, links)
    of_flow, crossed = _sorted_by(flow, link, load, flows)
    level = np.full(flows, np.inf)
    frozen = np.zeros(flows, np.bool_)
    state = np.zeros((links, 2))  # of each link: capacity that is left, load of open flows at level 1
    lost, key, heap, size = np.empty(links), np.empty(links), np.empty(links, np.int64), 0
    for here in range(links):
        state[here, 0] = capacity[here]
        for entry in range(of_link[here], of_link[here + 1]):
            state[here, 1] += crossing[entry, 1]
        lost[here] = LOST * state[here, 1]
        if state[here, 1] > 0.0:
            key[here] = capacity[here] / (state[here, 1] + lost[here])
            heap[size] = here
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, key, at, size)
    while size > 0:
        here = heap[0]
        now = max(state[here, 0], 0.0) / (state[here, 1] + lost[here])
        if now > key[here]:
            key[here] = now
            _sink(heap, key, 0, size)
            if heap[0] != here:
                continue
        wanted = 0.0  # made anew: what was subtracted has lost digits
        for entry in range(of_link[here], of_link[here + 1]):
            if not frozen[int(crossing[entry, 0])]:
                wanted += crossing[entry, 1]
        if wanted > 0.0:
            now = max(state[here, 0], 0.0) / wanted
            if now > key[here]:
                state[here, 1], key[here] = wanted, now
                lost[here] = LOST * wanted
                _sink(heap, key, 0, size)
                if heap[0] != here:
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
        _sink(heap, key, 0, size)
    return level
