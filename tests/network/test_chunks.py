"""The fluid against store and forward, chunk by chunk, on the same routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from simulator.network.blocks import GROUP, Blocks
from simulator.network.chunks import LIMIT, Message, chunked_limit, chunked_time, in_proportion, paths
from simulator.network.collectives.choice import ALGORITHMS
from simulator.network.drain import drain
from simulator.network.fold import Fold, scale_up_domain
from simulator.spec.errors import NotModelled
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.faulty import hurt
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
    "cloudmatrix384, 2 servers, 112 ways a flow": lambda: load("cloudmatrix384").fabric(16),
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
WORST = "rails in two planes, shared spines"


Oracle = Callable[[Fabric, Sequence[Message], int], float]


def against_chunks(fabric: Fabric, collective: str, algorithm: str, chunks: int = 64, oracle: Oracle = chunked_limit) -> float:
    """Seconds of the fluid over seconds of the chunks, phase after phase."""
    blocks = Blocks(fabric.ranks, fabric.ranks)
    call = communication(collective, GROUP, 1e6)
    ordered = (GROUP,) if algorithm == "ring" else ()
    fold = Fold(fabric, blocks, algorithms={collective: algorithm}, ordered=ordered)
    operations = {made.key: made for rank in fold.rank_classes for made in [fold.collective(rank.key, call)]}
    (operation,) = operations.values()
    members = fabric.alive
    patterns = {rank: ALGORITHMS[algorithm](members, rank, call, scale_up_domain(fabric)) for rank in members.tolist()}
    fluid = single = 0.0
    for index, phase in enumerate(operation.phases):
        fluid += drain(phase, fold.link_classes)[0]
        messages = [
            Message(rank, peer, exchange.payload)
            for rank, pattern in patterns.items()
            for exchange in pattern.phases[index]
            for peer in exchange.peers.tolist()
        ]
        single += oracle(fabric, messages, chunks)
    return fluid / single


@pytest.mark.parametrize("name", SHAPES)
def test_an_all_to_all_is_within_one_percent_of_64_chunks_a_flow(name: str) -> None:
    assert against_chunks(SHAPES[name](), "all-to-all", "direct") == pytest.approx(1.0, abs=0.01)


FAULTY = (
    "mesh 4x4",
    "torus 4x4",
    "clos 4x4",
    "rails 4x4",
    "two-level Clos",
    "dragonfly over nodes",
    "UB-Mesh",
    "boards in a torus",
)


@pytest.mark.parametrize("name", FAULTY)
def test_so_it_is_on_a_faulty_machine(name: str) -> None:
    fabric = hurt(SHAPES[name](), "two" if len(name) % 2 else "one", seed=len(name))
    assert fabric.defects
    assert against_chunks(fabric, "all-to-all", "direct") == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["rails 4x4", "clos 4x4", "dgx-h100, 4 servers", "h800-8, 2 servers"])
@pytest.mark.parametrize("algorithm", ["rings", "tree", "hierarchical", "hierarchical-serial"])
def test_an_all_reduce_over_several_domains_is_too(name: str, algorithm: str) -> None:
    assert against_chunks(SHAPES[name](), "all-reduce", algorithm) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["mesh 8", "two-level Clos", "rails in two planes", WORST])
def test_what_the_chunks_add_halves_when_they_do(name: str) -> None:
    """The fill of the pipeline is in proportion to the size of a chunk, which is why the limit takes it out."""
    fabric = SHAPES[name]()
    errors = [1.0 - against_chunks(fabric, "all-to-all", "direct", chunks, chunked_time) for chunks in (32, 64, 128)]
    assert errors[0] > errors[1] > errors[2] >= 0.0
    assert [errors[0] / errors[1], errors[1] / errors[2]] == pytest.approx([2.0, 2.0], rel=0.2)


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
