"""One dimension of a torus: each unit is linked with the next and the one before, the last with the first where it wraps.

An n-dimensional torus is n rings. A flow goes the shorter way round, half of it each way where both are as long. Without
the link from the last to the first a ring is a line (a part of a machine's side).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topologies.fabric import Route
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
    return TierGraph((), (bundle,), partial(_segment, place, wraps, latency))


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
