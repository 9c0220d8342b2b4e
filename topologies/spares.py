"""Dead chips of a job and the spare ones that stand in for them: the same ranks, some of them elsewhere in the machine.

A job uses a box of the machine, and what its machine has beside that box is spare. A rank on a dead chip moves to a spare one of
the same innermost box where the job leaves some there (64 chips of an NVL72's 72). Otherwise all ranks of that box (a server, a
board) move to a whole spare one, as it is serviced and replaced as a whole: its chips that still work stand idle. The spare box
is the nearest: under the innermost tier of which the job leaves units unused, in the place that the old one had under the
tiers between.

Ranks keep their numbers, so groups are what the plan makes them; routes, latencies and shared links are those of the new place.
What the libraries take for one scale-up domain stays the ranks that were numbered as one. Symmetries are those that
fix the place left and the place taken: the ranks that moved are defects of a kind of their own, and nodes outside the job's
box have no coordinate along the dimensions by which they lie outside.

Leaves out: a job that is renumbered around the hole, spares that a scheduler keeps elsewhere, the time that the exchange takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, takewhile
from math import isfinite, prod
from typing import Any

import numpy as np

from simulator.spec.errors import NotModelled, TopologyError
from topologies.assembly import assemble
from topologies.batch import routes
from topologies.fabric import Defect, Dimension, Fabric, Ints
from topologies.faults import with_faults
from topologies.parts import Socket
from topologies.policies import routed
from topologies.routing import Moved
from topologies.system import System


@dataclass(frozen=True, slots=True)
class Exchange:
    """One box of ranks (a chip, or a whole innermost box) and its places: digits in units of each tier, innermost first."""

    ranks: Ints
    old: tuple[int, ...]
    new: tuple[int, ...]
    tier: int  # by which of the tiers the new place differs


def on_spares(
    system: System, fabric: Fabric, units: Sequence[int], routing: str | Mapping[str, Any] = "spray"
) -> tuple[Fabric, tuple[str, ...]]:
    """The fabric of a job of ``units`` of each tier without its dead chips, and a sentence for every box of ranks that moved.

    ``fabric``: the job's part of the machine, faults and all. Raises TopologyError, with the number of chips to ask for,
    where the machine has no spare left; NotModelled where the shape has no place beside the job's (a torus, uneven leaves).
    """
    dead = sorted(node for node in fabric.dead if node < fabric.ranks)
    if not dead:
        return fabric, ()
    exchanges = _exchanges(system, fabric, units, dead)
    larger, bigger = _larger(system, fabric, units, exchanges, routing)
    home = _home(fabric, units, bigger)
    larger = with_faults(larger, _faults(fabric, larger, home))
    place = home.copy()
    for exchange in exchanges:
        steps = zip(exchange.old, exchange.new, _strides(fabric.ranks_per_chip, bigger), strict=True)
        place[exchange.ranks] += sum((new - old) * stride for old, new, stride in steps)
    standing = _renumbered(larger, fabric, bigger, home, place)
    _check_passing(standing, np.flatnonzero(place != home))
    return standing, tuple(_sentence(system, fabric, standing, exchange, dead) for exchange in exchanges)


def _exchanges(system: System, fabric: Fabric, units: Sequence[int], dead: Sequence[int]) -> list[Exchange]:
    """Where every dead chip's rank, or its whole box, goes: the nearest spare place first."""
    full = [tier.size.value for tier in system.tiers.values()]
    level = 0 if units[0] < full[0] else 1
    box = fabric.ranks_per_chip * prod(units[:level])
    taken: set[tuple[int, ...]] = set()
    found = []
    for hole in sorted({node // box for node in dead}):
        old = tuple(hole // prod(units[level:tier]) % units[tier] for tier in range(level, len(units)))
        old = (*(0 for _ in range(level)), *old)
        spare = next(
            (
                (place, tier)
                for tier in range(level, len(units))
                for digit in range(units[tier], full[tier])
                if (place := (*old[:tier], digit, *old[tier + 1 :])) not in taken
            ),
            None,
        )
        if spare is None:
            raise _no_spare(system, fabric, units, dead)
        taken.add(spare[0])
        found.append(Exchange(np.arange(hole * box, (hole + 1) * box, dtype=np.int64), old, *spare))
    return found


def _no_spare(system: System, fabric: Fabric, units: Sequence[int], dead: Sequence[int]) -> TopologyError:
    outer = max(tier for tier, used in enumerate(units) if used > 1)
    fewer = prod(units) // units[outer] * (units[outer] - 1)
    names = ", ".join(fabric.node_name(node) for node in dead[:3]) + (" ..." if len(dead) > 3 else "")
    return TopologyError(
        f"{names} is dead, and a job of all {prod(units)} chips of {system.name} leaves no spare in its place",
        got=f"{len(dead) // fabric.ranks_per_chip or 1} dead of {prod(units)} chips",
        do=f"Ask for {fewer} chips, or make it slow instead (speed above 0).",
        path="chips",
    )


def _larger(
    system: System, fabric: Fabric, units: Sequence[int], exchanges: Sequence[Exchange], routing: str | Mapping[str, Any]
) -> tuple[Fabric, tuple[int, ...]]:
    """The smallest part of the machine that holds job and spares and in which the job lies as it does alone; its units."""
    need = {tier: max(each.new[tier] + 1 for each in exchanges if each.tier == tier) for tier in {e.tier for e in exchanges}}
    socket = Socket.of(system.chip)
    whole = assemble(system.name, socket, system.tiers, dict(zip(system.tiers, units, strict=True)))
    for sizes in product(*(_sizes(system, fabric, units, tier, least) for tier, least in sorted(need.items()))):
        more = dict(zip(sorted(need), sizes, strict=True))
        bigger = tuple(more.get(tier, used) for tier, used in enumerate(units))
        try:
            larger = routed(assemble(system.name, socket, system.tiers, dict(zip(system.tiers, bigger, strict=True))), routing)
        except TopologyError:
            continue  # a shape that has no part of this size
        if _lies_in(whole, larger, _home(fabric, units, bigger)):
            return larger, bigger
    raise NotModelled(
        f"{fabric.node_name(min(fabric.dead))} is dead, and the shape of {system.name} has no spare place beside a job of"
        f" {prod(units)} chips that leaves it as it is. Ask for a part without it, or make it slow (speed above 0)."
    )


def _sizes(system: System, fabric: Fabric, units: Sequence[int], tier: int, least: int) -> Iterator[int]:
    """Numbers of units of a tier to try: just enough, then whole leaves and pods more, then all there are."""
    most = list(system.tiers.values())[tier].size.value
    below, step, found = fabric.ranks_per_chip * prod(units[:tier]), 1, {least, most}
    stride = 1
    for dimension in fabric.dimensions:
        if dimension.hidden or stride >= below * units[tier]:
            break
        if stride >= below:
            step *= dimension.size
            found.add(-(-least // step) * step)
        stride *= dimension.size
    yield from sorted(size for size in found if size <= most)


def _home(fabric: Fabric, units: Sequence[int], bigger: Sequence[int]) -> Ints:
    """The job's devices in the larger part, by their digits [ranks]."""
    ranks = np.arange(fabric.ranks, dtype=np.int64)
    found, rest = ranks % fabric.ranks_per_chip, ranks // fabric.ranks_per_chip
    for used, stride in zip(units, _strides(fabric.ranks_per_chip, bigger), strict=True):
        found, rest = found + rest % used * stride, rest // used
    return found


def _strides(ranks_per_chip: int, units: Sequence[int]) -> list[int]:
    """Devices from one unit of each tier to the next."""
    return [ranks_per_chip * prod(units[:tier]) for tier in range(len(units))]


def _lies_in(whole: Fabric, larger: Fabric, home: Ints) -> bool:
    """Whether the job's part, all of it sound, is in the larger one node for node and link for link."""
    there = {place: node for node, place in enumerate(_places(larger, home))}
    nodes = [there.get(place, -1) for place in _places(whole, np.arange(whole.ranks, dtype=np.int64))]
    if min(nodes) < 0:
        return False

    def links(fabric: Fabric, number: Sequence[int]) -> Counter[tuple[int, int, str, float]]:
        tiers = [fabric.tiers[tier].name for tier in fabric.link_tier.tolist()]
        ends = zip(fabric.tail.tolist(), fabric.head.tolist(), tiers, fabric.capacity.tolist(), strict=True)
        return Counter((number[tail], number[head], tier, capacity) for tail, head, tier, capacity in ends)

    return links(whole, nodes) <= links(larger, range(len(larger.node_kind)))


def _faults(fabric: Fabric, larger: Fabric, home: Ints) -> list[dict[str, Any]]:
    """The job's defects as faults of the larger part, node for node: of one kind and in one place."""
    there = {place: node for node, place in enumerate(_places(larger, home))}
    here = _places(fabric, np.arange(fabric.ranks, dtype=np.int64))

    def name(node: int) -> str:
        return larger.node_name(there[here[node]])

    found: list[dict[str, Any]] = []
    for defect in fabric.defects:
        what = "->".join(map(name, defect.nodes))
        found.append({defect.kind: what, "speed" if defect.kind == "chip" else "capacity": defect.left})
    return found


Place = tuple[str, tuple[int, ...], tuple[tuple[str, int], ...]]
"""Kind of a node, its coordinates along the dimensions of the job's box, and those along hidden ones."""


def _places(fabric: Fabric, home: Ints) -> list[Place]:
    """The place of every node, in the same words for the job's part of a machine and for a larger one."""
    own, hidden = _kept(fabric, home)
    outside = [column for column, dimension in enumerate(fabric.dimensions) if not dimension.hidden and column not in own]
    return [
        (
            kind if all(row[column] <= 0 for column in outside) else f"{kind} outside",
            tuple(row[own].tolist()),
            tuple((fabric.dimensions[column].name, int(row[column])) for column in hidden if row[column] >= 0),
        )
        for kind, row in zip(fabric.node_kind, fabric.coordinates, strict=True)
    ]


def _kept(fabric: Fabric, home: Ints) -> tuple[list[int], list[int]]:
    """Columns along which the job's devices differ, and the hidden ones."""
    rows = fabric.coordinates[home]
    own = [c for c, dimension in enumerate(fabric.dimensions) if not dimension.hidden and rows[:, c].max() > 0]
    return own, [c for c, dimension in enumerate(fabric.dimensions) if dimension.hidden]


def _by_tier(larger: Fabric, bigger: Sequence[int]) -> Iterator[list[int]]:
    """The columns of each tier's own digits: places under a leaf are not the same under the next."""
    ends = [*_strides(larger.ranks_per_chip, bigger)[1:], larger.ranks]
    stride, tier, columns = 1, 0, list[int]()
    for column, dimension in enumerate(larger.dimensions):
        if dimension.hidden:
            break
        stride *= dimension.size
        columns.append(column)
        if stride >= ends[tier]:
            yield columns
            columns = []
            while tier + 1 < len(ends) and ends[tier] <= stride:
                tier += 1


def _renumbered(larger: Fabric, fabric: Fabric, bigger: Sequence[int], home: Ints, place: Ints) -> Fabric:
    """The larger part with the job's ranks first, each where it stands now; all that is beside the job's box marked as such."""
    others = np.setdiff1d(np.arange(len(larger.node_kind), dtype=np.int64), place)
    order = np.concatenate((place, others))
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    own, hidden = _kept(larger, home)
    sizes = larger.coordinates[home].max(axis=0) + 1
    coordinates, kinds = larger.coordinates.copy(), list(larger.node_kind)
    devices = [column for column, dimension in enumerate(larger.dimensions) if not dimension.hidden]
    for node in range(larger.ranks):
        kinds[node] = "idle"
    for columns in _by_tier(larger, bigger):
        outside = (coordinates[:, columns] >= sizes[columns]).any(axis=1)
        for node in np.flatnonzero(outside).tolist():
            kinds[node] += (
                f" at {'.'.join(map(str, coordinates[node, columns].tolist()))} of {larger.dimensions[columns[-1]].name}"
            )
        coordinates[np.ix_(outside, columns)] = -1
    for rank, node in enumerate(place.tolist()):
        kinds[node] = kinds[node].replace("idle", "device")
        coordinates[node, devices] = larger.coordinates[home[rank], devices]
    moved = tuple(Defect("moved", (rank,), 0.0) for rank in np.flatnonzero(place != home).tolist())
    seen = tuple(replace(defect, nodes=tuple(number[list(defect.nodes)].tolist())) for defect in larger.defects)
    units = {info.name: info.units for info in fabric.tiers}
    return replace(
        larger,
        ranks=fabric.ranks,
        dimensions=tuple(_dimension(larger.dimensions[column], int(sizes[column])) for column in own)
        + tuple(larger.dimensions[column] for column in hidden),
        coordinates=np.ascontiguousarray(coordinates[order][:, own + hidden]),
        node_kind=tuple(kinds[node] for node in order.tolist()),
        node_name=lambda node: larger.node_name(int(order[node])),
        node_number=lambda name: int(number[larger.node_number(name)]),
        nodes_matching=None if larger.nodes_matching is None else _matching(larger.nodes_matching, number),
        tail=number[larger.tail],
        head=number[larger.head],
        tiers=tuple(replace(info, units=units.get(info.name, fabric.ranks)) for info in larger.tiers),
        router=Moved(larger.router, order),
        defects=(*seen, *moved),
        speed=None if larger.speed is None else larger.speed[place],
        dead=frozenset(int(number[node]) for node in larger.dead),
    )


def _dimension(dimension: Dimension, size: int) -> Dimension:
    """The job's part of a dimension: any of its coordinates may be swapped if all may; turns are of the whole."""
    symmetry = "full" if dimension.symmetry == "full" else "none"
    return Dimension(dimension.name, size, symmetry)  # type: ignore[arg-type]


def _matching(matching: Callable[[str], Ints], number: Ints) -> Callable[[str], Ints]:
    return lambda name: np.sort(number[matching(name)])


def _check_passing(standing: Fabric, moved: Ints) -> None:
    """Pooled limits are those of ranks: no route of a rank that moved may pass through a chip that stands idle."""
    if not isfinite(standing.ports):
        return
    idle = np.array([kind.startswith("idle") for kind in standing.node_kind])
    ranks = np.arange(standing.ranks, dtype=np.int64)
    for rank in moved.tolist():
        others = ranks[ranks != rank]
        for found in (
            routes(standing.router, np.full(len(others), rank), others),
            routes(standing.router, others, np.full(len(others), rank)),
        ):
            if idle[standing.tail[found.link]].any() or idle[standing.head[found.link]].any():
                raise NotModelled(
                    f"{standing.node_name(rank)} stands in for a dead chip, and its way leads through chips that stand idle:"
                    " their ports are not simulated. Ask for a part of the machine without the dead one."
                )


def _sentence(system: System, fabric: Fabric, standing: Fabric, exchange: Exchange, dead: Sequence[int]) -> str:
    """What moved where, for people."""
    each = fabric.ranks_per_chip
    chips = sorted({node // each for node in dead if node in exchange.ranks})
    names = ", ".join(_around(fabric, range(chip * each, (chip + 1) * each)) for chip in chips)
    verb = "are" if len(chips) > 1 else "is"
    ranks = exchange.ranks.tolist()
    spare, tier = _around(standing, ranks), list(system.tiers)[exchange.tier]
    if len(ranks) == each:
        return f"{names} {verb} dead: its rank{'s run' if each > 1 else ' runs'} on the spare {spare}, in the same {tier}"
    idle = len(ranks) // each - len(chips)
    hint = f" (chips_per_domain below {len(ranks) // each} leaves spares inside a domain)" if idle > SERVER else ""
    return (
        f"{names} {verb} dead: all {len(ranks)} ranks of {_around(fabric, ranks) or 'the job'} run on the spare {spare}, joined"
        f" to the others over {tier}; {idle} chips that work stand idle{hint}"
    )


SERVER = 16
"""Chips that are replaced together as a matter of course; where more are, the sentence says how to leave spares nearer."""


def _around(fabric: Fabric, ranks: Sequence[int]) -> str:
    """The name of the smallest box around these ranks; empty for all there is."""
    first, last = (fabric.node_name(rank).split(".") for rank in (ranks[0], ranks[-1]))
    same = list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=True)))
    return ".".join(word for word, _ in same)
