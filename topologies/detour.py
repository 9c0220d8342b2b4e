"""Routes around dead links: the flow's own ways as far as they are left, and otherwise the shortest way round.

1. A route that uses nothing dead is as it was.
2. A sprayed flow some of whose ways are dead splits at each node over the steps, planes and spines from which its target is
   still reached in as few hops, in the proportions that they had (equal shares of equal things).
3. A flow with no such way takes a detour: equal-cost multipath of fewest hops over what is left within the smallest box
   that still joins both ends, so a dead link of a board is first passed round on that board.

Every rule depends on the structure alone, never on numbers or names, so routes keep the symmetries that the defects keep.

Leaves out: the loss while routes converge, and retransmission; detours are in place from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.spec.errors import TopologyError
from topologies.adjacency import largest
from topologies.fabric import Floats, Ints, Route, Routes
from topologies.fewest import Net, fewest
from topologies.routing import STAY, Step, Tiered, corrections

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Avoiding:
    """The router ``base`` where the links that are not ``usable`` and the nodes that are ``dead`` are not there."""

    base: Callable[[int, int], Route]
    tail: Ints
    head: Ints
    link_tier: Ints
    link_latency: Floats
    usable: Mask
    dead: frozenset[int]
    node_name: Callable[[int], str]

    def __call__(self, source: int, target: int) -> Route:
        for end in (source, target):
            if end in self.dead:
                name = self.node_name(end)
                raise TopologyError("a dead chip neither sends nor receives", got=name, do="Use those of Fabric.alive.")
        route = self.base(source, target)
        if self.usable[route.links].all():
            return route
        left = None
        if isinstance(self.base, Tiered):
            left = self._ordered(source, target) if self.base.policy == "dimension-order" else self._sprayed(source, target)
        return left or self._detour(source, target)

    def _ordered(self, source: int, target: int) -> Route | None:
        """The one order of the steps over the planes, spines and ways of a tie that are left; None where a step is cut."""
        parts, node = [], source
        for step, delta in corrections(self._steps, source, target):
            part = self._segment(step, node, node + delta)
            if part is None:
                return None
            parts.append((part, 1.0))
            node += delta
        return _sum(parts, sum(part.latency for part, _ in parts))

    def _sprayed(self, source: int, target: int) -> Route | None:
        """Per hop equal shares of the steps from which the target is still reached; None where there is none."""
        moves = corrections(self._steps, source, target)
        full = 2 ** len(moves) - 1
        segments: dict[tuple[int, int], Route] = {}
        open_from: dict[int, list[int]] = {full: []}
        for done in range(full - 1, -1, -1):
            node = source + sum(moves[i][1] for i in range(len(moves)) if done >> i & 1)
            for i, (step, delta) in enumerate(moves):
                if done >> i & 1 or done | 1 << i not in open_from:
                    continue
                part = self._segment(step, node, node + delta)
                if part is not None:
                    segments[done, i] = part
                    open_from.setdefault(done, []).append(i)
        if 0 not in open_from:
            return None
        share = {0: 1.0}
        parts, latency = [], {0: 0.0}
        for done in range(full):
            if done not in share:
                continue
            for i in open_from[done]:
                part, there = segments[done, i], done | 1 << i
                fraction = share[done] / len(open_from[done])
                parts.append((part, fraction))
                share[there] = share.get(there, 0.0) + fraction
                latency[there] = max(latency.get(there, 0.0), latency[done] + part.latency)
        return _sum(parts, latency[full])

    @property
    def _steps(self) -> tuple[Step, ...]:
        return self.base.steps if isinstance(self.base, Tiered) else ()

    def _segment(self, step: Step, source: int, target: int) -> Route | None:
        route = step.segment(source, target)
        if self.usable[route.links].all():
            return route
        return self._pruned(route, source, target)

    def _pruned(self, route: Route, source: int, target: int) -> Route | None:
        """The ways of a route that are left, split at each node in the proportions of the route; None if there is none."""
        usable = self.usable[route.links]
        rows = zip(self.tail[route.links[usable]].tolist(), self.head[route.links[usable]].tolist(), strict=True)
        links = [(tail, head, at) for at, (tail, head) in zip(np.flatnonzero(usable).tolist(), rows, strict=True)]
        into: dict[int, list[int]] = {}
        for tail, head, _ in links:
            into.setdefault(head, []).append(tail)
        reaching, waiting = {target}, [target]
        while waiting:
            for node in into.get(waiting.pop(), ()):
                if node not in reaching:
                    reaching.add(node)
                    waiting.append(node)
        if source not in reaching:
            return None
        out: dict[int, list[tuple[int, int]]] = {}
        entering: dict[int, int] = {}
        for tail, head, at in links:
            if head in reaching:
                out.setdefault(tail, []).append((head, at))
        ready = [source]
        seen = {source}
        while ready:  # links that are met from the source, counted so that a node waits for all that enters it
            for head, _ in out.get(ready.pop(), ()):
                entering[head] = entering.get(head, 0) + 1
                if head not in seen:
                    seen.add(head)
                    ready.append(head)
        share, found, fractions = {source: 1.0}, [], []
        ready = [source]
        while ready:
            node = ready.pop()
            whole = sum(float(route.fraction[at]) for _, at in out.get(node, ()))
            for head, at in out.get(node, ()):
                fraction = share[node] * float(route.fraction[at]) / whole
                found.append(int(route.links[at]))
                fractions.append(fraction)
                share[head] = share.get(head, 0.0) + fraction
                entering[head] -= 1
                if not entering[head]:
                    ready.append(head)
        return Route(np.array(found, dtype=np.int64), np.array(fractions), route.latency)

    def _detour(self, source: int, target: int) -> Route:
        """The shortest ways round, in the smallest box that has one."""
        found = self.ways_round(np.array([source], dtype=np.int64), np.array([target], dtype=np.int64))
        return Route(found.link, found.fraction, float(found.latency[0]))

    def ways_round(self, sources: Ints, targets: Ints) -> Routes:
        """Detours of many pairs: ways of fewest hops, for each in the smallest of its boxes that has one.

        Raises TopologyError where there is none.
        """
        waiting = np.arange(len(sources), dtype=np.int64)
        rows: list[tuple[Ints, Ints, Floats]] = [(waiting[:0], waiting[:0], np.empty(0))]
        latency = np.zeros(len(sources))
        for bundles, held in self._boxes(sources, targets):
            asked = waiting[held[waiting]]
            if not len(asked):
                continue
            found, lost = fewest(self._net(bundles), sources[asked], targets[asked])
            rows.append((asked[found.flow], found.link, found.fraction))
            latency[asked[~lost]] = found.latency[~lost]
            waiting = np.setdiff1d(waiting, asked[~lost], assume_unique=True)
        if len(waiting):
            ends = f"{self.node_name(int(sources[waiting[0]]))} to {self.node_name(int(targets[waiting[0]]))}"
            raise TopologyError("no way is left from one device to another", got=ends, do="Take a fault away.", path="faults")
        flow, link, fraction = (np.concatenate([row[column] for row in rows]) for column in range(3))
        return Routes(flow, link, fraction, latency)

    def _boxes(self, sources: Ints, targets: Ints) -> Iterator[tuple[int, Mask]]:
        """Boxes from the smallest, as how many of ``Fabric.tiers`` they take, and which pairs lie within one."""
        bundles, tiers = 0, self.tiers
        for step in self._steps:
            bundles += step.bundles
            yield bundles, sources // step.box == targets // step.box
        if bundles != tiers:
            yield tiers, np.ones(len(sources), dtype=bool)

    @cached_property
    def tiers(self) -> int:
        """How many of ``Fabric.tiers`` there are links of."""
        return largest(self.link_tier) + 1

    def _net(self, bundles: int) -> Net:
        """What is left of the innermost tiers."""
        usable, tier = self.usable, self.link_tier
        if bundles >= self.tiers:
            return Net(self.nodes, self.tail, self.head, self.link_latency, lambda links: usable[links])
        return Net(self.nodes, self.tail, self.head, self.link_latency, lambda links: usable[links] & (tier[links] < bundles))

    @cached_property
    def nodes(self) -> int:
        """One more than the highest number of a node with links."""
        return max(largest(self.tail), largest(self.head)) + 1


def _sum(parts: list[tuple[Route, float]], latency: float) -> Route:
    """Parts of a route, each with the fraction of the bytes that takes it, as one."""
    if not parts:
        return STAY
    links = np.concatenate([part.links for part, _ in parts])
    fractions = np.concatenate([part.fraction * fraction for part, fraction in parts])
    return Route(links, fractions, latency)
