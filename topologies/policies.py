"""Routing policies over a built fabric: from the name that a file uses to the fabric's router.

- ``spray``: every order of the steps, every plane and spine equally. ``dimension-order``: innermost tier first.
- ``minimal``: equal-cost multipath of fewest hops, by search over the arrays.
- ``up-down``: fewest hops among ways that climb away from the devices, cross at most one link between switches (or devices) of
  one level, and descend; so no chip passes on what is not for it.
- ``{"hash": {"paths": 4, "seed": 1}}``: each flow keeps to that many of its sprayed ways, chosen by a hash of source, target,
  path and seed; what equal-cost multipath does to flows in real switches, collisions included.
- :func:`with_table`: ways that a user writes down.

Hashed and written ways are as different as the devices' numbers, so nothing is symmetric under them.

Leaves out: adaptive routing, and flowlets that change their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import InputError, TopologyError
from simulator.spec.files import make
from topologies.detour import Avoiding
from topologies.fabric import Fabric, Floats, Ints, Route
from topologies.hashes import Hashed
from topologies.routing import STAY, Minimal, Tiered

ROUTINGS = ("spray", "dimension-order", "up-down", "minimal")


class Hash(Spec):
    """Flows keep to ``paths`` hashed ways each."""

    paths: int = Field(ge=1, le=1024)
    seed: int = 0


def routed(fabric: Fabric, routing: str | Mapping[str, Any]) -> Fabric:
    """The fabric under another policy; faults that it has are kept."""
    base = _plain(fabric.router)
    if isinstance(routing, Mapping):
        if set(routing) != {"hash"} or not isinstance(routing["hash"], Mapping):
            raise InputError(
                "this routing is not known", got=dict(routing), do="Write {hash: {paths: 4}}.", path="network.routing"
            )
        choice = make(routing["hash"], Hash)
        hashed = Hashed(respecting(fabric, base), fabric.tail, fabric.head, latencies(fabric), choice.paths, choice.seed)
        return unsymmetric(replace(fabric, router=hashed))
    if routing not in ROUTINGS:
        do = f"Use {', '.join(ROUTINGS)} or {{hash: {{paths: 4}}}}."
        raise InputError("this routing is not known", got=routing, do=do, path="network.routing")
    return replace(fabric, router=respecting(fabric, _named(fabric, base, routing)))


def _named(fabric: Fabric, base: Callable[[int, int], Route], routing: str) -> Callable[[int, int], Route]:
    nodes = len(fabric.node_kind)
    if routing == "minimal" or (routing == "spray" and isinstance(base, Minimal)):
        return Minimal(nodes, fabric.tail, fabric.head, latencies(fabric), fabric.node_name)
    if routing == "up-down":
        return UpDown(fabric)
    if not isinstance(base, Tiered):
        raise InputError(
            "a graph without tiers has no order of dimensions", got=routing, do="Use minimal.", path="network.routing"
        )
    return replace(base, policy=routing)


def with_table(fabric: Fabric, ways: Iterable[Sequence[str | int]]) -> Fabric:
    """The fabric with the way of some pairs written down, node by node from source to target; the rest keep its policy.

    Raises TopologyError for a way that does not join two devices by links, or a pair that has two.
    """
    found: dict[tuple[int, int], Route] = {}
    for way in ways:
        nodes = [fabric.node_number(node) if isinstance(node, str) else int(node) for node in way]
        text = " ".join(str(node) for node in way)
        if len(nodes) < 2 or len(set(nodes)) < len(nodes) or max(nodes[0], nodes[-1]) >= fabric.ranks or min(nodes) < 0:
            do = "Write the device, the switches between, and the other device, each once."
            raise TopologyError("a way leads from one device to another", got=text, do=do, path="network.routing")
        if (nodes[0], nodes[-1]) in found:
            raise TopologyError("a pair of devices has one way", got=text, do="Leave one out.", path="network.routing")
        links = np.array([_link(fabric, a, b) for a, b in pairwise(nodes)], dtype=np.int64)
        found[nodes[0], nodes[-1]] = Route(links, np.ones(len(links)), float(latencies(fabric)[links].sum()))
    rest = fabric.router.rest if isinstance(fabric.router, Table) else fabric.router
    earlier = fabric.router.ways if isinstance(fabric.router, Table) else {}
    return unsymmetric(replace(fabric, router=Table({**earlier, **found}, rest, fabric.capacity > 0)))


def respecting(fabric: Fabric, router: Callable[[int, int], Route]) -> Callable[[int, int], Route]:
    """The same policy over what is left of a faulty fabric."""
    if isinstance(router, Avoiding):
        return respecting(fabric, router.base)
    if isinstance(router, Hashed):
        return replace(router, base=respecting(fabric, router.base))
    if isinstance(router, Table):
        return replace(router, rest=respecting(fabric, router.rest), usable=fabric.capacity > 0)
    usable = fabric.capacity > 0
    if usable.all():
        return router
    base = UpDown(fabric) if isinstance(router, UpDown) else router
    return Avoiding(base, fabric.tail, fabric.head, fabric.link_tier, latencies(fabric), usable, fabric.dead, fabric.node_name)


def latencies(fabric: Fabric) -> Floats:
    """Each link's share of the way over its tier [s]; all of it where no share is known."""
    if fabric.link_latency is not None:
        return fabric.link_latency
    return np.array([tier.latency for tier in fabric.tiers])[fabric.link_tier]


def unsymmetric(fabric: Fabric) -> Fabric:
    """The fabric without declared symmetries, its coordinates kept."""
    return replace(fabric, dimensions=tuple(replace(dimension, symmetry="none") for dimension in fabric.dimensions))


@dataclass(frozen=True)
class Table:
    """Written ways for some pairs, ``rest`` for the others and for those whose way has died."""

    ways: dict[tuple[int, int], Route]
    rest: Callable[[int, int], Route]
    usable: npt.NDArray[np.bool_]

    def __call__(self, source: int, target: int) -> Route:
        way = self.ways.get((source, target))
        return way if way is not None and self.usable[way.links].all() else self.rest(source, target)


class UpDown:
    """Equal-cost multipath of fewest hops among ways that climb, cross at most one link of a level, and descend.

    The level of a node is its distance from the nearest device. Searched over pairs (node, still climbing or not).
    """

    def __init__(self, fabric: Fabric) -> None:
        level = levels(fabric)
        live = np.flatnonzero(fabric.capacity > 0)
        tail, head = fabric.tail[live], fabric.head[live]
        nodes = len(fabric.node_kind)
        rise = level[head] - level[tail]
        climbs, ends = rise > 0, rise < 0
        parts = ((tail, head + np.where(climbs, 0, nodes), live), (tail[ends] + nodes, head[ends] + nodes, live[ends]))
        self._nodes, self._node_name = nodes, fabric.node_name
        self._links = np.concatenate([part[2] for part in parts])
        self._search = Minimal(
            2 * nodes,
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            latencies(fabric)[self._links],
            fabric.node_name,
        )

    def __call__(self, source: int, target: int) -> Route:
        if source == target:
            return STAY
        way = self._search.way(source, target + self._nodes)
        if way is None:
            ends = f"{self._node_name(source)} to {self._node_name(target)}"
            do = "Use minimal, which lets devices pass traffic on."
            raise TopologyError("no way leads up and then down", got=ends, do=do, path="network.routing")
        links, place = np.unique(self._links[way.links], return_inverse=True)
        return Route(links, np.bincount(place, weights=way.fraction, minlength=len(links)).astype(np.float64), way.latency)


def levels(fabric: Fabric) -> Ints:
    """Links from each node down to the nearest device, 0 for devices."""
    found = np.full(len(fabric.node_kind), -1, dtype=np.int64)
    found[: fabric.ranks] = 0
    level = 0
    while True:
        met = fabric.head[found[fabric.tail] == level]
        met = met[found[met] < 0]
        if not len(met):
            return found
        level += 1
        found[met] = level


def _link(fabric: Fabric, a: int, b: int) -> int:
    found = np.flatnonzero((fabric.tail == a) & (fabric.head == b))
    if not len(found):
        ends = f"{fabric.node_name(a)}->{fabric.node_name(b)}"
        raise TopologyError("a way follows links", got=ends, do="There is no such link.", path="network.routing")
    return int(found[0])


def _plain(router: Callable[[int, int], Route]) -> Callable[[int, int], Route]:
    """A router without faults, hashing and tables."""
    while isinstance(router, Avoiding | Hashed | Table):
        router = router.rest if isinstance(router, Table) else router.base
    return router
