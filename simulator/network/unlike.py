"""Positions of a group that are loaded differently may not be swapped: what unequal loads leave of the symmetries.

Loads repeat in every group, so they are a function of a rank's position in it. A swap of two coordinates of a sub-dimension of
the group leaves the loads what they are if positions that differ in that coordinate alone, by these two values, are loaded
alike. That is an equivalence of coordinates, so a ``full`` sub-dimension falls into classes, as it does around defects
(:mod:`simulator.network.splits`); a ``cyclic`` or ``dihedral`` one may turn on only if it is all one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from simulator.network.placement import SubDimension
from simulator.spec.errors import InputError
from workloads.axes import Runs, position, size_of


def tell_apart(parts: Sequence[SubDimension], runs: Runs, loads: Sequence[int]) -> tuple[SubDimension, ...]:
    """The sub-dimensions with the classes that ``loads`` leave: a number for each position of a group of these ``runs``."""
    size = size_of(runs)
    if len(set(loads)) < 2:
        return tuple(parts)
    if len(loads) != size:
        raise InputError(f"a group of {size} ranks has as many loads", got=len(loads), do="Give one for each position.")
    return tuple(_split(part, runs, loads) for part in parts)


def _split(part: SubDimension, runs: Runs, loads: Sequence[int]) -> SubDimension:
    inside = any(part.unit >= stride and part.unit * part.size <= stride * size for stride, size in runs)
    if part.symmetry == "none" or part.size == 1 or not part.unit or not inside:
        return part
    step = int(position(runs, part.unit))  # of neighbours along it
    slices = [
        tuple(loads[at] for at in range(len(loads)) if at // step % part.size == coordinate) for coordinate in range(part.size)
    ]
    if len(set(slices)) == 1:
        return part
    if part.symmetry in ("cyclic", "dihedral"):
        return replace(part, symmetry="none", split=())
    numbers: dict[tuple[int, tuple[int, ...]], int] = {}
    seen = [(label, each) for label, each in zip(part.labels, slices, strict=True)]
    labels = tuple(numbers.setdefault(both, len(numbers)) for both in seen)
    if len(numbers) == part.size:
        return replace(part, symmetry="none", split=())
    return replace(part, split=labels)
