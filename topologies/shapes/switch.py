"""One level of switches: ``planes`` parallel ones, and a device has bandwidth/planes to each.

Scope ``all``: one set of planes joins everything below (NVSwitch, the UB switches between cabinets). Scope ``aligned``: one
set for each position in the units below joins the devices at that position (the switches between boards of a cabinet).
"""

from __future__ import annotations

from topologies.shapes.fat_tree import Level, Reach, fat_tree
from topologies.shapes.place import Place, TierGraph


def switch(place: Place, bandwidth: float, planes: int, aligned: bool, latency: float) -> TierGraph:
    """Switches called ``switch<plane>`` (scope all) or ``position<p>.switch<plane>``. ``bandwidth`` of a device [B/s]."""
    group = place.units if aligned else place.box
    position = (("position", place.below),) if aligned else ()
    level = Level(group, planes, bandwidth / planes, latency, (*position, ("switch", planes)))
    return fat_tree(place, Reach(place.below, place.units, aligned), (level,))
