"""A direct exchange counted link by link: what is left to say where faults, or few symmetries, leave too many classes of flows.

Everybody sends everybody else of its group the same number of bytes, so the last of them arrives when the busiest link is done
(theorem 2 of docs/network.md), and only the bytes on each link are needed. Those of the whole machine follow from its symmetries,
class by class of links, however many classes of pairs there are: no flow is made, none is drained. Degraded links change no
bytes. Dead ones move those of the pairs whose ways they cut: these pairs are found by the symmetries too (each is the image of
a representative that crosses a link like the dead one), what they put on links is taken away, and put where they go now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.network.blocks import Blocks
from simulator.network.contract import PORTS, LinkClass
from simulator.network.course import Need
from simulator.network.crossing import Crossed, Crossing, crossing, like_these, turning, whole_kinds
from simulator.network.links import without_defects
from simulator.network.mirrors import mirrors
from simulator.network.numbering import places
from simulator.network.orbits import Orbits
from simulator.network.placement import SubDimension, refine
from simulator.network.representatives import AT_ONCE, MOST, representatives
from simulator.spec.errors import IdentityBroken, NotModelled
from topologies.batch import loads, moved, routes
from topologies.detour import Avoiding
from topologies.fabric import Fabric, Floats, Ints
from topologies.routing import Minimal


@dataclass(frozen=True, slots=True, eq=False)
class LinkLoads:
    """Bytes on every link when each rank sends one byte to every other of its group; ``hop`` is the longest latency [s]."""

    fabric: Fabric
    payload: Floats  # [links]
    hop: float

    def seconds(self, efficient: bool) -> tuple[float, LinkClass]:
        """When the last byte is there [s], and the link that is busiest; not ``efficient``: payload alone over raw capacity."""
        return self._over(self.fabric.capacity, efficient)

    def need(self, shares: float) -> Need:
        """What the busiest link needs for ``shares`` bytes a pair where no link is damaged: what a library loses goes by that."""
        seconds, busiest = self._over(without_defects(self.fabric), efficient=True)
        return Need(seconds * shares, busiest.tier in {tier.name for tier in self.fabric.tiers if tier.scale_out})

    def _over(self, capacity: Floats, efficient: bool) -> tuple[float, LinkClass]:
        fabric = self.fabric
        efficiency = np.array([tier.efficiency for tier in fabric.tiers])
        amount = self.payload / efficiency[fabric.link_tier]
        lost = 1.0 if efficient else efficiency[fabric.link_tier]
        needed = np.divide(amount * lost, capacity, out=np.zeros(len(amount)), where=capacity > 0.0)
        link = _first_largest(needed)
        tier = fabric.tiers[int(fabric.link_tier[link])].name
        name = f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
        busiest = LinkClass(link, tier, float(capacity[link]), 1, name)
        most = float(needed[link])
        if math.isfinite(fabric.ports):
            for direction, ends in (("out", fabric.tail), ("in", fabric.head)):
                pooled = np.bincount(ends, weights=amount, minlength=fabric.ranks)[: fabric.ranks] / fabric.ports
                pooled *= 1.0 if efficient else efficiency.min()
                device = _first_largest(pooled)
                if pooled[device] > most:
                    most = float(pooled[device])
                    busiest = LinkClass(0, PORTS, fabric.ports, 1, f"{fabric.node_name(device)} ports {direction}")
        return most, busiest


def direct_loads(fabric: Fabric, blocks: Blocks, domain: int) -> LinkLoads:
    """Every rank alive sends a byte to every other of its group, under the routes of the faulty fabric.

    Raises NotModelled where too many pairs stand for themselves, or groups are of different size because chips are dead.
    """
    if fabric.dead and blocks.size < fabric.ranks:
        raise NotModelled("groups of which some have dead chips send unequal shares: take all ranks as one group")
    whole = _whole(fabric)
    parts = refine(fabric.dimensions, blocks, boundaries=(domain,))
    dead = np.flatnonzero(fabric.capacity == 0.0) if isinstance(fabric.router, Avoiding) else np.empty(0, dtype=np.int64)
    payload, hop, crossed = _uniform(whole, Orbits(whole, parts), blocks, dead)
    if isinstance(fabric.router, Avoiding):
        pairs = crossing(fabric, whole, parts, blocks, crossed)
        change, longest = _moved(fabric, fabric.router, parts, pairs)
        payload += change
        hop = max(hop, longest)
        _check(payload, fabric)
    return LinkLoads(fabric, payload, hop)


def _moved(fabric: Fabric, router: Avoiding, parts: tuple[SubDimension, ...], pairs: Crossing) -> tuple[Floats, float]:
    """What routes around the dead change on every link, and the longest latency of those that are new.

    One pair stands for all that the symmetries left by the defects make of it, and its bytes are shared by the links they make
    of its links.
    """
    orbits = Orbits(fabric, parts)
    links, kind = len(fabric.tail), orbits.link_kinds()
    sources, targets = pairs.sources, pairs.targets
    reflections = mirrors(fabric, parts, orbits.parts)
    for mirror in reflections:
        sources, targets = mirror.lower(sources, targets)
    if reflections:
        pairs = Crossing.of(fabric.ranks, sources, targets, pairs.counts)
    if not orbits.trivial:
        first, like = places(orbits.kinds_of_pairs(pairs.sources, pairs.targets))
        pairs = Crossing(pairs.sources[first], pairs.targets[first], np.bincount(like, weights=pairs.counts).astype(np.float64))
    change, hop = moved(router, pairs.sources, pairs.targets, pairs.counts, links)
    change = (np.bincount(kind, weights=change) / np.bincount(kind))[kind]
    for mirror in reflections:
        change = mirror.averaged(change)
    return change, hop


def _whole(fabric: Fabric) -> Fabric:
    """The fabric before its faults, as far as routes and symmetries see it: links of a tier are alike."""
    router = fabric.router.base if isinstance(fabric.router, Avoiding) else fabric.router
    ones = np.ones(len(fabric.tail))
    return replace(fabric, capacity=ones, defects=(), dead=frozenset(), speed=None, router=router)


def _uniform(fabric: Fabric, orbits: Orbits, blocks: Blocks, dead: Ints) -> tuple[Floats, float, Crossed | None]:
    """Bytes on every link of a fabric without faults, the longest latency, and who crosses links like those that are ``dead``.

    That is found on the way if the same representatives tell; None if others do.
    """
    kind = whole_kinds(orbits)
    total, hop = np.zeros(len(kind)), 0.0
    crossed: list[Crossed] = []
    telling = any(turning(fabric, orbits.parts, link) == orbits.parts for link in dead.tolist())
    wanted = like_these(orbits, dead) if telling else np.empty(0, dtype=bool)
    once = (
        MOST if isinstance(fabric.router, Minimal) and not telling else AT_ONCE
    )  # ways of fewest hops take no room for each pair
    for (sources, targets), weight in representatives(orbits, blocks, once):
        if not telling:
            amounts, longest = loads(fabric.router, sources, targets, weight, len(kind))
            total += amounts
        else:
            rows = routes(fabric.router, sources, targets)
            np.add.at(total, rows.link, rows.fraction * weight[rows.flow])
            longest = float(rows.latency.max(initial=0.0))
            some = np.flatnonzero(wanted[rows.link])
            crossed.append(Crossed(sources[rows.flow[some]], targets[rows.flow[some]], rows.link[some]))
        hop = max(hop, longest)
    whole = (np.bincount(kind, weights=total) / np.bincount(kind))[kind]
    return whole, hop, Crossed.joined(crossed) if telling else None


def _first_largest(values: Floats) -> int:
    """The place of the largest value; of equals the first, however their sums were rounded."""
    return int(np.argmax(values >= values.max() * (1.0 - 1e-12)))


def _check(payload: Floats, fabric: Fabric) -> None:
    """Nothing is left on what is dead, and nowhere less than nothing."""
    dead = fabric.capacity == 0.0
    tiny = 1e-9 * max(float(payload.max(initial=0.0)), 1.0)
    if np.abs(payload[dead]).max(initial=0.0) > tiny or payload.min(initial=0.0) < -tiny:
        raise IdentityBroken(f"{fabric.name}: bytes of an exchange are left on dead links, or were taken away twice")
    payload[dead] = 0.0
