"""Bytes on every link from symmetries, against every pair routed by itself."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.network.blocks import Blocks
from simulator.network.fold import scale_up_domain
from simulator.network.loads import direct_loads
from simulator.spec.errors import NotModelled
from tests.topologies.machines import machine, tier, whole
from topologies.fabric import Fabric, Floats

TORUS = machine(pod=tier("torus", 40, "60 GB/s", sides="5x4x2"))

FABRICS = {
    **{name: whole(name) for name in ("torus 4x3", "torus of dies over a Clos", "boards in a torus", "UB-Mesh")},
    **{name: whole(name) for name in ("dragonfly", "dragonfly over nodes", "mesh under aligned switches")},
    "rails": whole("rails, shared spine"),
    "torus 5x4x2": TORUS.fabric(),
    "torus 5x4x2, x first": TORUS.fabric(routing="dimension-order"),
    "torus 4x3, any shortest way": whole("torus 4x3", "minimal"),
}


def by_pair(fabric: Fabric, blocks: Blocks) -> tuple[Floats, float]:
    """What every link carries when every device alive sends one byte to every other of its group, and the longest latency."""
    total, hop = np.zeros(len(fabric.tail)), 0.0
    alive = set(fabric.alive.tolist())
    for source in alive:
        for target in alive.intersection(blocks.members("group", source).tolist()) - {source}:
            route = fabric.router(source, target)
            np.add.at(total, route.links, route.fraction)
            hop = max(hop, route.latency)
    return total, hop


def same(fabric: Fabric, blocks: Blocks) -> None:
    found = direct_loads(fabric, blocks, scale_up_domain(fabric))
    expected, hop = by_pair(fabric, blocks)
    assert np.allclose(found.payload, expected, rtol=1e-11, atol=1e-9)
    assert found.hop == pytest.approx(hop, rel=1e-12)


@pytest.mark.parametrize("name", FABRICS)
def test_whole_machines_and_groups_of_a_quarter_or_so(name: str) -> None:
    fabric = FABRICS[name]
    same(fabric, Blocks(fabric.ranks, fabric.ranks))
    size = next(size for size in range(fabric.ranks // 3, 0, -1) if fabric.ranks % size == 0)
    same(fabric, Blocks(fabric.ranks, size))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FABRICS)
def test_dead_and_degraded_links(name: str, seed: int) -> None:
    """One dead link, then two, one of them with another degraded."""
    fabric = FABRICS[name]
    rng = np.random.default_rng(seed)
    names = [
        f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"
        for link in rng.choice(len(fabric.tail), 3, replace=False).tolist()
    ]
    faults = [{"link": names[0], "capacity": 0}, {"link": names[1], "capacity": 0}, {"link": names[2], "capacity": 0.5}]
    for some in (faults[:1], faults):
        try:
            broken = fabric.with_faults(some)
        except ValueError:  # nothing is left to or from a device
            continue
        same(broken, Blocks(fabric.ranks, fabric.ranks))


@pytest.mark.parametrize("name", ["torus 4x3", "torus 5x4x2", "dragonfly", "boards in a torus"])
def test_a_dead_chip_neither_sends_nor_passes_on(name: str) -> None:
    fabric = FABRICS[name].with_faults([{"chip": 1, "speed": 0}])
    same(fabric, Blocks(fabric.ranks, fabric.ranks))
    with pytest.raises(NotModelled, match="unequal shares"):
        direct_loads(fabric, Blocks(fabric.ranks, fabric.ranks // 2), fabric.ranks)
