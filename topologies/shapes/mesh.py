"""Full mesh: devices that differ only in this tier's coordinate are linked pairwise, one link per direction.

An n-dimensional mesh is n mesh tiers. A device of a tier of ``k`` units has k-1 links of bandwidth/(k-1) each; a job
that uses fewer units keeps the bandwidth of each link.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topologies.fabric import Ints, Route, Routes
from topologies.shapes.place import LinkBundle, Place, TierGraph, integers


def mesh(place: Place, bandwidth: float, full_units: int, latency: float) -> TierGraph:
    """Links of a mesh tier. ``bandwidth`` of a device over all its links [B/s]; ``full_units`` of the whole machine.

    Link ``rank * (k - 1) + j`` of the tier leads to the j-th other unit, counted with the own unit left out.
    """
    k = place.units
    tail = np.repeat(integers(place.ranks), k - 1)
    unit = tail // place.below % k
    j = np.tile(integers(k - 1), place.ranks)
    head = tail + (j + (j >= unit) - unit) * place.below
    bundle = LinkBundle("", place.box, tail, head, bandwidth / (full_units - 1), latency)
    return TierGraph((), (bundle,), partial(_segment, place, latency), partial(_segments, place, latency))


def _segment(place: Place, latency: float, source: int, target: int) -> Route:
    k = place.units
    own = source // place.below % k
    other = target // place.below % k
    link = place.first_link + source * (k - 1) + other - (other > own)
    return Route(np.array([link], dtype=np.int64), np.ones(1), latency)


def _segments(place: Place, latency: float, sources: Ints, targets: Ints) -> Routes:
    k = place.units
    own, other = sources // place.below % k, targets // place.below % k
    link = place.first_link + sources * (k - 1) + other - (other > own)
    return Routes(integers(len(link)), link, np.ones(len(link)), np.full(len(link), latency))
