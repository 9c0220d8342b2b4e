"""How the units of a tier fall into leaves and pods, and what the links between switches carry.

Units that do not fill their leaves are spread evenly over as few leaves as they can be: the largest divisor of their number
that a leaf holds goes into each. Link bandwidths are those of the whole machine, so such a leaf keeps its links up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from simulator.spec.errors import TopologyError
from simulator.spec.sources import Figure
from topologies.allocation import largest_divisor, slice_sides
from topologies.parts import Tier
from topologies.shapes.clos import Tree
from topologies.shapes.dragonfly import Routers
from topologies.shapes.place import Place


@dataclass(frozen=True, slots=True)
class Axis:
    """One digit of a device number. A tier has one (its unit), or more where leaves and pods divide its units."""

    label: str
    size: int
    stride: int
    symmetry: Literal["full", "cyclic", "dihedral", "none"] = "full"


@dataclass(frozen=True, slots=True)
class Inner:
    """The tiers inside one, innermost first: their sizes in the whole machine and in the job [units], dies of a chip."""

    full: tuple[int, ...]
    used: tuple[int, ...]
    ranks_per_chip: int

    def devices(self, chips: int) -> int:
        """Devices that the job has in a box of inner tiers which holds ``chips`` in the whole machine."""
        depth = next(depth for depth in range(len(self.full) + 1) if prod(self.full[:depth]) == chips)
        return self.ranks_per_chip * prod(self.used[:depth])


def planes_of(tier: Tier) -> int:
    """Parallel switches or trees; one where the file does not say."""
    return tier.planes.value if tier.planes else 1


def plain_axis(label: str, place: Place) -> tuple[Axis, ...]:
    """The digit of a tier without leaves."""
    return (Axis(label, place.units, place.below),)


def torus_rings(name: str, tier: Tier, label: str, place: Place) -> Iterator[tuple[str, Axis, bool]]:
    """The rings of a torus, x first: each one's name, its digit, and whether it wraps.

    A ring wraps where the job takes the whole side, or a torus of whole cubes of its own.
    """
    whole, cube = tier.whole_sides, tier.cube.value if tier.cube else 0
    sides = slice_sides(place.units, whole, cube or None)
    cubes = bool(cube) and all(side % cube == 0 for side in sides)
    stride = place.below
    for letter, side, full in zip("xyzwvu", sides, whole, strict=False):
        wraps = side > 2 and (cubes or side == full)
        symmetry: Literal["full", "dihedral", "none"] = "dihedral" if wraps else "none" if side > 2 else "full"
        yield f"{name}-{letter}" if tier.sides else name, Axis(letter if tier.sides else label, side, stride, symmetry), wraps
        stride *= side


def rail_tree(name: str, tier: Tier, label: str, place: Place, inner: Inner) -> tuple[tuple[Axis, ...], Tree]:
    """Leaves of rails: one port for each unit of a group of units."""
    planes, leaf, spines = planes_of(tier), _value(tier.leaf), _value(tier.spines)
    inside = largest_divisor(place.units, leaf)
    up = leaf * tier.bandwidth.value / inner.ranks_per_chip / planes / (spines * _or_one(tier.oversubscription))
    return _axes((label, f"{name}-leaf"), (inside,), place), Tree(planes, inside, spines, up)


def dragonfly_routers(name: str, tier: Tier, label: str, place: Place, inner: Inner) -> tuple[tuple[Axis, ...], Routers]:
    """Routers and groups of a dragonfly. Routers of a group differ in the groups that they have links to."""
    unit = prod(inner.full)
    leaf, pod = _value(tier.leaf), _value(tier.pod)
    inside = largest_divisor(place.units, leaf // unit)
    group = inside * largest_divisor(place.units // inside, pod // leaf)
    axes = _axes((label, f"{name}-router", f"{name}-group"), (inside, group), place)
    if axes[2].size > 1:
        axes = (axes[0], replace(axes[1], symmetry="none" if axes[1].size > 1 else "full"), replace(axes[2], symmetry="cyclic"))
    local, across = tier.local_bandwidth, tier.global_bandwidth
    if local is None or across is None:
        raise TopologyError("a dragonfly says local_bandwidth and global_bandwidth")
    routers = Routers(place.below * inside, place.below * group, _value(tier.global_links), local.value, across.value)
    return axes, routers


def clos_tree(name: str, tier: Tier, label: str, place: Place, inner: Inner) -> tuple[tuple[Axis, ...], Tree]:
    """Leaves and pods of a Clos: several units, or a box of the tiers below (a cabinet of a SuperPoD)."""
    unit = prod(inner.full)
    planes, leaf, spines = planes_of(tier), _value(tier.leaf), _value(tier.spines)
    up = leaf * tier.bandwidth.value / planes / (spines * _or_one(tier.oversubscription))
    inside = largest_divisor(place.units, leaf // unit) if leaf >= unit else 0
    under_leaf = place.below * inside if inside else inner.devices(leaf)
    labels, cuts = [label], []
    if inside:
        labels.append(tier.leaf_name or f"{name}-leaf")
        cuts.append(inside)
    under_pod, cores, core_up = 0, 0, 0.0
    if tier.pod is not None:
        pod, cores = tier.pod.value, _value(tier.cores)
        core_up = pod // leaf * up / (cores * _or_one(tier.core_oversubscription))
        step = inside or 1
        most = pod // max(leaf, unit)  # leaves of a pod, or units of one where a leaf is smaller than a unit
        units = step * largest_divisor(place.units // step, most) if pod >= unit else 0
        under_pod = place.below * units if units else inner.devices(pod)
        if units:
            labels.append(f"{name}-pod")
            cuts.append(units)
    tree = Tree(planes, under_leaf, spines, up, under_pod, cores, core_up, tier.leaf_name or "leaf")
    return _axes(labels, cuts, place), tree


def _axes(labels: Sequence[str], cuts: Sequence[int], place: Place) -> tuple[Axis, ...]:
    """The digits of a tier's unit number, innermost first, cut where a leaf and a pod are full [units]."""
    bounds = (1, *cuts, place.units)
    return tuple(
        Axis(label, upper // lower, place.below * lower)
        for label, lower, upper in zip(labels, bounds[:-1], bounds[1:], strict=True)
    )


def _value(figure: Figure[int] | None) -> int:
    """The number of a figure that a tier of this shape has: Tier refuses it otherwise."""
    if figure is None:
        raise TopologyError("a tier with leaves says how many chips a leaf holds and how many links up it has")
    return figure.value


def _or_one(figure: Figure[float] | None) -> float:
    return figure.value if figure else 1.0
