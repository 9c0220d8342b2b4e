"""The flows of one class of pairs before they have a size: what they load, how long the way is, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.pattern import Exchange
from simulator.network.contract import RankClass
from simulator.network.links import LinkTable
from simulator.network.orbits import Orbits
from simulator.spec.errors import IdentityBroken
from topologies.batch import routes
from topologies.fabric import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """``links`` and ``load`` as in :class:`FlowClass`; ``per_source`` flows leave each rank of the source class."""

    links: Ints
    load: Floats
    latency: float
    per_source: int
    target_class: int


@dataclass(frozen=True, slots=True, eq=False)
class Heading:
    """Where the flows of one source class go: for each class of targets one peer, how many peers, and its code."""

    source: RankClass
    peers: tuple[int, ...]
    counts: tuple[int, ...]
    codes: tuple[object, ...]


def heading(orbits: Orbits, source: RankClass, peers: Ints) -> Heading:
    """Peers of the representative by class, one of each, in the order of the codes."""
    codes = orbits.pair_codes(source.representative, peers)
    if codes.shape[1] == 1:
        kinds, first, counts = _first_of_each(codes[:, 0])
        named: tuple[object, ...] = tuple(kinds.tolist())
    else:
        rows, first, counts = np.unique(codes, axis=0, return_index=True, return_counts=True)
        named = tuple(map(tuple, rows.tolist()))
    return Heading(source, tuple(peers[first].tolist()), tuple(counts.tolist()), named)


def sizes(each: Heading, exchange: Exchange) -> list[float]:
    """What one peer of each class gets; peers of a class all get the same."""
    if exchange.sizes is None:
        return [exchange.payload] * len(each.peers)
    by_peer = dict(zip(exchange.peers.tolist(), exchange.sizes.tolist(), strict=True))
    found = [by_peer[peer] for peer in each.peers]
    asked, folded = float(exchange.sizes.sum()), sum(size * count for size, count in zip(found, each.counts, strict=True))
    if abs(asked - folded) > 1e-9 * asked:
        raise IdentityBroken(
            f"rank {each.source.representative} sends {asked} B, its classes {folded} B: unequal peers in one class"
        )
    return found


def _first_of_each(codes: Ints) -> tuple[Ints, Ints, Ints]:
    """The codes that occur, ascending, where each occurs first and how often: a ``unique`` without a sort if codes are small."""
    room = int(codes.max(initial=0)) + 1
    if room > 8 * len(codes):
        kinds, at, often = np.unique(codes, return_index=True, return_counts=True)
        return kinds, at, often
    counts = np.bincount(codes, minlength=room)
    first = np.zeros(room, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    kinds = np.flatnonzero(counts)
    return kinds, first[kinds], counts[kinds]


class Paths:
    """Paths found so far: each class of pairs is routed once, many at a time."""

    def __init__(self, orbits: Orbits, links: LinkTable) -> None:
        self.orbits = orbits
        self._links = links
        self._found: dict[tuple[int, object], Path] = {}

    def __len__(self) -> int:
        return len(self._found)

    def unmet(self, each: Heading) -> int:
        """How many of these classes of pairs are not routed yet."""
        return sum((each.source.key, code) not in self._found for code in each.codes)

    def add(self, headings: Sequence[Heading]) -> None:
        """Route a representative of every class that is new."""
        new = {
            (each.source.key, code): (each.source, peer)
            for each in headings
            for peer, code in zip(each.peers, each.codes, strict=True)
            if (each.source.key, code) not in self._found
        }
        if not new:
            return
        ends = list(new.values())
        sources = np.array([source.representative for source, _ in ends], dtype=np.int64)
        peers = np.array([peer for _, peer in ends], dtype=np.int64)
        found = routes(self.orbits.fabric.router, sources, peers)
        per_source = self.orbits.targets_in_class(sources, peers)
        counts = per_source * np.array([source.size for source, _ in ends], dtype=np.int64)
        loads = self._links.spread(found.flow, found.link, found.fraction, counts)
        target = self.orbits.rank_class[peers].tolist()
        for key, slow, load, count, rank_class in zip(
            new, found.latency.tolist(), loads, per_source.tolist(), target, strict=True
        ):
            self._found[key] = Path(*load, slow, count, rank_class)

    def of(self, source: RankClass, code: object) -> Path:
        """The path of a class of pairs that was added before."""
        return self._found[source.key, code]

    def between(self, source: int, target: int) -> Path:
        """The path of the class of one pair of ranks that was added before."""
        found = heading(self.orbits, _only(source, self.orbits), np.array([target], dtype=np.int64))
        return self._found[found.source.key, found.codes[0]]


def _only(rank: int, orbits: Orbits) -> RankClass:
    key = int(orbits.rank_class[rank])
    return RankClass(key, rank, int(orbits.rank_class_sizes[key]), 0)
