"""Who crosses a dead link: pairs of ranks that are images of representatives which cross a link like it.

Nobody looks at all pairs. One pair of each class is routed on the whole machine; where it crosses a link that symmetry makes like
the dead one, the symmetries that take that link to the dead one take the pair to one that crosses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from simulator.network.blocks import Blocks
from simulator.network.orbits import Orbits
from simulator.network.placement import SubDimension
from simulator.network.representatives import AT_ONCE, MOST, representatives
from simulator.spec.errors import NotModelled
from topologies.adjacency import KEPT
from topologies.batch import rows_over
from topologies.fabric import Fabric, Floats, Ints

Parts = tuple[SubDimension, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """Representative pairs of ranks, and links that they cross: a row for each link [rows]."""

    sources: Ints
    targets: Ints
    links: Ints

    @classmethod
    def joined(cls, parts: Sequence[Crossed]) -> Crossed:
        """Several, one after the other."""
        none = np.empty(0, dtype=np.int64)
        columns = [[part.sources, part.targets, part.links] for part in parts]
        return cls(*(np.concatenate(column) for column in zip([none] * 3, *columns, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """Pairs of ranks whose ways cross something dead, and how many pairs each stands for; each is there once."""

    sources: Ints
    targets: Ints
    counts: Floats

    @classmethod
    def of(cls, ranks: int, sources: Ints, targets: Ints, counts: Floats) -> Crossing:
        """These, equal ones put together."""
        code = sources * ranks + targets
        if len(code) and (counts == counts[0]).all():  # a sort of numbers takes a tenth of one that tells where they went
            code.sort()
            first = np.flatnonzero(np.diff(code, prepend=-1))
            pairs, total = code[first], counts[0] * np.diff(first, append=len(code))
        else:
            pairs, place = np.unique(code, return_inverse=True)
            total = np.bincount(place, weights=counts, minlength=len(pairs))
        return cls(pairs // ranks, pairs % ranks, total.astype(np.float64))


def turning(fabric: Fabric, parts: Parts, link: int) -> Parts:
    """The symmetries by which a link is told from others like it: along sub-dimensions in which it has a place, turns alone.

    One turn fits there, where many swaps would.
    """
    held = held_by(fabric, parts, [int(fabric.tail[link]), int(fabric.head[link])])
    return tuple(
        replace(part, symmetry="cyclic") if column in held and part.unit and part.symmetry != "none" else part
        for column, part in enumerate(parts)
    )


def held_by(fabric: Fabric, parts: Parts, nodes: Sequence[int]) -> set[int]:
    """The sub-dimensions, by place, along which one of these nodes has a coordinate."""
    return {column for column, part in enumerate(parts) if (fabric.coordinates[nodes, part.dimension] >= 0).any()}


def crossing(fabric: Fabric, whole: Fabric, parts: Parts, blocks: Blocks, seen: Crossed | None) -> Crossing:
    """The pairs of ranks of one group whose ways on the ``whole`` machine cross a dead link of ``fabric``.

    Along sub-dimensions that no defect touches one pair stands for all that are like it. ``seen``: what representatives under
    ``parts`` cross, if that is known. NotModelled where the pairs are too many.
    """
    dead = np.flatnonzero(fabric.capacity == 0.0)
    held = held_by(fabric, parts, [node for defect in fabric.defects for node in defect.nodes])
    loose = [column for column in range(len(parts)) if column not in held]
    alike: dict[Parts, list[int]] = {}
    for link in dead.tolist():
        alike.setdefault(turning(whole, parts, link), []).append(link)
    found: list[Ints] = [np.empty(0, dtype=np.int64)]
    for turned, links in alike.items():
        orbits = Orbits(whole, turned)
        rows = seen if seen is not None and turned == parts else crossed(whole, orbits, blocks, np.array(links))
        for link in links:
            found.append(_once(np.concatenate([found[0][:0], *_images(whole, orbits, rows, link, loose)])))
            if sum(map(len, found)) > MOST:
                raise NotModelled(f"what is dead cuts the ways of more than {MOST} pairs of ranks. Take fewer faults.")
    pairs = _once(np.concatenate(found))
    sources, targets = pairs // fabric.ranks, pairs % fabric.ranks
    counts = np.ones(len(pairs))
    for column in loose:
        counts *= _alike(parts[column], targets)
    return Crossing(sources, targets, counts)


def crossed(whole: Fabric, orbits: Orbits, blocks: Blocks, links: Ints) -> Crossed:
    """The links like one of these that representatives cross."""
    wanted = like_these(orbits, links)
    tiers = set(whole.link_tier[links].tolist())
    found = []
    for (sources, targets), _ in representatives(orbits, blocks, AT_ONCE):
        flow, link = rows_over(whole.router, sources, targets, tiers, wanted)
        found.append(Crossed(sources[flow], targets[flow], link))
    return Crossed.joined(found)


def like_these(orbits: Orbits, links: Ints) -> npt.NDArray[np.bool_]:
    """Whether each link of the whole machine is of the class of one of these [links]."""
    kind = whole_kinds(orbits)
    wanted = np.zeros(len(kind), dtype=bool)  # by class
    wanted[kind[links]] = True
    return wanted[kind]


def whole_kinds(orbits: Orbits) -> Ints:
    """The class of every link of a machine without faults whose links of a tier are alike; remembered for the last few."""
    fabric = orbits.fabric
    made_of = (fabric.tail, fabric.head, fabric.link_tier, fabric.coordinates, fabric.node_kind)
    key = (*map(id, made_of), orbits.parts)
    known = _KINDS.get(key)
    if known is None:
        while len(_KINDS) >= KEPT:
            del _KINDS[next(iter(_KINDS))]
        known = _KINDS[key] = (made_of, orbits.link_kinds())  # holds the arrays, so that their ids stay their own
    return known[1]


_KINDS: dict[tuple[object, ...], tuple[tuple[object, ...], Ints]] = {}


def _images(fabric: Fabric, orbits: Orbits, rows: Crossed, link: int, loose: Sequence[int]) -> Iterator[Ints]:
    """The pairs (source * ranks + target) that cross the link: those of representatives moved so that theirs becomes it.

    Along a sub-dimension in which the link has a place one turn fits; along any other every pair of coordinates that are alike
    does. Along the ``loose`` ones the first of these stands for all.
    """
    kind = whole_kinds(orbits)
    some = np.flatnonzero(kind[rows.links] == kind[link])
    one, other, like = rows.sources[some], rows.targets[some], rows.links[some]
    held = held_by(fabric, orbits.parts, [int(fabric.tail[link]), int(fabric.head[link])])
    shape = np.zeros(len(some), dtype=np.int64)
    free: list[SubDimension] = []
    for column, part in enumerate(orbits.parts):
        if not part.unit or part.symmetry == "none" or part.size == 1:
            continue
        here, there = one // part.unit % part.size, other // part.unit % part.size
        if column in held:
            coordinate = orbits.coordinates[:, column]
            end = fabric.tail if coordinate[fabric.tail[link]] >= 0 else fabric.head
            turn = coordinate[end[link]] - coordinate[end[like]]
            one = one + ((here + turn) % part.size - here) * part.unit
            other = other + ((there + turn) % part.size - there) * part.unit
            continue
        apart = _apart(part, here, there)
        one, other = one - here * part.unit, other - there * part.unit
        if column in loose:
            other = other + apart * part.unit
        else:
            shape = shape * part.size + apart
            free.append(part)
    for each in np.unique(shape).tolist():
        chosen = shape == each
        add_one, add_other = _offsets(free, each)
        yield ((one[chosen][:, None] + add_one) * fabric.ranks + other[chosen][:, None] + add_other).ravel()


def _apart(part: SubDimension, here: Ints, there: Ints) -> Ints:
    """How far apart two coordinates of a part are, as far as its symmetry tells: the target of the first pair like theirs."""
    apart: Ints = (there - here) % part.size
    if part.symmetry == "full":
        return np.minimum(apart, 1)
    return np.minimum(apart, part.size - apart) if part.symmetry == "dihedral" else apart


def _alike(part: SubDimension, targets: Ints) -> Ints | int:
    """How many pairs of coordinates are like the first of theirs, in which the source has 0 and the target what is ``apart``."""
    if not part.unit or part.symmetry == "none" or part.size == 1:
        return 1
    apart = targets // part.unit % part.size
    if part.symmetry == "full":
        return np.where(apart > 0, part.size * (part.size - 1), part.size)
    both_ways = (part.symmetry == "dihedral") & (apart > 0) & (2 * apart != part.size)
    return np.where(both_ways, 2 * part.size, part.size)


def _offsets(free: list[SubDimension], shape: int) -> tuple[Ints, Ints]:
    """What all pairs of coordinates of one shape add to the two rank numbers."""
    options: list[list[tuple[int, int]]] = []
    for part in reversed(free):
        shape, apart = divmod(shape, part.size)
        if part.symmetry == "full" and apart:
            steps = list(range(1, part.size))
        else:
            steps = sorted({apart, -apart % part.size}) if part.symmetry == "dihedral" else [apart]
        options.append([(c * part.unit, (c + step) % part.size * part.unit) for c in range(part.size) for step in steps])
    sums = [tuple(map(sum, zip(*choice, strict=True))) if choice else (0, 0) for choice in product(*options)]
    both = np.array(sums, dtype=np.int64)
    return both[:, 0], both[:, 1]


def _once(numbers: Ints) -> Ints:
    """The different numbers, ascending."""
    numbers.sort()
    return numbers[np.diff(numbers, prepend=-1) > 0]
