"""Many flows cut into legs: each a step from one device to another, with a share of a flow's bytes.

Flows that differ in the same tiers take the same subsets of steps, so their nodes are sums of whole columns, and a tier gives its
part of all their ways at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import comb

import numpy as np
import numpy.typing as npt

from topologies.adjacency import in_order
from topologies.fabric import Floats, Ints, Routes
from topologies.routing import Step, Tiered

Mask = npt.NDArray[np.bool_]

#: Pairs of devices that are marked in a table rather than sorted.
DENSE = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Legs:
    """Legs over step ``place``, from ``tail`` to ``head`` with ``share`` of the bytes of ``flow``.

    ``first`` are the places of those that come before all other steps: one of each flow that takes it, whose latency counts.
    """

    place: int
    flow: Ints
    tail: Ints
    head: Ints
    share: Floats
    first: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Legs over one step: those of ``flow`` with ``share`` go the way of pair ``pair`` in ``ways``."""

    ways: Routes
    pair: Ints
    flow: Ints
    share: Floats

    def rows(self) -> tuple[Ints, Ints, Floats]:
        """Flow, link and fraction of every link of every leg."""
        if (
            len(self.pair) == len(self.ways.latency) and (self.pair == np.arange(len(self.pair))).all()
        ):  # each leg has ways of its own
            return self.flow[self.ways.flow], self.ways.link, self.share[self.ways.flow] * self.ways.fraction
        counts = np.bincount(self.ways.flow, minlength=len(self.ways.latency))
        width = int(counts.max(initial=0))
        if width == counts.min(initial=width):  # as many links for each pair: a table
            order = in_order(self.ways.flow).reshape(len(counts), width)
            row = order[self.pair].ravel()
            return np.repeat(self.flow, width), self.ways.link[row], np.repeat(self.share, width) * self.ways.fraction[row]
        order = in_order(self.ways.flow)
        repeat = counts[self.pair]
        ends = np.cumsum(repeat)
        at = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
        at += np.repeat((np.cumsum(counts) - counts)[self.pair] - ends + repeat, repeat)
        row = order[at]
        return np.repeat(self.flow, repeat), self.ways.link[row], np.repeat(self.share, repeat) * self.ways.fraction[row]

    def on_links(self, links: int, weight: Floats) -> Floats:
        """What flows of these weights put on each link [links]."""
        of_pair = np.bincount(self.pair, weights=self.share * weight[self.flow], minlength=len(self.ways.latency))
        amounts = self.ways.fraction * of_pair[self.ways.flow]
        return np.bincount(self.ways.link, weights=amounts, minlength=links).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Flows that differ in the same tiers: the steps they take, innermost first, and what each adds to their devices."""

    flow: Ints
    source: Ints
    steps: tuple[int, ...]  # places in Tiered.steps
    delta: tuple[Ints, ...]


def moves(steps: Sequence[Step], sources: Ints, targets: Ints) -> Iterator[Moves]:
    """Flows by the tiers in which they differ: :func:`topologies.routing.corrections` of all of them."""
    taken, deltas = _taken(steps, sources, targets)
    differing = (taken << np.arange(len(steps), dtype=np.int64)[:, None]).sum(axis=0, dtype=np.int64)
    order = in_order(differing)
    patterns = differing[order]
    edges = [0, *(np.flatnonzero(patterns[1:] != patterns[:-1]) + 1).tolist(), len(patterns)]
    for start, end in pairwise(edges):
        if start == end:  # no flow at all
            continue
        flow, pattern = order[start:end], int(patterns[start])
        chosen = tuple(place for place in range(len(steps)) if pattern >> place & 1)
        yield Moves(flow, sources[flow], chosen, tuple(deltas[place, flow] for place in chosen))


def _taken(steps: Sequence[Step], sources: Ints, targets: Ints) -> tuple[Mask, Ints]:
    """Which steps each flow takes, and what each step would add to its device [steps, flows]."""
    deltas = np.empty((len(steps), len(sources)), dtype=np.int64)
    taken = np.zeros(deltas.shape, dtype=bool)
    climbing = np.ones(len(sources), dtype=bool)
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        here, there = sources % step.box, targets % step.box
        own, other = here // step.below, there // step.below
        taken[place] = climbing & (own != other)
        deltas[place] = there - here if step.joins else (other - own) * step.below
        if step.joins:
            climbing &= ~taken[place]
    return taken, deltas


def legs(router: Tiered, sources: Ints, targets: Ints, places: Sequence[int] | None = None) -> Iterator[Legs]:
    """The legs of all flows over each step, or over those at some ``places``."""
    taken, deltas = _taken(router.steps, sources, targets)
    number = taken.sum(axis=0)
    spray = router.policy == "spray"
    wanted = np.zeros(len(taken), dtype=bool)
    wanted[list(places) if places is not None else slice(None)] = True
    room = int((taken[wanted].sum(axis=0) << (np.maximum(number - 1, 0) if spray else 0)).sum())
    place, flow, tail, head = (np.empty(room, dtype=np.int64) for _ in range(4))
    share, first = np.empty(room), np.zeros(room, dtype=bool)
    start = 0
    for m in range(1, len(taken) + 1):
        alike = np.flatnonzero(number == m)
        if not len(alike):
            continue
        chosen = np.argsort(~taken[:, alike], axis=0, kind="stable")[:m]  # the steps that are taken, innermost first [m, flows]
        parts = (_sprayed if spray else _ordered)(sources[alike], deltas[chosen, alike])
        for steps, (tails, heads, shares) in zip(chosen, parts, strict=True):
            own: tuple[Ints, ...] = (steps, alike, tails, heads)
            if places is not None:
                kept = np.flatnonzero(wanted[steps])
                own = (steps[kept], alike[kept], tails[:, kept], heads[:, kept])
            filled = slice(start, start + own[2].size)
            for column, values in zip((place, flow, tail, head, share), (*own, shares), strict=True):
                column[filled].reshape(own[2].shape)[...] = values
            first[start : start + len(own[0])] = True
            start = filled.stop
    for step in np.flatnonzero(wanted).tolist():
        some = np.flatnonzero(place == step)
        if len(some):
            yield Legs(step, flow[some], tail[some], head[some], share[some], np.flatnonzero(first[some]))


def _sprayed(source: Ints, delta: Ints) -> Iterator[tuple[Ints, Ints, Floats]]:
    """The steps of :func:`topologies.routing.spray`: every order equally often. Tails, heads and shares of each step.

    All flows take ``len(delta)`` steps; arrays are [sets of steps taken before, flows], none before in the first row.
    """
    nodes = source[None]  # by the steps that were taken before, as bits of a number [2^m, flows]
    for step in delta:
        nodes = np.concatenate((nodes, nodes + step))
    for i, step in enumerate(delta):
        before, share = _befores(len(delta), i)
        tail = nodes[before]
        yield tail, tail + step, share


@cache
def _befores(m: int, i: int) -> tuple[Ints, Floats]:
    """The sets of the other m - 1 steps that may be taken before step i, and the share of a flow's bytes that takes it then."""
    before = np.array([done for done in range(2**m - 1) if not done >> i & 1], dtype=np.int64)
    return before, np.array([[share_after(done.bit_count(), m)] for done in before.tolist()])


def share_after(before: int, m: int) -> float:
    """The share of a flow's bytes that takes a certain one of its ``m`` steps after certain others, ``before`` in number."""
    return 1.0 / (comb(m, before) * (m - before))


def _ordered(source: Ints, delta: Ints) -> Iterator[tuple[Ints, Ints, Floats]]:
    """The same for :func:`topologies.routing.dimension_order`: innermost first, so each step once."""
    node = source[None]
    for step in delta:
        yield node, node + step, np.ones((1, 1))
        node = node + step


def at(each: Moves, done: int) -> Ints:
    """Where the flows are after the steps that are bits of ``done``."""
    return each.source + sum(each.delta[i] for i in range(len(each.steps)) if done >> i & 1)


def distinct(step: Step, tails: Ints, heads: Ints) -> tuple[Ints, Ints, Ints]:
    """The different pairs of devices, and which of them each leg is."""
    below = 1 if step.joins else step.below  # else ends differ in the step's own coordinate alone
    units = step.box // below
    key = tails * units + heads % step.box // below
    room = (int(tails.max(initial=0)) + 1) * units
    if room <= max(8 * len(key), DENSE):
        met = np.zeros(room, dtype=bool)
        met[key] = True
        pairs = np.flatnonzero(met)
        number = np.empty(room, dtype=np.int64)
        number[pairs] = np.arange(len(pairs), dtype=np.int64)
        place = number[key]
    else:
        pairs, place = np.unique(key, return_inverse=True)
    tail, other = np.divmod(pairs, units)
    inside = tail % step.box
    head = other if step.joins else inside + (other - inside // below) * below
    return tail, tail - inside + head, place
