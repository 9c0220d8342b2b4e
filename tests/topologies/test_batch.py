"""Routes of many flows at once are the routes of one flow after the other."""

from __future__ import annotations

import itertools
from contextlib import suppress
from time import process_time

import numpy as np
import pytest

from simulator.spec.errors import TopologyError
from tests.topologies.machines import MACHINES, whole
from topologies import around
from topologies.batch import loads, moved, routes, rows_over
from topologies.fabric import Fabric
from topologies.naming import link_name
from topologies.system import load

SMALL = [name for name, machine in MACHINES.items() if machine.chips <= 50]


def alike(fabric: Fabric) -> None:
    """Same fraction on every link of every pair, same latency."""
    pairs = np.array(list(itertools.permutations(fabric.alive.tolist(), 2)), dtype=np.int64)
    together = routes(fabric.router, pairs[:, 0], pairs[:, 1])
    links = len(fabric.tail)
    found = np.bincount(together.flow * links + together.link, weights=together.fraction, minlength=len(pairs) * links)
    for flow, (source, target) in enumerate(pairs.tolist()):
        route = fabric.router(source, target)
        expected = np.bincount(route.links, weights=route.fraction, minlength=links)
        assert np.allclose(found[flow * links : (flow + 1) * links], expected, rtol=0, atol=1e-12)
        assert together.latency[flow] == pytest.approx(route.latency, rel=1e-12)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("routing", ["spray", "dimension-order"])
def test_whole_machines(name: str, routing: str) -> None:
    alike(whole(name, routing))


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
def test_machines_with_dead_links_and_chips(routing: str) -> None:
    for name in ("mesh 2x3x4x2", "boards, cabinets, pod"):
        fabric = whole(name, routing)
        link = f"{fabric.node_name(int(fabric.tail[0]))}->{fabric.node_name(int(fabric.head[0]))}"
        alike(fabric.with_faults([{"link": link, "capacity": 0}, {"chip": 5, "speed": 0}]))


@pytest.mark.parametrize("paths", [1, 5])
@pytest.mark.parametrize("name", [*SMALL, "boards, cabinets, pod"])
def test_hashed_ways(name: str, paths: int) -> None:
    """The same choice at every turn, whole and where some of the ways have died."""
    fabric = whole(name, {"hash": {"paths": paths, "seed": -3}})
    alike(fabric)
    tail, head = fabric.node_name(int(fabric.tail[0])), fabric.node_name(int(fabric.head[0]))
    with suppress(TopologyError):  # where a chip has one link
        alike(fabric.with_faults([{"link": f"{tail}->{head}", "capacity": 0}, {"chip": 3, "speed": 0}]))


def test_hashed_ways_of_a_supernode_take_seconds_not_minutes() -> None:
    """768 dies send each other something over 112 ways each: looked at one by one that took 146 s."""
    fabric = load("cloudmatrix384").fabric(384, routing={"hash": {"paths": 1, "seed": 1}})
    sources, targets = np.divmod(np.arange(768 * 24, dtype=np.int64), 768)
    apart = sources != targets
    begin = process_time()
    routes(fabric.router, sources[apart], targets[apart])
    assert process_time() - begin < 2.0


def test_nobody_goes_nowhere() -> None:
    fabric = whole("mesh 4x4", "spray")
    none = np.empty(0, dtype=np.int64)
    assert len(routes(fabric.router, none, none).link) == 0
    here = np.array([3], dtype=np.int64)
    assert len(routes(fabric.router, here, here).link) == 0


@pytest.mark.parametrize("room", [200, around.LEGS])
@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
def test_what_the_dead_move_is_the_difference_of_both_loads(routing: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead ends send nothing; whatever the number of legs that are looked at together."""
    monkeypatch.setattr(around, "LEGS", room)
    rng = np.random.default_rng(3)
    for name in ("mesh 2x3x4x2", "boards, cabinets, pod")[: 1 if routing == "minimal" else 2]:
        fabric = whole(name, routing)
        links = len(fabric.tail)
        broken = fabric.with_faults([{"link": link_name(fabric, 0), "capacity": 0}, {"chip": 5, "speed": 0}])
        pairs = np.array(list(itertools.permutations(range(fabric.ranks), 2)), dtype=np.int64)
        weight = rng.uniform(0.5, 2.0, len(pairs))
        left = ~np.isin(pairs, sorted(broken.dead)).any(axis=1)
        found, longest = moved(broken.router, pairs[:, 0], pairs[:, 1], weight, links)
        before, _ = loads(fabric.router, pairs[:, 0], pairs[:, 1], weight, links)
        after, hop = loads(broken.router, pairs[left, 0], pairs[left, 1], weight[left], links)
        assert np.allclose(found, after - before, rtol=0, atol=1e-11 * before.max())
        assert longest == pytest.approx(hop, rel=1e-12)


@pytest.mark.parametrize(("routing", "name"), [*itertools.product(("spray", "dimension-order"), SMALL), ("minimal", "mesh 4x4")])
def test_rows_over_wanted_links_are_those_of_all_rows(name: str, routing: str) -> None:
    """Links of one tier, and of two."""
    fabric = whole(name, routing)
    pairs = np.array(list(itertools.permutations(range(fabric.ranks), 2)), dtype=np.int64)
    every = routes(fabric.router, pairs[:, 0], pairs[:, 1])
    rng = np.random.default_rng(0)
    for number in (1, 2):
        tiers = rng.permutation(np.unique(fabric.link_tier))[:number].tolist()
        wanted = np.isin(fabric.link_tier, tiers) & (rng.random(len(fabric.tail)) < 0.3)
        flow, link = rows_over(fabric.router, pairs[:, 0], pairs[:, 1], tiers, wanted)
        some = wanted[every.link]
        expected = sorted(zip(every.flow[some].tolist(), every.link[some].tolist(), strict=True))
        assert sorted(zip(flow.tolist(), link.tolist(), strict=True)) == expected
