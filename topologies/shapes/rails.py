"""Rail-optimised fat tree: devices of equal position in their scale-up domains share leaves.

The leaf of (group of domains, rail) takes one port of each domain of its group; rail = position in the domain. Spines
join the leaves of one rail (multi-plane fat tree), or of all rails (``shared_spine``); either way a flow stays on its rail, since
traffic between rails changes rail inside a scale-up domain.
"""

from __future__ import annotations

from topologies.shapes.clos import Tree
from topologies.shapes.fat_tree import Level, Reach, fat_tree
from topologies.shapes.place import Place, TierGraph


def rails(place: Place, bandwidth: float, tree: Tree, shared_spine: bool, latency: float, leaf_latency: float) -> TierGraph:
    """Switches called ``rail<r>.leaf<l>`` and ``rail<r>.spine<s>``, or ``spine<s>`` where rails share them.

    ``tree.leaf`` counts domains (a leaf has one port in each). ``bandwidth`` of a device [B/s], ``leaf_latency`` between
    devices of one leaf [s].
    """
    count, leaves = place.below, place.units // tree.leaf
    levels = [Level(tree.leaf, 1, bandwidth, leaf_latency, (("rail", count), ("leaf", leaves)))]
    if leaves > 1:
        rail = () if shared_spine else (("rail", count),)
        levels.append(Level(place.units, tree.spines, tree.spine_capacity, latency, (*rail, ("spine", tree.spines))))
    reach = Reach(place.below, place.units, aligned=True)
    return fat_tree(place, reach, levels, shared_top=shared_spine and len(levels) > 1)
