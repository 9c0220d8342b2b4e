"""What defects leave of the symmetries: which coordinates of a sub-dimension may still be swapped, or still turn.

A permutation of coordinates is a symmetry of the faulty fabric if it is one of the whole fabric and takes the list of
defects to itself: every defect to one of the same kind, on nodes of the same kinds, that leaves as much. "May be swapped" is an
equivalence (the swap of a and c is that of a and b, then b and c, then a and b), so each ``full`` sub-dimension falls
into classes, and what is left of its permutations are those inside the classes. Coordinates that no defect touches are one
class. Shifts of a ``cyclic`` or ``dihedral`` sub-dimension are all kept or all lost, and so are the reflections of the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.network.placement import SubDimension
from topologies.fabric import Defect, Fabric, Ints

Mark = tuple[str, float, tuple[str, ...], tuple[int, ...]]  # kind, left, kinds of its nodes, their coordinates in a row


def split(
    parts: Sequence[SubDimension], fabric: Fabric, coordinates: Ints, defects: Sequence[Defect]
) -> tuple[SubDimension, ...]:
    """The sub-dimensions with the classes that ``defects`` leave; ``coordinates`` [nodes, parts] are along the parts."""
    if not defects:
        return tuple(parts)
    marks = {_mark(fabric, coordinates, defect) for defect in defects}
    return tuple(_split(part, column, len(parts), marks) for column, part in enumerate(parts))


def _mark(fabric: Fabric, coordinates: Ints, defect: Defect) -> Mark:
    nodes = list(defect.nodes)
    kinds = tuple(fabric.node_kind[node] for node in nodes)
    return defect.kind, defect.left, kinds, tuple(coordinates[nodes].ravel().tolist())


def _split(part: SubDimension, column: int, width: int, marks: set[Mark]) -> SubDimension:
    if part.symmetry == "none" or part.size == 1:
        return part
    touching: dict[int, set[Mark]] = {}
    for mark in marks:
        for coordinate in mark[3][column::width]:
            if coordinate >= 0:
                touching.setdefault(coordinate, set()).add(mark)
    if not touching:
        return part
    if part.symmetry in ("cyclic", "dihedral"):
        touched = set().union(*touching.values())
        if not _kept(touched, marks, column, width, lambda coordinate: (coordinate + 1) % part.size):
            return replace(part, symmetry="none")
        both_ways = _kept(touched, marks, column, width, lambda coordinate: -coordinate % part.size)
        return part if both_ways else replace(part, symmetry="cyclic")
    classes: list[list[int]] = []
    for one in sorted(touching):
        for members in classes:
            other = members[0]
            swap = {one: other, other: one}
            near = touching[one] | touching[other]
            if _kept(near, marks, column, width, lambda coordinate, swap=swap: swap.get(coordinate, coordinate)):  # type: ignore[misc]
                members.append(one)
                break
        else:
            classes.append([one])
    rest = [coordinate for coordinate in range(part.size) if coordinate not in touching]
    classes = [members for members in (rest, *classes) if members]
    if len(classes) == part.size:
        return replace(part, symmetry="none")
    labels = {coordinate: label for label, members in enumerate(classes) for coordinate in members}
    return replace(part, split=tuple(labels[coordinate] for coordinate in range(part.size)))


def _kept(near: set[Mark], marks: set[Mark], column: int, width: int, image: Callable[[int], int]) -> bool:
    """Whether each of the marks in ``near`` has its image under a permutation of the column among ``marks``.

    ``near`` holds all marks that the permutation moves, so the others are their own images.
    """
    for kind, left, kinds, places in near:
        moved = list(places)
        moved[column::width] = [image(place) if place >= 0 else place for place in places[column::width]]
        if (kind, left, kinds, tuple(moved)) not in marks:
            return False
    return True
