"""Ways of fewest hops for many pairs at once over a part of the links: what detours are made of.

Pairs that share an end share one search, which goes no further than the other ends are away. The ways of all of them are then
walked together, and each node of a pair splits its bytes equally over the links that are on a way of fewest hops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topologies.adjacency import by_end, links_of, spans
from topologies.fabric import Floats, Ints, Routes

Mask = npt.NDArray[np.bool_]

#: Pairs of one end that are walked together; each may be as wide as the machine.
ABREAST = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """Links between ``nodes`` nodes; ``open`` says of some links whether they may be taken."""

    nodes: int
    tail: Ints
    head: Ints
    latency: Floats
    open: Callable[[Ints], Mask]


def fewest(net: Net, sources: Ints, targets: Ints) -> tuple[Routes, Mask]:
    """Equal-cost multipath of fewest hops from ``sources[i]`` to ``targets[i]``, and which pairs have no way.

    A pair without a way has no rows. The latency of a pair is that of its slowest way.
    """
    forward = len(np.unique(sources)) <= len(np.unique(targets))  # search from the side that has fewer ends
    origins, ends = (sources, targets) if forward else (targets, sources)
    order = np.argsort(origins, kind="stable")
    rows: list[tuple[Ints, Ints, Floats]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    latency, lost = np.zeros(len(sources)), np.zeros(len(sources), dtype=bool)
    for group in np.split(order, np.flatnonzero(np.diff(origins[order])) + 1) if len(order) else ():
        hops = distances(net, int(origins[group[0]]), forward, ends[group])
        lost[group] = hops[ends[group]] < 0
        joined = group[~lost[group]]
        for start in range(0, len(joined), ABREAST):
            pairs = joined[start : start + ABREAST]
            levels = list(_walk(net, hops, pairs, ends[pairs], forward))
            rows += _split(net, levels[::-1] if forward else levels, pairs, sources, targets, latency)
    flow, link, fraction = (np.concatenate([row[column] for row in rows]) for column in range(3))
    return Routes(flow, link, fraction, latency), lost


def distances(net: Net, origin: int, forward: bool, ends: Ints) -> Ints:
    """Hops from the origin (to it, if not ``forward``) of every node up to the farthest of ``ends``; -1: further, or no way."""
    order, starts = by_end(net.tail if forward else net.head, net.nodes)
    other = net.head if forward else net.tail
    found = np.full(net.nodes, -1, dtype=np.int64)
    found[origin] = 0
    frontier, hops = np.array([origin], dtype=np.int64), 0
    while len(frontier) and (found[ends] < 0).any():
        hops += 1
        links = links_of(order, starts, frontier)
        met = other[links[net.open(links)]]
        found[met[found[met] < 0]] = hops
        frontier = np.flatnonzero(found == hops)
    return found


def joined(net: Net, source: int, target: int) -> bool:
    """Whether there is a way from one node to another: looked for from both, whichever has fewer links to look at next."""
    sides = [(by_end(net.tail, net.nodes), net.head, source), (by_end(net.head, net.nodes), net.tail, target)]
    seen = np.zeros((2, net.nodes), dtype=bool)
    seen[0, source] = seen[1, target] = True
    frontiers = [np.array([node], dtype=np.int64) for _, _, node in sides]
    while not (seen[0, frontiers[1]].any() or seen[1, frontiers[0]].any()):
        widths = [
            int((starts[front + 1] - starts[front]).sum()) for ((_, starts), _, _), front in zip(sides, frontiers, strict=True)
        ]
        at = int(widths[1] < widths[0])
        (order, starts), other, _ = sides[at]
        links = links_of(order, starts, frontiers[at])
        met = other[links[net.open(links)]]
        fresh = np.zeros(net.nodes, dtype=bool)
        fresh[met] = True
        frontiers[at] = np.flatnonzero(fresh & ~seen[at])
        seen[at, frontiers[at]] = True
        if not len(frontiers[at]):
            return False
    return True


def _walk(net: Net, hops: Ints, pairs: Ints, ends: Ints, forward: bool) -> Iterator[tuple[Ints, Ints]]:
    """From the ends to the origin, hop by hop: the pair and the link of every link on a way of fewest hops."""
    order, starts = by_end(net.head if forward else net.tail, net.nodes)
    nearer = net.tail if forward else net.head
    far = hops[ends]
    states: Ints = np.empty(0, dtype=np.int64)
    for left in range(int(far.max(initial=0)), 0, -1):
        starting = far == left
        states = np.union1d(states, pairs[starting] * net.nodes + ends[starting])
        pair, node = np.divmod(states, net.nodes)
        nodes, place = np.unique(node, return_inverse=True)  # each node looks at its links once, whoever passes it
        links, owner = spans(order, starts, nodes)
        good = hops[nearer[links]] == left - 1
        links, owner = links[good], owner[good]
        good = net.open(links)
        first = np.searchsorted(owner[good], np.arange(len(nodes) + 1))
        links, owner = spans(links[good], first, place)
        yield pair[owner], links
        states = np.unique(pair[owner] * net.nodes + nearer[links])


def _split(
    net: Net, levels: list[tuple[Ints, Ints]], pairs: Ints, sources: Ints, targets: Ints, latency: Floats
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Bytes from source to target, level by level: equal shares at each node; ``latency`` is filled in."""
    pairs = pairs[sources[pairs] != targets[pairs]]  # from a node to itself there is no way to go
    states = np.sort(pairs * net.nodes + sources[pairs])
    amount, slowest = np.ones(len(states)), np.zeros(len(states))
    for pair, link in levels:
        place = np.searchsorted(states, pair * net.nodes + net.tail[link])
        part = (amount / np.maximum(np.bincount(place, minlength=len(states)), 1))[place]
        yield pair, link, part
        arrival = slowest[place] + net.latency[link]
        moved = np.zeros(len(states), dtype=bool)
        moved[place] = True
        into = np.concatenate((states[~moved], pair * net.nodes + net.head[link]))
        states, at = np.unique(into, return_inverse=True)
        amount = np.bincount(at, weights=np.concatenate((amount[~moved], part)), minlength=len(states)).astype(np.float64)
        waited = np.zeros(len(states))
        np.maximum.at(waited, at, np.concatenate((slowest[~moved], arrival)))
        slowest = waited
    latency[pairs] = slowest[np.searchsorted(states, pairs * net.nodes + targets[pairs])]
