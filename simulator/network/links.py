"""Link classes: which links symmetry makes identical, how many they are, and what a class of flows puts on one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from simulator.network.contract import PORTS, LinkClass, RankClass
from simulator.network.course import Need
from simulator.network.numbering import numbered
from simulator.network.orbits import Orbits
from simulator.network.phase import Phase
from simulator.spec.errors import TopologyError
from topologies.fabric import Defect, Fabric, Floats, Ints
from topologies.faults import weakened
from topologies.naming import link_name, links_named

_UNMET = -1  # a device's pooled limit whose class no route has asked for


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
        self._class_of = np.zeros(len(self.fabric.tail), dtype=np.int32)  # one more than the class; 0: not met yet
        self._port_ids: Ints = np.full((2, len(rank_classes)), _UNMET, dtype=np.int64)
        efficiency = np.array([tier.efficiency for tier in self.fabric.tiers])
        self._per_payload: Floats = 1.0 / efficiency
        self._sizes: list[int] = []
        self._examples: list[int] = []  # a link of each class, -1: the class is a pooled limit
        self._outer = frozenset(tier.name for tier in self.fabric.tiers if tier.scale_out)
        self._weakest: dict[tuple[object, ...], float] = {}
        if len(relaxed):
            for key, left in zip(orbits.link_keys(relaxed), self.fabric.capacity[relaxed].tolist(), strict=True):
                self._weakest[key] = min(left, self._weakest.get(key, math.inf))

    def spread(self, flow: Ints, links: Ints, fraction: Floats, counts: Ints) -> tuple[Ints, Ints, Floats]:
        """The link classes that each of ``len(counts)`` classes of flows crosses, and its load on one link of each.

        ``flow``, ``links`` and ``fraction`` are the rows of the routes of one flow of each, put together; class i has
        ``counts[i]`` such flows, all at unit payload rate, and entries ``starts[i]`` to ``starts[i + 1]`` of what is returned:
        starts, link classes, loads. Loads are wire bytes, fraction / efficiency of the tier, so that they compare with raw
        capacities.
        """
        wire = fraction * self._per_payload[self.fabric.link_tier[links]]
        crossed = [self._classes_of(links), *self._ports_of(links)]
        flows = np.concatenate([flow] * len(crossed))
        met = np.concatenate(crossed)
        amounts = np.concatenate([wire] * len(crossed))
        if len(crossed) > 1:
            real = met >= 0
            flows, met, amounts = flows[real], met[real], amounts[real]
        number = max(len(self.classes), 1)
        pairs, place = numbered(flows * number + met)
        totals = np.bincount(place, weights=amounts, minlength=len(pairs))
        owner, ids = np.divmod(pairs, number)
        load = totals * counts[owner] / np.array(self._sizes)[ids] if len(ids) else totals
        return np.searchsorted(owner, np.arange(len(counts) + 1)).astype(np.int64), ids, load.astype(np.float64)

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
        known = int(self._class_of[link]) - 1
        if known < 0:
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

    def seconds(self, together: Sequence[Sequence[Phase]]) -> list[Floats]:
        """For each phase what undamaged links need for the bytes of all these operations, by class [s]."""
        examples = np.array(self._examples, dtype=np.int64)
        whole = np.where(examples < 0, self.fabric.ports, without_defects(self.fabric, np.maximum(examples, 0)))
        found = [np.zeros(len(whole)) for _ in range(max((len(phases) for phases in together), default=0))]
        for phases in together:
            for table, phase in zip(found, phases, strict=False):
                np.add.at(table, phase.links, phase.load * phase.size[phase.owner] / whole[phase.links])
        return found

    def need(self, phases: Sequence[Phase], seconds: Sequence[Floats]) -> Need:
        """What the busiest of the links of these phases needs, where ``seconds`` says what each one does."""
        total, longest, leaves = 0.0, 0.0, False
        for table, phase in zip(seconds, phases, strict=False):
            if len(phase.links):
                used, _ = numbered(phase.links)
                link = int(used[np.argmax(table[used])])
                most = float(table[link])
                total += most
                if most > longest:
                    longest, leaves = most, self.classes[link].tier in self._outer
        return Need(total, leaves)

    def _classes_of(self, links: Ints) -> Ints:
        """The class of each link."""
        found = self._class_of[links]
        new = links[found == 0]
        if len(new):
            met = np.zeros(len(self._class_of), dtype=bool)
            met[new] = True
            new = np.flatnonzero(met)
            first, kind = self.orbits.kinds_of_links(new)
            examples = new[first]
            keys = self.orbits.link_keys(examples)
            fresh = [place for place, key in enumerate(keys) if key not in self._link_ids]
            self._new_classes(examples[fresh], [keys[place] for place in fresh])
            self._class_of[new] = np.array([self._link_ids[key] + 1 for key in keys], dtype=np.int64)[kind]
            found = self._class_of[links]
        return found.astype(np.int64) - 1

    def _new_classes(self, links: Ints, keys: Sequence[tuple[object, ...]]) -> None:
        """Number the classes of these links, of which none is known yet."""
        fabric = self.fabric
        weakest = np.array([self._weakest.get(key, math.inf) for key in keys]) if self._weakest else np.full(len(keys), math.inf)
        capacity = np.minimum(fabric.capacity[links], weakest)
        if not (capacity > 0.0).all():
            link = int(links[np.argmin(capacity > 0.0)])
            raise TopologyError(
                f"{fabric.name}: a route uses link {link_name(fabric, link)} of no capacity",
                got=0.0,
                do="Route around dead links, or give the link what it can carry.",
            )
        names = [tier.name for tier in fabric.tiers]
        columns = (links, fabric.link_tier[links], capacity, self.orbits.links_in_classes(links))
        relaxed = np.isfinite(weakest).tolist()
        number = len(self.classes)
        for key, link, tier, left, size, weak in zip(keys, *(column.tolist() for column in columns), relaxed, strict=True):
            self._link_ids[key] = number
            self.classes.append(LinkClass(number, names[tier], left, size, partial(link_name, fabric, link), weak))
            number += 1
        self._sizes += columns[-1].tolist()
        self._examples += columns[0].tolist()

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
                    ids[key] = len(self.classes)
                    self.classes.append(LinkClass(len(self.classes), PORTS, self.fabric.ports, rank.size, name))
                    self._sizes.append(rank.size)
                    self._examples.append(-1)
            found.append(np.where(device, ids[rank_class], _UNMET))
        return tuple(found)


def without_defects(fabric: Fabric, links: Ints | None = None) -> Floats:
    """The capacity that each link, or each of ``links``, had before it was degraded [B/s]; a dead one has none."""
    whole = fabric.capacity.copy() if links is None else fabric.capacity[links]
    for defect in fabric.defects:
        if defect.left > 0.0 and defect.kind != "chip":
            weak = touched(fabric, [defect])
            whole[weak if links is None else np.isin(links, weak)] /= defect.left
    return whole


def touched(fabric: Fabric, defects: Sequence[Defect]) -> Ints:
    """The links that these defects weaken, ascending."""
    if not defects:
        return np.empty(0, dtype=np.int64)
    found = [weakened(fabric, defect) for defect in defects if defect.kind != "chip"]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))
