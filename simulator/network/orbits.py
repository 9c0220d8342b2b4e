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

from collections.abc import Callable, Sequence

import numpy as np

from simulator.network.placement import SubDimension
from simulator.network.splits import split
from simulator.spec.errors import TopologyError
from topologies.adjacency import by_end
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
        columns = [_slice(fabric.coordinates[:, part.dimension], part) for part in parts]
        self.coordinates: Ints = np.stack(columns, axis=1) if columns else np.zeros((len(fabric.coordinates), 0), np.int64)
        self.parts = tell_apart(split(parts, fabric, self.coordinates, fabric.defects if active is None else active))
        self.relaxed = active is not None and len(active) < len(fabric.defects)
        self.trivial = all(part.symmetry == "none" or part.size == 1 for part in self.parts)
        self._check_device_coordinates()
        self._columns = [np.ascontiguousarray(self.coordinates[:, column]) for column in range(len(self.parts))]
        labels = [np.array((*part.labels, -1), dtype=np.int64) for part in self.parts]
        self._labels = [label[column] + 1 for label, column in zip(labels, self._columns, strict=True)]  # 0: no coordinate
        self._sizes = [np.bincount(label[:-1]).tolist() for label in labels]
        self._classify_ranks()

    def _classify_ranks(self) -> None:
        ranks = self.fabric.ranks
        labels = np.zeros(ranks, dtype=np.int64)
        for column, part in enumerate(self.parts):
            if part.unit:
                labels = labels * part.classes + self._labels[column][:ranks] - 1
        alive = self.fabric.alive
        _, first, inverse, sizes = np.unique(labels[alive], return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)  # classes numbered by their lowest rank
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self.rank_class: Ints = np.full(ranks, -1, dtype=np.int64)
        self.rank_class[alive] = place[inverse]
        self.representatives: Ints = alive[first[order]]
        self.rank_class_sizes: Ints = sizes[order]

    def pair_codes(self, source: int, targets: Ints) -> Ints:
        """[targets, words]: equal rows are pairs of ``source`` with targets that are alike to it."""
        packed = _Words(len(targets))
        for column, part in enumerate(self.parts):
            if part.size == 1:
                continue
            here, there = self._columns[column][source], self._columns[column][targets]
            if part.symmetry == "cyclic":
                packed.add(np.where(there < 0, 0, 1 + (there - here) % part.size), part.size + 1)
            elif part.symmetry == "dihedral":
                packed.add(np.where(there < 0, 0, 1 + _apart(here, there, part.size)), part.size + 1)
            elif part.classes == part.size:
                packed.add(there + 1, part.size + 1)
            else:
                packed.add(2 * self._labels[column][targets] + (there == here), 2 * part.classes + 2)
        return packed.words()

    def targets_in_class(self, sources: Ints, targets: Ints) -> Ints:
        """How many ranks are to each source what its target is: the orbit of target under the swaps that fix source."""
        count = np.ones(len(sources), dtype=np.int64)
        for column, part in enumerate(self.parts):
            if part.symmetry == "full":
                mine, other = self._labels[column][sources], self._labels[column][targets]
                moved = self._columns[column][sources] != self._columns[column][targets]
                count *= np.where(moved, np.array([1, *self._sizes[column]])[other] - (mine == other), 1)
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
            values, code = np.unique(column, return_inverse=True)
            found = np.unique(found * len(values) + code, return_inverse=True)[1].astype(np.int64)
        return found

    def link_kinds(self) -> Ints:
        """The number of the class of every link, counted from 0 [links]."""
        fabric = self.fabric
        if self.trivial:
            return np.arange(len(fabric.tail), dtype=np.int64)
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(fabric.node_kind))}
        node = np.array([numbers[kind] for kind in fabric.node_kind], dtype=np.int64)
        capacity = np.unique(fabric.capacity, return_inverse=True)[1]
        found = (node[fabric.tail] * len(numbers) + node[fabric.head]) * len(fabric.tiers) + fabric.link_tier
        for column in (capacity, *self._codes(fabric.tail, fabric.head).T):
            values, code = np.unique(column, return_inverse=True)
            found = np.unique(found * len(values) + code, return_inverse=True)[1].astype(np.int64)
        return found

    def links_in_class(self, link: int) -> int:
        """How many links are in the class of ``link``, in closed form times the parallel links of its own node pair."""
        if self.trivial:
            return 1
        tail, head = int(self.fabric.tail[link]), int(self.fabric.head[link])
        count = self._parallel(link)
        for column, part in enumerate(self.parts):
            one, other = int(self._columns[column][tail]), int(self._columns[column][head])
            if part.symmetry in ("cyclic", "dihedral"):
                count *= part.size if one >= 0 or other >= 0 else 1
                if part.symmetry == "dihedral" and one >= 0 and other >= 0:
                    count *= int(_ways(np.array(one), np.array(other), part.size))
                continue
            first, second = int(self._labels[column][tail]), int(self._labels[column][head])
            if first:
                count *= self._sizes[column][first - 1]
            if second and one != other:
                count *= self._sizes[column][second - 1] - int(first == second)
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

    def _check_device_coordinates(self) -> None:
        ranks = np.arange(self.fabric.ranks, dtype=np.int64)
        for column, part in enumerate(self.parts):
            if part.unit and not np.array_equal(self.coordinates[: len(ranks), column], ranks // part.unit % part.size):
                raise TopologyError(
                    f"{self.fabric.name}: devices must be numbered along their dimensions, innermost first",
                    do=f"Give device r the coordinate r // {part.unit} % {part.size} along {part.name}.",
                )

    def _codes(self, tails: Ints, heads: Ints) -> Ints:
        """[pairs, words]: the types of node pairs along all sub-dimensions, packed into integers."""
        packed = _Words(len(tails))
        for column, part in enumerate(self.parts):
            one, other = self._columns[column][tails], self._columns[column][heads]
            if part.symmetry in ("cyclic", "dihedral"):
                lone = np.where(one < 0, np.where(other < 0, 0, 1), 2)
                apart = (other - one) % part.size if part.symmetry == "cyclic" else _apart(one, other, part.size)
                packed.add(np.where((one < 0) | (other < 0), lone, 3 + apart), 3 + part.size)
            else:
                radix = part.classes + 1
                labels = self._labels[column]
                packed.add(2 * (labels[tails] * radix + labels[heads]) + (one == other), 2 * radix * radix)
        return packed.words()

    def _parallel(self, link: int) -> int:
        """Links that share tail, head, tier and capacity with ``link``, itself included."""
        fabric = self.fabric
        order, starts = by_end(fabric.tail)
        tail = int(fabric.tail[link])
        near = order[starts[tail] : starts[tail + 1]]
        same = (fabric.head[near] == fabric.head[link]) & (fabric.link_tier[near] == fabric.link_tier[link])
        if not self.relaxed:
            same &= fabric.capacity[near] == fabric.capacity[link]
        return int(np.count_nonzero(same))


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


def _slice(coordinates: Ints, part: SubDimension) -> Ints:
    """Coordinates along one sub-dimension; -1 stays -1."""
    return np.where(coordinates < 0, -1, coordinates // part.stride % part.size).astype(np.int64)
