"""Rings turned round about what is broken: reflections that a fault leaves where it takes all turns away.

A ring looks the same turned round about any of its points. A fault at one place of it leaves no turn, and of the reflections only
those that keep its place: c goes to m - c. Each halves the pairs of ranks that have to be led round. Whether one is left is not
taken from anybody's word: every link must go to a link of its tier that is as dead or alive as itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.placement import SubDimension
from simulator.spec.errors import IdentityBroken
from topologies.fabric import Fabric, Floats, Ints
from topologies.symmetry import Generator, node_permutation

#: Places of faults along one ring beyond which no reflection is looked for.
MOST_PLACES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """Coordinates c of a part go to ``about`` - c; ``links`` says where each link goes [links]."""

    part: SubDimension
    about: int
    links: Ints

    def lower(self, sources: Ints, targets: Ints) -> tuple[Ints, Ints]:
        """Of each pair of ranks and its image the one with the lower coordinates."""
        unit, size = self.part.unit, self.part.size
        here, there = sources // unit % size, targets // unit % size
        mirrored, other = (self.about - here) % size, (self.about - there) % size
        turned = mirrored * size + other < here * size + there
        return sources + np.where(turned, mirrored - here, 0) * unit, targets + np.where(turned, other - there, 0) * unit

    def averaged(self, amounts: Floats) -> Floats:
        """What links carry [links] if a pair and its image each send half."""
        mean: Floats = 0.5 * (amounts + amounts[self.links])
        return mean


def mirrors(fabric: Fabric, whole: Sequence[SubDimension], left: Sequence[SubDimension]) -> list[Mirror]:
    """One for each ring of ``whole`` of which the faults leave no turn (``left``), if they leave a reflection."""
    found = []
    dead = [list(defect.nodes) for defect in fabric.defects if defect.left == 0.0]
    for before, after in zip(whole, left, strict=True):
        full = before.unit and before.size > 2 and before.size == fabric.dimensions[before.dimension].size
        if not full or before.symmetry != "dihedral" or after.symmetry != "none":
            continue
        faults = {tuple(fabric.coordinates[nodes, before.dimension].tolist()) for nodes in dead}
        places = sorted({place for fault in faults for place in fault if place >= 0})
        if len(places) > MOST_PLACES:
            continue
        for about in sorted({(one + other) % before.size for one in places for other in places}):
            if {tuple((about - place) % before.size if place >= 0 else place for place in fault) for fault in faults} != faults:
                continue  # the look at all links would say so too
            links = _images(fabric, before, about)
            usable = fabric.capacity > 0.0
            if np.array_equal(usable, usable[links]):
                found.append(Mirror(before, about, links))
                break
    return found


def _images(fabric: Fabric, part: SubDimension, about: int) -> Ints:
    """Where a reflection takes every link; of parallel ones the first to the first. IdentityBroken if one goes nowhere."""
    image = tuple((about - coordinate) % part.size for coordinate in range(part.size))
    node = node_permutation(fabric, Generator(part.dimension, image, f"reflection of {part.name} about {about} / 2"))
    nodes = len(node)
    here, there = fabric.tail * nodes + fabric.head, node[fabric.tail] * nodes + node[fabric.head]
    one, other = np.argsort(here, kind="stable"), np.argsort(there, kind="stable")
    if not np.array_equal(here[one], there[other]) or not np.array_equal(fabric.link_tier[one], fabric.link_tier[other]):
        raise IdentityBroken(f"{fabric.name}: {part.name} is no ring that looks the same turned round about {about} / 2")
    links = np.empty_like(one)
    links[other] = one
    return links
