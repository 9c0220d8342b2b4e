"""Classes of ranks, pairs and links under the swaps (or turns) of each sub-dimension: products of per-sub-dimension types.

Along a ``full`` sub-dimension of size k an ordered pair of coordinates is *equal* (k pairs) or *different* (k(k-1));
along a ``cyclic`` one it is its difference (k pairs each); along a ``none`` one each pair is its own type. A node without a
coordinate (-1) is fixed by every swap, so the other end alone counts. The group is the product over sub-dimensions, so
a class of ordered node pairs is a tuple of types and its size the product of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.network.placement import SubDimension
from simulator.spec.errors import TopologyError
from topologies.fabric import Fabric, Ints

_WORD = 1 << 62  # codes are packed into 64-bit words


class Orbits:
    """Classes of one fabric under the symmetries of ``parts``."""

    def __init__(self, fabric: Fabric, parts: Sequence[SubDimension]) -> None:
        self.fabric = fabric
        self.parts = tuple(parts)
        self.trivial = all(part.symmetry == "none" or part.size == 1 for part in parts)
        columns = [_slice(fabric.coordinates[:, part.dimension], part) for part in parts]
        self.coordinates: Ints = np.stack(columns, axis=1) if columns else np.zeros((len(fabric.coordinates), 0), np.int64)
        self._check_device_coordinates()
        labels = np.zeros(fabric.ranks, dtype=np.int64)
        for column, part in enumerate(parts):
            if part.symmetry == "none" and part.unit:
                labels = labels * part.size + self.coordinates[: fabric.ranks, column]
        _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)  # classes numbered by their lowest rank
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self.rank_class: Ints = place[inverse]
        self.representatives: Ints = first[order]
        self.rank_class_sizes: Ints = sizes[order]
        self._by_tail: tuple[Ints, Ints] | None = None

    def pair_codes(self, source: int, targets: Ints) -> Ints:
        """[targets, words]: equal rows are pairs (source, target) of one class."""
        tails = np.broadcast_to(self.coordinates[source], (len(targets), len(self.parts)))
        return self._codes(tails, self.coordinates[targets])

    def targets_in_class(self, source: int, target: int) -> int:
        """How many ranks are to ``source`` what ``target`` is: the orbit of target under the swaps that fix source."""
        count = 1
        for part, one, other in zip(self.parts, self.coordinates[source], self.coordinates[target], strict=True):
            if part.symmetry == "full" and one != other:
                count *= part.size - 1
        return count

    def link_keys(self, links: Ints) -> list[tuple[object, ...]]:
        """One hashable key per link; equal keys are links of one class."""
        if self.trivial:
            return [(link,) for link in links.tolist()]
        fabric = self.fabric
        tails, heads = fabric.tail[links], fabric.head[links]
        words = self._codes(self.coordinates[tails], self.coordinates[heads])
        kinds = fabric.node_kind
        return [
            (kinds[tail], kinds[head], tier, capacity, *word)
            for tail, head, tier, capacity, word in zip(
                tails.tolist(),
                heads.tolist(),
                fabric.link_tier[links].tolist(),
                fabric.capacity[links].tolist(),
                words.tolist(),
                strict=True,
            )
        ]

    def links_in_class(self, link: int) -> int:
        """How many links are in the class of ``link``, in closed form times the parallel links of its own node pair."""
        if self.trivial:
            return 1
        tail, head = int(self.fabric.tail[link]), int(self.fabric.head[link])
        count = self._parallel(link)
        for part, one, other in zip(self.parts, self.coordinates[tail], self.coordinates[head], strict=True):
            if part.symmetry == "none" or (one < 0 and other < 0):
                continue
            count *= part.size
            if part.symmetry == "full" and one >= 0 and other >= 0 and one != other:
                count *= part.size - 1
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
                    do="Declare symmetry none along the dimensions in which the links differ.",
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
        """[pairs, words]: the types of coordinate pairs along all sub-dimensions, packed into integers."""
        words: list[Ints] = []
        word = np.zeros(len(tails), dtype=np.int64)
        room = 1
        for column, part in enumerate(self.parts):
            one, other = tails[:, column], heads[:, column]
            if part.symmetry == "none":
                code, radix = (one + 1) * (part.size + 1) + other + 1, (part.size + 1) ** 2
            else:
                both = (other != one).astype(np.int64) if part.symmetry == "full" else (other - one) % part.size
                lone = np.where(one < 0, np.where(other < 0, 0, 1), 2)
                code = np.where((one < 0) | (other < 0), lone, 3 + both)
                radix = 3 + (2 if part.symmetry == "full" else part.size)
            if room * radix > _WORD:
                words.append(word)
                word, room = np.zeros(len(tails), dtype=np.int64), 1
            word = word * radix + code
            room *= radix
        return np.stack([*words, word], axis=1)

    def _parallel(self, link: int) -> int:
        """Links that share tail, head, tier and capacity with ``link``, itself included."""
        fabric = self.fabric
        if self._by_tail is None:
            order = np.argsort(fabric.tail, kind="stable")
            starts = np.concatenate(([0], np.cumsum(np.bincount(fabric.tail, minlength=len(fabric.coordinates)))))
            self._by_tail = (order, starts)
        order, starts = self._by_tail
        tail = int(fabric.tail[link])
        near = order[starts[tail] : starts[tail + 1]]
        same = (
            (fabric.head[near] == fabric.head[link])
            & (fabric.link_tier[near] == fabric.link_tier[link])
            & (fabric.capacity[near] == fabric.capacity[link])
        )
        return int(np.count_nonzero(same))


def _slice(coordinates: Ints, part: SubDimension) -> Ints:
    """Coordinates along one sub-dimension; -1 stays -1."""
    return np.where(coordinates < 0, -1, coordinates // part.stride % part.size).astype(np.int64)
