"""Routes around dead links for many flows at once: what :class:`topologies.detour.Avoiding` says of each.

A sprayed flow splits at each node over the steps from which its target is still reached; which those are is found from the target
back, for all flows that differ in the same tiers together. Only flows with no way of their own steps left need a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topologies.detour import Avoiding
from topologies.fabric import Floats, Ints, Routes
from topologies.legs import Moves, Taken, at, distinct, moves, share_after
from topologies.routing import Tiered

Mask = npt.NDArray[np.bool_]

#: Legs of one step that are looked at together; each takes about a hundred bytes.
LEGS = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """Legs by step, the latency of each flow [s], and the flows that are ``stuck``: their own steps are cut."""

    taken: list[Taken]
    latency: Floats
    stuck: Mask


def around(router: Avoiding, base: Tiered, sources: Ints, targets: Ints) -> Around:
    """All flows over what is left of their own steps; a stuck flow has legs of no share, if any."""
    found: list[Taken] = []
    latency = np.zeros(len(sources))
    stuck = np.zeros(len(sources), dtype=bool)
    for each in moves(base.steps, sources, targets):
        split = _split(router, base, each)
        found += [leg.taken(shares) for leg, shares in zip(split.legs, split.shares, strict=True)]
        latency[each.flow], stuck[each.flow] = split.slowest, split.stuck
    return Around(found, latency, stuck)


def moved(
    router: Avoiding, base: Tiered, sources: Ints, targets: Ints, before: Floats, after: Floats, links: int
) -> tuple[Floats, Floats, Mask]:
    """What each link carries more than on the whole machine [links]; latencies [s]; the flows that are stuck.

    Flows have ``before`` bytes on the whole machine and ``after`` around what is dead; those of the stuck are taken away only.
    """
    change, latency = np.zeros(links), np.zeros(len(sources))
    stuck = np.zeros(len(sources), dtype=bool)
    for pattern in moves(base.steps, sources, targets):
        for each in _lots(pattern):
            split = _split(router, base, each)
            for i, (leg, shares) in enumerate(zip(split.legs, split.shares, strict=True)):
                usual = _usual_shares(base, len(each.steps), i)
                leg.change(change, usual, before[each.flow], shares, after[each.flow])
            latency[each.flow], stuck[each.flow] = split.slowest, split.stuck
    return change, latency, stuck


def _lots(each: Moves) -> Iterator[Moves]:
    """The same flows, so many at a time that their legs take little room."""
    m = len(each.steps)
    most = max(LEGS // max(m << m >> 1, 1), 1)
    for start in range(0, len(each.flow), most):
        some = slice(start, start + most)
        yield Moves(each.flow[some], each.source[some], each.steps, tuple(delta[some] for delta in each.delta))


def _usual_shares(base: Tiered, m: int, i: int) -> dict[int, float]:
    """The share of a flow's bytes that takes step i of m after each set of steps, where nothing is dead."""
    if base.policy == "dimension-order":
        return {2**i - 1: 1.0}
    return {done: share_after(done.bit_count(), m) for done in range(2**m - 1) if not done >> i & 1}


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """How flows of one pattern split: legs by step, and of each by the steps before it the share of a flow's bytes."""

    legs: list[_Legs]
    shares: list[dict[int, Floats]]
    slowest: Floats
    stuck: Mask


def _split(router: Avoiding, base: Tiered, each: Moves) -> _Split:
    return _ordered(router, base, each) if base.policy == "dimension-order" else _sprayed(router, base, each)


def _ordered(router: Avoiding, base: Tiered, each: Moves) -> _Split:
    """One order of the steps; stuck where one of them is cut."""
    legs = [_Legs.of(router, base, each, i, [2**i - 1]) for i in range(len(each.steps))]
    cut = np.zeros(len(each.flow), dtype=bool)
    slowest = np.zeros(len(each.flow))
    for i, leg in enumerate(legs):
        cut |= leg.cut(2**i - 1)
        slowest += leg.latency(2**i - 1)
    return _Split(legs, [{2**i - 1: (~cut).astype(np.float64)} for i in range(len(legs))], slowest, cut)


def _sprayed(router: Avoiding, base: Tiered, each: Moves) -> _Split:
    """Per hop equal shares of the steps from which the target is still reached."""
    m, count = len(each.steps), len(each.flow)
    full = 2**m - 1
    legs = [_Legs.of(router, base, each, i, [done for done in range(full) if not done >> i & 1]) for i in range(m)]
    reached = {full: np.ones(count, dtype=bool)}
    opened: dict[tuple[int, int], Mask] = {}
    for done in range(full - 1, -1, -1):
        reached[done] = np.zeros(count, dtype=bool)
        for i in range(m):
            if not done >> i & 1:
                opened[done, i] = reached[done | 1 << i] & ~legs[i].cut(done)
                reached[done] |= opened[done, i]
    share = {done: np.zeros(count) for done in range(full + 1)}
    slowest = {done: np.zeros(count) for done in range(full + 1)}
    share[0] = reached[0].astype(np.float64)
    shares: list[dict[int, Floats]] = [{} for _ in range(m)]
    for done in range(full):
        steps = [i for i in range(m) if not done >> i & 1]
        ways = np.zeros(count)
        for i in steps:
            ways += opened[done, i]
        each_way = share[done] / np.maximum(ways, 1.0)
        for i in steps:
            part, there = each_way * opened[done, i], done | 1 << i
            shares[i][done] = part
            share[there] += part
            arrival = slowest[done] + legs[i].latency(done)
            arrival *= part > 0.0
            np.maximum(slowest[there], arrival, out=slowest[there])
    return _Split(legs, shares, slowest[full], ~reached[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Legs:
    """All legs of some flows over one step: one for each set of steps ``done`` before. ``whole``: ways where nothing is dead."""

    whole: Routes
    ways: Routes
    cut_pairs: Mask
    flow: Ints
    pairs: dict[int, Ints]

    @classmethod
    def of(cls, router: Avoiding, base: Tiered, each: Moves, i: int, before: list[int]) -> _Legs:
        """The ways left of step ``i`` after each of the sets of steps ``before``."""
        tails = np.concatenate([at(each, done) for done in before])
        step, count = base.steps[each.steps[i]], len(each.flow)
        heads = (tails.reshape(-1, count) + each.delta[i]).ravel()
        tail, head, place = distinct(step, tails, heads)
        whole = step.segments(tail, head)
        ways, cut = ways_left(router, whole, tail, head)
        pairs = {done: place[number * count : (number + 1) * count] for number, done in enumerate(before)}
        return cls(whole, ways, cut, each.flow, pairs)

    def cut(self, done: int) -> Mask:
        return self.cut_pairs[self.pairs[done]]

    def latency(self, done: int) -> Floats:
        return self.ways.latency[self.pairs[done]]

    def taken(self, shares: dict[int, Floats]) -> Taken:
        """The legs that some bytes take."""
        share = np.concatenate([*shares.values()])
        some = np.flatnonzero(share)
        pair = np.concatenate([self.pairs[done] for done in shares])
        return Taken(self.ways, pair[some], np.tile(self.flow, len(shares))[some], share[some])

    def change(self, total: Floats, usual: dict[int, float], before: Floats, shares: dict[int, Floats], after: Floats) -> None:
        """Take the usual shares of ``before`` bytes a flow off the whole ways' links; put those of ``after`` on the ways left."""
        count = len(self.whole.latency)
        taken, put = np.zeros(count), np.zeros(count)
        for done, place in self.pairs.items():
            np.add.at(taken, place, before * usual[done])
            np.add.at(put, place, after * shares[done])
        if self.ways is self.whole:
            put -= taken
        else:
            np.subtract.at(total, self.whole.link, self.whole.fraction * taken[self.whole.flow])
        np.add.at(total, self.ways.link, self.ways.fraction * put[self.ways.flow])


def ways_left(router: Avoiding, found: Routes, tails: Ints, heads: Ints) -> tuple[Routes, Mask]:
    """A step's ways from each tail to its head without what is dead, and for which of these pairs there is none."""
    cut = np.zeros(len(tails), dtype=bool)
    broken = np.zeros(len(tails), dtype=bool)
    broken[found.flow[~router.usable[found.link]]] = True
    if not broken.any():
        return found, cut
    kept = ~broken[found.flow]
    pruned, without = _pruned(router, found, broken, tails, heads)
    cut[without] = True
    flow = np.concatenate((found.flow[kept], pruned.flow))
    link = np.concatenate((found.link[kept], pruned.link))
    return Routes(flow, link, np.concatenate((found.fraction[kept], pruned.fraction)), found.latency), cut


def _pruned(router: Avoiding, found: Routes, broken: Mask, tails: Ints, heads: Ints) -> tuple[Routes, Ints]:
    """The ways of broken pairs that are left, split at each node in the proportions they had; and the pairs without any.

    All pairs at once: a node of a pair is a place of its own, reached from the target back, filled from the source on.
    """
    chosen = np.flatnonzero(broken[found.flow] & router.usable[found.link])
    pair, link, fraction = found.flow[chosen], found.link[chosen], found.fraction[chosen]
    pairs = np.flatnonzero(broken)
    width = router.nodes
    ends = np.concatenate((pair * width + router.tail[link], pair * width + router.head[link]))
    ends = np.concatenate((ends, pairs * width + tails[pairs], pairs * width + heads[pairs]))
    nodes, place = np.unique(ends, return_inverse=True)
    tail, head, source, target = np.split(place, np.cumsum([len(link), len(link), len(pairs)]))
    reaching = np.zeros(len(nodes), dtype=bool)
    reaching[target] = True
    count = 0
    while count < (count := int(np.count_nonzero(reaching))):
        reaching[tail[reaching[head]]] = True
    good = reaching[head]
    tail, head, pair, link, fraction = tail[good], head[good], pair[good], link[good], fraction[good]
    whole = np.bincount(tail, weights=fraction, minlength=len(nodes))
    part = fraction / whole[tail]
    start = np.zeros(len(nodes))
    start[source[reaching[source]]] = 1.0
    share, before = start, np.empty(0)
    while not np.array_equal(share, before):  # as often as the longest way has links
        share, before = start + np.bincount(head, weights=share[tail] * part, minlength=len(nodes)), share
    carried = share[tail] * part
    some = carried > 0.0
    return Routes(pair[some], link[some], carried[some], np.empty(0)), pairs[~reaching[source]]
