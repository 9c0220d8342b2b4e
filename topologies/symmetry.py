"""Declared symmetries checked on the arrays themselves: a swap or shift of coordinates must map every link to one like it.

A fabric says that along a ``full`` dimension any two coordinates may be swapped, along a ``cyclic`` one all may be shifted and
along a ``dihedral`` one reflected too. Swaps of neighbours generate all permutations, one shift all shifts, a shift and a
reflection all that a ring has, and dimensions act on different digits; so checking those generators one by one proves the whole
group. Folding rests on this.

Defects leave a part of it. A swap of two coordinates, or a shift, is a symmetry of the faulty fabric if it maps the set of
defects to itself, as routes around what is dead depend on the structure alone. Swaps that do so are an equivalence of
coordinates, and its classes span the Young subgroup under which the faulty machine still folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

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
    """The swaps and shifts that the fabric's dimensions declare, as far as its defects keep them."""
    marks = _marks(fabric)
    for index, (dimension, classes) in enumerate(zip(fabric.dimensions, coordinate_classes(fabric), strict=True)):
        if dimension.symmetry == "full":
            for number in range(int(classes.max()) + 1):
                alike = np.flatnonzero(classes == number).tolist()
                for lower, upper in pairwise(alike):
                    yield swap(index, dimension, lower, upper)
        elif dimension.symmetry in ("cyclic", "dihedral"):
            if (step := int(classes.max()) + 1) < dimension.size:
                yield shift(index, dimension, step)
            mirror = reflection(index, dimension)
            if dimension.symmetry == "dihedral" and _moved(marks, mirror) == marks:
                yield mirror


def coordinate_classes(fabric: Fabric) -> tuple[Ints, ...]:
    """Per dimension the class of each coordinate: those of one class may be exchanged for each other, defects and all.

    Classes are numbered by their lowest coordinate: of a ``full`` dimension without defects all are 0, of a ``none`` one each is
    its own. Of a ``cyclic`` or ``dihedral`` one, c and c + g are alike where the shift by g is the smallest that maps defects to
    defects.
    """
    marks = _marks(fabric)
    return tuple(_classes(marks, index, dimension) for index, dimension in enumerate(fabric.dimensions))


Mark = tuple[str, float, tuple[tuple[str, tuple[int, ...]], ...]]
"""A defect as symmetries see it: its kind, what is left, and the kind and coordinates of each of its nodes."""


def _marks(fabric: Fabric) -> frozenset[Mark]:
    return frozenset(
        (
            defect.kind,
            defect.left,
            tuple((fabric.node_kind[node], tuple(fabric.coordinates[node].tolist())) for node in defect.nodes),
        )
        for defect in fabric.defects
    )


def _classes(marks: frozenset[Mark], index: int, dimension: Dimension) -> Ints:
    """The class of each coordinate of one dimension."""
    coordinates = np.arange(dimension.size, dtype=np.int64)
    if dimension.symmetry == "none":
        return coordinates
    if dimension.symmetry in ("cyclic", "dihedral"):
        divisors = (step for step in range(1, dimension.size + 1) if dimension.size % step == 0)
        return coordinates % next(step for step in divisors if _moved(marks, shift(index, dimension, step)) == marks)
    touched = {place[index] for _, _, nodes in marks for _, place in nodes}
    classes = np.zeros(dimension.size, dtype=np.int64)
    firsts: list[int] = []
    for coordinate in range(dimension.size):
        for number, first in enumerate(firsts):
            free = coordinate not in touched and first not in touched
            if free or _moved(marks, swap(index, dimension, first, coordinate)) == marks:
                classes[coordinate] = number
                break
        else:
            classes[coordinate] = len(firsts)
            firsts.append(coordinate)
    return classes


def _moved(marks: frozenset[Mark], generator: Generator) -> frozenset[Mark]:
    at, image = generator.dimension, generator.image
    return frozenset(
        (
            kind,
            left,
            tuple(
                (node_kind, (*place[:at], image[place[at]] if place[at] >= 0 else -1, *place[at + 1 :]))
                for node_kind, place in nodes
            ),
        )
        for kind, left, nodes in marks
    )


def shift(index: int, dimension: Dimension, step: int) -> Generator:
    """All coordinates of a ring moved on by ``step``."""
    image = tuple((c + step) % dimension.size for c in range(dimension.size))
    return Generator(index, image, f"shift of {dimension.name} by {step}")


def reflection(index: int, dimension: Dimension) -> Generator:
    """A ring turned round: coordinate c goes where -c is."""
    return Generator(index, tuple(-c % dimension.size for c in range(dimension.size)), f"reflection of {dimension.name}")


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
