"""Many flows cut into legs: each a step from one device to another, with a share of a flow's bytes.

Flows that differ in the same tiers take the same subsets of steps, so their nodes are sums of whole columns, and a tier gives its
part of all their ways at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from topologies.fabric import Floats, Ints, Routes
from topologies.routing import Step, Tiered

#: Pairs of devices that are marked in a table rather than sorted.
DENSE = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """Flows [n] that take one step from ``tail`` to ``head`` with ``share`` of their bytes; ``first``: their latency counts."""

    flow: Ints
    tail: Ints
    head: Ints
    share: Floats
    first: bool


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Legs over one step: those of ``flow`` with ``share`` go the way of pair ``pair`` in ``ways``."""

    ways: Routes
    pair: Ints
    flow: Ints
    share: Floats

    def rows(self) -> tuple[Ints, Ints, Floats]:
        """Flow, link and fraction of every link of every leg."""
        order = np.argsort(self.ways.flow, kind="stable")
        counts = np.bincount(self.ways.flow, minlength=len(self.ways.latency))
        repeat = counts[self.pair]
        leg = np.repeat(np.arange(len(self.pair), dtype=np.int64), repeat)
        ends = np.cumsum(repeat)
        at = np.arange(len(leg), dtype=np.int64) - np.repeat(ends - repeat - (np.cumsum(counts) - counts)[self.pair], repeat)
        row = order[at]
        return self.flow[leg], self.ways.link[row], self.share[leg] * self.ways.fraction[row]

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
    deltas: dict[int, Ints] = {}
    differing = np.zeros(len(sources), dtype=np.int64)
    climbing = np.ones(len(sources), dtype=bool)
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        here, there = sources % step.box, targets % step.box
        own, other = here // step.below, there // step.below
        taken = climbing & (own != other)
        deltas[place] = there - here if step.joins else (other - own) * step.below
        differing |= taken.astype(np.int64) << place
        if step.joins:
            climbing &= ~taken
    for pattern in np.unique(differing).tolist():
        flow = np.flatnonzero(differing == pattern)
        chosen = tuple(place for place in range(len(steps)) if pattern >> place & 1)
        yield Moves(flow, sources[flow], chosen, tuple(deltas[place][flow] for place in chosen))


def legs(router: Tiered, sources: Ints, targets: Ints) -> dict[int, list[Leg]]:
    """The legs of all flows, by the place of their step."""
    found: dict[int, list[Leg]] = {}
    for each in moves(router.steps, sources, targets):
        for place, leg in _sprayed(each) if router.policy == "spray" else _ordered(each):
            found.setdefault(place, []).append(leg)
    return found


def _sprayed(each: Moves) -> Iterator[tuple[int, Leg]]:
    """The steps of :func:`topologies.routing.spray`: every order equally often."""
    m = len(each.steps)
    nodes: dict[int, Ints] = {}
    for done in range(2**m - 1):
        corrected = done.bit_count()
        share = np.broadcast_to(1.0 / (comb(m, corrected) * (m - corrected)), len(each.flow))
        node = nodes[done] = nodes[done & (done - 1)] + each.delta[(done & -done).bit_length() - 1] if done else each.source
        for i in range(m):
            if not done >> i & 1:
                yield each.steps[i], Leg(each.flow, node, node + each.delta[i], share, done == 0)


def _ordered(each: Moves) -> Iterator[tuple[int, Leg]]:
    """The steps of :func:`topologies.routing.dimension_order`: innermost first."""
    node = each.source
    for place, delta in zip(each.steps, each.delta, strict=True):
        yield place, Leg(each.flow, node, node + delta, np.ones(len(each.flow)), True)
        node = node + delta


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
        place = (np.cumsum(met) - 1)[key]
    else:
        pairs, place = np.unique(key, return_inverse=True)
    tail, other = np.divmod(pairs, units)
    inside = tail % step.box
    head = other if step.joins else inside + (other - inside // below) * below
    return tail, tail - inside + head, place
