"""Lay a plan on a fabric: the common refinement of the fabric's dimensions and the plan's axes.

Both count rank numbers in mixed radix, innermost first, so both are chains of cumulative products (1, 8, 64, ..., ranks).
Wherever all these products divide one another they cut the rank number into *sub-dimensions* that lie in exactly one
fabric dimension and one axis of each side of the plan. Swapping two coordinates of such a sub-dimension then moves
links onto links and groups onto groups, which is all that folding needs.

Where products do not divide one another (a domain of 72 under ep 32) there is a block, from their greatest common
divisor to their least common multiple, in which nothing may be swapped: its sub-dimensions get symmetry ``none``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from simulator.network.contract import Placement
from simulator.spec.errors import NotModelled
from topologies.fabric import Dimension
from workloads.axes import Runs

Symmetry = Literal["full", "cyclic", "dihedral", "none"]


@dataclass(frozen=True, slots=True)
class SubDimension:
    """A slice of one fabric dimension: coordinate = (dimension's coordinate // ``stride``) % ``size``.

    ``unit`` is the step of the rank number along it; 0 for a hidden (switch-only) dimension. ``labels[c]`` is the class of
    coordinate c: what may be swapped where the symmetry is ``full``; every coordinate is its own class where it is ``none``.
    """

    name: str
    dimension: int
    stride: int
    size: int
    symmetry: Symmetry
    unit: int
    split: tuple[int, ...] = ()  # labels of a full sub-dimension some of whose coordinates stand out; empty: none do

    @property
    def labels(self) -> tuple[int, ...]:
        """The class of each coordinate."""
        if self.split:
            return self.split
        return tuple(range(self.size)) if self.symmetry == "none" else (0,) * self.size

    @property
    def classes(self) -> int:
        """How many classes of coordinates there are."""
        if self.split:
            return max(self.split) + 1
        return self.size if self.symmetry == "none" else 1


def refine(
    dimensions: Sequence[Dimension],
    groups: Placement,
    *,
    boundaries: Iterable[int] = (),
    ordered: Sequence[str] = (),
    symmetric: bool = True,
    class_limit: int = 4096,
) -> tuple[SubDimension, ...]:
    """Sub-dimensions of a plan on a fabric, device ones first, innermost first.

    The pipeline's sub-dimensions are labelled (``none``): stages do different work. Along the axes of ``ordered`` ranks form a
    ring: only the outermost sub-dimension may turn (``cyclic``). ``boundaries`` are further products to respect (the
    size of a scale-up domain). ``symmetric=False`` labels everything.

    Raises NotModelled if more than ``class_limit`` rank classes would remain.
    """
    device = [dimension for dimension in dimensions if not dimension.hidden]
    ranks = math.prod(dimension.size for dimension in device)
    products = _cumulative(dimension.size for dimension in device)
    products |= {*groups.boundaries(), *boundaries}
    cuts = common_cuts(products, ranks)
    labelled = groups.runs_of("pp")
    rings = [groups.runs_of(axis) for axis in ordered]
    found: list[SubDimension] = []
    unit = 1
    for index, dimension in enumerate(dimensions):
        if dimension.hidden:
            symmetry = dimension.symmetry if symmetric else "none"
            found.append(SubDimension(dimension.name, index, 1, dimension.size, symmetry, 0))
            continue
        for piece in _pieces(dimension, index, unit, cuts):
            symmetry = _symmetry(piece, dimension, cuts, products, labelled, rings) if symmetric else "none"
            found.append(SubDimension(piece.name, index, piece.stride, piece.size, symmetry, piece.unit))
        unit *= dimension.size
    _refuse_too_many(found, products, cuts, class_limit if symmetric else ranks)
    return tuple(found)


def common_cuts(products: Iterable[int], ranks: int) -> tuple[int, ...]:
    """The products, and the gcds and lcms of them, that divide or are divided by every product.

    >>> common_cuts({1, 8, 32, 64}, 64)
    (1, 8, 32, 64)
    >>> common_cuts({1, 32, 72, 7776}, 7776)
    (1, 8, 288, 7776)
    """
    chain = {bound for bound in products if bound > 0} | {1, ranks}
    candidates = set(chain)
    for one in chain:
        for other in chain:
            candidates |= {math.gcd(one, other), math.lcm(one, other)}
    cuts = (cut for cut in candidates if ranks % cut == 0 and all(cut % bound == 0 or bound % cut == 0 for bound in chain))
    return tuple(sorted(cuts))


def _cumulative(sizes: Iterable[int]) -> set[int]:
    products = {1}
    running = 1
    for size in sizes:
        running *= size
        products.add(running)
    return products


def _pieces(dimension: Dimension, index: int, unit: int, cuts: Sequence[int]) -> list[SubDimension]:
    """One fabric dimension, whose neighbours are ``unit`` ranks apart, cut where the cuts fall inside it."""
    edges = [unit, *(cut for cut in cuts if unit < cut < unit * dimension.size and cut % unit == 0)]
    edges.append(unit * dimension.size)
    pieces = []
    for low, high in pairwise(edges):
        if high > low:
            name = dimension.name if len(edges) == 2 else f"{dimension.name}/{low // unit}"
            pieces.append(SubDimension(name, index, low // unit, high // low, "none", low))
    return pieces


def _symmetry(
    piece: SubDimension,
    dimension: Dimension,
    cuts: Sequence[int],
    products: set[int],
    labelled: Runs,
    rings: Sequence[Runs],
) -> Symmetry:
    low, high = piece.unit, piece.unit * piece.size
    if low not in cuts or high not in cuts or any(low < bound < high for bound in products):
        return "none"
    if any(stride <= low and high <= stride * size for stride, size in labelled):
        return "none"
    whole = piece.stride * piece.size == dimension.size  # shifts of a slice carry into the next, unless there is none
    allowed: Symmetry = dimension.symmetry
    if allowed in ("cyclic", "dihedral") and not whole:
        allowed = "none"
    if allowed == "dihedral" and piece.stride > 1:  # turning the order of slices round leaves each slice as it was
        allowed = "cyclic"
    for runs in rings:
        if any(stride <= low and high <= stride * size for stride, size in runs):
            outermost = high == runs[-1][0] * runs[-1][1]
            allowed = "cyclic" if outermost and allowed != "none" else "none"
    return allowed


def _refuse_too_many(found: Sequence[SubDimension], products: set[int], cuts: Sequence[int], limit: int) -> None:
    classes = math.prod(part.size for part in found if part.symmetry == "none" and part.unit)
    if classes <= limit:
        return
    odd = sorted(products - set(cuts))
    reason = f"the sizes {odd} of its dimensions and axes do not divide one another" if odd else "it has too few symmetries"
    raise NotModelled(
        f"the plan leaves {classes} different classes of ranks on this fabric, the limit is {limit}: {reason}. "
        "Choose parallel sizes that divide, or are divided by, the sizes of the system's tiers; where routes are hashed, "
        "no two ranks are alike."
    )
