"""Every flow by itself: what folding must reproduce. For small systems and for tests.

Uses the collective algorithms and the fabric's router, and none of the symmetries, classes or closed-form counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.choice import ALGORITHMS, choose
from simulator.network.contract import Placement
from simulator.network.fold import scale_up_domain
from simulator.network.maxmin import Loads
from topologies.fabric import Fabric, Floats, Ints
from workloads.instructions import Communication


@dataclass(frozen=True, slots=True)
class Send:
    """Point to point from every rank of pipeline rank ``source`` to its counterpart in ``target``."""

    source: int
    target: int
    payload: float


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """One flow an entry [flows]; links 0 .. n-1 are the fabric's, then one pooled limit out and one in for each device."""

    operation: Ints  # which of the operations asked for
    phase: Ints
    source: Ints
    target: Ints
    size: Floats
    loads: Loads
    capacity: Floats

    def select(self, chosen: Ints) -> tuple[Loads, Floats]:
        """Loads of some of the flows (renumbered) and their sizes."""
        place = np.full(len(self.size), -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        kept = place[self.loads.flow] >= 0
        loads = self.loads
        few = Loads(place[loads.flow[kept]], loads.link[kept], loads.load[kept], len(chosen), loads.links)
        return few, self.size[chosen]


def unfolded(
    fabric: Fabric,
    groups: Placement,
    operations: Sequence[Communication | Send],
    algorithms: Mapping[str, str] | None = None,
) -> Flows:
    """All flows of these operations, each run by every rank of the fabric that is alive, all groups at once."""
    domain = scale_up_domain(fabric)
    stage = fabric.ranks // groups.span("pp")[1]
    alive = fabric.alive.tolist()
    rows: list[tuple[int, int, int, int, float]] = []
    for number, operation in enumerate(operations):
        for rank in alive:
            if isinstance(operation, Send):
                if rank // stage == operation.source and operation.payload > 0:
                    rows.append((number, 0, rank, rank + (operation.target - operation.source) * stage, operation.payload))
                continue
            members = np.sort(np.asarray(groups.members(operation.group, rank), dtype=np.int64))
            members = members[np.isin(members, alive)]
            if len(members) < 2 or operation.payload <= 0:
                continue
            algorithm = choose(operation, members, domain, algorithms or {})
            pattern = ALGORITHMS[algorithm](members, rank, operation, domain)
            for phase, exchanges in enumerate(pattern.phases):
                rows += [
                    (number, phase, rank, peer, exchange.payload) for exchange in exchanges for peer in exchange.peers.tolist()
                ]
    return _routed(fabric, rows)


def _routed(fabric: Fabric, rows: Sequence[tuple[int, int, int, int, float]]) -> Flows:
    links = len(fabric.tail)
    pooled = not math.isinf(fabric.ports)
    entries: list[tuple[int, int, float]] = []
    for flow, (_, _, source, target, _) in enumerate(rows):
        route = fabric.router(source, target)
        load: dict[int, float] = {}
        for link, fraction in zip(route.links.tolist(), route.fraction.tolist(), strict=True):
            wire = fraction / fabric.tiers[int(fabric.link_tier[link])].efficiency
            crossed = [link]
            if pooled and fabric.tail[link] < fabric.ranks:
                crossed.append(links + int(fabric.tail[link]))
            if pooled and fabric.head[link] < fabric.ranks:
                crossed.append(links + fabric.ranks + int(fabric.head[link]))
            for place in crossed:
                load[place] = load.get(place, 0.0) + wire
        entries += [(flow, link, wire) for link, wire in load.items()]
    capacity = np.concatenate((fabric.capacity, np.full(2 * fabric.ranks if pooled else 0, fabric.ports)))
    loads = Loads(
        flow=np.array([entry[0] for entry in entries], dtype=np.int64),
        link=np.array([entry[1] for entry in entries], dtype=np.int64),
        load=np.array([entry[2] for entry in entries], dtype=np.float64),
        flows=len(rows),
        links=len(capacity),
    )
    columns = [np.array([row[column] for row in rows], dtype=np.int64) for column in range(4)]
    size = np.array([row[4] for row in rows], dtype=np.float64)
    return Flows(columns[0], columns[1], columns[2], columns[3], size, loads, capacity)
