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

from simulator.spec.errors import TopologyError
from topologies.fabric import Floats, Ints, Route

STAY = Route(np.empty(0, dtype=np.int64), np.empty(0), 0.0)
"""From a device to itself: no link, no time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One tier as routing sees it. ``joins``: takes any device of its box to any other, else only to equal positions."""

    below: int
    box: int
    joins: bool
    segment: Callable[[int, int], Route]


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


class Minimal:
    """Equal-cost multipath over flat arrays: at each node an equal share for every link on a way of fewest hops.

    Works on any graph; the one search of the package. Distances to a target are kept for the last targets asked for.
    ``latency`` of a route is that of its slowest way. Raises TopologyError where there is no way.
    """

    def __init__(
        self, nodes: int, tail: Ints, head: Ints, link_latency: Floats, node_name: Callable[[int], str], keep: int = 64
    ) -> None:
        self._nodes, self._tail, self._head = nodes, tail, head
        self._link_latency, self._node_name, self._keep = link_latency, node_name, keep
        self._out_links = np.argsort(tail, kind="stable").astype(np.int64)
        self._out_start = np.searchsorted(tail[self._out_links], np.arange(nodes + 1))
        self._distances: dict[int, Ints] = {}

    def __call__(self, source: int, target: int) -> Route:
        if source == target:
            return STAY
        distance = self.hops(target)
        if distance[source] < 0:
            a, b = self._node_name(source), self._node_name(target)
            raise TopologyError("there is no way from one device to another", got=f"{a} to {b}", do="Add the links between them.")
        share = {source: 1.0}
        slowest = {source: 0.0}
        links: list[int] = []
        fractions: list[float] = []
        for left in range(int(distance[source]), 0, -1):
            next_share: dict[int, float] = {}
            next_slowest: dict[int, float] = {}
            for node, amount in share.items():
                out = self._out_links[self._out_start[node] : self._out_start[node + 1]]
                out = out[distance[self._head[out]] == left - 1]
                for link in out.tolist():
                    head = int(self._head[link])
                    links.append(link)
                    fractions.append(amount / len(out))
                    next_share[head] = next_share.get(head, 0.0) + amount / len(out)
                    way = slowest[node] + float(self._link_latency[link])
                    next_slowest[head] = max(next_slowest.get(head, 0.0), way)
            share, slowest = next_share, next_slowest
        return Route(np.array(links, dtype=np.int64), np.array(fractions), slowest[target])

    def hops(self, target: int) -> Ints:
        """Hops from every node to ``target``; -1 where there is no way."""
        found = self._distances.get(target)
        if found is None:
            found = np.full(self._nodes, -1, dtype=np.int64)
            found[target] = 0
            frontier, hops = np.zeros(self._nodes, dtype=bool), 0
            frontier[target] = True
            while frontier.any():
                hops += 1
                reached = np.zeros(self._nodes, dtype=bool)
                reached[self._tail[frontier[self._head]]] = True
                frontier = reached & (found < 0)
                found[frontier] = hops
            if len(self._distances) >= self._keep:
                self._distances.pop(next(iter(self._distances)))
            self._distances[target] = found
        return found
