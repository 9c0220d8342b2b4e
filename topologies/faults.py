"""What may be broken in a machine, and the fabric that is left of it.

A file says ``{link: "a->b", capacity: 0.5}`` (one direction; ``a<->b`` both; 0, dead), ``{chip: 17, speed: 0.8}`` (a chip by
number or name, or all chips of a named box; 0, dead and excluded), ``{switch: "superpod0.switch3"}`` and
``{plane: "superpod0.plane2"}`` (dead, or with ``capacity`` the fraction left of each of its links). Names follow
:mod:`topologies.naming`. Fractions of several faults on one link multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import InputError, TopologyError, Words
from simulator.spec.files import make
from topologies.adjacency import KEPT, between, by_end, links_at
from topologies.fabric import Defect, Fabric, Floats, Ints
from topologies.fewest import Net, joined
from topologies.naming import links_named
from topologies.policies import respecting
from topologies.routing import reach


class LinkFault(Spec):
    """A degraded link; ``capacity`` is the fraction that is left, 0 is dead. ``a->b`` is one direction, ``a<->b`` both."""

    link: str
    capacity: float = Field(ge=0, le=1)


class ChipFault(Spec):
    """A slow chip, or all chips of a box; ``speed`` is the fraction of its compute and memory rates that is left, 0 is dead."""

    chip: int | str
    speed: float = Field(ge=0, le=1)


class SwitchFault(Spec):
    """A switch that is dead, or has ``capacity`` left of each of its links."""

    switch: str
    capacity: float = Field(default=0.0, ge=0, le=1)


class PlaneFault(Spec):
    """All switches of a plane or rail (``superpod0.plane2``, ``infiniband0.rail5``), dead or with ``capacity`` left."""

    plane: str
    capacity: float = Field(default=0.0, ge=0, le=1)


Fault = LinkFault | ChipFault | SwitchFault | PlaneFault

FEW = 16
"""Dead links that are looked at one by one: with more it costs less to look at all."""

_EXAMPLE = '{link: "a->b", capacity: 0.5}'

KINDS: dict[str, type[LinkFault] | type[ChipFault] | type[SwitchFault] | type[PlaneFault]] = {
    "link": LinkFault,
    "chip": ChipFault,
    "switch": SwitchFault,
    "plane": PlaneFault,
}


def as_faults(faults: Iterable[Fault | Mapping[str, Any]]) -> list[Fault]:
    """Faults from the mappings that a file has; TopologyError for what is none."""
    if isinstance(faults, str | Mapping) or not isinstance(faults, Iterable):
        raise TopologyError("must be a list of faults", got=faults, do=f"Write [{_EXAMPLE}].", path="faults")
    return [_as_fault(fault) for fault in faults]


def _as_fault(fault: Fault | Mapping[str, Any]) -> Fault:
    """One fault; TopologyError if it does not say of what."""
    if isinstance(fault, Fault):
        return fault
    if not isinstance(fault, Mapping):
        raise TopologyError("a fault is a mapping", got=fault, do=f"Write {_EXAMPLE}.", path="faults")
    kinds = [kind for kind in KINDS if kind in fault]
    if len(kinds) != 1:
        raise TopologyError(
            "a fault is of one link, chip, switch or plane", got=dict(fault), do=f"Write {_EXAMPLE}.", path="faults"
        )
    try:
        return make(dict(fault), KINDS[kinds[0]])
    except InputError as error:
        raise TopologyError(error.rule, got=error.got, do=error.do, path=f"faults.{error.path or kinds[0]}") from None


def with_faults(fabric: Fabric, faults: Iterable[Fault | Mapping[str, Any]]) -> Fabric:
    """The fabric with these faults on top of those that it has. Raises TopologyError as :meth:`Fabric.with_faults`."""
    defects = list(fabric.defects)
    for fault in as_faults(faults):
        found = [defect for defect in _defects(fabric, fault) if defect.left < 1]
        for defect in found:
            if any(defect.kind == other.kind and defect.nodes == other.nodes for other in defects):
                names = "->".join(fabric.node_name(node) for node in defect.nodes)
                raise TopologyError("a fault is named once", got=names, do="Leave one of the two out.", path="faults")
        defects += found
    new = defects[len(fabric.defects) :]
    if not new:
        return fabric
    capacity, speed = fabric.capacity.copy(), np.ones(fabric.ranks) if fabric.speed is None else fabric.speed.copy()
    for defect in new:
        _apply(fabric, defect, capacity, speed)
    dead = fabric.dead | {defect.nodes[0] for defect in new if defect.kind != "link" and defect.left == 0}
    broken = replace(fabric, capacity=capacity, speed=speed, dead=dead, defects=tuple(defects))
    lost = np.flatnonzero(capacity == 0.0)
    if len(lost):
        _check_connected(broken, lost)
        broken = replace(broken, router=respecting(broken, broken.router))
    return broken


def _defects(fabric: Fabric, fault: Fault) -> Iterator[Defect]:
    if isinstance(fault, LinkFault):
        for name in _directions(fault.link):
            link = links_named(fabric, name)[0]
            yield Defect("link", (int(fabric.tail[link]), int(fabric.head[link])), fault.capacity)
    elif isinstance(fault, ChipFault):
        for device in _devices(fabric, fault.chip):
            yield Defect("chip", (device,), fault.speed)
    elif isinstance(fault, SwitchFault):
        node = fabric.node_number(fault.switch)
        if node < fabric.ranks:
            do = f'Write {{chip: "{fault.switch}", speed: 0}}.'
            raise TopologyError("is a chip, not a switch", got=fault.switch, do=do, path="faults.switch")
        yield Defect("switch", (node,), fault.capacity)
    else:
        for node in _plane(fabric, fault.plane):
            yield Defect("switch", (node,), fault.capacity)


def _directions(name: str) -> tuple[str, ...]:
    a, both, b = name.partition("<->")
    return (f"{a}->{b}", f"{b}->{a}") if both else (name,)


def _devices(fabric: Fabric, chip: int | str) -> list[int]:
    """The devices of a numbered chip, a named one, or a named box."""
    if isinstance(chip, int):
        count = fabric.ranks // fabric.ranks_per_chip
        if not 0 <= chip < count:
            do = f"It has chips 0 to {count - 1}."
            raise TopologyError("a chip number lies within the job", got=chip, do=do, path="faults.chip")
        return list(range(chip * fabric.ranks_per_chip, (chip + 1) * fabric.ranks_per_chip))
    found = _within(fabric, chip)
    devices: list[int] = found[found < fabric.ranks].tolist()
    if devices:
        return devices
    node = fabric.node_number(chip)  # the error lists what there is
    if node >= fabric.ranks:
        raise TopologyError("is a switch, not a chip", got=chip, do=f'Write {{switch: "{chip}"}}.', path="faults.chip")
    return [node]


def _plane(fabric: Fabric, name: str) -> list[int]:
    """The switches of a plane: of one tier, or it is not said which plane is meant."""
    found = _within(fabric, name)
    switches: list[int] = found[found >= fabric.ranks].tolist()
    tiers = sorted({fabric.node_kind[node].rpartition("-")[0] for node in switches})
    if len(tiers) > 1:
        raise TopologyError(
            "a plane is of one tier", got=f"{name}: {', '.join(tiers)}", do=f"Write {tiers[0]}0.{name}.", path="faults.plane"
        )
    return switches or [fabric.node_number(name)]  # the error lists what there is


def _within(fabric: Fabric, name: str) -> Ints:
    return np.empty(0, dtype=np.int64) if fabric.nodes_matching is None else fabric.nodes_matching(name)


def _apply(fabric: Fabric, defect: Defect, capacity: Floats, speed: Floats) -> None:
    """Scale what the defect touches. A slow chip's links are whole; those of a dead one are dead."""
    if defect.kind != "chip" or defect.left == 0:
        capacity[weakened(fabric, defect)] *= defect.left
    if defect.kind == "chip":
        speed[defect.nodes[0]] *= defect.left


def weakened(fabric: Fabric, defect: Defect) -> Ints:
    """A link, or all links of a switch or chip, each once."""
    if defect.kind == "link":
        return between(fabric.tail, fabric.head, *defect.nodes)
    node = defect.nodes[0]
    return np.union1d(links_at(fabric.tail, node), links_at(fabric.head, node))


def _check_connected(fabric: Fabric, lost: Ints) -> None:
    """Every device that is alive still reaches every other without the links ``lost``; the error says which do not."""
    alive = fabric.alive
    if not len(alive):
        raise TopologyError("no chip is left alive", do="Take some faults away.", path="faults")
    first = int(alive[0])
    if not fabric.dead and _bypassed(fabric, lost):
        return
    live = fabric.capacity > 0
    for word, here, there in (("to", fabric.tail, fabric.head), ("from", fabric.head, fabric.tail)):
        order, starts = by_end(here, len(fabric.node_kind), live)
        hops = reach(there[order], starts, first)
        away = alive[hops[alive] < 0]
        if len(away):
            names = ", ".join(fabric.node_name(int(device)) for device in away[:5])
            more = f" and {len(away) - 5} more" if len(away) > 5 else ""
            way = f"from {fabric.node_name(first)} to" if word == "to" else f"to {fabric.node_name(first)} from"
            raise TopologyError(
                f"no way is left {way} {len(away)} of the {len(alive) - 1} other devices",
                got=Words(names + more),
                do="Take a fault away, or make the chips that are cut off dead too (speed: 0).",
                path="faults",
            )


def _bypassed(fabric: Fabric, lost: Ints) -> bool:
    """Whether all is connected for sure: the whole machine is, and the tail of each dead link still reaches its head."""
    if len(lost) > FEW or not _whole_is_connected(fabric.tail, fabric.head, fabric.ranks):
        return False
    net = Net(len(fabric.node_kind), fabric.tail, fabric.head, np.empty(0), lambda links: fabric.capacity[links] > 0)
    return all(joined(net, int(fabric.tail[link]), int(fabric.head[link])) for link in lost.tolist())


def _whole_is_connected(tail: Ints, head: Ints, ranks: int) -> bool:
    """Whether every device reaches every other, all links whole; remembered, as faulty versions of a fabric share their ends."""
    known = _CONNECTED.get(id(tail))
    if known is None or known[0] is not tail or known[1] is not head:
        found = True
        for here, there in ((tail, head), (head, tail)):
            order, starts = by_end(here, int(max(tail.max(initial=0), head.max(initial=0))) + 1)
            found = found and bool((reach(there[order], starts, 0)[:ranks] >= 0).all())
        while len(_CONNECTED) >= KEPT:
            del _CONNECTED[next(iter(_CONNECTED))]
        known = _CONNECTED[id(tail)] = (tail, head, found)  # holds the arrays, so that the number stays theirs
    return known[2]


_CONNECTED: dict[int, tuple[Ints, Ints, bool]] = {}
