"""A direct exchange counted link by link: what is left to say where faults, or few symmetries, leave too many classes of flows.

Everybody sends everybody else of its group the same number of bytes, so the last of them arrives when the busiest link is done
(theorem 2 of docs/network.md), and only the bytes on each link are needed. Those of the whole machine follow from its symmetries,
class by class of links, however many classes of pairs there are: no flow is made, none is drained. Degraded links change no
bytes. Dead ones move those of the pairs whose ways they cut: these pairs are found by the symmetries too (each is the image of
a representative that crosses a link like the dead one), what they put on links is taken away, and put where they go now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from simulator.network.blocks import GROUP, Blocks
from simulator.network.boxes import BOXED, box_of, headings_within, pairs_within
from simulator.network.contract import PORTS, LinkClass, RankClass
from simulator.network.course import Need
from simulator.network.links import without_defects
from simulator.network.mirrors import mirrors
from simulator.network.numbering import first_of_each
from simulator.network.orbits import Orbits
from simulator.network.paths import Heading, heading
from simulator.network.placement import SubDimension, refine
from simulator.spec.errors import IdentityBroken, NotModelled
from topologies.batch import loads, moved, routes
from topologies.detour import Avoiding
from topologies.fabric import Fabric, Floats, Ints
from topologies.routing import Minimal

#: Pairs of ranks that are routed at a time; each takes about a kilobyte.
AT_ONCE = 16_384

#: Representative pairs, and pairs whose ways are cut, beyond which nothing is answered.
MOST = 2_000_000

Pairs = tuple[Ints, Ints]


@dataclass(frozen=True, slots=True, eq=False)
class LinkLoads:
    """Bytes on every link when each rank sends one byte to every other of its group; ``hop`` is the longest latency [s]."""

    fabric: Fabric
    payload: Floats  # [links]
    hop: float

    def seconds(self, efficient: bool) -> tuple[float, LinkClass]:
        """When the last byte is there [s], and the link that is busiest; not ``efficient``: payload alone over raw capacity."""
        return self._over(self.fabric.capacity, efficient)

    def need(self, shares: float) -> Need:
        """What the busiest link needs for ``shares`` bytes a pair where no link is damaged: what a library loses goes by that."""
        seconds, busiest = self._over(without_defects(self.fabric), efficient=True)
        return Need(seconds * shares, busiest.tier in {tier.name for tier in self.fabric.tiers if tier.scale_out})

    def _over(self, capacity: Floats, efficient: bool) -> tuple[float, LinkClass]:
        fabric = self.fabric
        efficiency = np.array([tier.efficiency for tier in fabric.tiers])
        amount = self.payload / efficiency[fabric.link_tier]
        lost = 1.0 if efficient else efficiency[fabric.link_tier]
        needed = np.divide(amount * lost, capacity, out=np.zeros(len(amount)), where=capacity > 0.0)
        link = _first_largest(needed)
        tier = fabric.tiers[int(fabric.link_tier[link])].name
        name = f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
        busiest = LinkClass(link, tier, float(capacity[link]), 1, name)
        most = float(needed[link])
        if math.isfinite(fabric.ports):
            for direction, ends in (("out", fabric.tail), ("in", fabric.head)):
                pooled = np.bincount(ends, weights=amount, minlength=fabric.ranks)[: fabric.ranks] / fabric.ports
                pooled *= 1.0 if efficient else efficiency.min()
                device = _first_largest(pooled)
                if pooled[device] > most:
                    most = float(pooled[device])
                    busiest = LinkClass(0, PORTS, fabric.ports, 1, f"{fabric.node_name(device)} ports {direction}")
        return most, busiest


def direct_loads(fabric: Fabric, blocks: Blocks, domain: int) -> LinkLoads:
    """Every rank alive sends a byte to every other of its group, under the routes of the faulty fabric.

    Raises NotModelled where too many pairs stand for themselves, or groups are of different size because chips are dead.
    """
    if fabric.dead and blocks.size < fabric.ranks:
        raise NotModelled("groups of which some have dead chips send unequal shares: take all ranks as one group")
    whole = _whole(fabric)
    parts = refine(fabric.dimensions, blocks, boundaries=(domain,))
    payload, hop = _uniform(whole, Orbits(whole, parts), blocks)
    if isinstance(fabric.router, Avoiding):
        change, longest = _moved(fabric, fabric.router, whole, parts, blocks)
        payload += change
        hop = max(hop, longest)
        _check(payload, fabric)
    return LinkLoads(fabric, payload, hop)


def _moved(
    fabric: Fabric, router: Avoiding, whole: Fabric, parts: tuple[SubDimension, ...], blocks: Blocks
) -> tuple[Floats, float]:
    """What routes around the dead change on every link, and the longest latency of those that are new.

    One pair stands for all that the symmetries left by the defects make of it, and its bytes are shared by the links they make
    of its links.
    """
    orbits = Orbits(fabric, parts)
    links, kind = len(fabric.tail), orbits.link_kinds()
    sources, targets = _crossing(whole, parts, blocks, np.flatnonzero(fabric.capacity == 0.0))
    reflections = mirrors(fabric, parts, orbits.parts)
    for mirror in reflections:
        sources, targets = mirror.lower(sources, targets)
    _, first, counts = first_of_each(orbits.kinds_of_pairs(sources, targets))
    change, hop = moved(router, sources[first], targets[first], counts.astype(np.float64), links)
    change = (np.bincount(kind, weights=change) / np.bincount(kind))[kind]
    for mirror in reflections:
        change = mirror.averaged(change)
    return change, hop


def _whole(fabric: Fabric) -> Fabric:
    """The fabric before its faults, as far as routes and symmetries see it: links of a tier are alike."""
    router = fabric.router.base if isinstance(fabric.router, Avoiding) else fabric.router
    ones = np.ones(len(fabric.tail))
    return replace(fabric, capacity=ones, defects=(), dead=frozenset(), speed=None, router=router)


def _representatives(orbits: Orbits, blocks: Blocks) -> Iterator[tuple[Pairs, Floats]]:
    """One pair of ranks of each class, and how many there are of it, some at a time."""
    number = 0
    for found in _headings(orbits, blocks):
        number += len(found.peers)
        if number > MOST:
            raise NotModelled(f"more than {MOST} classes of pairs of ranks: the fabric has too few symmetries.")
        source = found.source
        sources = np.full(len(found.peers), source.representative, dtype=np.int64)
        yield (sources, found.peers), found.counts.astype(np.float64) * source.size


def _headings(orbits: Orbits, blocks: Blocks) -> Iterator[Heading]:
    """Where one rank of each class sends."""
    ends = zip(orbits.representatives.tolist(), orbits.rank_class_sizes.tolist(), strict=True)
    classes = [RankClass(key, rank, size, 0) for key, (rank, size) in enumerate(ends)]
    box = None if orbits.fabric.dead else box_of(orbits, blocks.members(GROUP, classes[0].representative))
    if box and pairs_within(orbits, box) <= BOXED:
        yield from headings_within(orbits, classes, box)
        return
    for each in classes:
        members = blocks.members(GROUP, each.representative)
        yield heading(orbits, each, members[members != each.representative])


def _uniform(fabric: Fabric, orbits: Orbits, blocks: Blocks) -> tuple[Floats, float]:
    """Bytes on every link of a fabric without faults, and the longest latency."""
    kind = orbits.link_kinds()
    links = len(kind)
    total, hop = np.zeros(links), 0.0
    once = MOST if isinstance(fabric.router, Minimal) else AT_ONCE  # ways of fewest hops take no room for each pair
    for (sources, targets), weight in _together(_representatives(orbits, blocks), once):
        amounts, longest = loads(fabric.router, sources, targets, weight, links)
        total += amounts
        hop = max(hop, longest)
    alike = np.bincount(kind)
    return (np.bincount(kind, weights=total) / alike)[kind], hop


def _crossing(fabric: Fabric, parts: tuple[SubDimension, ...], blocks: Blocks, dead: Ints) -> Pairs:
    """The pairs of ranks of one group whose ways cross a dead link, each once."""
    found: list[Ints] = [np.empty(0, dtype=np.int64)]
    for link in dead.tolist():
        found.append(_sorted(np.concatenate([np.empty(0, dtype=np.int64), *_images(fabric, parts, blocks, link)])))
        if sum(map(len, found)) > MOST:
            raise NotModelled(f"what is dead cuts the ways of more than {MOST} pairs of ranks. Take fewer faults.")
    pairs = _sorted(np.concatenate(found))
    return pairs // fabric.ranks, pairs % fabric.ranks


def _images(fabric: Fabric, parts: tuple[SubDimension, ...], blocks: Blocks, link: int) -> Iterator[Ints]:
    """The pairs (source * ranks + target) that cross the link: those of representatives moved so that theirs becomes it.

    Along a sub-dimension in which the link has a place, turns alone are used, and one of them fits; along any other every pair
    of coordinates that are alike does.
    """
    ends = [int(fabric.tail[link]), int(fabric.head[link])]
    plain = Orbits(fabric, parts)
    fixed = [bool((plain.coordinates[ends, column] >= 0).any()) for column in range(len(parts))]
    turning = tuple(
        replace(part, symmetry="none" if part.symmetry == "none" else "cyclic") if held and part.unit else part
        for part, held in zip(parts, fixed, strict=True)
    )
    orbits = Orbits(fabric, turning)
    kind = orbits.link_kinds()
    for (sources, targets), _ in _together(_representatives(orbits, blocks), AT_ONCE):
        rows = routes(fabric.router, sources, targets)
        some = np.flatnonzero(kind[rows.link] == kind[link])
        flow, like = rows.flow[some], rows.link[some]
        one, other = sources[flow].copy(), targets[flow].copy()
        shape = np.zeros(len(flow), dtype=np.int64)
        free: list[SubDimension] = []
        for column, (part, held) in enumerate(zip(turning, fixed, strict=True)):
            if not part.unit or part.symmetry == "none" or part.size == 1:
                continue
            coordinate = orbits.coordinates[:, column]
            here, there = coordinate[sources[flow]], coordinate[targets[flow]]
            if held:
                end = fabric.tail if coordinate[ends[0]] >= 0 else fabric.head
                turn = coordinate[end[link]] - coordinate[end[like]]
                one += ((here + turn) % part.size - here) * part.unit
                other += ((there + turn) % part.size - there) * part.unit
            else:
                apart = (there - here) % part.size
                if part.symmetry == "full":
                    apart = np.minimum(apart, 1)
                elif part.symmetry == "dihedral":
                    apart = np.minimum(apart, part.size - apart)
                shape = shape * part.size + apart
                one -= here * part.unit
                other -= there * part.unit
                free.append(part)
        for each in np.unique(shape).tolist():
            chosen = shape == each
            add_one, add_other = _offsets(free, each)
            yield ((one[chosen][:, None] + add_one) * fabric.ranks + other[chosen][:, None] + add_other).ravel()


def _offsets(free: list[SubDimension], shape: int) -> Pairs:
    """What all pairs of coordinates of one shape add to the two rank numbers."""
    options: list[list[tuple[int, int]]] = []
    for part in reversed(free):
        shape, apart = divmod(shape, part.size)
        if part.symmetry == "full" and apart:
            steps = list(range(1, part.size))
        else:
            steps = sorted({apart, -apart % part.size}) if part.symmetry == "dihedral" else [apart]
        options.append([(c * part.unit, (c + step) % part.size * part.unit) for c in range(part.size) for step in steps])
    sums = [tuple(map(sum, zip(*choice, strict=True))) if choice else (0, 0) for choice in product(*options)]
    both = np.array(sums, dtype=np.int64)
    return both[:, 0], both[:, 1]


def _together(parts: Iterator[tuple[Pairs, Floats]], once: int) -> Iterator[tuple[Pairs, Floats]]:
    """Small lots of pairs put together, up to ``once`` and a lot more."""
    held: list[tuple[Pairs, Floats]] = []

    def joined() -> tuple[Pairs, Floats]:
        sources, targets = (np.concatenate([pairs[side] for pairs, _ in held]) for side in (0, 1))
        return (sources, targets), np.concatenate([weight for _, weight in held])

    for part in parts:
        held.append(part)
        if sum(len(weight) for _, weight in held) >= once:
            yield joined()
            held = []
    if held:
        yield joined()


def _sorted(numbers: Ints) -> Ints:
    """The different numbers, ascending."""
    numbers.sort()
    return numbers[np.diff(numbers, prepend=-1) > 0]


def _first_largest(values: Floats) -> int:
    """The place of the largest value; of equals the first, however their sums were rounded."""
    return int(np.argmax(values >= values.max() * (1.0 - 1e-12)))


def _check(payload: Floats, fabric: Fabric) -> None:
    """Nothing is left on what is dead, and nowhere less than nothing."""
    dead = fabric.capacity == 0.0
    tiny = 1e-9 * max(float(payload.max(initial=0.0)), 1.0)
    if np.abs(payload[dead]).max(initial=0.0) > tiny or payload.min(initial=0.0) < -tiny:
        raise IdentityBroken(f"{fabric.name}: bytes of an exchange are left on dead links, or were taken away twice")
    payload[dead] = 0.0
