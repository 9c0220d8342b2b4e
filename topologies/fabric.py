"""The machine a job runs on, as flat arrays with integer link ids.

Nodes 0 .. ranks-1 are *devices* (what software calls a rank: a chip, or one die of it), the rest are switches.
Links are directed. Every node has coordinates along the fabric's dimensions (-1 where it has none): a device on the
box dimensions that its tiers span, a switch on the ones that it serves plus hidden ones (plane, spine index).
Symmetries are declared, never guessed: along a ``full`` dimension any two coordinates may be swapped, along a
``cyclic`` one all may be shifted, along a ``none`` dimension nothing moves; tests verify them on these arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis of coordinates. Device dimensions come first, innermost first; hidden ones (switch planes) follow."""

    name: str
    size: int
    symmetry: Literal["full", "cyclic", "none"]
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


@dataclass(frozen=True, slots=True)
class Fabric:
    """Flat arrays of one machine. ``capacity`` is raw, per direction [B/s]; ``link_tier`` indexes ``tiers``.

    ``ports`` is the raw limit of all links leaving (and of all links entering) one device together [B/s], inf if its
    tiers cannot sum to more than its ports; transit through a device uses them too. ``router(src, dst)`` gives the
    route of one flow under this fabric's policy. A link is called ``tail->head``.
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
