"""Dragonfly: routers with devices under them, fully meshed in groups; every two groups joined by some links of their own.

A flow takes the minimal way: to a router of its group that has a link to the target's group, over that link, and to the
target's router; equally over all links between the two groups. The links of a group to the one that is ``o`` groups on
are dealt to its routers in turn, o = 1, 2, ..., so that all groups look alike and a shift of the groups changes nothing.

Leaves out: non-minimal (Valiant) and adaptive ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from topologies.fabric import Ints, Route, Routes
from topologies.shapes.place import LinkBundle, Place, SwitchGroup, TierGraph, integers


@dataclass(frozen=True, slots=True)
class Routers:
    """The routers of a dragonfly. ``leaf`` and ``group``: devices of one router and of one group in this job."""

    leaf: int
    group: int
    global_links: int  # between two groups, each way
    local_capacity: float  # of a link between two routers of a group [B/s]
    global_capacity: float  # of a link between two groups [B/s]


def dragonfly(place: Place, bandwidth: float, tree: Routers, latency: float, leaf_latency: float) -> TierGraph:
    """Routers called ``group<g>.router<r>``. ``bandwidth`` of a device [B/s]; ``leaf_latency`` on one router, ``latency``
    between groups over the longest minimal way [s].
    """
    a, g = tree.group // tree.leaf, place.box // tree.group
    routers = place.ranks // tree.leaf
    first, hop = place.first_switch, (latency - leaf_latency) / 3.0
    devices = integers(place.ranks)
    above = first + devices // tree.leaf
    access = LinkBundle(
        "", tree.leaf, np.concatenate((devices, above)), np.concatenate((above, devices)), bandwidth, leaf_latency / 2.0
    )
    anchor = integers(routers) * tree.leaf
    group = SwitchGroup(f"{place.tier}-router", (("group", g), ("router", a)), anchor, (1, tree.leaf), {})
    bundles = [access]
    if a > 1:
        tail = np.repeat(integers(routers), a - 1)
        j = np.tile(integers(a - 1), routers)
        head = tail + j + (j >= tail % a) - tail % a
        bundles.append(LinkBundle("local", tree.group, first + tail, first + head, tree.local_capacity, hop))
    if g > 1:
        number = integers(place.boxes * g * (g - 1) * tree.global_links)
        box_group, link = np.divmod(number, (g - 1) * tree.global_links)
        on, lane = np.divmod(link, tree.global_links)
        there = box_group // g * g + (box_group % g + on + 1) % g
        tail = box_group * a + gateway(tree, a, on + 1, lane)
        head = there * a + gateway(tree, a, g - 1 - on, lane)
        bundles.append(LinkBundle("global", place.box, first + tail, first + head, tree.global_capacity, hop))
    return TierGraph(
        (group,),
        tuple(bundles),
        partial(_segment, place, tree, leaf_latency, hop),
        partial(_segments, place, tree, leaf_latency, hop),
    )


def gateway(tree: Routers, routers: int, on: Ints, lane: Ints) -> Ints:
    """The router of a group that holds link ``lane`` to the group ``on`` groups further."""
    return ((on - 1) * tree.global_links + lane) % routers


def _segment(place: Place, tree: Routers, leaf_latency: float, hop: float, source: int, target: int) -> Route:
    a, g = tree.group // tree.leaf, place.box // tree.group
    here, there = source // tree.leaf, target // tree.leaf
    first_local = place.first_link + 2 * place.ranks
    ends = np.array([place.first_link + source, place.first_link + place.ranks + target], dtype=np.int64)
    if here == there:
        return Route(ends, np.ones(2), leaf_latency)

    def local(tails: Ints, heads: Ints) -> Ints:
        return first_local + tails * (a - 1) + heads % a - (heads % a > tails % a)

    if here // a == there // a:
        across = local(np.array([here], dtype=np.int64), np.array([there], dtype=np.int64))
        return Route(np.concatenate((ends, across)), np.ones(3), leaf_latency + hop)
    first_global = first_local + place.ranks // tree.leaf * (a - 1)
    on = (there // a - here // a) % g
    lanes = integers(tree.global_links)
    out = here // a * a + gateway(tree, a, np.full_like(lanes, on), lanes)
    into = there // a * a + gateway(tree, a, np.full_like(lanes, g - on), lanes)
    share = np.full(len(lanes), 1.0 / len(lanes))
    over = first_global + (here // a * (g - 1) + on - 1) * tree.global_links + lanes
    before, after = out != here, into != there
    detours = np.concatenate((local(np.full_like(out, here), out)[before], local(into, np.full_like(into, there))[after]))
    links, place_of = np.unique(detours, return_inverse=True)
    carried = np.bincount(place_of, weights=np.concatenate((share[before], share[after])), minlength=len(links))
    hops = 1 + int((before.astype(np.int64) + after).max())
    return Route(np.concatenate((ends, over, links)), np.concatenate((np.ones(2), share, carried)), leaf_latency + hops * hop)


def _segments(place: Place, tree: Routers, leaf_latency: float, hop: float, sources: Ints, targets: Ints) -> Routes:
    a, g, lanes = tree.group // tree.leaf, place.box // tree.group, tree.global_links
    here, there = sources // tree.leaf, targets // tree.leaf
    first_local = place.first_link + 2 * place.ranks
    first_global = first_local + place.ranks // tree.leaf * (a - 1)
    flow = integers(len(sources))
    flows, links, shares = [flow, flow], [place.first_link + sources, place.first_link + place.ranks + targets], [1.0, 1.0]

    def local(who: Ints, tails: Ints, heads: Ints, share: float) -> None:
        moved = tails != heads
        flows.append(who[moved])
        links.append((first_local + tails * (a - 1) + heads % a - (heads % a > tails % a))[moved])
        shares.append(share)

    near = np.flatnonzero(here // a == there // a)
    local(near, here[near], there[near], 1.0)
    far = np.flatnonzero(here // a != there // a)
    on = (there[far] // a - here[far] // a) % g
    hops = (here != there).astype(np.int64)
    hops[far] = 1
    for lane in range(lanes):
        out = here[far] // a * a + gateway(tree, a, on, np.full_like(on, lane))
        into = there[far] // a * a + gateway(tree, a, g - on, np.full_like(on, lane))
        local(far, here[far], out, 1.0 / lanes)
        local(far, into, there[far], 1.0 / lanes)
        flows.append(far)
        links.append(first_global + (here[far] // a * (g - 1) + on - 1) * lanes + lane)
        shares.append(1.0 / lanes)
        hops[far] = np.maximum(hops[far], 1 + (out != here[far]).astype(np.int64) + (into != there[far]))
    fraction = np.repeat(shares, [len(rows) for rows in flows])
    return Routes(np.concatenate(flows), np.concatenate(links), fraction, leaf_latency + hops * hop)
