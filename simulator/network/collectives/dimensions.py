"""All dimensions of a torus or mesh at once, as compilers for tori (XLA) cut a collective.

The payload S is cut into as many parts as the group has dimensions, d. Part j goes along dimension j first, then j + 1 and so on
round; along one it is reduced and scattered (or, backwards, gathered), so that the next one carries a k-th of it. Along
dimension i a rank sends, all parts together,

    b_i = S / d x sum over parts of (k_i - 1) / k_i / (product of the sides the part went along before),

S (n - 1) / (n d) if all sides are equal: every dimension is busy all the time. A ring of links is used both ways, half of b_i to
each neighbour in k_i - 1 steps; a dimension in which all ranks have links of their own (a full mesh, a switch) is crossed in one
step, b_i / (k_i - 1) to each. All-reduce does both halves.

Between domains (slices of a pod) goes only what its dimensions inside leave of the payload, S over the ranks inside, while the
rest is under way: the bytes of the two levels of ``hierarchical``.

Leaves out: parts of unequal size, which would balance unequal sides; that a part waits for its dimension (the parts are taken as
cut finely enough to follow each other); shorter ways than round the ring for small messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from simulator.spec.errors import NotModelled
from topologies.adjacency import links_at
from topologies.fabric import Fabric, Ints
from workloads.instructions import Communication

ROUNDS = {"all-gather": 1, "reduce-scatter": 1, "all-reduce": 2}


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the devices, innermost first; ``ring``: only neighbours have links, in a circle or a line."""

    size: int
    ring: bool


def axes_of(fabric: Fabric) -> tuple[Axis, ...]:
    """The dimensions by which a fabric counts its devices; a ring has a link to the next device and none to the one after.

    A line (a slice of a torus too short to close) is a ring whose last hop goes all the way back.
    """
    linked = set(fabric.head[links_at(fabric.tail, 0)].tolist())
    found = []
    stride = 1
    for dimension in fabric.dimensions:
        if not dimension.hidden:
            near, far = stride in linked, 2 * stride in linked
            found.append(Axis(dimension.size, dimension.size > 2 and near and not far))
            stride *= dimension.size
    return tuple(found)


def sides(members: Ints, axes: tuple[Axis, ...]) -> list[tuple[int, Ints]] | None:
    """The axes in which a group differs and its coordinates there, ascending; None if it is no block of them.

    >>> sides(np.array([0, 1, 4, 5]), (Axis(4, True), Axis(4, True)))
    [(0, array([0, 1])), (1, array([0, 1]))]
    """
    if prod(axis.size for axis in axes) <= int(members[-1]):
        return None
    found = []
    for place in range(len(axes)):
        values = np.unique(_along(members, axes, place))
        if len(values) > 1:
            found.append((place, values))
    return found if prod(len(values) for _, values in found) == len(members) else None


def along_dimensions(members: Ints, rank: int, communication: Communication, axes: tuple[Axis, ...], domain: int = 0) -> Pattern:
    """One exchange a dimension, all at once; see the module."""
    rounds = ROUNDS.get(communication.collective)
    if rounds is None:
        raise refusal(communication, f"{communication.collective} along all dimensions is not modelled")
    block = sides(members, axes)
    if block is None:
        raise NotModelled(
            f"{communication.name}: the {len(members)} ranks of {communication.group} around rank {rank} are no block of the "
            "machine's dimensions. Choose direct."
        )
    outside = [place for place, _ in block if domain and prod(axis.size for axis in axes[:place]) >= domain]
    within = [len(values) for place, values in block if place not in outside]
    across = [len(values) for place, values in block if place in outside]
    shares = [*carried(within), *(share / prod(within) for share in carried(across))]
    exchanges = []
    for (place, values), share in zip(block, shares, strict=True):
        stride = prod(axis.size for axis in axes[:place])
        mine = rank // stride % axes[place].size
        others, steps = _peers(values, mine, ring=axes[place].ring)
        peers = rank + (others - mine) * stride
        payload = rounds * share * communication.payload / len(peers)
        exchanges.append(Exchange(np.sort(peers), payload, rounds * steps, relayed=axes[place].ring))
    return Pattern((tuple(exchanges),))


def carried(lengths: list[int]) -> list[float]:
    """What a rank sends along each dimension of a block, as a share of the payload.

    >>> carried([4]), carried([2, 2]), round(sum(carried([4, 8, 2])), 9)
    ([0.75], [0.375, 0.375], 0.984375)
    """
    parts = len(lengths)
    found = [0.0] * parts
    for first in range(parts):
        left = 1.0 / parts
        for turn in range(parts):
            place = (first + turn) % parts
            found[place] += left * (lengths[place] - 1) / lengths[place]
            left /= lengths[place]
    return found


def _along(ranks: Ints, axes: tuple[Axis, ...], place: int) -> Ints:
    stride = prod(axis.size for axis in axes[:place])
    along: Ints = ranks // stride % axes[place].size
    return along


def _peers(values: Ints, mine: int, *, ring: bool) -> tuple[Ints, int]:
    """The coordinates that a rank sends to along one dimension, and its steps."""
    if not ring:
        return values[values != mine], 1
    at, length = int(np.searchsorted(values, mine)), len(values)
    return np.unique(values[[(at - 1) % length, (at + 1) % length]]), length - 1
