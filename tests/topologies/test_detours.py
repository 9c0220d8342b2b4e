"""Routes and loads on faulty machines: closed forms, flow conserved, what is left of the symmetry, how detours go."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from simulator.spec.errors import TopologyError
from tests.topologies.machines import MACHINES, loads, machine, tier, whole
from topologies.faults import LinkFault
from topologies.naming import link_name
from topologies.symmetry import check_routing, check_symmetries, generators

CUBE = ("a", "b", "c", "d")


def mesh(*sizes, routing="spray"):
    """An n-dimensional full mesh with links of 1 B/s."""
    tiers = {name: tier("mesh", size, f"{size - 1} B/s") for name, size in zip(CUBE, sizes, strict=False)}
    return machine(**tiers).fabric(math.prod(sizes), routing=routing)


def seconds(fabric, total):
    """The all-to-all of one byte a pair: the busiest link's load over its capacity."""
    live = fabric.capacity > 0
    assert not total[~live].any()
    return float((total[live] / fabric.capacity[live]).max())


def affected_loads(fabric, faulty, source, target, base):
    """Loads after a fault, from the loads before: only flows whose route used the dead link move.

    Those are the flows that agree with the link source->target in every dimension in which they do not leave it.
    """
    total = base.copy()
    sizes = [dimension.size for dimension in fabric.dimensions]
    place = fabric.coordinates
    dead = int(np.flatnonzero((fabric.tail == source) & (fabric.head == target))[0])
    moved = [i for i in range(len(sizes)) if place[source][i] != place[target][i]]
    assert len(moved) == 1
    devices = np.arange(fabric.ranks)
    starts = devices[place[devices, moved[0]] == place[source][moved[0]]]
    ends = devices[place[devices, moved[0]] == place[target][moved[0]]]
    others = [i for i in range(len(sizes)) if i != moved[0]]
    count = 0
    for start in starts.tolist():
        here = place[start] == place[source]
        for end in ends[((place[ends] == place[target]) | here)[:, others].all(axis=1)].tolist():
            before, after = fabric.router(start, end), faulty.router(start, end)
            assert dead in before.links and dead not in after.links
            np.subtract.at(total, before.links, before.fraction)
            np.add.at(total, after.links, after.fraction)
            count += 1
    return total, count


@pytest.mark.parametrize("routing", ["spray", "minimal"])
@pytest.mark.parametrize("dimension", [0, 1])
def test_loads_after_a_dead_link_by_moving_the_affected_flows_are_those_of_all_flows(dimension, routing):
    fabric = mesh(4, 3, 3, routing=routing)
    target = [1, 4][dimension]
    faulty = fabric.with_faults([{"link": f"{fabric.node_name(0)}->{fabric.node_name(target)}", "capacity": 0}])
    moved, count = affected_loads(fabric, faulty, 0, target, loads(fabric))
    np.testing.assert_allclose(moved, loads(faulty), atol=1e-12)
    assert 1 < count < fabric.ranks**2


def labels(coordinates, link_place):
    """0 where a coordinate is the tail's of the dead link, 1 where it is the head's, 2 elsewhere; tail and head agree: 0."""
    tail, head = link_place
    return np.where(coordinates == tail, 0, np.where(coordinates == head, 1, 2))


def folded_seconds(fabric, faulty, source, target):
    """The all-to-all after the link source->target died, by hand: pairs are alike that have, in every dimension, the same
    place against the link's and against each other; all links alike share what the flows of each class put on them.
    """
    ends = fabric.coordinates[[source, target]]
    tails, heads = (labels(fabric.coordinates[nodes], ends) for nodes in (fabric.tail, fabric.head))
    keys = np.concatenate((tails, heads, (fabric.coordinates[fabric.tail] == fabric.coordinates[fabric.head])), axis=1)
    code = keys @ (3 ** np.arange(keys.shape[1]))
    classes, sizes = np.unique(code, return_counts=True)
    carried = np.zeros(len(classes))
    choices = []
    for (here, there), dimension in zip(ends.T.tolist(), fabric.dimensions, strict=True):
        rest = [c for c in range(dimension.size) if c not in (here, there)]
        named = sorted({here, there})
        pairs = [(a, b, 1) for a in named for b in named]
        pairs += [(a, rest[0], len(rest)) for a in named] + [(rest[0], a, len(rest)) for a in named]
        pairs += [(rest[0], rest[0], len(rest)), (rest[0], rest[1], len(rest) * (len(rest) - 1))]
        choices.append(pairs)
    strides = np.cumprod([1, *[dimension.size for dimension in fabric.dimensions][:-1]]).tolist()
    flows = 0
    for pair in itertools.product(*choices):
        start = sum(a * stride for (a, _, _), stride in zip(pair, strides, strict=True))
        end = sum(b * stride for (_, b, _), stride in zip(pair, strides, strict=True))
        count = math.prod(n for _, _, n in pair)
        flows += count
        route = faulty.router(start, end)
        np.add.at(carried, np.searchsorted(classes, code[route.links]), count * route.fraction)
    assert flows == fabric.ranks**2
    return float((carried / sizes).max())


@pytest.mark.parametrize(("target", "expected"), [(1, 1024 * 1.0341389973958333), (512, 1041.4166666666667)])
def test_a_dead_link_of_the_8192_chip_mesh(target, expected):
    """One direction dead on 8 x 8 x 8 x 16, its flows over the equal-cost ways that are left: 1058.958333 seconds a byte
    where the dimension has 8 units, 1041.416667 where it has 16, against 1024.
    """
    fabric = mesh(8, 8, 8, 16)
    faulty = fabric.with_faults([{"link": f"{fabric.node_name(0)}->{fabric.node_name(target)}", "capacity": 0}])
    assert folded_seconds(fabric, faulty, 0, target) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("target", [1, 4])
def test_the_hand_fold_of_a_dead_link_is_every_flow_by_itself(target):
    fabric = mesh(4, 4, 3)
    faulty = fabric.with_faults([{"link": f"{fabric.node_name(0)}->{fabric.node_name(target)}", "capacity": 0}])
    total = loads(faulty)
    assert total[fabric.capacity != faulty.capacity] == 0
    assert folded_seconds(fabric, faulty, 0, target) == pytest.approx(total.max(), rel=1e-12)


def test_a_link_at_half_of_its_capacity_doubles_the_all_to_all():
    fabric = mesh(4, 4)
    name = link_name(fabric, 5)
    slow = fabric.with_faults([LinkFault(link=name, capacity=0.5)])
    assert slow.router is fabric.router
    assert seconds(slow, loads(slow)) == 2 * seconds(fabric, loads(fabric)) == 8.0


CABINETS = "boards, cabinets, pod"


def some_faults(fabric, chance, count):
    """Random links, chips and switches, some dead and some degraded."""
    found, named = [], set()
    while len(found) < count:
        kind = chance.choice(["link", "link", "chip", "switch"])
        left = chance.choice([0.0, 0.0, 0.25, 0.5])
        if kind == "link":
            fault = {"link": link_name(fabric, chance.randrange(len(fabric.tail))), "capacity": left}
        elif kind == "chip":
            fault = {"chip": chance.randrange(fabric.ranks // fabric.ranks_per_chip), "speed": left}
        else:
            switches = range(fabric.ranks, len(fabric.node_kind))
            if not switches:
                continue
            fault = {"switch": fabric.node_name(chance.choice(switches)), "capacity": left}
        key = str(fault[kind])
        if key not in named:
            named.add(key)
            found.append(fault)
    return found


def broken(fabric, chance, count):
    """The fabric with random faults that leave it in one piece."""
    for _ in range(20):
        try:
            return fabric.with_faults(some_faults(fabric, chance, count))
        except TopologyError as error:
            assert "no way is left" in str(error)  # noqa: PT017 - of random faults some cut a machine apart
    return None


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
@pytest.mark.parametrize("name", MACHINES)
def test_routes_on_a_faulty_machine_conserve_flow_and_use_nothing_dead(name, routing):
    chance = random.Random(f"{name} {routing}")
    for count in (1, 2, 4):
        fabric = broken(whole(name, routing), chance, count)
        if fabric is None:
            continue
        for _ in range(40):
            source, target = chance.sample(fabric.alive.tolist(), 2)
            route = fabric.router(source, target)
            net = np.zeros(len(fabric.node_kind))
            np.add.at(net, fabric.tail[route.links], route.fraction)
            np.subtract.at(net, fabric.head[route.links], route.fraction)
            net[source] -= 1
            net[target] += 1
            np.testing.assert_allclose(net, 0, atol=1e-12)
            assert (fabric.capacity[route.links] > 0).all()
            assert (route.fraction > 0).all()
            assert len(set(route.links.tolist())) == len(route.links)
            assert route.latency > 0


@pytest.mark.parametrize("routing", ["spray", "dimension-order", "minimal"])
@pytest.mark.parametrize("name", MACHINES)
def test_what_defects_leave_of_the_symmetry_holds_on_arrays_and_routes(name, routing):
    chance = random.Random(name)
    for count in (1, 2, 3):
        fabric = broken(whole(name, routing), chance, count)
        if fabric is None:
            continue
        assert check_symmetries(fabric) == len(list(generators(fabric)))
        for generator in generators(fabric):
            for _ in range(4):
                check_routing(fabric, generator, *chance.sample(fabric.alive.tolist(), 2))


def test_a_dead_link_of_a_ring_sends_its_flows_the_other_way_round():
    ring = machine(row=tier("torus", 8)).fabric().with_faults([{"link": "chip2->chip3", "capacity": 0}])
    assert ring.router(2, 3).links.tolist() == [8 + joint for joint in (1, 0, 7, 6, 5, 4, 3)]
    # Of a tie the half that is cut joins the other.
    assert len(ring.router(0, 4).links) == 4 and ring.router(0, 4).fraction.tolist() == [1.0] * 4


def test_a_detour_stays_in_the_smallest_box_that_has_one():
    """Two chips of a board of three whose link is dead meet over the third chip, not over the pod, which is as near."""
    fabric = whole(CABINETS)
    faulty = fabric.with_faults([{"link": "cabinet0.board0.chip0->cabinet0.board0.chip1", "capacity": 0}])
    route = faulty.router(0, 1)
    assert [faulty.tiers[int(tier)].name for tier in faulty.link_tier[route.links]] == ["board", "board"]
    assert route.latency == pytest.approx(2e-6)
    # Cut off from its whole board, a chip goes through the pod, not round the board.
    cut = fabric.with_faults([{"link": f"cabinet0.board0.chip0<->cabinet0.board0.chip{chip}", "capacity": 0} for chip in (1, 2)])
    names = {cut.tiers[int(tier)].name for tier in cut.link_tier[cut.router(0, 1).links]}
    assert names == {"cabinet", "board"}


def test_spray_keeps_the_steps_that_are_left_in_equal_parts():
    """With the direct first step along one dimension dead, a corner flow leaves along the other alone."""
    faulty = whole("mesh 4x4").with_faults([{"link": "row0.chip0->row0.chip1", "capacity": 0}])
    route = faulty.router(0, 5)
    ways = {(faulty.node_name(int(faulty.tail[link])), faulty.node_name(int(faulty.head[link]))) for link in route.links}
    assert ways == {("row0.chip0", "row1.chip0"), ("row1.chip0", "row1.chip1")}
    assert whole("mesh 4x4").router(0, 5).fraction.tolist() == [0.5] * 4


@pytest.mark.parametrize("faults", [1, 2, 3])
def test_pruned_sprays_of_a_mesh_are_equal_cost_multipath_over_what_is_left(faults):
    """Link by link, wherever the search finds ways as short as before."""
    chance = random.Random(faults)
    fabric = mesh(4, 3, 3)
    dead = [{"link": link_name(fabric, link), "capacity": 0} for link in chance.sample(range(len(fabric.tail)), faults)]
    sprayed = fabric.with_faults(dead)
    searched = mesh(4, 3, 3, routing="minimal").with_faults(dead)
    for source in range(fabric.ranks):
        for target in range(fabric.ranks):
            ours, theirs = sprayed.router(source, target), searched.router(source, target)
            assert dict(zip(ours.links.tolist(), ours.fraction.tolist(), strict=True)) == pytest.approx(
                dict(zip(theirs.links.tolist(), theirs.fraction.tolist(), strict=True))
            )
