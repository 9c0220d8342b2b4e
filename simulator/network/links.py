"""Link classes: which links symmetry makes identical, how many they are, and what a class of flows puts on one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.network.contract import PORTS, FlowClass, LinkClass, RankClass
from simulator.network.course import Need
from simulator.network.orbits import Orbits
from simulator.spec.errors import TopologyError
from topologies.fabric import Defect, Fabric, Floats, Ints
from topologies.faults import weakened
from topologies.naming import links_named

_UNMET = -1  # a link, or a device's pooled limit, whose class no route has asked for


@dataclass(frozen=True, slots=True)
class NamedLink:
    """One link: its tier, its own raw capacity [B/s], and its class, None if no operation sends anything over it."""

    tier: str
    capacity: float
    link_class: LinkClass | None


class LinkTable:
    """The link classes of one fabric, numbered as routes meet them.

    Besides the fabric's own links there are two pooled limits a device, if its ports are finite: all it sends, and all it
    receives, transit included. ``relaxed`` are links that may be weaker than those of their class.
    """

    def __init__(self, orbits: Orbits, rank_classes: Sequence[RankClass], relaxed: Ints) -> None:
        self.fabric = orbits.fabric
        self.orbits = orbits
        self.rank_classes = rank_classes
        self.classes: list[LinkClass] = []
        self._link_ids: dict[tuple[object, ...], int] = {}
        self._class_of: Ints = np.full(len(self.fabric.tail), _UNMET, dtype=np.int64)
        self._port_ids: Ints = np.full((2, len(rank_classes)), _UNMET, dtype=np.int64)
        efficiency = np.array([tier.efficiency for tier in self.fabric.tiers])
        self._per_payload: Floats = 1.0 / efficiency
        self._sizes: list[int] = []
        self._whole = without_defects(self.fabric)
        self._undamaged: list[float] = []  # capacity of a class without degraded links [B/s]
        self._outer = frozenset(tier.name for tier in self.fabric.tiers if tier.scale_out)
        self._weakest: dict[tuple[object, ...], float] = {}
        if len(relaxed):
            for key, left in zip(orbits.link_keys(relaxed), self.fabric.capacity[relaxed].tolist(), strict=True):
                self._weakest[key] = min(left, self._weakest.get(key, math.inf))

    def spread(self, flow: Ints, links: Ints, fraction: Floats, counts: Ints) -> list[tuple[Ints, Floats]]:
        """For each of ``len(counts)`` classes of flows the link classes it crosses and its load on one link of each.

        ``flow``, ``links`` and ``fraction`` are the rows of the routes of one flow of each, put together; class i has
        ``counts[i]`` such flows, all at unit payload rate. Loads are wire bytes, fraction / efficiency of the tier, so that
        they compare with raw capacities.
        """
        wire = fraction * self._per_payload[self.fabric.link_tier[links]]
        crossed = [self._classes_of(links), *self._ports_of(links)]
        flows = np.concatenate([flow] * len(crossed))
        met = np.concatenate(crossed)
        amounts = np.concatenate([wire] * len(crossed))
        real = met >= 0
        number = len(self.classes)
        pairs, place = np.unique(flows[real] * number + met[real], return_inverse=True)
        totals = np.bincount(place, weights=amounts[real], minlength=len(pairs))
        owner, ids = pairs // max(number, 1), pairs % max(number, 1)
        load = totals * counts[owner] / np.array(self._sizes)[ids]
        ends = np.searchsorted(owner, np.arange(len(counts) + 1)).tolist()
        return [(ids[start:end], load[start:end]) for start, end in pairwise(ends)]

    def weakest_in(self, links: Ints) -> set[int]:
        """The classes, as far as routes have met them, in which one of these links has no more than the class."""
        found = zip(self.orbits.link_keys(links), self.fabric.capacity[links].tolist(), strict=True)
        known = ((self._link_ids.get(key), capacity) for key, capacity in found)
        return {link for link, capacity in known if link is not None and capacity <= self.classes[link].capacity}

    def named(self, name: str) -> NamedLink:
        """A link by ``tail->head``, or a pooled limit by ``device ports out`` (``in``); TopologyError if there is none."""
        device, _, direction = name.strip().rpartition(" ports ")
        if device and direction in ("out", "in"):
            return self._named_ports(device, direction)
        link = links_named(self.fabric, name)[0]
        known = int(self._class_of[link])
        if known == _UNMET:
            known = self._link_ids.get(self.orbits.link_keys(np.array([link], dtype=np.int64))[0], _UNMET)
        tier = self.fabric.tiers[int(self.fabric.link_tier[link])].name
        return NamedLink(tier, float(self.fabric.capacity[link]), self.classes[known] if known != _UNMET else None)

    def _named_ports(self, device: str, direction: str) -> NamedLink:
        node = self.fabric.node_number(device)
        if node >= self.fabric.ranks or math.isinf(self.fabric.ports):
            why = "a switch has none" if node >= self.fabric.ranks else "its links do not sum to more than its ports"
            raise TopologyError(f"no pooled limit of ports holds here: {why}", got=device, do="Name a link: tail->head.")
        rank_class = int(self.orbits.rank_class[node])
        known = int(self._port_ids[("out", "in").index(direction), rank_class]) if rank_class >= 0 else _UNMET
        return NamedLink(PORTS, self.fabric.ports, self.classes[known] if known != _UNMET else None)

    def seconds(self, together: Sequence[Sequence[Sequence[FlowClass]]]) -> list[dict[int, float]]:
        """For each phase what undamaged links need for the bytes of all these operations, by class [s]."""
        undamaged = np.array(self._undamaged)
        found: list[dict[int, float]] = []
        for index in range(max((len(phases) for phases in together), default=0)):
            flows = [flow for phases in together if index < len(phases) for flow in phases[index]]
            links = np.concatenate([np.empty(0, dtype=np.int64), *(flow.links for flow in flows)])
            sizes = np.repeat([flow.size for flow in flows], [len(flow.links) for flow in flows])
            load = np.concatenate([np.empty(0), *(flow.load for flow in flows)])
            needed = np.bincount(links, weights=load * sizes / undamaged[links])
            found.append({link: float(needed[link]) for link in np.unique(links).tolist()})
        return found

    def need(self, phases: Sequence[Sequence[FlowClass]], seconds: Sequence[Mapping[int, float]]) -> Need:
        """What the busiest of the links of these phases needs, where ``seconds`` says what each one does."""
        total, longest, leaves = 0.0, 0.0, False
        for table, phase in zip(seconds, phases, strict=False):
            used = {link for flow in phase for link in flow.links.tolist()}
            link = max(used, key=table.__getitem__, default=None)
            if link is not None:
                total += table[link]
                if table[link] > longest:
                    longest, leaves = table[link], self.classes[link].tier in self._outer
        return Need(total, leaves)

    def _classes_of(self, links: Ints) -> Ints:
        """The class of each link."""
        new = links[self._class_of[links] == _UNMET]
        if len(new):
            new = np.unique(new)
            for link, key in zip(new.tolist(), self.orbits.link_keys(new), strict=True):
                found = self._link_ids.get(key)
                self._class_of[link] = self._link_class(key, link) if found is None else found
        return self._class_of[links]

    def _link_class(self, key: tuple[object, ...], link: int) -> int:
        fabric = self.fabric
        name = f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
        weakest = self._weakest.get(key, math.inf)
        capacity = min(float(fabric.capacity[link]), weakest)
        if not capacity > 0.0:
            raise TopologyError(
                f"{fabric.name}: a route uses link {name} of no capacity",
                got=capacity,
                do="Route around dead links, or give the link what it can carry.",
            )
        tier = fabric.tiers[int(fabric.link_tier[link])].name
        size = self.orbits.links_in_class(link)
        whole = float(self._whole[link])
        self._link_ids[key] = self._add(tier, capacity, size, name, whole, relaxed=weakest < math.inf)
        return self._link_ids[key]

    def _ports_of(self, links: Ints) -> tuple[Ints, ...]:
        """The pooled limits that bytes on these links also count on: of the device left, of the device entered; -1: none."""
        if math.isinf(self.fabric.ports):
            return ()
        found = []
        for row, (direction, nodes) in enumerate((("out", self.fabric.tail[links]), ("in", self.fabric.head[links]))):
            device = nodes < self.fabric.ranks
            rank_class = np.where(device, self.orbits.rank_class[np.where(device, nodes, 0)], -1)
            ids = self._port_ids[row]
            for key in np.unique(rank_class[device]).tolist():
                if ids[key] == _UNMET:
                    rank = self.rank_classes[key]
                    name = f"{self.fabric.node_name(rank.representative)} ports {direction}"
                    ids[key] = self._add(PORTS, self.fabric.ports, rank.size, name, self.fabric.ports)
            found.append(np.where(device, ids[rank_class], _UNMET))
        return tuple(found)

    def _add(self, tier: str, capacity: float, size: int, example: str, whole: float, relaxed: bool = False) -> int:
        number = len(self.classes)
        self.classes.append(LinkClass(number, tier, capacity, size, example, relaxed))
        self._sizes.append(size)
        self._undamaged.append(whole)
        return number


def without_defects(fabric: Fabric) -> Floats:
    """The capacity that each link had before it was degraded [B/s]; a dead one has none."""
    whole = fabric.capacity.copy()
    for defect in fabric.defects:
        if defect.left > 0.0 and defect.kind != "chip":
            whole[touched(fabric, [defect])] /= defect.left
    return whole


def touched(fabric: Fabric, defects: Sequence[Defect]) -> Ints:
    """The links that these defects weaken, ascending."""
    found = [weakened(fabric, defect) for defect in defects if defect.kind != "chip"]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))
