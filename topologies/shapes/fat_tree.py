"""The tree of switch levels that a single switch, a Clos and rails have in common.

Devices get an ordinal; ``group`` consecutive ordinals share the switches of a level, and each of them (a device, or a
switch of the level below) has ``width`` links up, one to each switch above that serves it. With W the product of the
widths so far, switch v of group g at level l is number g * W + v, and hangs over switch v // width of the level below.
So a route needs no search: from the devices up to the lowest level with a common group every link is used equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from topologies.fabric import Floats, Ints, Route, Routes
from topologies.shapes.place import LinkBundle, Place, SwitchGroup, TierGraph, integers

Number = TypeVar("Number", int, Ints)

HIDDEN = ("plane", "spine", "core")
"""What the links up of a device, a leaf and a pod's spine choose between; also the hidden dimensions."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of switches: ``group`` ordinals share its switches, ``width`` links up lead there from each below."""

    group: int
    width: int
    capacity: float  # of one link up, and of one link down [B/s]
    latency: float  # end to end between two devices that meet here [s]
    digits: tuple[tuple[str, int], ...]  # of a switch's number within its box, outermost first: name and size


@dataclass(frozen=True, slots=True)
class Reach:
    """Which devices a tree joins: whole boxes (``aligned`` False), or those of equal position in the units below."""

    below: int
    units: int
    aligned: bool

    def ordinal(self, rank: Number) -> Number:
        """Devices that share a tree are consecutive; within it the unit counts."""
        if not self.aligned:
            return rank
        upper, position = divmod(rank, self.below)
        box, unit = divmod(upper, self.units)
        return (box * self.below + position) * self.units + unit

    def devices(self, ranks: int) -> Ints:
        """The device of each ordinal."""
        if not self.aligned:
            return integers(ranks)
        grid = integers(ranks).reshape(-1, self.units, self.below)
        return grid.transpose(0, 2, 1).reshape(-1)


def fat_tree(place: Place, reach: Reach, levels: Sequence[Level], shared_top: bool = False) -> TierGraph:
    """Switches, links and routes of a tree. ``shared_top``: the top switches of all aligned trees of a box are the same.

    Links of a level: all up, then all down, both numbered as (group below, switch above).
    """
    devices = reach.devices(place.ranks)
    groups: list[SwitchGroup] = []
    bundles: list[LinkBundle] = []
    below_first, below_group, below_width = -1, 1, 1
    first_switch, lower_latency = place.first_switch, 0.0
    for number, level in enumerate(levels):
        width = below_width * level.width
        lower = integers(place.ranks // below_group * width)
        share = place.below if shared_top and number == len(levels) - 1 else 1
        lower_node = devices[lower // level.width] if number == 0 else below_first + lower // level.width
        upper = lower // width // (level.group // below_group) // share
        upper_node = first_switch + upper * width + lower % width
        tail, head = np.concatenate((lower_node, upper_node)), np.concatenate((upper_node, lower_node))
        latency = (level.latency - lower_latency) / 2.0
        joined = level.group * (place.below if reach.aligned else 1)
        bundles.append(LinkBundle("" if number == 0 else HIDDEN[number], joined, tail, head, level.capacity, latency))
        groups.append(_switches(place, reach, devices, levels, number, share))
        below_first, below_group, below_width = first_switch, level.group, width
        first_switch += len(groups[-1].anchor)
        lower_latency = level.latency
    climbs = _climb(place, levels)
    return TierGraph(tuple(groups), tuple(bundles), partial(_segment, reach, climbs), partial(_segments, reach, climbs))


def _switches(place: Place, reach: Reach, devices: Ints, levels: Sequence[Level], number: int, share: int) -> SwitchGroup:
    """The switches of level ``number``; ``share`` trees use the same ones."""
    level = levels[number]
    width = int(np.prod([lower.width for lower in levels[: number + 1]]))
    group = level.group * share
    v = np.tile(integers(width), place.ranks // group)
    hidden, rest = {}, v
    for depth in range(number, -1, -1):
        hidden[HIDDEN[depth]] = rest % levels[depth].width
        rest = rest // levels[depth].width
    if share > 1 or not reach.aligned:
        free = (1, place.box if share > 1 else level.group)
    else:
        free = (place.below, place.below * level.group)
    kind = f"{place.tier}-{'switch' if len(levels) == 1 else ('leaf', *HIDDEN[1:])[number]}"
    return SwitchGroup(kind, level.digits, np.repeat(devices[::group], width), free, hidden)


@dataclass(frozen=True, slots=True)
class Climb:
    """What a route needs of one level: where its links up and down start, how many leave each group, and their fraction."""

    group_below: int
    group: int
    width: int
    first_up: int
    first_down: int
    choices: Ints
    fraction: Floats
    latency: float


def _climb(place: Place, levels: Sequence[Level]) -> tuple[Climb, ...]:
    found = []
    first, group_below, width = place.first_link, 1, 1
    for level in levels:
        width *= level.width
        one_way = place.ranks // group_below * width
        choices, fraction = integers(width), np.full(2 * width, 1.0 / width)
        found.append(Climb(group_below, level.group, width, first, first + one_way, choices, fraction, level.latency))
        first, group_below = first + 2 * one_way, level.group
    return tuple(found)


def _segment(reach: Reach, climbs: tuple[Climb, ...], source: int, target: int) -> Route:
    a, b = reach.ordinal(source), reach.ordinal(target)
    links: list[Ints] = []
    fractions: list[Floats] = []
    for climb in climbs:
        links.append(climb.first_up + a // climb.group_below * climb.width + climb.choices)
        links.append(climb.first_down + b // climb.group_below * climb.width + climb.choices)
        fractions.append(climb.fraction)
        if a // climb.group == b // climb.group:
            break
    return Route(np.concatenate(links), np.concatenate(fractions), climb.latency)


def _segments(reach: Reach, climbs: tuple[Climb, ...], sources: Ints, targets: Ints) -> Routes:
    a, b = reach.ordinal(sources), reach.ordinal(targets)
    climbing = integers(len(sources))
    latency = np.zeros(len(sources))
    flows: list[Ints] = []
    links: list[Ints] = []
    fractions: list[Floats] = []
    for climb in climbs:
        for first, ends in ((climb.first_up, a), (climb.first_down, b)):
            links.append((first + ends[climbing] // climb.group_below * climb.width)[:, None] + climb.choices)
            flows.append(np.repeat(climbing, climb.width))
            fractions.append(np.full(len(flows[-1]), climb.fraction[0]))
        latency[climbing] = climb.latency
        climbing = climbing[a[climbing] // climb.group != b[climbing] // climb.group]
        if not len(climbing):
            break
    return Routes(np.concatenate(flows), np.concatenate([rows.ravel() for rows in links]), np.concatenate(fractions), latency)
