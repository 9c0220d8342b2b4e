"""Routes of many flows at once: what the routers of :mod:`topologies.routing` say, without a call for each flow and step.

Flows that differ in the same tiers take the same subsets of steps, so their nodes are sums of whole columns; a tier's own
part of the way is asked for once for each pair of its ends, however many flows pass there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from topologies.detour import Avoiding
from topologies.fabric import Floats, Ints, Route
from topologies.routing import Step, Tiered


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Rows of (flow, link, fraction), a link maybe in several rows of a flow; ``latency`` [flows] in seconds."""

    flow: Ints
    link: Ints
    fraction: Floats
    latency: Floats


def routes(router: Callable[[int, int], Route], sources: Ints, targets: Ints) -> Routes:
    """The routes from ``sources[i]`` to ``targets[i]``, by any router."""
    if isinstance(router, Tiered):
        return _tiered(router, sources, targets)
    if isinstance(router, Avoiding) and isinstance(router.base, Tiered):
        return _avoiding(router, router.base, sources, targets)
    return _one_by_one(router, sources, targets)


def _one_by_one(router: Callable[[int, int], Route], sources: Ints, targets: Ints) -> Routes:
    found = [router(source, target) for source, target in zip(sources.tolist(), targets.tolist(), strict=True)]
    counts = [len(route.links) for route in found]
    return Routes(
        np.repeat(np.arange(len(found), dtype=np.int64), counts),
        np.concatenate([np.empty(0, dtype=np.int64), *(route.links for route in found)]),
        np.concatenate([np.empty(0), *(route.fraction for route in found)]),
        np.array([route.latency for route in found], dtype=np.float64),
    )


def _avoiding(router: Avoiding, base: Tiered, sources: Ints, targets: Ints) -> Routes:
    """The base's routes; those over something dead, and those to or from it, by the router itself."""
    plain = _tiered(base, sources, targets)
    dead = np.array(sorted(router.dead), dtype=np.int64)
    astray = np.isin(sources, dead) | np.isin(targets, dead)
    astray[plain.flow[~router.usable[plain.link]]] = True
    changed = np.flatnonzero(astray)
    if not len(changed):
        return plain
    anew = _one_by_one(router, sources[changed], targets[changed])
    kept = ~astray[plain.flow]
    latency = plain.latency.copy()
    latency[changed] = anew.latency
    return Routes(
        np.concatenate((plain.flow[kept], changed[anew.flow])),
        np.concatenate((plain.link[kept], anew.link)),
        np.concatenate((plain.fraction[kept], anew.fraction)),
        latency,
    )


def _tiered(router: Tiered, sources: Ints, targets: Ints) -> Routes:
    parts = _sprayed if router.policy == "spray" else _ordered
    legs = [_Leg.none()]
    latency = np.zeros(len(sources))
    moves = _moves(router.steps, sources, targets)
    differing = sum((present << place for place, (_, _, present) in enumerate(moves)), np.zeros(len(sources), dtype=np.int64))
    by_step: dict[int, list[_Leg]] = {}
    for pattern in np.unique(differing).tolist():
        flows = np.flatnonzero(differing == pattern)
        chosen = [place for place in range(len(moves)) if pattern >> place & 1]
        for place, leg in parts(chosen, [moves[place][1][flows] for place in chosen], flows, sources[flows]):
            by_step.setdefault(place, []).append(leg)
    for place, pieces in by_step.items():
        legs.append(_walked(moves[place][0], pieces, latency))
    return Routes(
        np.concatenate([leg.flow for leg in legs]),
        np.concatenate([leg.tail for leg in legs]),
        np.concatenate([leg.share for leg in legs]),
        latency,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Leg:
    """Flows that take one step from ``tail`` to ``head`` with ``share`` of their bytes; ``first``: their latency counts.

    Once walked, ``tail`` is the link.
    """

    flow: Ints
    tail: Ints
    head: Ints
    share: Floats
    first: bool

    @classmethod
    def none(cls) -> _Leg:
        """Nobody's."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, np.empty(0), False)


def _moves(steps: Sequence[Step], sources: Ints, targets: Ints) -> list[tuple[Step, Ints, Ints]]:
    """Per step, innermost first: what it adds to the device number, and for which flows it is taken (0 or 1).

    As :func:`topologies.routing.corrections`, for all flows.
    """
    found = []
    climbing = np.ones(len(sources), dtype=bool)
    for step in reversed(steps):
        here, there = sources % step.box, targets % step.box
        own, other = here // step.below, there // step.below
        present = climbing & (own != other)
        found.append((step, there - here if step.joins else (other - own) * step.below, present.astype(np.int64)))
        if step.joins:
            climbing &= ~present
    return found[::-1]


def _sprayed(chosen: Sequence[int], deltas: Sequence[Ints], flows: Ints, sources: Ints) -> Iterator[tuple[int, _Leg]]:
    """The steps of :func:`topologies.routing.spray`: every order equally often."""
    m = len(chosen)
    for done in range(2**m - 1):
        corrected = done.bit_count()
        share = np.full(len(flows), 1.0 / (comb(m, corrected) * (m - corrected)))
        node = sources + sum(deltas[i] for i in range(m) if done >> i & 1)
        for i in range(m):
            if not done >> i & 1:
                yield chosen[i], _Leg(flows, node, node + deltas[i], share, done == 0)


def _ordered(chosen: Sequence[int], deltas: Sequence[Ints], flows: Ints, sources: Ints) -> Iterator[tuple[int, _Leg]]:
    """The steps of :func:`topologies.routing.dimension_order`: innermost first."""
    node = sources
    for place, delta in zip(chosen, deltas, strict=True):
        yield place, _Leg(flows, node, node + delta, np.ones(len(flows)), True)
        node = node + delta


def _walked(step: Step, legs: Sequence[_Leg], latency: Floats) -> _Leg:
    """The links of one step's legs; adds the latency of those that count."""
    flow = np.concatenate([leg.flow for leg in legs])
    tail, head = np.concatenate([leg.tail for leg in legs]), np.concatenate([leg.head for leg in legs])
    share = np.concatenate([leg.share for leg in legs])
    first = np.repeat([leg.first for leg in legs], [len(leg.flow) for leg in legs])
    width = int(max(tail.max(), head.max())) + 1
    ends, place = np.unique(tail * width + head, return_inverse=True)
    found = [step.segment(end // width, end % width) for end in ends.tolist()]
    slow = np.array([route.latency for route in found])
    np.add.at(latency, flow[first], slow[place[first]])
    counts = np.array([len(route.links) for route in found], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    links = np.concatenate([route.links for route in found])
    fractions = np.concatenate([route.fraction for route in found])
    repeat = counts[place]
    row = np.repeat(np.arange(len(flow), dtype=np.int64), repeat)
    at = np.arange(len(row), dtype=np.int64) - np.repeat(np.cumsum(repeat) - repeat, repeat) + starts[place][row]
    return _Leg(flow[row], links[at], links[at], share[row] * fractions[at], False)
