"""The flows of one class of pairs before they have a size: what they load, how long the way is, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.pattern import Exchange
from simulator.network.contract import RankClass
from simulator.network.links import LinkTable
from simulator.network.numbering import first_of_each
from simulator.network.orbits import Orbits
from simulator.network.phase import Phase
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
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Heading:
    """Where the flows of one source class go: for each class of targets one peer, how many peers [classes], and its code."""

    source: RankClass
    peers: Ints
    counts: Ints
    codes: Ints


def heading(orbits: Orbits, source: RankClass, peers: Ints) -> Heading:
    """Peers of the representative by class, one of each, in the order of the codes."""
    rank = source.representative
    kinds, first, counts = first_of_each(orbits.pair_codes(rank, peers))
    return Heading(source, peers[first], counts, kinds)


def sizes(each: Heading, exchange: Exchange) -> Floats:
    """What one peer of each class gets; peers of a class all get the same."""
    if exchange.sizes is None:
        return np.full(len(each.peers), exchange.payload)
    by_peer = dict(zip(exchange.peers.tolist(), exchange.sizes.tolist(), strict=True))
    found = [by_peer[peer] for peer in each.peers.tolist()]
    asked = float(exchange.sizes.sum())
    folded = sum(size * count for size, count in zip(found, each.counts.tolist(), strict=True))
    if abs(asked - folded) > 1e-9 * asked:
        raise IdentityBroken(
            f"rank {each.source.representative} sends {asked} B, its classes {folded} B: unequal peers in one class"
        )
    return np.array(found, dtype=np.float64)


class Paths:
    """Paths found so far, in columns: each class of pairs is routed once, many at a time."""

    def __init__(self, orbits: Orbits, links: LinkTable) -> None:
        self.orbits = orbits
        self._links = links
        self._found: dict[int, dict[int, int]] = {}  # by source class and code the row
        self._starts: Ints = np.zeros(1, dtype=np.int64)  # row i loads the entries from starts[i] to starts[i + 1]
        self._entries: tuple[Ints, Floats] = np.empty(0, dtype=np.int64), np.empty(0)  # link classes, loads
        self.latency: Floats = np.empty(0)
        self.per_source: Ints = np.empty(0, dtype=np.int64)
        self.target_class: Ints = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.latency)

    def unmet(self, each: Heading) -> int:
        """How many of these classes of pairs are not routed yet."""
        known = self._found.get(each.source.key)
        return sum(code not in known for code in each.codes.tolist()) if known else len(each.codes)

    def add(self, headings: Sequence[Heading]) -> list[Ints]:
        """The rows of the classes of pairs of each heading; a representative of every class that is new is routed."""
        ends: list[tuple[RankClass, Ints]] = []
        rows: list[Ints] = []
        number = len(self)
        for each in headings:
            known = self._found.setdefault(each.source.key, {})
            peers, codes = each.peers, each.codes.tolist()
            if known:
                new = [place for place, code in enumerate(codes) if code not in known]
                known.update(zip((codes[place] for place in new), range(number, number + len(new)), strict=True))
                peers = peers[new]
                rows.append(np.array([known[code] for code in codes], dtype=np.int64))
            else:
                known.update(zip(codes, range(number, number + len(peers)), strict=True))
                rows.append(np.arange(number, number + len(peers), dtype=np.int64))
            ends.append((each.source, peers))
            number += len(peers)
        if number > len(self):
            self._route(ends)
        return rows

    def _route(self, ends: Sequence[tuple[RankClass, Ints]]) -> None:
        lengths = [len(peers) for _, peers in ends]
        sources = np.repeat(np.array([source.representative for source, _ in ends], dtype=np.int64), lengths)
        peers = np.concatenate([peers for _, peers in ends])
        found = routes(self.orbits.fabric.router, sources, peers)
        per_source = self.orbits.targets_in_class(sources, peers)
        counts = per_source * np.repeat(np.array([source.size for source, _ in ends], dtype=np.int64), lengths)
        starts, *entries = self._links.spread(found.flow, found.link, found.fraction, counts)
        self._starts = np.concatenate((self._starts, starts[1:] + self._starts[-1]))
        self._entries = np.concatenate((self._entries[0], entries[0])), np.concatenate((self._entries[1], entries[1]))
        self.latency = np.concatenate((self.latency, found.latency))
        self.per_source = np.concatenate((self.per_source, per_source))
        self.target_class = np.concatenate((self.target_class, self.orbits.rank_class[peers]))

    def _loads(self, rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Where the entries of each row start, one more for the end; their link classes; their loads."""
        first = self._starts[rows]
        lengths = self._starts[rows + 1] - first
        starts = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        entries = np.arange(starts[-1], dtype=np.int64) + np.repeat(first - starts[:-1], lengths)
        return starts, self._entries[0][entries], self._entries[1][entries]

    def phase(self, flows: Sequence[tuple[Heading, Ints, Floats]]) -> Phase:
        """The flow classes of these headings: each with its rows and what one peer of each class gets [B]."""
        none = np.empty(0, dtype=np.int64)
        rows = np.concatenate([none, *(rows for _, rows, _ in flows)])
        per_source = np.concatenate([none, *(each.counts for each, _, _ in flows)])
        lengths = [len(rows) for _, rows, _ in flows]
        source = np.repeat(np.array([each.source.key for each, _, _ in flows], dtype=np.int64), lengths)
        count = per_source * np.repeat(np.array([each.source.size for each, _, _ in flows], dtype=np.int64), lengths)
        target = self.target_class[rows]
        size = np.concatenate([np.empty(0), *(payloads for _, _, payloads in flows)])
        per_target = count / self.orbits.rank_class_sizes[target]
        return Phase(*self._loads(rows), size, count, (source, per_source.astype(np.float64), target, per_target), path=rows)

    def between(self, source: int, target: int) -> Path:
        """The path of the class of one pair of ranks that was added before."""
        found = heading(self.orbits, _only(source, self.orbits), np.array([target], dtype=np.int64))
        row = int(self._found[found.source.key][int(found.codes[0])])
        span = slice(int(self._starts[row]), int(self._starts[row + 1]))
        links, loads = self._entries[0][span], self._entries[1][span]
        return Path(links, loads, float(self.latency[row]), int(self.per_source[row]), int(self.target_class[row]), row)


def _only(rank: int, orbits: Orbits) -> RankClass:
    key = int(orbits.rank_class[rank])
    return RankClass(key, rank, int(orbits.rank_class_sizes[key]), 0)
