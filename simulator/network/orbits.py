"""Classes of ranks, pairs and links under the swaps (or turns) of each sub-dimension: products of per-sub-dimension types.

The coordinates of a ``full`` sub-dimension fall into classes (one class where nothing is broken) of sizes s. The type of
an ordered pair of coordinates is (class of one, class of the other, whether they are equal): s pairs that are equal, s (s - 1)
different ones of one class, s s' of two classes. Where the symmetry is ``none`` every coordinate is its own class. Along a
``cyclic`` sub-dimension of size k the type is the difference (k pairs each), along a ``dihedral`` one the difference either way
round (2 k pairs, or k where both ways are the same). A node without a coordinate (-1) is fixed by
every swap, so the other end alone counts. The group is the product over sub-dimensions, so a class of ordered node pairs is
a tuple of types and its size the product of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from simulator.network.grid import grid_of
from simulator.network.numbering import first_of_each, numbered, places
from simulator.network.placement import SubDimension
from simulator.network.splits import split
from simulator.spec.errors import IdentityBroken, TopologyError
from topologies.adjacency import KEPT, by_end, spans
from topologies.fabric import Defect, Fabric, Ints

_WORD = 1 << 62  # codes are packed into 64-bit words


class Orbits:
    """Classes of one fabric under the symmetries of ``parts``, as far as the ``active`` defects leave them (default: all).

    ``tell_apart`` may split the sub-dimensions further, for what is done on them.
    Dead devices are in no class of ranks: ``rank_class`` is -1 there.
    """

    def __init__(
        self,
        fabric: Fabric,
        parts: Sequence[SubDimension],
        active: Sequence[Defect] | None = None,
        tell_apart: Callable[[Sequence[SubDimension]], tuple[SubDimension, ...]] = tuple,
    ) -> None:
        self.fabric = fabric
        grid = grid_of(fabric, parts)
        self._columns = grid.columns
        self.coordinates: Ints = grid.columns.T  # [nodes, parts]
        self.nested = grid.nested
        self.parts = tell_apart(split(parts, fabric, self.coordinates, fabric.defects if active is None else active))
        self.relaxed = active is not None and len(active) < len(fabric.defects)
        self.trivial = all(part.symmetry == "none" or part.size == 1 for part in self.parts)
        labels = [np.array(part.labels, dtype=np.int64) for part in self.parts]
        self._sizes = [np.append(1, np.bincount(label)) for label in labels]  # by label, 1 for no coordinate
        self._labels = [np.append(label + 1, 0) for label in labels]  # by coordinate; 0, where -1 finds it: no coordinate
        self._known: dict[tuple[int, int], Types] = {}
        self._classify_ranks()

    def _classify_ranks(self) -> None:
        if self.nested and not self.fabric.dead:
            self._classify_combinations()
            return
        alive = self.fabric.alive
        labels = self._rank_labels()
        first, inverse = places(labels if len(alive) == len(labels) else labels[alive])
        self.representatives: Ints = alive[first]
        self.rank_class_sizes: Ints = np.bincount(inverse, minlength=len(first)).astype(np.int64)
        self.rank_class: Ints = inverse
        if len(alive) < len(labels):
            self.rank_class = np.full(len(labels), -1, dtype=np.int64)
            self.rank_class[alive] = inverse

    def _classify_combinations(self) -> None:
        """The same where every combination of coordinates is a rank: a class is a combination of classes along each part."""
        number, lowest, sizes = (np.full(1, start, dtype=np.int64) for start in (0, 0, 1))  # by rank; by class
        for column, part in enumerate(self.parts):
            if part.unit and part.size > 1:
                number = ((self._labels[column][:-1] - 1)[:, None] * len(lowest) + number).ravel()
                firsts = np.array(self.firsts_along(column), dtype=np.int64)
                lowest = (firsts[:, None] * part.unit + lowest).ravel()
                sizes = (self._sizes[column][1:, None] * sizes).ravel()
        order = np.argsort(lowest)  # classes are numbered by their lowest ranks
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order), dtype=np.int64)
        self.representatives, self.rank_class_sizes, self.rank_class = lowest[order], sizes[order], rank[number]

    def _rank_labels(self) -> Ints:
        """A number for each rank, the same for those whose coordinates are alike in every part."""
        labels = np.zeros(self.fabric.ranks, dtype=np.int64)
        for column, part in enumerate(self.parts):
            if part.unit and part.size > 1:
                labels = labels * part.classes + self._labels[column][self._columns[column, : len(labels)]] - 1
        return labels

    def _label(self, column: int, nodes: Ints) -> Ints:
        """The class of each node's coordinate along a part, counted from 1; 0: it has none."""
        labels, column_of = self._labels[column], self._columns[column]
        found: Ints = labels[column_of][nodes] if len(nodes) > len(column_of) else labels[column_of[nodes]]
        return found

    def pair_codes(self, source: int, targets: Ints) -> Ints:
        """[targets]: equal codes are pairs of ``source`` with targets that are alike to it.

        A part has at most twice as many types as coordinates, so codes stay below ranks squared.
        """
        found = np.zeros(len(targets), dtype=np.int64)
        for column, types in self._types_from(source):
            found += types.code[self._columns[column][targets]]
        return found

    def firsts_along(self, column: int) -> list[int]:
        """The first coordinate of each class of coordinates along a part."""
        labels = self.parts[column].labels
        return [labels.index(label) for label in range(self.parts[column].classes)]

    def types_along(self, column: int) -> list[Types]:
        """The types of pairs of the first coordinate of each class along a part of the devices."""
        return [self._types(column, here) for here in self.firsts_along(column)]

    def _types_from(self, source: int) -> list[tuple[int, Types]]:
        """Columns of the devices' parts with the types of pairs of ``source``."""
        return [(column, self._types(column, int(self._columns[column, source]))) for column in self._weights]

    @cached_property
    def _weights(self) -> dict[int, int]:
        """What a type along each of the devices' parts adds to a code, innermost part first: its digit weighs most."""
        parts = [(column, part) for column, part in enumerate(self.parts) if part.size > 1 and part.unit]
        scale = prod(_radix(part) for _, part in parts)
        if scale > _WORD:
            raise IdentityBroken(f"{self.fabric.name}: {scale} types of pairs of ranks, more than 64 bits tell apart")
        return {column: (scale := scale // _radix(part)) for column, part in parts}

    def _types(self, column: int, here: int) -> Types:
        found = self._known.get((column, here))
        if found is None:
            found = self._known[column, here] = Types.of(self.parts[column], here, self._weights[column])
        return found

    def targets_in_class(self, sources: Ints, targets: Ints) -> Ints:
        """How many ranks are to each source what its target is: the orbit of target under the swaps that fix source."""
        count = np.ones(len(sources), dtype=np.int64)
        for column, part in enumerate(self.parts):
            if part.symmetry == "full":
                mine, other = self._label(column, sources), self._label(column, targets)
                moved = self._columns[column][sources] != self._columns[column][targets]
                count *= np.where(moved, self._sizes[column][other] - (mine == other), 1)
            elif part.symmetry == "dihedral":
                count *= _ways(self._columns[column][sources], self._columns[column][targets], part.size)
        return count

    def link_keys(self, links: Ints) -> list[tuple[object, ...]]:
        """One hashable key per link; equal keys are links of one class."""
        if self.trivial:
            return [(link,) for link in links.tolist()]
        fabric = self.fabric
        tails, heads = fabric.tail[links], fabric.head[links]
        # What a relaxed defect has taken does not tell its links apart.
        capacity = np.zeros(len(links)) if self.relaxed else fabric.capacity[links]
        kinds = fabric.node_kind
        return [
            (kinds[tail], kinds[head], tier, left, *word)
            for tail, head, tier, left, word in zip(
                tails.tolist(),
                heads.tolist(),
                fabric.link_tier[links].tolist(),
                capacity.tolist(),
                self._codes(tails, heads).tolist(),
                strict=True,
            )
        ]

    def kinds_of_pairs(self, ones: Ints, others: Ints) -> Ints:
        """The number of the class of every ordered pair of devices, counted from 0 [pairs]."""
        found = np.zeros(len(ones), dtype=np.int64)
        for column in self._codes(ones, others).T:
            _, code = numbered(column)
            found = numbered(found * (int(code.max(initial=0)) + 1) + code)[1] if found.any() else code
        return found

    def link_kinds(self) -> Ints:
        """The number of the class of every link, counted from 0 [links]."""
        fabric = self.fabric
        if self.trivial:
            return np.arange(len(fabric.tail), dtype=np.int64)
        return self.kinds_of_links(np.arange(len(fabric.tail), dtype=np.int64))[1]

    def kinds_of_links(self, links: Ints) -> tuple[Ints, Ints]:
        """One of each class of these links, by place, in the order in which they come; and the number of each link's class."""
        if self.trivial:
            return np.arange(len(links), dtype=np.int64), np.arange(len(links), dtype=np.int64)
        fabric = self.fabric
        tails, heads = fabric.tail[links], fabric.head[links]
        kinds = node_kinds(fabric)
        found = (kinds[tails] * (int(kinds.max()) + 1) + kinds[heads]) * len(fabric.tiers) + fabric.link_tier[links]
        for code, radix in self._digits(tails, heads):
            found = numbered(found * radix + code)[1]  # small after each digit, so it is never sorted
        if not self.relaxed:
            capacity = fabric.capacity[links]
            values = np.unique(capacity)
            if len(values) > 1:
                found = numbered(found * len(values) + np.searchsorted(values, capacity))[1]
        return places(found)

    def links_in_class(self, link: int) -> int:
        """How many links are in the class of ``link``."""
        return int(self.links_in_classes(np.array([link], dtype=np.int64))[0])

    def links_in_classes(self, links: Ints) -> Ints:
        """How many links are in the class of each, in closed form times the parallel links of its own node pair."""
        if self.trivial:
            return np.ones(len(links), dtype=np.int64)
        tails, heads = self.fabric.tail[links], self.fabric.head[links]
        count = self._parallel(links)
        for column, part in enumerate(self.parts):
            one, other = self._columns[column][tails], self._columns[column][heads]
            if part.symmetry in ("cyclic", "dihedral"):
                count *= np.where((one >= 0) | (other >= 0), part.size, 1)
                if part.symmetry == "dihedral":
                    count *= np.where((one >= 0) & (other >= 0), _ways(one, other, part.size), 1)
                continue
            first, second = self._label(column, tails), self._label(column, heads)
            sizes = self._sizes[column]
            count *= sizes[first] * np.where((second > 0) & (one != other), sizes[second] - (first == second), 1)
        return count

    def check(self) -> None:
        """Count every link of the fabric and compare with the closed forms.

        Raises TopologyError where the arrays are not what the declared symmetries say.
        """
        keys = self.link_keys(np.arange(len(self.fabric.tail), dtype=np.int64))
        counted: dict[tuple[object, ...], list[int]] = {}
        for link, key in enumerate(keys):
            entry = counted.setdefault(key, [link, 0])
            entry[1] += 1
        for link, count in counted.values():
            expected = self.links_in_class(link)
            if expected != count:
                name = self.fabric.node_name
                raise TopologyError(
                    f"{self.fabric.name}: the declared symmetries make {expected} links like "
                    f"{name(int(self.fabric.tail[link]))}->{name(int(self.fabric.head[link]))}",
                    got=count,
                    do="Declare symmetry none along the dimensions in which the links differ, or the links as defects.",
                )

    def _codes(self, tails: Ints, heads: Ints) -> Ints:
        """[pairs, words]: the types of node pairs along all sub-dimensions, packed into integers."""
        packed = _Words(len(tails))
        for code, radix in self._digits(tails, heads):
            packed.add(code, radix)
        return packed.words()

    def _digits(self, tails: Ints, heads: Ints) -> Iterator[tuple[Ints, int]]:
        """The types of node pairs along each sub-dimension [pairs], and how many there may be."""
        for column, part in enumerate(self.parts):
            one, other = self._columns[column][tails], self._columns[column][heads]
            if part.symmetry in ("cyclic", "dihedral"):
                lone = np.where(one < 0, np.where(other < 0, 0, 1), 2)
                apart = (other - one) % part.size if part.symmetry == "cyclic" else _apart(one, other, part.size)
                yield np.where((one < 0) | (other < 0), lone, 3 + apart), 3 + part.size
            else:
                radix = part.classes + 1
                labels = self._labels[column]
                yield 2 * (labels[one] * radix + labels[other]) + (one == other), 2 * radix * radix

    def _parallel(self, links: Ints) -> Ints:
        """Links that share tail, head, tier and capacity with each of ``links``, itself included.

        Looked for at the end of each that has fewer links: a switch may have thousands.
        """
        fabric = self.fabric
        out, into = by_end(fabric.tail), by_end(fabric.head)
        tails, heads = fabric.tail[links], fabric.head[links]
        fewer = _degrees(out[1], tails) <= _degrees(into[1], heads)
        count = np.empty(len(links), dtype=np.int64)
        for some, (order, starts), ends in ((fewer, out, tails), (~fewer, into, heads)):
            near, owner = spans(order, starts, ends[some])
            mine = links[some][owner]
            same = (fabric.tail[near] == fabric.tail[mine]) & (fabric.head[near] == fabric.head[mine])
            same &= fabric.link_tier[near] == fabric.link_tier[mine]
            if not self.relaxed:
                same &= fabric.capacity[near] == fabric.capacity[mine]
            count[some] = np.bincount(owner[same], minlength=int(np.count_nonzero(some)))
        return count


def _degrees(starts: Ints, nodes: Ints) -> Ints:
    """How many links each of these nodes has, of those in order of their ends that ``starts`` divides."""
    found: Ints = starts[nodes + 1] - starts[nodes]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Types:
    """Pairs of one coordinate of a part with all: ``code`` of each [size]; ``kinds`` of codes, where each is first, how often."""

    code: Ints
    kinds: Ints
    first: Ints
    counts: Ints

    @classmethod
    def of(cls, part: SubDimension, here: int, weight: int) -> Types:
        """The codes are multiples of ``weight``. Devices have a coordinate along every part of theirs."""
        there = np.arange(part.size, dtype=np.int64)
        if part.symmetry == "cyclic":
            code = (there - here) % part.size
        elif part.symmetry == "dihedral":
            code = _apart(np.array(here), there, part.size)
        elif part.classes == part.size:
            code = there
        else:
            code = 2 * np.array(part.labels, dtype=np.int64)
            code[here] += 1
        kinds, first, counts = first_of_each(code)
        return cls(code * weight, kinds * weight, first, counts)


def _radix(part: SubDimension) -> int:
    """How many codes a pair of coordinates of a part may have."""
    return part.size if part.symmetry in ("cyclic", "dihedral") or part.classes == part.size else 2 * part.classes


class _Words:
    """Small codes in mixed radix, as few 64-bit words a row as hold them."""

    def __init__(self, rows: int) -> None:
        self._done: list[Ints] = []
        self._word: Ints = np.zeros(rows, dtype=np.int64)
        self._room = 1

    def add(self, code: Ints, radix: int) -> None:
        """Append one digit to every row."""
        if self._room * radix > _WORD:
            self._done.append(self._word)
            self._word, self._room = np.zeros(len(code), dtype=np.int64), 1
        self._word = self._word * radix + code
        self._room *= radix

    def words(self) -> Ints:
        """[rows, words]."""
        return np.stack([*self._done, self._word], axis=1)


def _apart(here: Ints, there: Ints, size: int) -> Ints:
    """Steps from one coordinate of a ring to another, the shorter way round."""
    onward = (there - here) % size
    apart: Ints = np.minimum(onward, size - onward)
    return apart


def _ways(here: Ints, there: Ints, size: int) -> Ints:
    """How many coordinates are as far from ``here`` as ``there``: one on each side, or one where the sides meet."""
    apart = _apart(here, there, size)
    return np.where((apart == 0) | (2 * apart == size), 1, 2)


def node_kinds(fabric: Fabric) -> Ints:
    """The number of each node's kind, counted from 0 [nodes]; remembered, as faulty versions of a fabric share their kinds."""
    known = _KINDS.get(id(fabric.node_kind))
    if known is None:
        while len(_KINDS) >= KEPT:
            del _KINDS[next(iter(_KINDS))]
        known = _KINDS[id(fabric.node_kind)] = (fabric.node_kind, _numbers_of(fabric.node_kind))
    return known[1]


_KINDS: dict[int, tuple[tuple[str, ...], Ints]] = {}


def _numbers_of(kinds: tuple[str, ...]) -> Ints:
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    return np.fromiter(map(numbers.__getitem__, kinds), dtype=np.int64, count=len(kinds))
