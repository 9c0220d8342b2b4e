"""All-to-all with a byte count of its own for every pair (all-to-all-v): no two flows need be alike, so none are folded.

Up to :data:`EXACT_FLOWS` flows are drained at max-min rates, event by event. More of them are given rates in proportion to
their bytes, so that all end together (Theorem 2 of docs/network.md): at the busiest link's bytes over its capacity, which
no schedule beats; the ends of single flows are not told, and the rung says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.network.contract import PORTS, FlowClass, LinkClass
from simulator.network.drain import drain
from simulator.spec.errors import InputError, NotModelled
from topologies.fabric import Fabric, Floats, Ints

EXACT_FLOWS = 1024
MOST_RANKS = 512
"""Each pair is routed by itself: 262,144 pairs take about ten seconds."""


@dataclass(frozen=True, slots=True)
class MatrixTransfer:
    """``seconds`` until the last byte, ``least`` for payload alone at raw capacities [s]; ``hop`` the longest latency [s]."""

    seconds: float
    least: float
    hop: float
    busiest: LinkClass
    leaves_domain: bool
    rung: str


def matrix_transfer(fabric: Fabric, matrix: Floats, domain: int) -> MatrixTransfer:
    """All of ``matrix`` [ranks, ranks] at once: row i column j is what rank i sends to rank j [B]; the diagonal stays at home."""
    _check(fabric, matrix)
    links = len(fabric.tail)
    pooled = math.isfinite(fabric.ports)
    efficiency = np.array([fabric.tiers[tier].efficiency for tier in fabric.link_tier.tolist()])
    size = links + (2 * fabric.ranks if pooled else 0)
    wire, payload = np.zeros(size), np.zeros(size)
    flows: list[tuple[Ints, Floats, float]] = []
    pairs = np.argwhere((matrix > 0) & ~np.eye(len(matrix), dtype=bool))
    hop, leaves = 0.0, False
    for source, target in pairs.tolist():
        route = fabric.router(source, target)
        amount = float(matrix[source, target])
        used, share, carried = route.links, route.fraction / efficiency[route.links], route.fraction
        if pooled:
            tails, heads = fabric.tail[used], fabric.head[used]
            out, into = tails < fabric.ranks, heads < fabric.ranks
            used = np.concatenate((used, links + tails[out], links + fabric.ranks + heads[into]))
            share = np.concatenate((share, share[out], share[into]))
            carried = np.concatenate((carried, route.fraction[out], route.fraction[into]))
        np.add.at(wire, used, share * amount)
        np.add.at(payload, used, carried * amount)
        hop, leaves = max(hop, route.latency), leaves or source // domain != target // domain
        if len(pairs) <= EXACT_FLOWS:
            places, inverse = np.unique(used, return_inverse=True)
            flows.append((places, np.bincount(inverse, weights=share).astype(np.float64), amount))
    capacity = np.concatenate((fabric.capacity, np.full(size - links, fabric.ports)))
    carrying = wire > 0
    busiest = int(np.argmax(np.divide(wire, capacity, out=np.zeros(size), where=carrying)))
    seconds = float(wire[busiest] / capacity[busiest])
    exact = len(pairs) <= EXACT_FLOWS
    if exact:
        seconds = _drained(flows, capacity)
    return MatrixTransfer(
        seconds=seconds,
        least=float(np.max(payload[carrying] / capacity[carrying])),
        hop=hop,
        busiest=_link(fabric, busiest),
        leaves_domain=leaves,
        rung="exact" if exact else "makespan-only",
    )


def _check(fabric: Fabric, matrix: Floats) -> None:
    if matrix.shape != (fabric.ranks, fabric.ranks):
        raise InputError(
            f"a matrix has a row and a column for each of {fabric.ranks} ranks", got=f"{matrix.shape}", path="matrix"
        )
    if fabric.ranks > MOST_RANKS:
        raise NotModelled(f"a matrix of {fabric.ranks} ranks is too large; up to {MOST_RANKS} are routed pair by pair.")
    if not np.all(np.isfinite(matrix)) or np.any(matrix < 0):
        raise InputError("a matrix holds bytes, 0 or more", path="matrix")
    if not np.any(matrix[~np.eye(len(matrix), dtype=bool)]):
        raise InputError("a matrix without a byte between two ranks takes no time", path="matrix", do="Fill it.")


def _drained(flows: list[tuple[Ints, Floats, float]], capacity: Floats) -> float:
    classes = [
        FlowClass(places, load, amount, 1, source_class=0, flows_per_source=1, target_class=0, flows_per_target=1)
        for places, load, amount in flows
    ]
    links = [LinkClass(number, "", float(each), 1, "") for number, each in enumerate(capacity.tolist())]
    return drain(classes, links)[0]


def _link(fabric: Fabric, number: int) -> LinkClass:
    links = len(fabric.tail)
    if number >= links:
        device, direction = (number - links) % fabric.ranks, "out" if number < links + fabric.ranks else "in"
        return LinkClass(number, PORTS, fabric.ports, 1, f"{fabric.node_name(device)} ports {direction}")
    name = f"{fabric.node_name(int(fabric.tail[number]))}->{fabric.node_name(int(fabric.head[number]))}"
    return LinkClass(number, fabric.tiers[int(fabric.link_tier[number])].name, float(fabric.capacity[number]), 1, name)
