"""Max-min fair rates of very many flows, compiled: one link after the other in the order of their levels.

The textbook with a heap of links, mark by mark as in :mod:`simulator.network.maxmin_many`: only links below the mark are in the
heap, so it is small, and a link that others lift above the mark is left alone until the next. A link's level only rises while
others freeze, so the level that the heap knows is never too high: the least of the heap is looked at again, and frozen if it is
still the least. Needs numba, which is imported when rates are first asked for; compiled code is kept on disk beside this file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from topologies.fabric import Floats, Ints

#: What subtracting may have lost of a sum, relative to the sum before anything was subtracted.
LOST = 1e-12

#: Links below a mark: about this part of those left, told from so many of them; all, if there are no more than the last.
PART, SAMPLE, FEWEST = 1 / 8, 512, 1024


def rise(flow: Ints, link: Ints, load: Floats, flows: int, capacity: Floats, tie: float) -> Floats:
    """As :func:`simulator.network.maxmin_many.rise`. Raises ImportError without numba."""
    by_link, near, fill = _compiled()
    if not (flow[1:] >= flow[:-1]).all():
        order = np.argsort(flow, kind="stable")
        flow, link, load = flow[order], link[order], load[order]
    index = np.int32 if len(link) < 2**31 else np.int64
    of_link, of_flow = np.empty(len(capacity) + 1, index), np.zeros(flows + 1, index)
    state, crossing = by_link(flow, link, load, capacity, of_link, of_flow, LOST)
    level, frozen = np.full(flows, np.inf), np.zeros(flows, dtype=bool)
    live = np.flatnonzero(state[:, 1] > 0.0)
    key, heap = np.empty(len(live)), np.empty(len(live), dtype=np.int64)
    room = np.empty(int(np.diff(of_link).max(initial=0)), index)
    while len(live):
        left, size, mark = near(state, live, key, heap, PART, SAMPLE, FEWEST)
        live = live[:left]
        fill(state, key, heap, size, mark, of_link, crossing, of_flow, link, load, tie, LOST, level, frozen, room)
    return level


@cache
def _compiled() -> tuple[Any, Any, Any]:
    import numba

    compiler = numba.njit(cache=True, nogil=True)
    return compiler(_by_link), compiler(_near), compiler(_fill)


def _by_link(flow, link, load, capacity, of_link, of_flow, lost):  # type: ignore[no-untyped-def]
    """What is known of each link, side by side for the cache's sake, and the flows that cross it.

    ``of_link`` and ``of_flow`` are filled with where the entries of each link and flow start; entries come in order of flows.
    """
    links, entries = len(capacity), len(link)
    state = np.zeros((links, 4))  # capacity that is left; load of open flows at level 1; what it may have lost; open flows
    for entry in range(entries):
        state[link[entry], 1] += load[entry]
        state[link[entry], 3] += 1.0
        of_flow[flow[entry] + 1] += 1
    for one in range(len(of_flow) - 1):
        of_flow[one + 1] += of_flow[one]
    total = 0
    for one in range(links):
        total += int(state[one, 3])
        of_link[one] = total
        state[one, 0], state[one, 2] = capacity[one], lost * state[one, 1]
    of_link[links] = total
    crossing = np.empty(entries, of_link.dtype)
    for entry in range(entries - 1, -1, -1):
        place = of_link[link[entry]] - 1
        of_link[link[entry]] = place
        crossing[place] = flow[entry]
    return state, crossing


def _near(state, live, key, heap, part, sample, fewest):  # type: ignore[no-untyped-def]
    """How many links are left, put first in ``live``; the next mark; how many are below it, put in the heap with their levels."""
    left = 0
    for here in live:
        if state[here, 3] > 0.0:
            wanted = state[here, 1] + state[here, 2]
            live[left], key[left] = here, max(state[here, 0], 0.0) / wanted if wanted > 0.0 else 0.0
            left += 1
    mark = np.inf
    if left > fewest:
        some = np.sort(key[: left : max(left // sample, 1)])
        mark = some[min(max(int(len(some) * part), 1), len(some) - 1)]
    size = 0
    for place in range(left):
        if key[place] <= mark:
            key[size], heap[size] = key[place], live[place]
            size += 1
    return left, size, mark


def _fill(  # type: ignore[no-untyped-def]
    state, key, heap, size, mark, of_link, crossing, of_flow, link, load, tie, lost, level, frozen, room
):
    """Freeze flows until no link is below the mark. The heap is put in order in one place: what is at ``at`` sinks."""
    unsorted = size // 2
    at = unsorted
    while size > 0:
        here, mine = heap[at], key[at]
        while 2 * at + 1 < size:
            child = 2 * at + 1
            if child + 1 < size and key[child + 1] < key[child]:
                child += 1
            if key[child] >= mine:
                break
            heap[at], key[at] = heap[child], key[child]
            at = child
        heap[at], key[at] = here, mine
        if unsorted > 0:
            unsorted -= 1
            at = unsorted
            continue
        at, here, risen = 0, heap[0], np.inf  # risen: the level at which it stays in the heap
        if state[here, 3] > 0.0:
            wanted = state[here, 1] + state[here, 2]
            now = max(state[here, 0], 0.0) / wanted if wanted > 0.0 else 0.0
            if now > key[0]:
                risen = now
            else:
                wanted, count = 0.0, 0  # made anew: what was subtracted has lost digits
                for entry in range(of_link[here], of_link[here + 1]):
                    one = crossing[entry]
                    if not frozen[one]:
                        room[count] = one
                        count += 1
                        for own in range(of_flow[one], of_flow[one + 1]):
                            if link[own] == here:
                                wanted += load[own]
                now = max(state[here, 0], 0.0) / wanted if wanted > 0.0 else np.inf
                if wanted == 0.0:  # those that still cross it put nothing on it
                    state[here, 3] = 0.0
                elif now > key[0] * (1.0 + 2.0 * tie):
                    state[here, 1], state[here, 2], risen = wanted, lost * wanted, now
                else:
                    for one in room[:count]:
                        frozen[one], level[one] = True, now
                        for own in range(of_flow[one], of_flow[one + 1]):
                            met = link[own]
                            state[met, 0] -= load[own] * now
                            state[met, 1] -= load[own]
                            state[met, 3] -= 1.0
        if risen <= mark and risen < np.inf:
            key[0] = risen
        else:
            size -= 1
            heap[0], key[0] = heap[size], key[size]
