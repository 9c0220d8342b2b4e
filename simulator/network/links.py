"""Link classes: which links symmetry makes identical, how many they are, and what a class of flows puts on one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.network.contract import PORTS, LinkClass, RankClass
from simulator.network.orbits import Orbits
from simulator.spec.errors import TopologyError
from topologies.fabric import Floats, Ints, Route


class LinkTable:
    """The link classes of one fabric, numbered as routes meet them.

    Besides the fabric's own links there are two pooled limits a device, if its ports are finite: all it sends, and all it
    receives, transit included.
    """

    def __init__(self, orbits: Orbits, rank_classes: Sequence[RankClass]) -> None:
        self.fabric = orbits.fabric
        self.orbits = orbits
        self.rank_classes = rank_classes
        self.classes: list[LinkClass] = []
        self._link_ids: dict[tuple[object, ...], int] = {}
        self._efficiency = np.array([tier.efficiency for tier in self.fabric.tiers])

    def spread(self, route: Route, count: int) -> tuple[Ints, Floats]:
        """Load of ``count`` flows like the one of ``route`` on one link of each class they touch, for unit payload rate.

        Wire bytes: fraction / efficiency of the tier, so that they compare with raw capacities.
        """
        links = route.links
        wire = route.fraction / self._efficiency[self.fabric.link_tier[links]]
        totals: dict[int, float] = {}
        for link, key, amount in zip(links.tolist(), self.orbits.link_keys(links), wire.tolist(), strict=True):
            ids = (self._link_class(key, link), *self._port_classes(link))
            for link_class in ids:
                totals[link_class] = totals.get(link_class, 0.0) + amount
        load = [total * count / self.classes[link_class].size for link_class, total in totals.items()]
        return np.array(list(totals), dtype=np.int64), np.array(load)

    def _link_class(self, key: tuple[object, ...], link: int) -> int:
        found = self._link_ids.get(key)
        if found is None:
            fabric = self.fabric
            name = f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
            capacity = float(fabric.capacity[link])
            if not capacity > 0.0:
                raise TopologyError(
                    f"{fabric.name}: a route uses link {name} of no capacity",
                    got=capacity,
                    do="Route around dead links, or give the link what it can carry.",
                )
            tier = fabric.tiers[int(fabric.link_tier[link])].name
            found = self._add(key, tier, capacity, self.orbits.links_in_class(link), name)
        return found

    def _port_classes(self, link: int) -> tuple[int, ...]:
        """The pooled limits that a byte on ``link`` also counts on: of the device it leaves, of the device it enters."""
        if math.isinf(self.fabric.ports):
            return ()
        found = []
        for node, direction in ((int(self.fabric.tail[link]), "out"), (int(self.fabric.head[link]), "in")):
            if node >= self.fabric.ranks:
                continue
            rank_class = self.rank_classes[int(self.orbits.rank_class[node])]
            key = (PORTS, direction, rank_class.key)
            known = self._link_ids.get(key)
            if known is None:
                name = f"{self.fabric.node_name(rank_class.representative)} ports {direction}"
                known = self._add(key, PORTS, self.fabric.ports, rank_class.size, name)
            found.append(known)
        return tuple(found)

    def _add(self, key: tuple[object, ...], tier: str, capacity: float, size: int, example: str) -> int:
        number = len(self.classes)
        self.classes.append(LinkClass(number, tier, capacity, size, example))
        self._link_ids[key] = number
        return number
