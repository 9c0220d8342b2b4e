"""Where a tier sits in the rank numbers of a job, and what a shape makes of it.

Ranks are numbered innermost tier first, so a tier that joins ``units`` units of ``below`` devices each sees
``rank = (box * units + unit) * below + position``. A shape turns such a place into switches, links and route segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from topologies.fabric import Ints, Route, Routes


@dataclass(frozen=True, slots=True)
class Place:
    """One tier of one job. ``first_switch`` and ``first_link`` are the ids that its switches and links start from."""

    tier: str
    ranks: int
    below: int  # devices of one unit
    units: int  # units that the job uses
    first_switch: int
    first_link: int

    @property
    def box(self) -> int:
        """Devices that this tier and the ones below join."""
        return self.below * self.units

    @property
    def boxes(self) -> int:
        """How many such boxes the job uses."""
        return self.ranks // self.box


@dataclass(frozen=True, slots=True)
class SwitchGroup:
    """Switches of one kind, numbered box by box and in each as the mixed radix of ``digits`` (name, size; outermost first).

    ``anchor`` is one device that each switch serves: the switch has that device's coordinates, except those whose
    stride in rank numbers lies in ``free`` (it joins devices that differ there). ``hidden`` are its own coordinates.
    """

    kind: str
    digits: tuple[tuple[str, int], ...]
    anchor: Ints
    free: tuple[int, int]
    hidden: dict[str, Ints]


@dataclass(frozen=True, slots=True)
class LinkBundle:
    """Equal links of one level of a tier: access, then spine, then core. ``latency`` is one link's share of the way [s]."""

    level: str
    units: int  # devices that are joined without leaving this level
    tail: Ints
    head: Ints
    capacity: float
    latency: float


@dataclass(frozen=True, slots=True)
class TierGraph:
    """What a shape emits: ``segment(a, b)`` is the way over this tier between two devices that it joins, ``segments`` the ways
    of many pairs at once.
    """

    switches: tuple[SwitchGroup, ...]
    bundles: tuple[LinkBundle, ...]
    segment: Callable[[int, int], Route]
    segments: Callable[[Ints, Ints], Routes]


def integers(count: int) -> Ints:
    """0 .. count-1."""
    return np.arange(count, dtype=np.int64)
