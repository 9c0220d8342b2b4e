"""Faults of every kind put at random on the hand-built fabrics: weak, slow and dead things, one to four of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.spec.errors import TopologyError
from topologies.fabric import Defect, Fabric
from topologies.routing import Minimal

LEFT = (0.5, 0.3, 0.9)
FAULTS = ("none", "one", "two", "row")


def hurt(fabric: Fabric, faults: str, seed: int) -> Fabric:
    """The fabric with random faults; hand-built ones are routed round by shortest ways, others by themselves."""
    if faults == "none":
        return fabric
    for attempt in range(100):
        number = 100 * seed + attempt
        defects = row_of_defects(fabric, number) if faults == "row" else random_defects(fabric, number, FAULTS.index(faults))
        if fabric.nodes_matching is None:
            return weakened(fabric, defects)
        try:
            return fabric.with_faults([as_file(fabric, defect) for defect in defects])
        except TopologyError:  # they cut the machine in two: others, then
            continue
    raise AssertionError("no faults leave this machine whole")


def as_file(fabric: Fabric, defect: Defect) -> dict[str, str | float]:
    """A defect as a scenario names it."""
    names = "->".join(fabric.node_name(node) for node in defect.nodes)
    return {defect.kind: names, "speed" if defect.kind == "chip" else "capacity": defect.left}


def weakened(fabric: Fabric, defects: list[Defect]) -> Fabric:
    """The fabric with these defects in its arrays; what is dead is routed round by equal-cost shortest ways."""
    capacity, speed = fabric.capacity.copy(), np.ones(fabric.ranks)
    dead = set()
    for defect in defects:
        if defect.kind == "link":
            capacity[(fabric.tail == defect.nodes[0]) & (fabric.head == defect.nodes[1])] *= defect.left
        elif defect.kind == "switch":
            capacity[(fabric.tail == defect.nodes[0]) | (fabric.head == defect.nodes[0])] *= defect.left
        elif defect.left > 0:
            speed[defect.nodes[0]] *= defect.left
        else:
            dead.add(defect.nodes[0])
            capacity[(fabric.tail == defect.nodes[0]) | (fabric.head == defect.nodes[0])] = 0.0
    router = fabric.router
    if (capacity == 0).any():
        latency = np.array([tier.latency for tier in fabric.tiers])[fabric.link_tier]
        nodes = len(fabric.node_kind)
        router = Minimal(nodes, fabric.tail, fabric.head, latency, fabric.node_name, usable=capacity > 0)
    return replace(fabric, capacity=capacity, speed=speed, dead=frozenset(dead), defects=tuple(defects), router=router)


def random_defects(fabric: Fabric, seed: int, most: int = 4) -> list[Defect]:
    """Some defects of different kinds, on different things, that leave every living device a way to every other."""
    random = np.random.default_rng(seed)
    while True:
        found: dict[tuple[str, tuple[int, ...]], Defect] = {}
        for _ in range(int(random.integers(1, most + 1))):
            defect = _one(fabric, random)
            found.setdefault((defect.kind, defect.nodes), defect)
        defects = list(found.values())
        if _joined(weakened(fabric, defects)):
            return defects


def row_of_defects(fabric: Fabric, seed: int) -> list[Defect]:
    """One weak or slow thing, and the same in all places that differ from it along one dimension: that symmetry is left."""
    random = np.random.default_rng(seed)
    while True:
        first = _one(fabric, random)
        if first.left == 0.0:
            continue
        along = int(random.choice([place for place, dimension in enumerate(fabric.dimensions) if not dimension.hidden]))
        size = fabric.dimensions[along].size
        nodes = {tuple(row): node for node, row in enumerate(zip(fabric.node_kind, *fabric.coordinates.T.tolist(), strict=True))}
        found: dict[tuple[int, ...], Defect] = {}
        for shift in range(size):
            moved = []
            for node in first.nodes:
                place = fabric.coordinates[node].tolist()
                place[along] = (place[along] + shift) % size if place[along] >= 0 else -1
                moved.append(nodes[(fabric.node_kind[node], *place)])
            found[tuple(moved)] = Defect(first.kind, tuple(moved), first.left)
        return list(found.values())


def _one(fabric: Fabric, random: np.random.Generator) -> Defect:
    kind = random.choice(["weak link", "dead link", "slow chip", "dead chip", "weak switch"])
    left = float(random.choice(LEFT))
    switches = [node for node, name in enumerate(fabric.node_kind) if name != "device"]
    if kind == "weak switch" and switches:
        return Defect("switch", (int(random.choice(switches)),), left)
    if kind.endswith("chip"):
        return Defect("chip", (int(random.integers(fabric.ranks)),), left if kind == "slow chip" else 0.0)
    link = int(random.integers(len(fabric.tail)))
    ends = (int(fabric.tail[link]), int(fabric.head[link]))
    return Defect("link", ends, left if kind == "weak link" else 0.0)


def _joined(fabric: Fabric) -> bool:
    if not fabric.dead and not (fabric.capacity == 0).any():
        return True
    minimal = fabric.router
    assert isinstance(minimal, Minimal)
    alive = fabric.alive
    return all((minimal.hops(int(target))[alive] >= 0).all() for target in alive)
