"""Spare chips in the place of dead ones: who goes where, over which links, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import topologies
from simulator.network.orbits import Orbits
from simulator.network.placement import SubDimension
from simulator.spec.errors import NotModelled, TopologyError
from topologies.batch import loads, routes
from topologies.fabric import Fabric
from topologies.spares import on_spares
from topologies.symmetry import check_routing, check_symmetries, generators

CASES = {
    "one switch": ("gb200-nvl72", 64, 64, (5,)),
    "two racks": ("gb200-nvl72", 128, 64, (5, 70)),
    "servers, one dead twice": ("dgx-h100", 64, None, (5, 9, 12)),
    "beyond the leaf": ("dgx-h100", 512, None, (5, 77)),
    "dies": ("cloudmatrix384", 64, None, (3,)),
    "boards of meshes": ("atlas-950-superpod-8192", 256, None, (3, 77)),
    "the next cabinet": ("atlas-950-superpod-1024", 64, None, (13,)),
    "a mesh of racks": ("ub-mesh", 128, None, (3,)),
    "dual planes": ("hpn7", 128, None, (3, 50)),
    "the whole job": ("dgx-h100", 8, None, (5,)),
}


def stand(system: str, chips: int, each: int | None, dead: tuple[int, ...]) -> tuple[Fabric, Fabric, tuple[str, ...]]:
    """The job's machine with its dead chips, the one that runs, and what is said about it."""
    machine = topologies.load(system)
    broken = machine.fabric(chips, each).with_faults([{"chip": chip, "speed": 0} for chip in dead])
    return broken, *on_spares(machine, broken, machine.units(chips, each))


@pytest.mark.parametrize("case", CASES)
def test_what_symmetries_are_left_is_so_on_the_arrays(case: str) -> None:
    """Every swap that is still declared takes links to links and routes to routes, and link classes are as large as they say."""
    _, standing, _ = stand(*CASES[case])
    found = list(generators(standing))
    assert check_symmetries(standing) == len(found)
    rng = np.random.default_rng(7)
    for generator in found[:: max(1, len(found) // 12)]:
        source, target = rng.choice(standing.ranks, 2, replace=False).tolist()
        check_routing(standing, generator, source, target)
    parts, unit = [], 1
    for index, dimension in enumerate(standing.dimensions):
        parts.append(SubDimension(dimension.name, index, 1, dimension.size, dimension.symmetry, 0 if dimension.hidden else unit))
        unit *= 1 if dimension.hidden else dimension.size
    orbits = Orbits(standing, parts)
    orbits.check()
    assert int(orbits.rank_class_sizes.sum()) == standing.ranks


@pytest.mark.parametrize("case", CASES)
def test_ranks_that_stay_are_where_they_were(case: str) -> None:
    """Same names, same routes between them link by link; none of a dead chip, and every rank on a chip of its own."""
    broken, standing, _ = stand(*CASES[case])
    moved = {defect.nodes[0] for defect in standing.defects if defect.kind == "moved"}
    stayed = [rank for rank in range(broken.ranks) if rank not in moved]
    assert all(standing.node_name(rank).endswith(broken.node_name(rank)) for rank in stayed)
    assert {node for node in broken.dead if node < broken.ranks} <= moved
    assert len({standing.node_name(rank) for rank in range(standing.ranks)}) == standing.ranks
    assert not standing.dead & set(range(standing.ranks))
    for one, other in zip(stayed[:3], reversed(stayed), strict=False):
        if one != other:
            here, there = broken.router(one, other), standing.router(one, other)
            assert here.latency == there.latency
            assert sorted(here.fraction.tolist()) == pytest.approx(sorted(there.fraction.tolist()))


def test_a_spare_under_the_same_switch_changes_no_route() -> None:
    """64 chips of a rack of 72: the spare one has the links that the dead one had, and its ways are as long."""
    broken, standing, (said,) = stand(*CASES["one switch"])
    assert standing.node_name(5) == "chip64" and standing.node_number("chip64") == 5
    assert said == "chip5 is dead: its rank runs on the spare chip64, in the same rack"
    whole = topologies.load("gb200-nvl72").fabric(64, 64)
    assert standing.router(5, 9).latency == whole.router(5, 9).latency
    assert standing.capacity[standing.router(5, 9).links].tolist() == whole.capacity[whole.router(5, 9).links].tolist()
    assert broken.ranks == standing.ranks == 64


def test_a_board_in_another_cabinet_is_reached_over_the_tier_between() -> None:
    """Its own chips stay together; to its old neighbours the way leads over the SuperPoD's switches."""
    _, standing, (said,) = stand(*CASES["the next cabinet"])
    tiers = [standing.tiers[tier].name for tier in standing.link_tier]
    within = {tiers[link] for link in standing.router(8, 15).links}
    across = {tiers[link] for link in standing.router(8, 16).links}
    assert within == {"board"}
    assert "superpod" in across
    assert "all 8 ranks of board1" in said and "cabinet1.board1" in said and "7 chips that work stand idle" in said


def test_routes_of_many_are_the_routes_of_each() -> None:
    """In bulk, and as loads on links, ranks that moved are led as one by one."""
    _, standing, _ = stand(*CASES["boards of meshes"])
    rng = np.random.default_rng(3)
    pairs = np.unique(rng.integers(0, standing.ranks, (60, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    sources, targets = pairs[:, 0], pairs[:, 1]
    expected = np.zeros(len(standing.tail))
    for source, target in pairs.tolist():
        route = standing.router(source, target)
        np.add.at(expected, route.links, route.fraction)
    found = routes(standing.router, sources, targets)
    total, _ = loads(standing.router, sources, targets, np.ones(len(pairs)), len(standing.tail))
    bulk = np.bincount(found.link, weights=found.fraction, minlength=len(standing.tail))
    assert bulk == pytest.approx(expected) and total == pytest.approx(expected)


def test_other_faults_stay_where_they_are() -> None:
    """A weak link and a slow chip beside the dead one are on the same links and chips in the machine that runs."""
    machine = topologies.load("dgx-h100")
    weak = {"link": "server1.chip3->server1.switch0", "capacity": 0.5}
    broken = machine.fabric(32).with_faults(
        [{"chip": 5, "speed": 0}, weak, {"chip": 20, "speed": 0.8}, {"chip": 3, "speed": 0.5}]
    )
    standing, _ = on_spares(machine, broken, machine.units(32))
    assert standing.speed is not None and standing.speed[20] == 0.8
    assert standing.speed[3] == 1.0  # that chip was of the server that was exchanged
    link = [
        at
        for at in range(len(standing.tail))
        if f"{standing.node_name(int(standing.tail[at]))}->{standing.node_name(int(standing.head[at]))}" == weak["link"]
    ]
    whole = machine.fabric(32)
    assert standing.capacity[link].tolist() == [0.5 * float(whole.capacity[whole.router(11, 12).links].max())]


def test_a_machine_without_spares_says_how_many_chips_to_ask_for() -> None:
    """All chips of the largest machine: one unit of the outermost tier fewer leaves room."""
    machine = topologies.load("dgx-h100").with_overrides({"tiers.infiniband.size": 4})
    broken = machine.fabric(32).with_faults([{"chip": 5, "speed": 0}])
    with pytest.raises(TopologyError, match=r"server0.chip5 is dead, .* leaves no spare .* Ask for 24 chips"):
        on_spares(machine, broken, machine.units(32))
    fewer = machine.fabric(24).with_faults([{"chip": 5, "speed": 0}])
    assert on_spares(machine, fewer, machine.units(24))[1]


def test_a_torus_has_no_place_beside_the_job() -> None:
    """A slice closes on itself; with a spare in it, it would be another machine."""
    machine = topologies.load("tpu-v5p")
    broken = machine.fabric(64).with_faults([{"chip": 7, "speed": 0}])
    with pytest.raises(NotModelled, match="no spare place beside a job of 64 chips"):
        on_spares(machine, broken, machine.units(64))


def test_a_sound_machine_is_left_alone() -> None:
    """Without dead chips it is the same object, and nothing is said."""
    machine = topologies.load("dgx-h100")
    slow = machine.fabric(16).with_faults([{"chip": 5, "speed": 0.5}])
    assert on_spares(machine, slow, machine.units(16)) == (slow, ())


def test_a_board_that_moved_may_be_nearer_than_it_was_by_hand() -> None:
    """Of 16 that all send each other a share two are on every link of a board beside its neighbour, one where it has moved.

    Beside it, half of what goes to another place of the other board crosses the own board first, half the other: 1 + 1/2 + 1/2
    on a link of 56 GB/s, 8 on a way to the cabinet's switch. From another cabinet 8 shares come straight over seven planes.
    """
    _, standing, (said,) = stand("atlas-950-superpod-8192", 64, None, (0,))
    assert "board0 run on the spare cabinet1.board0, joined to the others over superpod" in said

    def busiest(fabric: Fabric) -> dict[str, float]:
        """Most shares on any link of each tier."""
        pairs = np.array([(source, target) for source in range(16) for target in range(16) if source != target])
        total, _ = loads(fabric.router, pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), len(fabric.tail))
        tiers = {tier.name: total[fabric.link_tier == index] for index, tier in enumerate(fabric.tiers)}
        return {name: float(found.max()) for name, found in tiers.items() if found.any()}

    assert busiest(topologies.load("atlas-950-superpod-8192").fabric(64)) == pytest.approx({"board": 2.0, "cabinet": 8.0})
    assert busiest(standing) == pytest.approx({"board": 1.0, "superpod": 8.0 / 7})
