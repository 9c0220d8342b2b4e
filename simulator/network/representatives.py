"""One pair of ranks of each class: who stands for whom where everybody sends everybody else of its group as much."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.network.blocks import GROUP, Blocks
from simulator.network.boxes import BOXED, box_of, headings_within, pairs_within
from simulator.network.contract import RankClass
from simulator.network.orbits import Orbits
from simulator.network.paths import Heading, heading
from simulator.spec.errors import NotModelled
from topologies.fabric import Floats, Ints

#: Pairs of ranks that are routed at a time; each takes about a kilobyte.
AT_ONCE = 16_384

#: Representative pairs, and pairs whose ways are cut, beyond which nothing is answered.
MOST = 2_000_000

Pairs = tuple[Ints, Ints]


def representatives(orbits: Orbits, blocks: Blocks, once: int) -> Iterator[tuple[Pairs, Floats]]:
    """One pair of ranks of each class, and how many there are of it; ``once`` and a lot more at a time.

    NotModelled beyond :data:`MOST`.
    """
    held: list[tuple[Pairs, Floats]] = []

    def joined() -> tuple[Pairs, Floats]:
        sources, targets = (np.concatenate([pairs[side] for pairs, _ in held]) for side in (0, 1))
        return (sources, targets), np.concatenate([weight for _, weight in held])

    number = 0
    for found in _headings(orbits, blocks):
        source = found.source
        sources = np.full(len(found.peers), source.representative, dtype=np.int64)
        held.append(((sources, found.peers), found.counts.astype(np.float64) * source.size))
        number += len(sources)
        if number > MOST:
            raise NotModelled(
                f"more than {MOST} classes of pairs of ranks: too few are alike. Use fewer chips or smaller groups."
            )
        if sum(len(weight) for _, weight in held) >= once:
            yield joined()
            held = []
    if held:
        yield joined()


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
