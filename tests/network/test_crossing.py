"""Pairs whose ways a dead link cuts, found from representatives, against all pairs looked at one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.network.blocks import Blocks
from simulator.network.crossing import Crossed, Crossing, crossed, crossing, turning
from simulator.network.fold import scale_up_domain
from simulator.network.loads import _whole
from simulator.network.orbits import Orbits
from simulator.network.placement import refine
from tests.network.test_loads import FABRICS
from topologies.fabric import Fabric
from topologies.naming import link_name


def parts_of(fabric: Fabric, blocks: Blocks):  # type: ignore[no-untyped-def]
    return refine(fabric.dimensions, blocks, boundaries=(scale_up_domain(fabric),))


def dead_of(name: str, number: int, seed: int) -> Fabric:
    """A machine with so many dead links that leave everybody a way; the first of thirty draws."""
    fabric, rng = FABRICS[name], np.random.default_rng(seed)
    for _ in range(30):
        links = rng.choice(len(fabric.tail), number, replace=False).tolist()
        try:
            return fabric.with_faults([{"link": link_name(fabric, link), "capacity": 0} for link in links])
        except ValueError:
            continue
    raise AssertionError("every draw cuts a device off")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", FABRICS)
def test_they_stand_for_all_pairs_that_cross_and_for_no_other(name: str, number: int, seed: int) -> None:
    """Those found cross, none twice; with what they stand for they are as many as all that do."""
    fabric = dead_of(name, number, seed)
    blocks = Blocks(fabric.ranks, fabric.ranks)
    whole = _whole(fabric)
    found = crossing(fabric, whole, parts_of(fabric, blocks), blocks, None)
    cut = {
        pair
        for pair in itertools.permutations(range(fabric.ranks), 2)
        if (fabric.capacity[whole.router(*pair).links] == 0.0).any()
    }
    pairs = list(zip(found.sources.tolist(), found.targets.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) <= cut
    assert found.counts.sum() == len(cut)


def test_along_what_no_fault_touches_one_pair_stands_for_all() -> None:
    """A link between two routers of a dragonfly: which chips of a router speak makes no difference."""
    fabric = FABRICS["dragonfly over nodes"]
    between = next(link for link in range(len(fabric.tail)) if min(fabric.tail[link], fabric.head[link]) >= fabric.ranks)
    fabric = fabric.with_faults([{"link": link_name(fabric, between), "capacity": 0}])
    blocks = Blocks(fabric.ranks, fabric.ranks)
    found = crossing(fabric, _whole(fabric), parts_of(fabric, blocks), blocks, None)
    assert found.counts.min() > 1
    assert found.counts.sum() > 3 * len(found.counts)


@pytest.mark.parametrize("name", FABRICS)
def test_what_was_seen_before_and_what_is_looked_for_are_the_same(name: str) -> None:
    fabric = dead_of(name, 1, seed=5)
    blocks = Blocks(fabric.ranks, fabric.ranks)
    whole, parts = _whole(fabric), parts_of(fabric, blocks)
    dead = np.flatnonzero(fabric.capacity == 0.0)
    seen = crossed(whole, Orbits(whole, parts), blocks, dead)
    one, other = crossing(fabric, whole, parts, blocks, seen), crossing(fabric, whole, parts, blocks, None)
    if turning(whole, parts, int(dead[0])) == parts:
        assert len(seen.links)
    for mine, theirs in zip((one.sources, one.targets, one.counts), (other.sources, other.targets, other.counts), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_equal_pairs_are_put_together_and_their_numbers_added() -> None:
    """By the quick way, where all count alike, and by the other."""
    sources, targets = np.array([3, 1, 3, 0]), np.array([2, 7, 2, 1])
    for counts, expected in ((np.ones(4), [1.0, 1.0, 2.0]), (np.array([1.0, 2.0, 3.0, 4.0]), [4.0, 2.0, 4.0])):
        found = Crossing.of(8, sources, targets, counts)
        assert found.sources.tolist() == [0, 1, 3]
        assert found.targets.tolist() == [1, 7, 2]
        assert found.counts.tolist() == expected
    assert len(Crossing.of(8, sources[:0], targets[:0], np.empty(0)).sources) == 0
    assert len(Crossed.joined([]).links) == 0
