"""What a machine amounts to: bisection, diameter, oversubscription, links, watts and price."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from simulator.spec.errors import NotModelled
from topologies.fabric import Fabric
from topologies.routing import Minimal
from topologies.system import System


@dataclass(frozen=True, slots=True)
class Links:
    """Directed links of one tier. Optical ones are counted as links: how many share one module is not known here."""

    tier: str
    count: int
    capacity: float  # of one, raw [B/s]
    medium: str


def bisection(fabric: Fabric) -> float:
    """Bandwidth from one half of the devices to the other [B/s, raw, one direction].

    The halves part the units of the outermost tier that the job uses (of an odd number, one side has one unit less).
    Switches between them count on whichever side makes the cut smaller; pooled ports limit it too.
    """
    if fabric.nodes_matching is None:  # a graph of one's own
        raise NotModelled(f"{fabric.name} has no coordinates that say which devices are its halves, so no bisection.")
    devices = [dimension for dimension in fabric.dimensions if not dimension.hidden]
    outer = devices[-1]
    stride = fabric.ranks // outer.size
    side = np.full(len(fabric.node_kind), -1)
    column = fabric.coordinates[:, len(devices) - 1]
    side[column >= 0] = column[column >= 0] >= outer.size // 2
    cuts = []
    for shared in (0, 1):
        placed = np.where(side < 0, shared, side)
        crossing = (placed[fabric.tail] == 0) & (placed[fabric.head] == 1)
        cuts.append(float(fabric.capacity[crossing].sum()))
    pooled = fabric.ports * stride * (outer.size // 2)
    return min(*cuts, pooled) if outer.size > 1 else 0.0


def bisections(system: System) -> dict[str, float]:
    """Bisection bandwidth of one whole box of each tier, innermost first [B/s, raw, one direction]."""
    found = {}
    chips = 1
    for name, tier in system.tiers.items():
        chips *= 2 if tier.scale_out else tier.size.value  # scale-out tiers are bounded, not built: two domains tell
        found[name] = bisection(system.fabric(chips))
    return found


def diameter(fabric: Fabric) -> int:
    """Links on the longest of the shortest ways between two devices."""
    symmetric = not fabric.defects and all(dimension.symmetry != "none" for dimension in fabric.dimensions)
    no_latency = np.zeros(len(fabric.tail))
    usable = fabric.capacity > 0
    search = Minimal(len(fabric.node_kind), fabric.tail, fabric.head, no_latency, fabric.node_name, usable=usable)
    # Where every dimension is symmetric all devices are alike, and one of them tells.
    targets = fabric.alive[: 1 if symmetric else None].tolist()
    return max(int(search.hops(target)[fabric.alive].max()) for target in targets)


def oversubscription(fabric: Fabric) -> dict[str, float]:
    """Per kind of switch with links up and down: bandwidth from below over bandwidth to above.

    Above is away from the devices. Where switches of a kind differ (a graph of one's own), the worst.
    """
    level = _level(fabric)
    below = np.zeros(len(fabric.node_kind))
    above = np.zeros(len(fabric.node_kind))
    rising = level[fabric.head] > level[fabric.tail]
    np.add.at(below, fabric.head[rising], fabric.capacity[rising])
    np.add.at(above, fabric.tail[rising], fabric.capacity[rising])
    found: dict[str, float] = defaultdict(float)
    for node in range(fabric.ranks, len(fabric.node_kind)):
        if above[node] > 0:
            kind = fabric.node_kind[node]
            found[kind] = max(found[kind], float(below[node] / above[node]))
    return dict(found)


def links(fabric: Fabric) -> tuple[Links, ...]:
    """Directed links by tier and capacity."""
    found: list[Links] = []
    for number, tier in enumerate(fabric.tiers):
        capacities, counts = np.unique(fabric.capacity[fabric.link_tier == number], return_counts=True)
        rows = zip(capacities.tolist(), counts.tolist(), strict=True)
        found.extend(Links(tier.name, count, capacity, tier.medium) for capacity, count in rows)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the domains that a job uses, everything in them included; None where the system's file does not say."""

    domains: int
    power: float | None  # [W]
    price: float | None  # [USD]


def cost(system: System, chips: int | None = None, chips_per_domain: int | None = None) -> Cost:
    """Watts and dollars of a job's machine: whole scale-up domains, as a part of one is not sold."""
    units = system.units(chips, chips_per_domain)
    domains = 1
    for tier, used in zip(system.tiers.values(), units, strict=True):
        domains *= used if tier.scale_out else 1
    power = system.power.value * domains if system.power else None
    price = system.price.value * domains if system.price else None
    return Cost(domains, power, price)


def injection(fabric: Fabric) -> float:
    """What one device can send over all its links and ports together [B/s, raw]."""
    out = np.bincount(fabric.tail, weights=fabric.capacity, minlength=fabric.ranks)[: fabric.ranks]
    total = float(out.max()) if len(out) else 0.0
    return min(total, fabric.ports) if isfinite(fabric.ports) else total


def _level(fabric: Fabric) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Distance of each node from the nearest device, in links: 0 for devices, 1 for their switches, and so on up."""
    level = np.full(len(fabric.node_kind), inf)
    level[: fabric.ranks] = 0
    for _ in range(len(fabric.node_kind)):
        next_level = level.copy()
        np.minimum.at(next_level, fabric.head, level[fabric.tail] + 1)
        if (next_level == level).all():
            break
        level = next_level
    return level
