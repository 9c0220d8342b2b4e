"""Rail-optimised fat tree: devices of equal position in their scale-up domains share leaves.

The leaf of (group of domains, rail) takes one port of each domain of its group; rail = position in the domain. Spines
join the leaves of one rail (multi-plane fat tree), or of all rails (``shared_spine``). With ``planes`` every device has a port
to as many leaves, each with spines of its plane (dual-ToR, dual-plane). Either way a flow stays on its rail, since
traffic between rails changes rail inside a scale-up domain.
"""

from __future__ import annotations

from topologies.shapes.clos import Tree
from topologies.shapes.fat_tree import Level, Reach, fat_tree
from topologies.shapes.place import Place, TierGraph


def rails(place: Place, bandwidth: float, tree: Tree, shared_spine: bool, latency: float, leaf_latency: float) -> TierGraph:
    """Switches called ``rail<r>.leaf<l>`` and ``rail<r>.spine<s>``, or ``spine<s>`` where rails share them; with several
    planes ``rail<r>.leaf<l>.plane<p>`` and ``rail<r>.plane<p>.spine<s>``.

    ``tree.leaf`` counts domains (a leaf has one port in each). ``bandwidth`` of a device [B/s], ``leaf_latency`` between
    devices of one leaf [s].
    """
    count, leaves, planes = place.below, place.units // tree.leaf, tree.planes
    plane = (("plane", planes),) if planes > 1 else ()
    levels = [Level(tree.leaf, planes, bandwidth / planes, leaf_latency, (("rail", count), ("leaf", leaves), *plane))]
    if leaves > 1:
        digits = (*(() if shared_spine else (("rail", count),)), *plane, ("spine", tree.spines))
        levels.append(Level(place.units, tree.spines, tree.spine_capacity, latency, digits))
    reach = Reach(place.below, place.units, aligned=True)
    return fat_tree(place, reach, levels, shared_top=shared_spine and len(levels) > 1)
