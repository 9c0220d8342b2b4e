"""Fabrics from and to networkx graphs: the one place of the package that imports networkx.

A user's graph has nodes with ``kind`` (``device``, or any word for a switch) and edges with ``bandwidth`` ("400 Gbit/s", or a
number in B/s), ``latency`` ("1.2 us", or seconds; default 0), and at will ``efficiency`` (payload over raw, default 1), ``tier``
(a name, default "links"), ``medium`` and ``scale_out``. An undirected edge is a link each way, of full bandwidth each.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import networkx as nx
import numpy as np

from simulator.spec.errors import InputError, TopologyError
from simulator.spec.near import nearest
from simulator.spec.units import Dimension as Unit
from simulator.spec.units import parse
from topologies.fabric import Dimension, Fabric, TierInfo
from topologies.policies import routed
from topologies.routing import Minimal

EDGE_ATTRIBUTES = ("bandwidth", "latency", "efficiency", "tier", "medium", "scale_out", "key", "id", "capacity")


@dataclass(frozen=True, slots=True)
class Link:
    """One directed link of a user's graph."""

    tail: int
    head: int
    bandwidth: float
    latency: float
    efficiency: float
    tier: str
    medium: str
    scale_out: bool


class NodeNames:
    """Names of a graph's nodes, both ways."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._numbers = {name: number for number, name in enumerate(names)}
        if len(self._numbers) < len(names):
            raise TopologyError("two nodes of the graph have the same name", do="Names are compared as text: 1 and '1' are one.")

    def name(self, node: int) -> str:
        """The name of a node number."""
        return self._names[node]

    def number(self, name: str) -> int:
        """The number of a named node."""
        found = self._numbers.get(name.strip())
        if found is None:
            near = nearest(name, self._numbers)
            raise TopologyError("no node of the graph has that name", got=name, do=f"Did you mean {near}?" if near else None)
        return found


def from_networkx(
    graph: nx.Graph[Any],
    name: str = "graph",
    ranks_per_chip: int = 1,
    ports: float = inf,
    routing: str | Mapping[str, Any] = "minimal",
) -> Fabric:
    """A user's own graph as a fabric: devices are ranks in the order of the graph's nodes. ``routing`` is minimal (equal-cost,
    fewest hops), up-down or hashed.

    Nothing is known to be symmetric in it, so nothing is folded. TopologyError for a node or edge that lacks what it needs,
    and, before anything runs on it, for devices without a way to each other.
    """
    if not isinstance(graph, nx.Graph):
        raise TopologyError("a fabric is made of a networkx graph", got=type(graph).__name__, do="Pass a Graph or DiGraph.")
    nodes = _nodes(graph)
    kinds = tuple(_kind(graph, node) for node in nodes)
    ranks = kinds.count("device")
    if ranks == 0:
        raise TopologyError("the graph has no devices", do="Give its accelerators the attribute kind='device'.")
    if ranks % ranks_per_chip:
        raise TopologyError("the devices of the graph fill whole chips", got=f"{ranks} devices, {ranks_per_chip} per chip")
    numbers = {node: number for number, node in enumerate(nodes)}
    links = _links(graph, numbers)
    names = NodeNames([str(node) for node in nodes])
    tail, head = (np.array([getattr(link, end) for link in links], dtype=np.int64) for end in ("tail", "head"))
    _check_connected(graph, nodes[:ranks])
    tiers = _tiers(links, ranks, _domain(links, len(nodes), ranks))
    latency = np.array([link.latency for link in links])
    fabric = Fabric(
        name=name,
        ranks=ranks,
        ranks_per_chip=ranks_per_chip,
        dimensions=(Dimension("node", len(nodes), "none"),),
        coordinates=np.arange(len(nodes), dtype=np.int64)[:, None],
        node_kind=kinds,
        node_name=names.name,
        tail=tail,
        head=head,
        link_tier=np.array([list(tiers).index(_tier_key(link)) for link in links], dtype=np.int64),
        capacity=np.array([link.bandwidth for link in links]),
        ports=ports,
        tiers=tuple(tiers.values()),
        router=Minimal(len(nodes), tail, head, latency, names.name),
        node_number=names.number,
        link_latency=latency,
    )
    return routed(fabric, routing)


def to_networkx(fabric: Fabric) -> nx.MultiDiGraph[Any]:
    """The fabric as a directed graph to inspect, draw or edit: nodes by name with kind and coordinates, links with
    bandwidth [B/s], latency [s, their share of the way over their tier], efficiency, tier, medium and their number ``id``.
    """
    graph: nx.MultiDiGraph[Any] = nx.MultiDiGraph(name=fabric.name, ranks=fabric.ranks, ranks_per_chip=fabric.ranks_per_chip)
    columns = [dimension.name for dimension in fabric.dimensions]
    names = [fabric.node_name(node) for node in range(len(fabric.node_kind))]
    for node, label in enumerate(names):
        place = {column: int(c) for column, c in zip(columns, fabric.coordinates[node], strict=True) if c >= 0}
        graph.add_node(label, kind=fabric.node_kind[node], coordinates=place)
    shares = fabric.link_latency if fabric.link_latency is not None else [fabric.tiers[t].latency for t in fabric.link_tier]
    rows = zip(fabric.tail.tolist(), fabric.head.tolist(), fabric.link_tier.tolist(), fabric.capacity.tolist(), strict=True)
    for link, (tail, head, tier, capacity) in enumerate(rows):
        info = fabric.tiers[tier]
        graph.add_edge(
            names[tail],
            names[head],
            bandwidth=capacity,
            latency=float(shares[link]),
            efficiency=info.efficiency,
            tier=info.name,
            medium=info.medium,
            scale_out=info.scale_out,
            id=link,
        )
    return graph


def _nodes(graph: nx.Graph[Any]) -> list[Hashable]:
    """Devices first, each part in the graph's order."""
    return sorted(graph.nodes, key=lambda node: _kind(graph, node) != "device")


def _kind(graph: nx.Graph[Any], node: Hashable) -> str:
    kind = graph.nodes[node].get("kind")
    if not isinstance(kind, str) or not kind:
        raise TopologyError("every node has a kind", got=kind, do="Set kind='device' or kind='switch'.", path=f"node {node}")
    return kind


def _links(graph: nx.Graph[Any], numbers: Mapping[Hashable, int]) -> list[Link]:
    links: list[Link] = []
    for a, b, attributes in graph.edges(data=True):
        if a == b:
            raise TopologyError("a link joins two nodes", do="Remove the edge from a node to itself.", path=f"edge {a}->{b}")
        ends = [(a, b)] if graph.is_directed() else [(a, b), (b, a)]
        links.extend(_link(numbers[tail], numbers[head], attributes, f"edge {a}->{b}") for tail, head in ends)
    return links


def _link(tail: int, head: int, attributes: Mapping[str, Any], path: str) -> Link:
    unknown = [key for key in attributes if key not in EDGE_ATTRIBUTES]
    if unknown:
        near = nearest(unknown[0], EDGE_ATTRIBUTES)
        do = f"Did you mean {near}?" if near else f"Known: {', '.join(EDGE_ATTRIBUTES[:6])}."
        raise TopologyError(f"a link has no attribute {unknown[0]}", do=do, path=path)
    if "bandwidth" not in attributes:
        raise TopologyError("a link has a bandwidth", do="Set bandwidth='400 Gbit/s', or a number in B/s.", path=path)
    bandwidth = _quantity(attributes["bandwidth"], Unit.BANDWIDTH, f"{path} bandwidth")
    latency = _quantity(attributes.get("latency", 0.0), Unit.TIME, f"{path} latency")
    efficiency = attributes.get("efficiency", 1.0)
    if bandwidth <= 0:
        raise TopologyError("a link's bandwidth is above 0", got=bandwidth, do="Remove the edge if it is dead.", path=path)
    if isinstance(efficiency, bool) or not isinstance(efficiency, int | float) or not 0 < efficiency <= 1:
        raise TopologyError("efficiency is a number above 0 and at most 1", got=efficiency, path=path)
    tier, medium = str(attributes.get("tier", "links")), str(attributes.get("medium", "unknown"))
    return Link(tail, head, bandwidth, latency, float(efficiency), tier, medium, bool(attributes.get("scale_out", False)))


def _quantity(value: Any, unit: Unit, path: str) -> float:
    if isinstance(value, str):
        try:
            return float(parse(value, unit))
        except InputError as error:
            raise TopologyError(error.rule, got=error.got, do=error.do, path=path) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise TopologyError("must be a quantity with its unit, or a number in SI units", got=value, path=path)
    return float(value)


def _tier_key(link: Link) -> tuple[str, float, str, bool]:
    return link.tier, link.efficiency, link.medium, link.scale_out


def _tiers(links: list[Link], ranks: int, domain: int) -> dict[tuple[str, float, str, bool], TierInfo]:
    """Links of one name, efficiency and medium are a tier; its latency is the largest of a link's. A scale-out tier joins
    all devices, any other those of one scale-up domain.
    """
    found: dict[tuple[str, float, str, bool], TierInfo] = {}
    for link in links:
        key = _tier_key(link)
        latency = max(link.latency, found[key].latency if key in found else 0.0)
        units = ranks if link.scale_out else domain
        found[key] = TierInfo(link.tier, latency, link.efficiency, link.medium, units, link.scale_out)
    return found


def _domain(links: list[Link], nodes: int, ranks: int) -> int:
    """Devices of one scale-up domain: what is still joined when the scale-out links are taken away.

    Collectives go level by level over domains, so these must be equal and hold consecutive devices.
    """
    inside: nx.Graph[int] = nx.Graph()
    inside.add_nodes_from(range(nodes))
    inside.add_edges_from((link.tail, link.head) for link in links if not link.scale_out)
    parts = [sorted(node for node in part if node < ranks) for part in nx.connected_components(inside)]
    parts = sorted(part for part in parts if part)
    size = len(parts[0])
    if [node for part in parts for node in part] != list(range(ranks)) or any(len(part) != size for part in parts):
        raise TopologyError(
            "scale-up domains (what links without scale_out join) hold equally many devices, one after the other",
            got=f"{len(parts)} domains of {', '.join(str(len(part)) for part in parts[:5])} devices",
            do="Add the devices domain by domain, or leave scale_out out and let the whole graph be one domain.",
        )
    return size


def _check_connected(graph: nx.Graph[Any], devices: list[Hashable]) -> None:
    """Every device reaches every other."""
    first = devices[0]
    ways = {"from": nx.descendants(graph, first) if len(graph) else set()}
    if graph.is_directed():
        ways["to"] = nx.ancestors(graph, first)
    for word, reached in ways.items():
        lost = [device for device in devices[1:] if device not in reached]
        if lost:
            shown = ", ".join(str(device) for device in lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
            rule = f"there is no way {word} {first} {'to' if word == 'from' else 'from'} {len(lost)} of {len(devices)} devices"
            raise TopologyError(rule, got=shown, do="Add the links that join them.")
