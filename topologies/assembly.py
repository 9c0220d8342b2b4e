"""From the tiers of a system, and the units of each that a job uses, to one fabric of flat arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from simulator.spec.errors import NotModelled
from topologies.fabric import Dimension, Fabric, Ints, Route, Routes, TierInfo
from topologies.leaves import Axis, Inner, clos_tree, dragonfly_routers, plain_axis, planes_of, rail_tree, torus_rings
from topologies.naming import NameGroup, Names
from topologies.parts import Package, Socket, Tier
from topologies.routing import Step, Tiered
from topologies.shapes.clos import clos
from topologies.shapes.dragonfly import dragonfly
from topologies.shapes.mesh import mesh
from topologies.shapes.place import Place, TierGraph
from topologies.shapes.rails import rails
from topologies.shapes.ring import ring
from topologies.shapes.switch import switch


@dataclass(frozen=True, slots=True)
class Built:
    """One tier of the job: its digits of the device number, innermost first, and its graph, if the job uses its links."""

    name: str
    box_label: str  # what its box is called in names
    place: Place
    axes: tuple[Axis, ...]
    graph: TierGraph
    joins: bool
    infos: tuple[TierInfo, ...]  # of its bundles


def assemble(name: str, socket: Socket, tiers: Mapping[str, Tier], units: Mapping[str, int]) -> Fabric:
    """The fabric, sprayed, of a job that uses ``units`` of each tier; tiers outside all that it uses are left away."""
    outermost = max((index for index, used in enumerate(units.values()) if used > 1), default=0)
    built = _build(socket, dict(list(tiers.items())[: outermost + 1]), units)
    ranks = built[0].place.ranks
    bundles = [(bundle, info) for b in built for bundle, info in zip(b.graph.bundles, b.infos, strict=True)]
    tail = _joined([bundle.tail for bundle, _ in bundles])
    head = _joined([bundle.head for bundle, _ in bundles])
    counts = [len(bundle.tail) for bundle, _ in bundles]
    capacity = np.repeat([bundle.capacity for bundle, _ in bundles], counts).astype(np.float64)
    link_latency = np.repeat([bundle.latency for bundle, _ in bundles], counts).astype(np.float64)
    dimensions, coordinates = _coordinates(built, ranks)
    names = Names(tuple(_name_groups(built, ranks)))
    switch_kinds = (group.kind for b in built for group in b.graph.switches for _ in range(len(group.anchor)))
    return Fabric(
        name=name,
        ranks=ranks,
        ranks_per_chip=socket.ranks_per_chip,
        dimensions=dimensions,
        coordinates=coordinates,
        node_kind=("device",) * ranks + tuple(switch_kinds),
        node_name=names.name,
        tail=tail,
        head=head,
        link_tier=np.repeat(np.arange(len(bundles), dtype=np.int64), counts),
        capacity=capacity,
        ports=_ports(socket, built),
        tiers=tuple(info for _, info in bundles),
        router=_router(built),
        node_number=names.number,
        link_latency=link_latency,
        nodes_matching=names.matching,
    )


def _build(socket: Socket, tiers: Mapping[str, Tier], units: Mapping[str, int]) -> list[Built]:
    ranks = socket.ranks_per_chip * prod(units[name] for name in tiers)
    built = [_package(socket.package, socket.ranks_per_chip, ranks)] if socket.package else []
    inner = Inner((), (), socket.ranks_per_chip)
    label = "chip"
    for name, tier in tiers.items():
        switches = sum(len(group.anchor) for b in built for group in b.graph.switches)
        links = sum(len(bundle.tail) for b in built for bundle in b.graph.bundles)
        place = Place(name, ranks, socket.ranks_per_chip * prod(inner.used), units[name], ranks + switches, links)
        built.extend(
            _torus(name, tier, label, place, inner) if tier.shape == "torus" else [_tier(name, tier, label, place, inner)]
        )
        inner = Inner((*inner.full, tier.size.value), (*inner.used, units[name]), socket.ranks_per_chip)
        label = name
    return built


def _package(package: Package, dies: int, ranks: int) -> Built:
    place = Place("package", ranks, 1, dies, ranks, 0)
    latency = package.latency.value
    graph = mesh(place, package.bandwidth.value, dies, latency)
    info = TierInfo("package", latency, package.efficiency.value, "package", dies)
    return Built("package", "chip", place, plain_axis("die", place), graph, False, (info,))


def _torus(name: str, tier: Tier, label: str, place: Place, inner: Inner) -> Iterator[Built]:
    """A torus is one ring inside the other, so routes correct one of its dimensions after the other."""
    link = tier.bandwidth.value / inner.ranks_per_chip / (2 * len(tier.whole_sides))
    latency, first = tier.latency.value, place.first_link
    for ring_name, axis, wraps in torus_rings(name, tier, label, place):
        own = replace(place, tier=ring_name, below=axis.stride, units=axis.size, first_link=first)
        graph = ring(own, link, wraps, latency) if axis.size > 1 else TierGraph((), (), _no_way, _no_ways)
        info = TierInfo(ring_name, latency, tier.efficiency.value, tier.medium, own.box, tier.scale_out)
        infos = (info,) * len(graph.bundles)
        yield Built(ring_name, name, own, (axis,), graph, False, infos)
        first += sum(len(bundle.tail) for bundle in graph.bundles)


def _tier(name: str, tier: Tier, label: str, place: Place, inner: Inner) -> Built:
    bandwidth, latency = tier.bandwidth.value / inner.ranks_per_chip, tier.latency.value
    leaf_latency = (tier.leaf_latency or tier.latency).value
    axes = plain_axis(label, place)
    if place.units == 1:
        graph = TierGraph((), (), _no_way, _no_ways)
    elif tier.shape == "mesh":
        graph = mesh(place, bandwidth, tier.size.value, latency)
    elif tier.shape == "switch":
        graph = switch(place, bandwidth, planes_of(tier), tier.scope == "aligned", latency)
    elif tier.shape == "clos":
        axes, tree = clos_tree(name, tier, label, place, inner)
        graph = clos(place, bandwidth, tree, latency, leaf_latency)
    elif tier.shape == "dragonfly":
        axes, routers = dragonfly_routers(name, tier, label, place, inner)
        graph = dragonfly(place, bandwidth, routers, latency, leaf_latency)
    else:
        axes, tree = rail_tree(name, tier, label, place, inner)
        graph = rails(place, bandwidth, tree, tier.shared_spine, latency, leaf_latency)
    infos = tuple(
        TierInfo(
            name=f"{name}-{bundle.level}" if bundle.level else name,
            latency=latency if bundle.level else leaf_latency,
            efficiency=tier.efficiency.value,
            medium=tier.medium if bundle.level or not tier.leaf_medium else tier.leaf_medium,
            units=max(bundle.units, place.below),
            scale_out=tier.scale_out,
        )
        for bundle in graph.bundles
    )
    return Built(name, name, place, axes, graph, tier.joins, infos)


def _no_way(source: int, target: int) -> Route:
    raise AssertionError(f"a tier of one unit takes nothing from {source} to {target}")


def _no_ways(sources: Ints, targets: Ints) -> Routes:
    raise AssertionError(f"a tier of one unit takes nothing from {sources.tolist()} to {targets.tolist()}")


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _coordinates(built: Sequence[Built], ranks: int) -> tuple[tuple[Dimension, ...], Ints]:
    """Dimensions of more than one coordinate, and where every node lies along them."""
    axes = [axis for b in built for axis in b.axes if axis.size > 1] or [built[0].axes[0]]
    hidden = {
        f"{b.name}-{level}": int(numbers.max()) + 1
        for b in built
        for group in b.graph.switches
        for level, numbers in group.hidden.items()
        if len(numbers) and numbers.max() > 0
    }
    devices = np.arange(ranks, dtype=np.int64)
    places = np.stack([devices // axis.stride % axis.size for axis in axes], axis=1)
    rows = [np.pad(places, ((0, 0), (0, len(hidden))), constant_values=-1)]
    for b in built:
        for group in b.graph.switches:
            served = places[group.anchor].copy()
            low, high = group.free
            served[:, [low <= axis.stride < high for axis in axes]] = -1
            own = np.full((len(served), len(hidden)), -1, dtype=np.int64)
            for column, dimension in enumerate(hidden):
                level = dimension.removeprefix(f"{b.name}-")
                if dimension == f"{b.name}-{level}" and level in group.hidden:
                    own[:, column] = group.hidden[level]
            rows.append(np.concatenate((served, own), axis=1))
    device_dimensions = [Dimension(axis.label, axis.size, axis.symmetry) for axis in axes]
    hidden_dimensions = [Dimension(label, size, "full", hidden=True) for label, size in hidden.items()]
    return (*device_dimensions, *hidden_dimensions), np.concatenate(rows)


def _name_groups(built: Sequence[Built], ranks: int) -> Iterator[NameGroup]:
    """The naming of devices and of every group of switches, in node order. The path to a box names all boxes around it."""
    digits = [[(axis.label, axis.size) for axis in _named_axes(b)] for b in built]
    outer = [pair for tier in reversed(digits) for pair in reversed(tier)]
    labels = tuple(label for label, _ in outer)
    yield NameGroup(0, labels, tuple(size for _, size in outer), labels)
    first = ranks
    for index, b in enumerate(built):
        path = [pair for tier in reversed(digits[index + 1 :]) for pair in reversed(tier)] or [(b.box_label, 1)]
        for group in b.graph.switches:
            digits_of = (*path, *group.digits)
            own = tuple(label for label, _ in group.digits)
            yield NameGroup(first, tuple(label for label, _ in digits_of), tuple(size for _, size in digits_of), own)
            first += len(group.anchor)


def _named_axes(b: Built) -> list[Axis]:
    """The digits that names show: leaves only where they are an enclosure with a name of its own."""
    own = [axis for axis in b.axes if not axis.label.startswith(f"{b.name}-")]
    spare = prod(axis.size for axis in b.axes) // prod(axis.size for axis in own)
    # A digit that is not shown counts on in the one inside it, so that racks are numbered through.
    return [*own[:-1], Axis(own[-1].label, own[-1].size * spare, own[-1].stride)]


def _ports(socket: Socket, built: Sequence[Built]) -> float:
    """The pooled limit of a device's links outside its package [B/s]; inf if they cannot exceed it."""
    ranks = built[0].place.ranks
    total = np.zeros(ranks)
    for b in built:
        for bundle in b.graph.bundles:
            if b.name != "package" and not bundle.level:
                up = bundle.tail[bundle.tail < ranks]
                total += np.bincount(up, minlength=ranks) * bundle.capacity
    limit = socket.ports_bandwidth / socket.ranks_per_chip
    if total.max() <= limit * (1 + 1e-9):
        return inf
    if socket.package is not None:
        raise NotModelled(
            f"{socket.chip} has several ranks per chip and tiers that share its ports; its pooled ports cannot be told from the "
            "package links. Raise ports_bandwidth to the sum of the tiers, or lower the tiers."
        )
    return limit


def _router(built: Sequence[Built]) -> Tiered:
    return Tiered(
        tuple(Step(b.place.below, b.place.box, b.joins, b.graph.segment, b.graph.segments, len(b.graph.bundles)) for b in built),
        "spray",
    )
