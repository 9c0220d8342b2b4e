"""One dimension of a torus: each unit is linked with the next and the one before, the last with the first where it wraps.

An n-dimensional torus is n rings. A flow goes the shorter way round, half of it each way where both are as long. Without
the link from the last to the first a ring is a line (a part of a machine's side).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topologies.fabric import Ints, Route, Routes
from topologies.shapes.place import LinkBundle, Place, TierGraph, integers


def ring(place: Place, link: float, wraps: bool, latency: float) -> TierGraph:
    """Links of a ring. ``link``: capacity of one link [B/s]; ``latency`` of one hop [s].

    Joint j of a box is that of its unit j with the next. All links onward come first, then those back, both numbered as
    (box, joint, position).
    """
    k = place.units
    joints = k if wraps else k - 1
    number = integers(place.boxes * joints * place.below)
    rest, position = np.divmod(number, place.below)
    box, joint = np.divmod(rest, joints)
    here = (box * k + joint) * place.below + position
    there = (box * k + (joint + 1) % k) * place.below + position
    tail, head = np.concatenate((here, there)), np.concatenate((there, here))
    bundle = LinkBundle("", place.box, tail, head, link, latency)
    return TierGraph((), (bundle,), partial(_segment, place, wraps, latency), partial(_segments, place, wraps, latency))


def _segment(place: Place, wraps: bool, latency: float, source: int, target: int) -> Route:
    k = place.units
    joints = k if wraps else k - 1
    rest, position = divmod(source, place.below)
    box, own = divmod(rest, k)
    other = target // place.below % k
    onward, back = (other - own) % k, (own - other) % k
    if not wraps:
        onward, back = (onward, k) if other > own else (k, back)
    base = place.first_link + position
    one_way = place.boxes * joints * place.below
    parts = []
    if onward <= back:
        joint = (own + integers(onward)) % k
        parts.append(base + (box * joints + joint) * place.below)
    if back <= onward:
        joint = (own - 1 - integers(back)) % k
        parts.append(base + one_way + (box * joints + joint) * place.below)
    links = np.concatenate(parts)
    return Route(links, np.full(len(links), 1.0 / len(parts)), min(onward, back) * latency)


def _segments(place: Place, wraps: bool, latency: float, sources: Ints, targets: Ints) -> Routes:
    k = place.units
    joints = k if wraps else k - 1
    rest, position = np.divmod(sources, place.below)
    box, own = np.divmod(rest, k)
    other = targets // place.below % k
    onward, back = (other - own) % k, (own - other) % k
    if not wraps:
        onward, back = np.where(other > own, onward, k), np.where(other > own, k, back)
    one_way = place.boxes * joints * place.below
    share = np.where(onward == back, 0.5, 1.0)
    flows, links = [], []
    for direction, (hops, others) in enumerate(((onward, back), (back, onward))):
        taken = np.flatnonzero(hops <= others)
        flow = np.repeat(taken, hops[taken])
        hop = integers(len(flow)) - np.repeat(np.cumsum(hops[taken]) - hops[taken], hops[taken])
        joint = (own[flow] + hop if direction == 0 else own[flow] - 1 - hop) % k
        flows.append(flow)
        links.append(place.first_link + direction * one_way + (box[flow] * joints + joint) * place.below + position[flow])
    flow = np.concatenate(flows)
    return Routes(flow, np.concatenate(links), share[flow], np.minimum(onward, back) * latency)
