"""Routes of many flows at once, and what they put on links: what the routers say, without a call for each flow and step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from topologies.around import around
from topologies.around import moved as around_moved
from topologies.detour import Avoiding
from topologies.fabric import Floats, Ints, Route, Routes
from topologies.hashes import Hashed, ways
from topologies.legs import Taken, distinct, legs
from topologies.routing import Minimal, Moved, Tiered

Router = Callable[[int, int], Route]

Mask = npt.NDArray[np.bool_]

_NOBODY = np.empty(0, dtype=np.int64)

#: Pairs that are led round at a time; each takes as much as its ways are wide.
ROUND = 16_384


def routes(router: Router, sources: Ints, targets: Ints) -> Routes:
    """The routes from ``sources[i]`` to ``targets[i]``, by any router."""
    if isinstance(router, Moved):
        return routes(router.base, router.place[sources], router.place[targets])
    if isinstance(router, Tiered):
        return _tiered(router, sources, targets)
    if isinstance(router, Avoiding):
        return _avoiding(router, sources, targets)
    if isinstance(router, Hashed) and router.tiered is not None:
        return ways(router, router.tiered, sources, targets)
    return _one_by_one(router, sources, targets)


def rows_over(router: Router, sources: Ints, targets: Ints, tiers: Collection[int], wanted: Mask) -> tuple[Ints, Ints]:
    """The flow and the link of each row of :func:`routes` that has a ``wanted`` link [links]; they are of these ``tiers``."""
    if not isinstance(router, Tiered):
        found = routes(router, sources, targets)
        some = np.flatnonzero(wanted[found.link])
        return found.flow[some], found.link[some]
    bundles = list(accumulate((step.bundles for step in router.steps), initial=0))
    places = sorted({bisect_right(bundles, tier) - 1 for tier in tiers})
    rows = [(_NOBODY, _NOBODY)]
    for each in legs(router, sources, targets, places):
        tail, head, pair = distinct(router.steps[each.place], each.tail, each.head)
        ways = router.steps[each.place].segments(tail, head)
        some = np.flatnonzero(wanted[ways.link])
        few = Routes(ways.flow[some], ways.link[some], ways.fraction[some], ways.latency)
        flow, link, _ = Taken(few, pair, each.flow, each.share).rows()
        rows.append((flow, link))
    flow, link = (np.concatenate(column) for column in zip(*rows, strict=True))
    return flow, link


def loads(router: Router, sources: Ints, targets: Ints, weight: Floats, links: int) -> tuple[Floats, float]:
    """What flows from ``sources[i]`` to ``targets[i]`` with ``weight[i]`` bytes put on each link [links]; the longest latency.

    As the sum of :func:`routes`, but that a tier's part of the way is asked for once for each pair of its ends. Each pair is
    there once, and no end is dead.
    """
    if isinstance(router, Moved):
        return loads(router.base, router.place[sources], router.place[targets], weight, links)
    if isinstance(router, Tiered):
        taken, latency = _over_steps(router, sources, targets, apart=False)
        return sum((each.on_links(links, weight) for each in taken), np.zeros(links)), float(latency.max(initial=0.0))
    if isinstance(router, Avoiding) and isinstance(router.base, Tiered):
        found = around(router, router.base, sources, targets)
        longest = float(found.latency[~found.stuck].max(initial=0.0))
        total = sum((each.on_links(links, weight) for each in found.taken), np.zeros(links))
        return total, max(longest, _led_round(router, sources, targets, weight, np.flatnonzero(found.stuck), total))
    if isinstance(router, Minimal):
        return _to_each_target(router, sources, targets, weight, links)
    each = routes(router, sources, targets)
    total = np.bincount(each.link, weights=each.fraction * weight[each.flow], minlength=links).astype(np.float64)
    return total, float(each.latency.max(initial=0.0))


def moved(router: Avoiding, sources: Ints, targets: Ints, weight: Floats, links: int) -> tuple[Floats, float]:
    """What flows put on each link more than they would if nothing were dead [links]; the longest latency of those that are led.

    As :func:`loads` under the router less those under its base, a dead end sending and getting nothing. Each pair is there once.
    """
    dead = np.array(sorted(router.dead), dtype=np.int64)
    left = ~(np.isin(sources, dead) | np.isin(targets, dead)) if len(dead) else np.ones(len(sources), dtype=bool)
    if not isinstance(router.base, Tiered):
        found, longest = loads(router, sources[left], targets[left], weight[left], links)
        return found - loads(router.base, sources, targets, weight, links)[0], longest
    change, latency, stuck = around_moved(router, router.base, sources, targets, weight, weight * left, links)
    longest = float(latency[left & ~stuck].max(initial=0.0))
    return change, max(longest, _led_round(router, sources, targets, weight, np.flatnonzero(stuck & left), change))


def _led_round(router: Avoiding, sources: Ints, targets: Ints, weight: Floats, stuck: Ints, total: Floats) -> float:
    """Add the detours of the stuck flows to what links carry; their longest latency [s]."""
    longest = 0.0
    for start in range(0, len(stuck), ROUND):
        some = stuck[start : start + ROUND]
        led = router.ways_round(sources[some], targets[some])
        np.add.at(total, led.link, led.fraction * weight[some][led.flow])
        longest = max(longest, float(led.latency.max(initial=0.0)))
    return longest


def _to_each_target(router: Minimal, sources: Ints, targets: Ints, weight: Floats, links: int) -> tuple[Floats, float]:
    """The ways to a target are one graph, whoever takes them: one pass over it for all of its sources."""
    total, longest = np.zeros(links), 0.0
    order = np.argsort(targets, kind="stable")
    for to in np.split(order, np.flatnonzero(np.diff(targets[order])) + 1) if len(order) else ():
        target = int(targets[to[0]])
        lost = sources[to][router.hops(target)[sources[to]] < 0]
        if len(lost):
            router(int(lost[0]), target)  # the error says which
        met, amounts, slowest = router.carried(sources[to], weight[to], target)
        np.add.at(total, met, amounts)
        longest = max(longest, slowest)
    return total, longest


def _one_by_one(router: Router, sources: Ints, targets: Ints) -> Routes:
    found = [router(source, target) for source, target in zip(sources.tolist(), targets.tolist(), strict=True)]
    counts = [len(route.links) for route in found]
    return Routes(
        np.repeat(np.arange(len(found), dtype=np.int64), counts),
        np.concatenate([np.empty(0, dtype=np.int64), *(route.links for route in found)]),
        np.concatenate([np.empty(0), *(route.fraction for route in found)]),
        np.array([route.latency for route in found], dtype=np.float64),
    )


def _tiered(router: Tiered, sources: Ints, targets: Ints) -> Routes:
    taken, latency = _over_steps(router, sources, targets, apart=True)
    return _joined(taken, latency)


def _over_steps(router: Tiered, sources: Ints, targets: Ints, apart: bool) -> tuple[list[Taken], Floats]:
    """The legs over each step, and each flow's latency; ``apart``: legs with the same ends are not put together."""
    latency = np.zeros(len(sources))
    taken = []
    for each in legs(router, sources, targets):
        step, tail, head = router.steps[each.place], each.tail, each.head
        pair = np.arange(len(tail), dtype=np.int64)
        if not apart:
            tail, head, pair = distinct(step, tail, head)
        ways = step.segments(tail, head)
        latency[each.flow[each.first]] += ways.latency[pair[each.first]]
        taken.append(Taken(ways, pair, each.flow, each.share))
    return taken, latency


def _joined(taken: list[Taken], latency: Floats) -> Routes:
    rows = [each.rows() for each in taken]
    return Routes(
        np.concatenate([_NOBODY, *(flow for flow, _, _ in rows)]),
        np.concatenate([_NOBODY, *(link for _, link, _ in rows)]),
        np.concatenate([np.empty(0), *(fraction for _, _, fraction in rows)]),
        latency,
    )


def _avoiding(router: Avoiding, sources: Ints, targets: Ints) -> Routes:
    """The base's routes, and those of the flows that would cross something dead around it."""
    plain = routes(router.base, sources, targets)
    dead = np.array(sorted(router.dead), dtype=np.int64)
    barred = np.flatnonzero(np.isin(sources, dead) | np.isin(targets, dead))
    if len(barred):
        router(int(sources[barred[0]]), int(targets[barred[0]]))  # the error says which
    astray = np.zeros(len(sources), dtype=bool)
    astray[plain.flow[~router.usable[plain.link]]] = True
    changed = np.flatnonzero(astray)
    if not len(changed):
        return plain
    kept = ~astray[plain.flow]
    parts = [Routes(plain.flow[kept], plain.link[kept], plain.fraction[kept], plain.latency)]
    latency = plain.latency.copy()
    if isinstance(router.base, Tiered):
        found = around(router, router.base, sources[changed], targets[changed])
        led = _joined(found.taken, found.latency)
        latency[changed] = led.latency
        parts.append(Routes(changed[led.flow], led.link, led.fraction, led.latency))
        changed = changed[found.stuck]
    led = router.ways_round(sources[changed], targets[changed])
    latency[changed] = led.latency
    parts.append(Routes(changed[led.flow], led.link, led.fraction, led.latency))
    flow, link, fraction = (
        np.concatenate(column) for column in zip(*((each.flow, each.link, each.fraction) for each in parts), strict=True)
    )
    return Routes(flow, link, fraction, latency)
