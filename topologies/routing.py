"""Which links the bytes of a flow take: plain functions of the device numbers, without search where the shape allows it.

A flow climbs to the highest tier whose coordinate differs and never higher. A tier that joins everything below (a switch of
scope all, a Clos) takes it straight to its target; over tiers that join equal positions (mesh, aligned switches, rails)
one differing coordinate after the other is corrected, and all that such a tier leaves to a joining tier below is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from simulator.spec.errors import TopologyError
from topologies.adjacency import by_end, spans
from topologies.fabric import Floats, Ints, Route, Routes

STAY = Route(np.empty(0, dtype=np.int64), np.empty(0), 0.0)
"""From a device to itself: no link, no time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One tier as routing sees it. ``joins``: takes any device of its box to any other, else only to equal positions."""

    below: int
    box: int
    joins: bool
    segment: Callable[[int, int], Route]
    segments: Callable[[Ints, Ints], Routes]  # the same for many pairs of devices
    bundles: int = 1  # of links: entries of ``Fabric.tiers`` that are this tier's


def corrections(steps: Sequence[Step], source: int, target: int) -> list[tuple[Step, int]]:
    """The steps from source to target and what each adds to the device number, innermost first; their order is free."""
    found: list[tuple[Step, int]] = []
    for step in reversed(steps):
        here, there = source % step.box, target % step.box
        if here // step.below == there // step.below:
            continue
        if step.joins:
            found.append((step, there - here))
            break
        found.append((step, (there // step.below - here // step.below) * step.below))
    return found[::-1]


def spray(steps: Sequence[Step], source: int, target: int) -> Route:
    """Every order of the steps equally often, every plane and spine equally.

    With m steps, after correcting a set S of them a flow is at that node with 1 / C(m, |S|) of its bytes and splits
    them equally over the m - |S| steps left.
    """
    moves = corrections(steps, source, target)
    m = len(moves)
    if m == 0:
        return STAY
    if m == 1:
        return moves[0][0].segment(source, target)
    links: list[Ints] = []
    fractions: list[Floats] = []
    latency = 0.0
    for done in range(2**m - 1):
        corrected = done.bit_count()
        share = 1.0 / (comb(m, corrected) * (m - corrected))
        node = source + sum(moves[i][1] for i in range(m) if done >> i & 1)
        for i, (step, delta) in enumerate(moves):
            if done >> i & 1:
                continue
            part = step.segment(node, node + delta)
            links.append(part.links)
            fractions.append(part.fraction * share)
            if done == 0:
                latency += part.latency
    return Route(np.concatenate(links), np.concatenate(fractions), latency)


def dimension_order(steps: Sequence[Step], source: int, target: int) -> Route:
    """One order only, innermost tier first (X before Y; the scale-up hop before the rail); planes and spines equally."""
    moves = corrections(steps, source, target)
    if not moves:
        return STAY
    parts = []
    node = source
    for step, delta in moves:
        parts.append(step.segment(node, node + delta))
        node += delta
    links, fraction = np.concatenate([p.links for p in parts]), np.concatenate([p.fraction for p in parts])
    return Route(links, fraction, sum(part.latency for part in parts))


@dataclass(frozen=True, slots=True)
class Tiered:
    """A router by tiers: ``spray`` or ``dimension-order`` over these steps, innermost first."""

    steps: tuple[Step, ...]
    policy: str

    def __call__(self, source: int, target: int) -> Route:
        route = spray if self.policy == "spray" else dimension_order
        return route(self.steps, source, target)


@dataclass(frozen=True, slots=True)
class Moved:
    """The routes of ``base`` between devices that are numbered otherwise: device r stands where ``base`` has ``place[r]``."""

    base: Callable[[int, int], Route]
    place: Ints

    def __call__(self, source: int, target: int) -> Route:
        return self.base(int(self.place[source]), int(self.place[target]))


class Minimal:
    """Equal-cost multipath over flat arrays: at each node an equal share for every link on a way of fewest hops.

    Works on any graph; the one search of the package. ``usable`` says which links it may take (default all). Distances to a
    target are kept for the last targets asked for. ``latency`` of a route is that of its slowest way. Raises
    TopologyError where there is no way.
    """

    def __init__(
        self,
        nodes: int,
        tail: Ints,
        head: Ints,
        link_latency: Floats,
        node_name: Callable[[int], str],
        keep: int = 64,
        usable: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._nodes, self._tail, self._head = nodes, tail, head
        self._link_latency, self._node_name, self._keep = link_latency, node_name, keep
        self._out_links, self._out_start = by_end(tail, nodes, usable)
        in_links, self._in_start = by_end(head, nodes, usable)
        self._in_tails = tail[in_links]
        self._distances: dict[int, Ints] = {}

    def __call__(self, source: int, target: int) -> Route:
        if source == target:
            return STAY
        found = self.way(source, target)
        if found is None:
            a, b = self._node_name(source), self._node_name(target)
            raise TopologyError("there is no way from one device to another", got=f"{a} to {b}", do="Add the links between them.")
        return found

    def way(self, source: int, target: int) -> Route | None:
        """The route, or None where there is no way."""
        distance = self.hops(target)
        if distance[source] < 0:
            return None
        links, fraction, latency = self.carried(np.array([source], dtype=np.int64), np.ones(1), target)
        return Route(links, fraction, latency)

    def carried(self, sources: Ints, amounts: Floats, target: int) -> tuple[Ints, Floats, float]:
        """What links carry when each source sends its amount to one target, and the slowest way's latency [s].

        Every source has a way (:meth:`hops` says so), and is there once.
        """
        distance = self.hops(target)
        links, carried = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        nodes: Ints = np.empty(0, dtype=np.int64)
        amount: Floats = np.empty(0)
        slowest: Floats = np.empty(0)
        here = distance[sources]
        for left in range(int(here.max(initial=0)), 0, -1):
            starting = here == left
            if starting.any():
                met, place = np.unique(np.concatenate((nodes, sources[starting])), return_inverse=True)
                both = np.concatenate((amount, amounts[starting]))
                amount = np.bincount(place, weights=both, minlength=len(met)).astype(np.float64)
                waited = np.zeros(len(met))
                waited[place[: len(nodes)]] = slowest
                nodes, slowest = met, waited
            out, owner = spans(self._out_links, self._out_start, nodes)
            nearer = distance[self._head[out]] == left - 1
            out, owner = out[nearer], owner[nearer]
            part = (amount / np.bincount(owner, minlength=len(nodes)))[owner]
            links.append(out)
            carried.append(part)
            arrival = slowest[owner] + self._link_latency[out]
            nodes, place = np.unique(self._head[out], return_inverse=True)
            amount = np.bincount(place, weights=part, minlength=len(nodes)).astype(np.float64)
            slowest = np.zeros(len(nodes))
            np.maximum.at(slowest, place, arrival)
        return np.concatenate(links), np.concatenate(carried), float(slowest.max(initial=0.0))

    def hops(self, target: int) -> Ints:
        """Hops from every node to ``target``; -1 where there is no way."""
        found = self._distances.get(target)
        if found is None:
            found = reach(self._in_tails, self._in_start, target)
            if len(self._distances) >= self._keep:
                self._distances.pop(next(iter(self._distances)))
            self._distances[target] = found
        return found


def reach(next_nodes: Ints, start: Ints, origin: int) -> Ints:
    """Hops of every node from ``origin``, -1 where there is no way; node n leads to ``next_nodes[start[n]:start[n + 1]]``."""
    found = np.full(len(start) - 1, -1, dtype=np.int64)
    found[origin] = 0
    frontier, hops = np.array([origin], dtype=np.int64), 0
    while len(frontier):
        hops += 1
        near, _ = spans(next_nodes, start, frontier)
        found[near[found[near] < 0]] = hops
        # Unique without a sort of all that was met: each node once.
        frontier = np.flatnonzero(found == hops)
    return found
