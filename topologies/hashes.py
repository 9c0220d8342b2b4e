"""Ways chosen by a hash: what equal-cost multipath does to flows in real switches, collisions included.

A flow at a time (:class:`Hashed`), or many at once (:func:`ways`), which choose the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topologies.detour import Avoiding
from topologies.fabric import Floats, Ints, Route, Routes
from topologies.legs import distinct
from topologies.routing import STAY, Step, Tiered, corrections

Words = npt.NDArray[np.uint64]

#: Ways that are walked at a time; the links that one may take are a few hundred on a Clos.
ROUND = 4096


@dataclass(frozen=True)
class Hashed:
    """Each flow on ``paths`` single ways of ``base``, equally; the choice depends on source, target, path and seed alone.

    At a node with several links on the flow's ways, in order of their numbers, each is as likely as the bytes that spraying
    would put on it. A way that has died is hashed again over those that are left.
    """

    base: Callable[[int, int], Route]
    tail: Ints
    head: Ints
    link_latency: Floats
    paths: int
    seed: int

    def __call__(self, source: int, target: int) -> Route:
        if source == target:
            return STAY
        whole: Route | None = None if self.tiered else self.base(source, target)
        chosen: list[Ints] = []
        for path in range(self.paths):
            key = mix(mix(mix(mix(self.seed) ^ source) ^ target) ^ path)
            way = self._by_steps(source, target, key) if self.tiered else None
            if way is None:
                whole = whole or self.base(source, target)
                way = self._walk(whole, source, target, key)
            chosen.append(way)
        links, place = np.unique(np.concatenate(chosen), return_inverse=True)
        fraction = (np.bincount(place, minlength=len(links)) / self.paths).astype(np.float64)
        return Route(links, fraction, max(float(self.link_latency[way].sum()) for way in chosen))

    @property
    def tiered(self) -> Tiered | None:
        inner = self.base.base if isinstance(self.base, Avoiding) else self.base
        return inner if isinstance(inner, Tiered) else None

    def _by_steps(self, source: int, target: int, key: int) -> Ints | None:
        """One order of the steps and one way over each; None if it is dead."""
        tiered = self.tiered
        if tiered is None:
            return None
        moves = corrections(tiered.steps, source, target)
        node, links = source, []
        while moves:
            key = mix(key)
            step, delta = moves.pop(key % len(moves) if tiered.policy == "spray" else 0)
            links.append(self._walk(step.segment(node, node + delta), node, node + delta, key))
            node += delta
        way = np.concatenate(links)
        return way if not isinstance(self.base, Avoiding) or self.base.usable[way].all() else None

    def _walk(self, route: Route, source: int, target: int, key: int) -> Ints:
        """One way of a route, from node to node by the hash."""
        tails = self.tail[route.links]
        node, links = source, []
        while node != target:
            out = np.flatnonzero(tails == node)
            out = out[np.argsort(route.links[out], kind="stable")]
            if route.links[out[0]] != route.links[out[-1]]:
                key = mix(key ^ node)
                bounds = np.cumsum(route.fraction[out])
                out = out[np.searchsorted(bounds, key / 2.0**64 * bounds[-1], side="right").clip(max=len(out) - 1) :]
            link = int(route.links[out[0]])
            links.append(link)
            node = int(self.head[link])
        return np.array(links, dtype=np.int64)


def mix(number: int) -> int:
    """64 well-mixed bits (splitmix64, Steele, Lea and Flood 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & (2**64 - 1)
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & (2**64 - 1)
    return number ^ number >> 31


def ways(router: Hashed, tiered: Tiered, sources: Ints, targets: Ints) -> Routes:
    """The routes from ``sources[i]`` to ``targets[i]``, none to itself, under a hash over the steps of ``tiered``."""
    flow, link = _walked(router, tiered, sources, targets)
    usable = router.base.usable if isinstance(router.base, Avoiding) else np.ones(len(router.tail), dtype=bool)
    hurt = np.zeros(len(sources), dtype=bool)
    hurt[flow[~usable[link]] // router.paths] = True
    latency = np.bincount(flow, weights=router.link_latency[link], minlength=len(sources) * router.paths)
    slowest = latency.reshape(len(sources), router.paths).max(axis=1, initial=0.0).astype(np.float64)
    whole = ~hurt[flow // router.paths]
    links = len(router.tail)
    code, times = np.unique(flow[whole] // router.paths * links + link[whole], return_counts=True)
    parts = [(code // links, code % links, times / router.paths)]
    for place in np.flatnonzero(hurt).tolist():
        way = router(int(sources[place]), int(targets[place]))
        parts.append((np.full(len(way.links), place, dtype=np.int64), way.links, way.fraction))
        slowest[place] = way.latency
    flows, found, fraction = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Routes(flows, found, fraction, slowest)


def _walked(router: Hashed, tiered: Tiered, sources: Ints, targets: Ints) -> tuple[Ints, Ints]:
    """Every link of every way: path p of flow f is way f x paths + p."""
    count = len(sources) * router.paths
    source, target = np.repeat(sources, router.paths), np.repeat(targets, router.paths)
    path = np.tile(np.arange(router.paths, dtype=np.uint64), len(sources))
    key = np.full(count, mix(router.seed), dtype=np.uint64)
    for word in (source.astype(np.uint64), target.astype(np.uint64), path):
        key = _mixed(key ^ word)
    delta = _corrections(tiered.steps, source, target)
    left = delta != 0
    node, found = source.copy(), [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
    while left.any():
        some = np.flatnonzero(left.any(axis=1))
        key[some] = _mixed(key[some])
        number = left[some].sum(axis=1).astype(np.uint64)
        chosen = key[some] % number if tiered.policy == "spray" else np.zeros(len(some), dtype=np.uint64)
        place = np.argmax(left[some].cumsum(axis=1) == chosen.astype(np.int64)[:, None] + 1, axis=1)
        for index in np.unique(place).tolist():
            here = some[place == index]
            to = node[here] + delta[here, index]
            found += _over(router, tiered.steps[index], here, node[here], to, key[here])
            node[here] = to
            left[here, index] = False
    way, link = (np.concatenate(column) for column in zip(*found, strict=True))
    return way, link


def _corrections(steps: tuple[Step, ...], source: Ints, target: Ints) -> Ints:
    """What each step adds to the number of each flow's device [flows, steps], 0 where it takes none (``corrections``)."""
    delta = np.zeros((len(source), len(steps)), dtype=np.int64)
    going = np.ones(len(source), dtype=bool)
    for index in reversed(range(len(steps))):
        step = steps[index]
        here, there = source % step.box, target % step.box
        differs = going & (here // step.below != there // step.below)
        change = there - here if step.joins else (there // step.below - here // step.below) * step.below
        delta[differs, index] = change[differs]
        if step.joins:
            going &= ~differs
    return delta


def _over(router: Hashed, step: Step, way: Ints, tail: Ints, head: Ints, key: Words) -> list[tuple[Ints, Ints]]:
    """The links that ways take over one step, by the hash at each node; those between the same two devices together."""
    found = []
    nodes = int(max(router.tail.max(initial=0), router.head.max(initial=0))) + 1
    order = np.lexsort((head, tail))
    for start in range(0, len(order), ROUND):
        some = order[start : start + ROUND]
        tails, heads, pair = distinct(step, tail[some], head[some])
        rows = step.segments(tails, heads)
        at = rows.flow * nodes + router.tail[rows.link]
        by_node = np.argsort(at * len(router.tail) + rows.link)
        at, link = at[by_node], rows.link[by_node]
        total = np.concatenate((np.zeros(1), np.cumsum(rows.fraction[by_node])))
        node, keys, open_ = tail[some].copy(), key[some].copy(), np.arange(len(some))
        while len(open_):
            here = pair[open_] * nodes + node[open_]
            first, last = np.searchsorted(at, here), np.searchsorted(at, here, side="right")
            several = link[first] != link[last - 1]
            turned = open_[several]
            keys[turned] = _mixed(keys[turned] ^ node[turned].astype(np.uint64))
            share = keys[open_] / 2.0**64 * (total[last] - total[first])
            taken = np.searchsorted(total, total[first] + share, side="right") - 1
            taken = np.where(several, np.clip(taken, first, last - 1), first)
            found.append((way[some[open_]], link[taken]))
            node[open_] = router.head[link[taken]]
            open_ = open_[node[open_] != head[some[open_]]]
    return found


def _mixed(number: Words) -> Words:
    """:func:`mix` of many."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ number >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ number >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return number ^ number >> np.uint64(31)
