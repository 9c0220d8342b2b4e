"""Every flow by itself: what folding must reproduce. For small systems and for tests.

Uses the collective algorithms and the fabric's router, and none of the symmetries, classes or closed-form counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.choice import choose, pattern_of
from simulator.network.collectives.dimensions import axes_of
from simulator.network.contract import Placement
from simulator.network.fold import scale_up_domain
from simulator.network.maxmin import Loads
from topologies.batch import routes
from topologies.fabric import Fabric, Floats, Ints
from workloads.axes import offset, position
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
    domain, axes = scale_up_domain(fabric), axes_of(fabric)
    stages = groups.runs_of("pp")
    alive = fabric.alive.tolist()
    rows: list[tuple[int, int, int, int, float]] = []
    for number, operation in enumerate(operations):
        for rank in alive:
            if isinstance(operation, Send):
                if position(stages, rank) == operation.source and operation.payload > 0:
                    target = rank + offset(stages, operation.target) - offset(stages, operation.source)
                    rows.append((number, 0, rank, target, operation.payload))
                continue
            members = np.sort(np.asarray(groups.members(operation.group, rank), dtype=np.int64))
            members = members[np.isin(members, alive)]
            if len(members) < 2 or operation.payload <= 0:
                continue
            algorithm = choose(operation, members, domain, algorithms or {})
            pattern = pattern_of(algorithm, members, rank, operation, domain, axes)
            for phase, exchanges in enumerate(pattern.phases):
                rows += [
                    (number, phase, rank, peer, size)
                    for exchange in exchanges
                    for peer, size in zip(exchange.peers.tolist(), exchange.bytes_to.tolist(), strict=True)
                ]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 5).T
    numbers = columns[:4].astype(np.int64)
    return routed(fabric, numbers[0], numbers[1], numbers[2], numbers[3], columns[4])


def routed(fabric: Fabric, operation: Ints, phase: Ints, source: Ints, target: Ints, size: Floats) -> Flows:
    """Flows given one by one, on the fabric's routes."""
    ends, place = np.unique(source * fabric.ranks + target, return_inverse=True)
    each = _wires(fabric, ends // fabric.ranks, ends % fabric.ranks)
    starts = np.searchsorted(each.flow, np.arange(len(ends) + 1))
    counts = (starts[1:] - starts[:-1])[place]
    flow = np.repeat(np.arange(len(size), dtype=np.int64), counts)
    at = np.arange(len(flow)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[place][flow]
    capacity = np.concatenate((fabric.capacity, np.full(each.links - len(fabric.tail), fabric.ports)))
    loads = Loads(flow, each.link[at], each.load[at], len(size), each.links)
    return Flows(operation, phase, source, target, size, loads, capacity)


def _wires(fabric: Fabric, source: Ints, target: Ints) -> Loads:
    """What a flow between each of these pairs puts on links and on the pooled limits of the devices that it passes."""
    found = routes(fabric.router, source, target)
    links = len(fabric.tail)
    wire = found.fraction / np.array([tier.efficiency for tier in fabric.tiers])[fabric.link_tier[found.link]]
    flow, link, load = [found.flow], [found.link], [wire]
    if math.isfinite(fabric.ports):
        for nodes, first in ((fabric.tail, links), (fabric.head, links + fabric.ranks)):
            node = nodes[found.link]
            device = node < fabric.ranks
            flow.append(found.flow[device])
            link.append(first + node[device])
            load.append(wire[device])
        links += 2 * fabric.ranks
    pairs, place = np.unique(np.concatenate(flow) * links + np.concatenate(link), return_inverse=True)
    total = np.bincount(place, weights=np.concatenate(load), minlength=len(pairs)).astype(np.float64)
    return Loads(pairs // links, pairs % links, total, len(source), links)
