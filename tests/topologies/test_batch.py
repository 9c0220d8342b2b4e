"""Routes of many flows at once are the routes of one flow after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.topologies.machines import MACHINES, whole
from topologies.batch import routes
from topologies.fabric import Fabric

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


def test_nobody_goes_nowhere() -> None:
    fabric = whole("mesh 4x4", "spray")
    none = np.empty(0, dtype=np.int64)
    assert len(routes(fabric.router, none, none).link) == 0
    here = np.array([3], dtype=np.int64)
    assert len(routes(fabric.router, here, here).link) == 0
