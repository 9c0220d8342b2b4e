"""Declared symmetries checked on the arrays themselves: a swap or shift of coordinates must map every link to one like it.

A fabric says that along a ``full`` dimension any two coordinates may be swapped and along a ``cyclic`` one all may be
shifted. Swaps of neighbours generate all permutations, one shift all shifts, and dimensions act on different digits; so
checking those generators one by one proves the whole group. Folding rests on this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.spec.errors import IdentityBroken
from topologies.fabric import Dimension, Fabric, Ints


@dataclass(frozen=True, slots=True)
class Generator:
    """One permutation of the coordinates of a dimension: ``image[c]`` is where coordinate c goes."""

    dimension: int
    image: tuple[int, ...]
    text: str


def generators(fabric: Fabric) -> Iterator[Generator]:
    """The swaps and shifts that the fabric's dimensions declare."""
    for index, dimension in enumerate(fabric.dimensions):
        if dimension.symmetry == "full":
            for lower in range(dimension.size - 1):
                yield swap(index, dimension, lower, lower + 1)
        elif dimension.symmetry == "cyclic":
            image = tuple((c + 1) % dimension.size for c in range(dimension.size))
            yield Generator(index, image, f"shift of {dimension.name} by one")


def swap(index: int, dimension: Dimension, a: int, b: int) -> Generator:
    """The exchange of two coordinates of a dimension."""
    image = list(range(dimension.size))
    image[a], image[b] = b, a
    return Generator(index, tuple(image), f"swap of {dimension.name} {a} and {b}")


def node_permutation(fabric: Fabric, generator: Generator) -> Ints:
    """Where each node goes. IdentityBroken if its image is no node, or of another kind."""
    moved = fabric.coordinates.copy()
    column = moved[:, generator.dimension]
    has = column >= 0
    column[has] = np.array(generator.image, dtype=np.int64)[column[has]]
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(fabric.node_kind))}
    kind = np.array([kinds[kind] for kind in fabric.node_kind], dtype=np.int64)
    before, after = _keys(fabric, fabric.coordinates, kind), _keys(fabric, moved, kind)
    order = np.argsort(before, kind="stable")
    if len(np.unique(before)) < len(before):
        raise IdentityBroken(f"{fabric.name}: two nodes of one kind have the same coordinates.")
    at = np.minimum(np.searchsorted(before[order], after), len(before) - 1)
    image = order[at]
    lost = before[image] != after
    if lost.any():
        raise IdentityBroken(
            f"{fabric.name}: the {generator.text} takes {fabric.node_name(int(np.argmax(lost)))} to no node of its kind."
        )
    return image


def check_symmetry(fabric: Fabric, generator: Generator) -> None:
    """IdentityBroken unless the generator maps links onto links of equal tier and capacity."""
    image = node_permutation(fabric, generator)
    nodes = len(fabric.node_kind)
    here, there = fabric.tail * nodes + fabric.head, image[fabric.tail] * nodes + image[fabric.head]
    columns = (fabric.capacity, fabric.link_tier)
    one, other = np.lexsort((*columns, here)), np.lexsort((*columns, there))
    same = (here[one] == there[other]) & (fabric.capacity[one] == fabric.capacity[other])
    same &= fabric.link_tier[one] == fabric.link_tier[other]
    if not same.all():
        link = int(other[np.argmin(same)])
        name = f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
        raise IdentityBroken(f"{fabric.name}: the {generator.text} takes {name} to no link of its tier and capacity.")


def check_symmetries(fabric: Fabric) -> int:
    """Check every declared generator; the number of them."""
    found = list(generators(fabric))
    for generator in found:
        check_symmetry(fabric, generator)
    return len(found)


def check_routing(fabric: Fabric, generator: Generator, source: int, target: int) -> None:
    """IdentityBroken unless the route of the moved pair is the moved route of the pair (routes follow the symmetry)."""
    image = node_permutation(fabric, generator)
    nodes = len(fabric.node_kind)
    route, moved = fabric.router(source, target), fabric.router(int(image[source]), int(image[target]))
    expected = dict(
        zip(((image[fabric.tail] * nodes + image[fabric.head])[route.links]).tolist(), route.fraction.tolist(), strict=True)
    )
    found = dict(zip(((fabric.tail * nodes + fabric.head)[moved.links]).tolist(), moved.fraction.tolist(), strict=True))
    if expected.keys() != found.keys() or any(abs(expected[link] - found[link]) > 1e-12 for link in expected):
        pair = f"{fabric.node_name(source)} to {fabric.node_name(target)}"
        raise IdentityBroken(f"{fabric.name}: the route from {pair} does not follow the {generator.text}.")


def _keys(fabric: Fabric, coordinates: Ints, kind: Ints) -> Ints:
    """One number for a node's kind and coordinates."""
    key = kind.copy()
    for column, dimension in enumerate(fabric.dimensions):
        key = key * (dimension.size + 1) + coordinates[:, column] + 1
    return key
