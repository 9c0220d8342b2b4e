"""What the ranks of each class do in an algorithm, turned into flow classes: the courses of one fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from simulator.network.boxes import BOXED, Box, headings_within, pairs_within
from simulator.network.collectives.pattern import Exchange, Pattern
from simulator.network.contract import RankClass
from simulator.network.course import Course, Wait, hop
from simulator.network.paths import Heading, Paths, heading, sizes
from simulator.network.phase import Phase
from simulator.spec.errors import NotModelled
from topologies.fabric import Floats, Ints


class Courses:
    """Makes the courses of the rank classes of one fold, whose ways ``paths`` has.

    ``domain``: ranks of a scale-up domain. NotModelled beyond ``flow_limit`` classes of pairs.
    """

    def __init__(self, rank_classes: tuple[RankClass, ...], paths: Paths, domain: int, flow_limit: int) -> None:
        self._rank_classes = rank_classes
        self._paths = paths
        self._domain = domain
        self._flow_limit = flow_limit
        self._within: dict[Box, list[Heading]] = {}
        self._rows: dict[Box, list[Ints]] = {}

    def course(self, name: str, algorithm: str, patterns: Mapping[int, Pattern]) -> Course:
        """Turn what each participating class does with one byte into flow classes."""
        headings = self._headings(name, patterns)
        phases: list[Phase] = []
        wire, inside, outside = 0.0, 0, 0
        for index in range(max(len(pattern.phases) for pattern in patterns.values())):
            flows: list[tuple[Heading, Ints, Floats]] = []
            waits: dict[int, list[Wait]] = {}  # by place of the exchange in its phase
            for rank_class, pattern in patterns.items():
                rank = self._rank_classes[rank_class]
                for place, exchange in enumerate(pattern.phases[index] if index < len(pattern.phases) else ()):
                    each, rows = headings[rank_class, index, place]
                    flows.append((each, rows, sizes(each, exchange)))
                    slowest = float(self._paths.latency[rows].max(initial=0.0))
                    waits.setdefault(place, []).append(Wait(exchange, slowest, rank.size, self._leaves(rank, exchange)))
            phases.append(self._paths.phase(flows))
            for entries in waits.values():
                count = max(wait.exchange.steps for wait in entries)
                wire += count * hop(entries)
                crosses = any(wait.leaves for wait in entries)
                inside, outside = inside + (not crosses) * count, outside + crosses * count
        return Course(algorithm, tuple(phases), wire, inside, outside)

    def takes(self, name: str, box: Box, whole: bool) -> bool:
        """Whether an exchange in boxes like this one can be made at once; ``whole``: it is one of all ranks.

        NotModelled where all ranks have too many classes of pairs: they are counted before they are made.
        """
        pairs = pairs_within(self._paths.orbits, box)
        if whole:
            self._require_few(name, pairs)
        return pairs <= min(self._flow_limit, BOXED)

    def exchange(self, name: str, box: Box, participants: Sequence[int], pattern: Pattern) -> Course:
        """:meth:`course` where everybody sends everybody else of its box as much: ``pattern`` is what the first one does."""
        headings, known = self._everyone(box), self._rows.get(box)
        chosen = [headings[participant] for participant in participants]
        if known is None:
            self._require_few(name, len(self._paths) + sum(map(self._paths.unmet, chosen)))
            rows = self._paths.add(chosen)
        else:
            rows = [known[participant] for participant in participants]
        self._require_whole(name, chosen, rows)
        exchange = pattern.phases[0][0]
        phase = self._paths.phase(
            [(each, row, np.full(len(row), exchange.payload)) for each, row in zip(chosen, rows, strict=True)]
        )
        rounds = len(pattern.phases)
        wire = rounds * float(self._paths.latency[np.concatenate(rows)].max(initial=0.0))
        leaves = self._leaves(self._rank_classes[participants[0]], exchange)
        return Course("direct", (phase,) * rounds, wire, rounds * (not leaves), rounds * leaves)

    def route_all(self, box: Box) -> None:
        """Find the ways of all pairs of all boxes like this one together: quicker than box by box. Not if they are too many."""
        few = len(self._paths) + pairs_within(self._paths.orbits, box) <= min(self._flow_limit, BOXED)
        if few and box not in self._rows:
            self._rows[box] = self._paths.add(self._everyone(box))

    def route(self, ends: Iterable[tuple[RankClass, Ints]]) -> None:
        """Find the ways of these classes' representatives to these peers together."""
        self._paths.add([heading(self._paths.orbits, source, peers) for source, peers in ends])

    def _everyone(self, box: Box) -> list[Heading]:
        """Where each rank class sends if it sends to all others of its box."""
        found = self._within.get(box)
        if found is None:
            found = self._within[box] = headings_within(self._paths.orbits, self._rank_classes, box)
        return found

    def _leaves(self, rank: RankClass, exchange: Exchange) -> bool:
        """Whether an exchange sends anything out of the representative's domain."""
        first = rank.representative // self._domain * self._domain
        low, high = exchange.peers.min(initial=first), exchange.peers.max(initial=first)
        return bool(low < first or high >= first + self._domain)

    def _headings(self, name: str, patterns: Mapping[int, Pattern]) -> dict[tuple[int, int, int], tuple[Heading, Ints]]:
        """Where each class sends in each exchange (class, phase, place), all of it routed, and the rows of its paths."""
        found: dict[tuple[int, bytes], Heading] = {}
        named: dict[tuple[int, int, int], Heading] = {}
        count = len(self._paths)
        for rank_class, pattern in patterns.items():
            for index, phase in enumerate(pattern.phases):
                for place, exchange in enumerate(phase):
                    key = (rank_class, exchange.peers.tobytes())
                    if key not in found:
                        found[key] = heading(self._paths.orbits, self._rank_classes[rank_class], exchange.peers)
                        count += self._paths.unmet(found[key])
                    named[rank_class, index, place] = found[key]
                    self._require_few(name, count)
        headings = list(found.values())
        rows = self._paths.add(headings)
        self._require_whole(name, headings, rows)
        by_heading = {id(each): row for each, row in zip(headings, rows, strict=True)}
        return {key: (each, by_heading[id(each)]) for key, each in named.items()}

    def _require_whole(self, name: str, headings: Sequence[Heading], rows: Sequence[Ints]) -> None:
        """A source sends to all ranks that are alike to it, or to none of them."""
        alike = self._paths.per_source[np.concatenate(rows)] if rows else np.empty(0, dtype=np.int64)
        counts = np.concatenate([np.empty(0, dtype=np.int64), *(each.counts for each in headings)])
        if not np.array_equal(alike, counts):
            at = int(np.argmax(alike != counts))
            each = next(each for each, end in zip(headings, np.cumsum([len(row) for row in rows]), strict=True) if at < end)
            peer = np.concatenate([each.peers for each in headings])[at]
            raise NotModelled(
                f"{name}: rank {each.source.representative} sends to {counts[at]} of the {alike[at]} ranks that are alike "
                f"to it (rank {peer} is one), so its group does not follow the folded dimensions. "
                "Fold with symmetric=False, or name the group in `ordered`."
            )

    def _require_few(self, name: str, pairs: int) -> None:
        """So many classes of pairs can be routed."""
        if pairs > self._flow_limit:
            raise NotModelled(
                f"{name}: more than {self._flow_limit} classes of pairs of ranks. Use fewer chips, leave out faults, or route by "
                "spray: under hashes no two ranks are alike."
            )
