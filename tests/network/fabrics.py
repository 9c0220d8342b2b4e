"""Small fabrics built by hand, independent of topologies.shapes: a star, full meshes, tori, a two-level Clos, rails."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal

import numpy as np

from topologies.fabric import Dimension, Fabric, Route, TierInfo

Edge = tuple[int, int, int, float]  # tail, head, tier, capacity


def assemble(
    name: str,
    dimensions: Sequence[Dimension],
    coordinates: list[list[int]],
    kinds: list[str],
    edges: list[Edge],
    tiers: Sequence[TierInfo],
    router: Callable[[dict[tuple[int, int], list[int]], int, int], Route],
    ports: float = math.inf,
) -> Fabric:
    names = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    between: dict[tuple[int, int], list[int]] = {}
    for link, (tail, head, _, _) in enumerate(edges):
        between.setdefault((tail, head), []).append(link)
    return Fabric(
        name=name,
        ranks=kinds.count("device"),
        ranks_per_chip=1,
        dimensions=tuple(dimensions),
        coordinates=np.array(coordinates, dtype=np.int64),
        node_kind=tuple(kinds),
        node_name=names.__getitem__,
        tail=np.array([edge[0] for edge in edges], dtype=np.int64),
        head=np.array([edge[1] for edge in edges], dtype=np.int64),
        link_tier=np.array([edge[2] for edge in edges], dtype=np.int64),
        capacity=np.array([edge[3] for edge in edges], dtype=np.float64),
        ports=ports,
        tiers=tuple(tiers),
        router=lambda source, target: router(between, source, target),
        node_number=names.index,
    )


def route(shares: dict[int, float], latency: float) -> Route:
    return Route(np.array(list(shares), dtype=np.int64), np.array(list(shares.values())), latency)


def star(ranks: int, bandwidth: float = 1.0, planes: int = 1, latency: float = 0.0, efficiency: float = 1.0) -> Fabric:
    """Devices on ``planes`` switches; a device's bandwidth is split evenly over the planes, and so is its traffic."""
    dimensions = [Dimension("chip", ranks, "full"), Dimension("plane", planes, "full", hidden=True)]
    coordinates = [[rank, -1] for rank in range(ranks)] + [[-1, plane] for plane in range(planes)]
    edges: list[Edge] = []
    for rank, plane in product(range(ranks), range(planes)):
        edges += [(rank, ranks + plane, 0, bandwidth / planes), (ranks + plane, rank, 0, bandwidth / planes)]

    def router(between: dict[tuple[int, int], list[int]], source: int, target: int) -> Route:
        shares = {}
        for plane in range(planes):
            for link in (*between[source, ranks + plane], *between[ranks + plane, target]):
                shares[link] = 1.0 / planes
        return route(shares, latency)

    tiers = [TierInfo("star", latency, efficiency, "copper", ranks)]
    return assemble("star", dimensions, coordinates, ["device"] * ranks + ["switch"] * planes, edges, tiers, router)


def digits(rank: int, sizes: Sequence[int]) -> list[int]:
    found = []
    for size in sizes:
        found.append(rank % size)
        rank //= size
    return found


def number(coordinates: Sequence[int], sizes: Sequence[int]) -> int:
    rank = 0
    for coordinate, size in zip(reversed(coordinates), reversed(sizes), strict=True):
        rank = rank * size + coordinate
    return rank


def mesh(
    sizes: Sequence[int],
    bandwidth: Sequence[float],
    ports: float = math.inf,
    efficiency: float = 1.0,
    latency: float = 0.0,
    spray: bool = True,
) -> Fabric:
    """n-dimensional full mesh; flows take all shortest paths with an even split at each hop, or dimension order."""
    ranks = math.prod(sizes)
    dimensions = [Dimension(f"d{index}", size, "full") for index, size in enumerate(sizes)]
    coordinates = [digits(rank, sizes) for rank in range(ranks)]
    edges: list[Edge] = []
    for rank in range(ranks):
        for index, size in enumerate(sizes):
            for other in range(size):
                if other != coordinates[rank][index]:
                    moved = [*coordinates[rank]]
                    moved[index] = other
                    edges.append((rank, number(moved, sizes), index, bandwidth[index]))

    def router(between: dict[tuple[int, int], list[int]], source: int, target: int) -> Route:
        amount = {source: 1.0}
        shares: dict[int, float] = {}
        goal = coordinates[target]
        hops = 0
        while set(amount) != {target}:
            hops += 1
            arrived: dict[int, float] = {}
            for node, part in amount.items():
                wrong = [index for index in range(len(sizes)) if coordinates[node][index] != goal[index]]
                for index in wrong if spray else wrong[:1]:
                    moved = [*coordinates[node]]
                    moved[index] = goal[index]
                    head = number(moved, sizes)
                    portion = part / (len(wrong) if spray else 1)
                    link = between[node, head][0]
                    shares[link] = shares.get(link, 0.0) + portion
                    arrived[head] = arrived.get(head, 0.0) + portion
            amount = arrived
        return route(shares, hops * latency)

    tiers = [TierInfo(f"d{index}", latency, efficiency, "copper", math.prod(sizes[: index + 1])) for index in range(len(sizes))]
    return assemble("mesh", dimensions, coordinates, ["device"] * ranks, edges, tiers, router, ports)


def torus(
    sizes: Sequence[int],
    bandwidth: float = 1.0,
    latency: float = 0.0,
    symmetry: Literal["cyclic", "dihedral"] = "cyclic",
) -> Fabric:
    """Torus with dimension-order routing, the shorter way round, an even split where both ways are as long."""
    ranks = math.prod(sizes)
    dimensions = [Dimension(f"d{index}", size, symmetry) for index, size in enumerate(sizes)]
    coordinates = [digits(rank, sizes) for rank in range(ranks)]

    def step(rank: int, index: int, by: int) -> int:
        moved = [*coordinates[rank]]
        moved[index] = (moved[index] + by) % sizes[index]
        return number(moved, sizes)

    edges: list[Edge] = []
    for rank, index in product(range(ranks), range(len(sizes))):
        ways = (1, -1) if sizes[index] > 2 else (1,)
        edges += [(rank, step(rank, index, by), index, bandwidth) for by in ways]

    def router(between: dict[tuple[int, int], list[int]], source: int, target: int) -> Route:
        shares: dict[int, float] = {}
        node = source
        hops = 0
        for index, size in enumerate(sizes):
            distance = (coordinates[target][index] - coordinates[node][index]) % size
            ways = [(1, distance)] if 2 * distance < size else [(-1, size - distance)]
            if 2 * distance == size and size > 2:
                ways = [(1, distance), (-1, distance)]
            elif 2 * distance == size:
                ways = [(1, distance)]
            for by, count in ways:
                here = node
                for _ in range(count):
                    link = between[here, step(here, index, by)][0]
                    shares[link] = shares.get(link, 0.0) + 1.0 / len(ways)
                    here = step(here, index, by)
            hops += ways[0][1]
            node = step(node, index, distance)
        return route(shares, hops * latency)

    tiers = [TierInfo(f"d{index}", latency, 1.0, "copper", math.prod(sizes[: index + 1])) for index in range(len(sizes))]
    return assemble("torus", dimensions, coordinates, ["device"] * ranks, edges, tiers, router)


def clos(
    chips: int,
    nodes: int,
    bandwidth: float,
    uplink: float,
    planes: int = 2,
    spines: int = 2,
    ports: float = math.inf,
    scale_out: bool = False,
    efficiencies: tuple[float, float] = (1.0, 1.0),
    latencies: tuple[float, float] = (0.0, 0.0),
) -> Fabric:
    """Two-level Clos: each node has a leaf a plane, each plane its own spines.

    ``bandwidth`` of a chip over all planes, ``uplink`` of a node over all planes and spines, per direction.
    """
    ranks = chips * nodes
    dimensions = [
        Dimension("chip", chips, "full"),
        Dimension("node", nodes, "full"),
        Dimension("plane", planes, "full", hidden=True),
        Dimension("spine", spines, "full", hidden=True),
    ]
    coordinates = [[rank % chips, rank // chips, -1, -1] for rank in range(ranks)]
    kinds = ["device"] * ranks
    leaf, spine = {}, {}
    for node, plane in product(range(nodes), range(planes)):
        leaf[node, plane] = len(kinds)
        kinds.append("leaf")
        coordinates.append([-1, node, plane, -1])
    for plane, top in product(range(planes), range(spines)):
        spine[plane, top] = len(kinds)
        kinds.append("spine")
        coordinates.append([-1, -1, plane, top])
    edges: list[Edge] = []
    for rank, plane in product(range(ranks), range(planes)):
        at = leaf[rank // chips, plane]
        edges += [(rank, at, 0, bandwidth / planes), (at, rank, 0, bandwidth / planes)]
    for (node, plane), top in product(leaf, range(spines)):
        ends = leaf[node, plane], spine[plane, top]
        capacity = uplink / planes / spines
        edges += [(*ends, 1, capacity), (*ends[::-1], 1, capacity)]

    def router(between: dict[tuple[int, int], list[int]], source: int, target: int) -> Route:
        shares: dict[int, float] = {}
        here, there = source // chips, target // chips
        for plane in range(planes):
            shares[between[source, leaf[here, plane]][0]] = 1.0 / planes
            shares[between[leaf[there, plane], target][0]] = 1.0 / planes
            for top in range(spines) if here != there else ():
                shares[between[leaf[here, plane], spine[plane, top]][0]] = 1.0 / planes / spines
                shares[between[spine[plane, top], leaf[there, plane]][0]] = 1.0 / planes / spines
        return route(shares, latencies[0] if here == there else latencies[1])

    tiers = [
        TierInfo("node", latencies[0], efficiencies[0], "copper", chips),
        TierInfo("spine", latencies[1], efficiencies[1], "optical", ranks, scale_out=scale_out),
    ]
    return assemble("clos", dimensions, coordinates, kinds, edges, tiers, router, ports)


def rails(
    chips: int,
    nodes: int,
    inside: float,
    outside: float,
    ports: float = math.inf,
    efficiencies: tuple[float, float] = (1.0, 1.0),
    latencies: tuple[float, float] = (0.0, 0.0),
) -> Fabric:
    """Nodes with one switch; a second port of chip i of each node goes to rail switch i. Off-rail flows cross the node first."""
    ranks = chips * nodes
    dimensions = [Dimension("chip", chips, "full"), Dimension("node", nodes, "full")]
    coordinates = [[rank % chips, rank // chips] for rank in range(ranks)]
    coordinates += [[-1, node] for node in range(nodes)] + [[chip, -1] for chip in range(chips)]
    kinds = ["device"] * ranks + ["node"] * nodes + ["rail"] * chips
    edges: list[Edge] = []
    for rank in range(ranks):
        node, rail = ranks + rank // chips, ranks + nodes + rank % chips
        edges += [(rank, node, 0, inside), (node, rank, 0, inside), (rank, rail, 1, outside), (rail, rank, 1, outside)]

    def router(between: dict[tuple[int, int], list[int]], source: int, target: int) -> Route:
        shares: dict[int, float] = {}
        latency = 0.0
        middle = source // chips * chips + target % chips
        if middle != source:
            node = ranks + source // chips
            shares[between[source, node][0]] = shares[between[node, middle][0]] = 1.0
            latency += latencies[0]
        if middle != target:
            rail = ranks + nodes + target % chips
            shares[between[middle, rail][0]] = shares[between[rail, target][0]] = 1.0
            latency += latencies[1]
        return route(shares, latency)

    tiers = [
        TierInfo("node", latencies[0], efficiencies[0], "copper", chips),
        TierInfo("rail", latencies[1], efficiencies[1], "optical", ranks, scale_out=True),
    ]
    return assemble("rails", dimensions, coordinates, kinds, edges, tiers, router, ports)
