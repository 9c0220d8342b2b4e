"""Folded Clos of two or three levels: leaves over groups of devices, spines over leaves, cores over pods of leaves.

Each of ``planes`` parallel trees has its own leaves, spines and cores, and a device has bandwidth/planes to each. A link
between levels has the bandwidth that enters the switch below it, divided by its links up and by the oversubscription.
"""

from __future__ import annotations

from dataclasses import dataclass

from topologies.shapes.fat_tree import Level, Reach, fat_tree
from topologies.shapes.place import Place, TierGraph


@dataclass(frozen=True, slots=True)
class Tree:
    """The switches of a Clos or of rails. ``leaf`` and ``pod``: devices under one in this job, 0 where there is none."""

    planes: int
    leaf: int
    spines: int
    spine_capacity: float  # one leaf-spine link [B/s]
    pod: int = 0
    cores: int = 0
    core_capacity: float = 0.0  # one spine-core link [B/s]
    leaf_label: str = "leaf"


def clos(place: Place, bandwidth: float, tree: Tree, latency: float, leaf_latency: float) -> TierGraph:
    """Switches called ``leaf<l>.plane<p>``, ``plane<p>.spine<s>``; with pods ``pod<d>.plane<p>.spine<s>`` and
    ``plane<p>.spine<s>.core<c>``. ``bandwidth`` of a device [B/s], ``leaf_latency`` between devices of one leaf [s].
    """
    planes, box = tree.planes, place.box
    leaves = box // tree.leaf
    levels = [Level(tree.leaf, planes, bandwidth / planes, leaf_latency, ((tree.leaf_label, leaves), ("plane", planes)))]
    if tree.leaf < box:
        pods = (("pod", box // tree.pod),) if tree.pod else ()
        digits = (*pods, ("plane", planes), ("spine", tree.spines))
        levels.append(Level(tree.pod or box, tree.spines, tree.spine_capacity, latency, digits))
    if 0 < tree.pod < box:
        digits = (("plane", planes), ("spine", tree.spines), ("core", tree.cores))
        levels.append(Level(box, tree.cores, tree.core_capacity, latency, digits))
    return fat_tree(place, Reach(place.below, place.units, aligned=False), levels)
