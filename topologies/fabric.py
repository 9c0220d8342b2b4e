"""The machine a job runs on, as flat arrays with integer link ids.

Nodes 0 .. ranks-1 are *devices* (what software calls a rank: a chip, or one die of it), the rest are switches.
Links are directed. Every node has coordinates along the fabric's dimensions (-1 where it has none): a device on the
box dimensions that its tiers span, a switch on the ones that it serves plus hidden ones (plane, spine index).
Symmetries are declared, never guessed: along a ``full`` dimension any two coordinates may be swapped, along a
``cyclic`` one all may be shifted, along a ``dihedral`` one turned round too (a ring looks the same both ways), along a ``none``
dimension nothing moves; tests verify them on these arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from topologies.faults import Fault

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis of coordinates. Device dimensions come first, innermost first; hidden ones (switch planes) follow."""

    name: str
    size: int
    symmetry: Literal["full", "cyclic", "dihedral", "none"]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class TierInfo:
    """What all links of one tier share. ``latency`` one way, end to end over this tier [s]; ``efficiency`` payload over raw.

    ``scale_out`` says that this tier joins scale-up domains (RoCE, InfiniBand): libraries change algorithm there.
    """

    name: str
    latency: float
    efficiency: float
    medium: str
    units: int  # devices that this tier and the ones below join
    scale_out: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Where the bytes of one flow go: ``fraction[i]`` of them over ``links[i]`` (each link once); ``latency`` [s]."""

    links: Ints
    fraction: Floats
    latency: float


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Where many flows go: rows of (flow, link, fraction), a link maybe in several rows of a flow; ``latency`` [flows], s."""

    flow: Ints
    link: Ints
    fraction: Floats
    latency: Floats


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is not as its kind is: what a symmetry must map to a defect like it, or not be one.

    ``nodes`` are the tail and head of a ``link``, or the one ``chip`` (a device) or ``switch``; ``left`` is the fraction of its
    capacity or speed that remains, 0 where it is dead. A ``moved`` device is whole and elsewhere than its coordinates say
    (:mod:`topologies.spares`), with nothing ``left`` where they are. Two defects are alike if kind, left, node kinds and
    coordinates up to the symmetry agree.
    """

    kind: Literal["link", "chip", "switch", "moved"]
    nodes: tuple[int, ...]
    left: float


@dataclass(frozen=True, slots=True)
class Fabric:
    """Flat arrays of one machine. ``capacity`` is raw, per direction [B/s]; ``link_tier`` indexes ``tiers``.

    ``ports`` is the raw limit of all links leaving (and of all links entering) one device together [B/s], inf if its
    tiers cannot sum to more than its ports; transit through a device uses them too. ``router(src, dst)`` gives the
    route of one flow under this fabric's policy. A link is called ``tail->head``.

    ``with_faults`` gives the same machine with the same numbers and less of it: a dead link stays in the arrays with
    capacity 0 and no route uses it, a dead chip stays a device that is not in ``alive`` and that no route may end at.
    The declared symmetries are those of the whole machine; with ``defects`` only what maps defects to defects is left of
    them (``topologies.symmetry.coordinate_classes``). Arrays are read-only.
    """

    name: str
    ranks: int
    ranks_per_chip: int
    dimensions: tuple[Dimension, ...]
    coordinates: Ints  # [nodes, dimensions]
    node_kind: tuple[str, ...]  # per node: "device" or the switch's kind; equal kinds may be exchanged by a symmetry
    node_name: Callable[[int], str]
    tail: Ints
    head: Ints
    link_tier: Ints
    capacity: Floats
    ports: float
    tiers: tuple[TierInfo, ...]
    router: Callable[[int, int], Route]
    node_number: Callable[[str], int]  # the inverse of node_name; TopologyError if no node is called so
    link_latency: Floats | None = None  # each link's share of the way over its tier [s], where that is known
    nodes_matching: Callable[[str], Ints] | None = None  # nodes in a named box or plane; None where names are no paths
    defects: tuple[Defect, ...] = ()
    speed: Floats | None = None  # [ranks] fraction of its compute and memory rates that a device has left; None: all 1
    dead: frozenset[int] = frozenset()  # dead devices and switches

    def __post_init__(self) -> None:
        for array in (self.coordinates, self.tail, self.head, self.link_tier, self.capacity, self.link_latency, self.speed):
            if array is not None:
                array.setflags(write=False)

    @property
    def alive(self) -> Ints:
        """The devices that are not dead, in order."""
        devices = np.arange(self.ranks, dtype=np.int64)
        return devices[~np.isin(devices, list(self.dead))] if self.dead else devices

    def with_faults(self, faults: Iterable[Fault | Mapping[str, Any]]) -> Fabric:
        """The fabric with links, chips, switches or planes degraded or dead, and routes around what is dead.

        Faults as in :mod:`topologies.faults`, or the mappings that a file has. Raises TopologyError for a name that is
        not of this fabric, and, saying which, where devices that are alive have no way to each other.
        """
        from topologies.faults import with_faults

        return with_faults(self, faults)

    def with_ways(self, ways: Iterable[Sequence[str | int]]) -> Fabric:
        """The fabric with the way of some pairs written down: node names (or numbers) from source to target, each way one list.

        Other pairs keep the fabric's policy, and so does a pair whose way has a dead link. Nothing is symmetric any more.
        """
        from topologies.policies import with_table

        return with_table(self, ways)

    def with_routing(self, routing: str | Mapping[str, Any]) -> Fabric:
        """The fabric under another routing policy, as in ``System.fabric``; symmetries stay as they are declared here."""
        from topologies.policies import routed

        return routed(self, routing)
