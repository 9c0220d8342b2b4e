"""The fluid against store and forward, chunk by chunk, on the same routes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from simulator.network.blocks import GROUP, Blocks
from simulator.network.chunks import LIMIT, Message, chunked_time, in_proportion, paths
from simulator.network.collectives.choice import ALGORITHMS
from simulator.network.drain import drain
from simulator.network.fold import Fold, scale_up_domain
from simulator.spec.errors import NotModelled
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.systems import FABRICS
from tests.topologies.machines import whole
from topologies.fabric import Fabric
from topologies.system import load

MACHINES = {
    "dgx-h100, 4 servers": lambda: load("dgx-h100").fabric(32),
    "h800-8, 2 servers": lambda: load("h800-8").fabric(16),
    "atlas-800t-a2, 4 servers": lambda: load("atlas-800t-a2").fabric(32),
    "atlas-950, a board": lambda: load("atlas-950-superpod-8192").fabric(8),
    "gb200-nvl72, part": lambda: load("gb200-nvl72").fabric(18),
}
SMALL = (
    "two-level Clos",
    "three-level Clos",
    "Clos over cabinets",
    "mesh under aligned switches",
    "torus 4x3",
    "boards in a torus",
    "dragonfly over nodes",
    "rails over a mesh",
    "rails in two planes",
    "rails in two planes, shared spines",
    "UB-Mesh",
)
SHAPES = {**FABRICS, **MACHINES, **{name: partial(whole, name) for name in SMALL}}
# Where a link carries few chunks in all, the first one's way through is more than 1% of them; where every stage on the way is
# equally full, chunks queue for each other, the less the smaller they are.
MORE_CHUNKS = {
    "mesh 8": 128,
    "gb200-nvl72, part": 144,
    "two-level Clos": 128,
    "three-level Clos": 128,
    "rails in two planes": 128,
    "rails in two planes, shared spines": 1024,
    "UB-Mesh": 256,
}


def against_chunks(fabric: Fabric, collective: str, algorithm: str, chunks: int = 64) -> float:
    """Seconds of the fluid over seconds of the chunks, phase after phase."""
    blocks = Blocks(fabric.ranks, fabric.ranks)
    call = communication(collective, GROUP, 1e6)
    ordered = (GROUP,) if algorithm == "ring" else ()
    fold = Fold(fabric, blocks, algorithms={collective: algorithm}, ordered=ordered)
    operation = fold.collective(0, call)
    members = np.arange(fabric.ranks)
    patterns = [ALGORITHMS[algorithm](members, rank, call, scale_up_domain(fabric)) for rank in range(fabric.ranks)]
    fluid = single = 0.0
    for index, phase in enumerate(operation.phases):
        fluid += drain(phase, fold.link_classes)[0]
        messages = [
            Message(rank, peer, exchange.payload)
            for rank, pattern in enumerate(patterns)
            for exchange in pattern.phases[index]
            for peer in exchange.peers.tolist()
        ]
        single += chunked_time(fabric, messages, chunks)
    return fluid / single


@pytest.mark.parametrize("name", SHAPES)
def test_an_all_to_all_is_within_one_percent_from_64_chunks_a_flow_on(name: str) -> None:
    chunks = MORE_CHUNKS.get(name, 64)
    assert against_chunks(SHAPES[name](), "all-to-all", "direct", chunks) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["rails 4x4", "clos 4x4", "dgx-h100, 4 servers", "h800-8, 2 servers"])
@pytest.mark.parametrize("algorithm", ["rings", "tree", "hierarchical", "hierarchical-serial"])
def test_an_all_reduce_over_several_domains_is_too(name: str, algorithm: str) -> None:
    assert against_chunks(SHAPES[name](), "all-reduce", algorithm, 128) == pytest.approx(1.0, abs=0.01)


def test_more_chunks_come_closer() -> None:
    """What is left is the pipeline of store and forward, a few chunks long."""
    fabric = fabrics.clos(4, 4, 1.0, 2.0)
    errors = [1.0 - against_chunks(fabric, "all-to-all", "direct", chunks) for chunks in (4, 16, 64)]
    assert errors[0] > errors[1] > errors[2] >= 0.0


def test_two_chunks_over_two_hops_take_three_chunk_times() -> None:
    fabric = fabrics.star(2, 4.0)
    assert chunked_time(fabric, [Message(0, 1, 8.0)], chunks=2) == pytest.approx(3 * 4.0 / 4.0)


def test_paths_share_out_what_the_route_carries() -> None:
    fabric = fabrics.mesh((4, 4), (1.0, 0.7))
    ways = paths(fabric, 0, 10)
    assert [share for share, _ in ways] == pytest.approx([0.5, 0.5])
    route = fabric.router(0, 10)
    carried = {link: sum(share for share, way in ways if link in way) for link in route.links.tolist()}
    assert list(carried.values()) == pytest.approx(route.fraction.tolist())


def test_chunks_take_paths_in_proportion() -> None:
    taken = in_proportion([0.5, 0.3, 0.2], 100, 2)
    assert [taken.count(path) for path in range(3)] == [50, 30, 20]


def test_it_is_for_small_systems() -> None:
    with pytest.raises(NotModelled, match="too many"):
        chunked_time(fabrics.star(LIMIT + 1), [Message(0, 1, 1.0)])
