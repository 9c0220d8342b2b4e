"""Faults: what they take away, how routes go round them, what they leave symmetric, and what is refused."""

from __future__ import annotations

import itertools
import math
import pickle
import random

import numpy as np
import pytest

from simulator.spec.errors import InputError, TopologyError
from tests.topologies.machines import MACHINES, TWO_DIES, loads, machine, tier, whole
from topologies.fabric import Defect
from topologies.faults import ChipFault, LinkFault
from topologies.naming import link_name, links_named
from topologies.symmetry import check_routing, check_symmetries, coordinate_classes, generators
from topologies.system import load

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
    strides = np.cumprod([1] + [dimension.size for dimension in fabric.dimensions][:-1]).tolist()
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


FAULTY = [name for name in MACHINES if name != "one switch"]


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


CABINETS = "boards, cabinets, pod"


def test_a_dead_chip_is_excluded_and_nothing_passes_it():
    fabric = whole("mesh 4x4").with_faults([{"chip": 5, "speed": 0}])
    assert fabric.dead == {5} and 5 not in fabric.alive.tolist() and len(fabric.alive) == 15
    assert fabric.ranks == 16 and fabric.defects == (Defect("chip", (5,), 0.0),)
    total = np.zeros(len(fabric.tail))
    for source in fabric.alive.tolist():
        for target in fabric.alive.tolist():
            route = fabric.router(source, target)
            np.add.at(total, route.links, route.fraction)
    assert not total[(fabric.tail == 5) | (fabric.head == 5)].any()
    for pair in ((5, 0), (0, 5)):
        with pytest.raises(TopologyError, match="a dead chip neither sends nor receives"):
            fabric.router(*pair)


def test_a_slow_chip_keeps_its_links_and_its_routes():
    fabric = whole("mesh 4x4")
    slow = fabric.with_faults([{"chip": 3, "speed": 0.8}])
    assert slow.speed is not None and slow.speed.tolist() == [1.0] * 3 + [0.8] + [1.0] * 12
    assert slow.router is fabric.router and (slow.capacity == fabric.capacity).all() and not slow.dead
    assert [len(set(classes.tolist())) for classes in coordinate_classes(slow)] == [2, 2]


def test_a_chip_is_all_its_dies_and_a_box_all_its_chips():
    dies = machine(TWO_DIES, box=tier("switch", 3)).fabric().with_faults([{"chip": 1, "speed": 0.5}])
    assert dies.speed is not None and dies.speed.tolist() == [1, 1, 0.5, 0.5, 1, 1]
    one = machine(TWO_DIES, box=tier("switch", 3)).fabric().with_faults([{"chip": "chip1.die1", "speed": 0.5}])
    assert [defect.nodes for defect in one.defects] == [(3,)]
    fabric = whole(CABINETS)
    board = fabric.with_faults([{"chip": "cabinet2.board1", "speed": 0.5}])
    names = {fabric.node_name(defect.nodes[0]) for defect in board.defects}
    assert names == {f"cabinet2.board1.chip{chip}" for chip in range(3)}
    # All chips of the board are alike: the swaps of chips are left, board 1 and cabinet 2 are classes of their own.
    assert [len(set(classes.tolist())) for classes in coordinate_classes(board)][:3] == [1, 2, 2]


def test_a_dead_switch_takes_its_share_of_the_planes_away():
    fabric = whole("one switch").with_faults([{"switch": "box0.switch1"}])
    route = fabric.router(0, 5)
    assert route.fraction.tolist() == [0.5] * 4
    assert {fabric.node_name(int(node)) for node in fabric.head[route.links] if node >= 6} == {"box0.switch0", "box0.switch2"}
    assert [classes.tolist() for classes in coordinate_classes(fabric)] == [[0] * 6, [0, 1, 0]]


def test_a_dead_plane_is_all_its_leaves_and_spines():
    fabric = whole("three-level Clos").with_faults([{"plane": "plane1"}])
    assert {fabric.node_kind[node] for node in fabric.dead} == {"fabric-leaf", "fabric-spine", "fabric-core"}
    assert all("plane1" in fabric.node_name(node) for node in fabric.dead)
    route = fabric.router(0, 23)
    assert not any("plane1" in fabric.node_name(int(node)) for node in fabric.head[route.links])
    rail = whole("rails, a plane each").with_faults([{"plane": "rails0.rail2"}])
    assert len(rail.dead) == 2 + 2
    # Chip 2 of a box reaches other boxes over its neighbours' rails, three hops where there were two.
    way = rail.router(2, 6)
    assert (rail.capacity[way.links] > 0).all() and rail.tiers[int(rail.link_tier[way.links[0]])].name == "box"


def test_a_degraded_switch_has_less_of_each_link():
    fabric = whole("one switch")
    slow = fabric.with_faults([{"switch": "box0.switch1", "capacity": 0.25}, {"link": "chip0->box0.switch1", "capacity": 0.5}])
    ratio = slow.capacity / fabric.capacity
    assert sorted(set(ratio.tolist())) == [0.125, 0.25, 1.0] and (ratio == 0.125).sum() == 1 and (ratio == 0.25).sum() == 11
    assert slow.router is fabric.router and not slow.dead


def test_both_directions_at_once():
    fabric = whole("mesh 4x4")
    both = fabric.with_faults([{"link": "row0.chip1<->row0.chip2", "capacity": 0.5}])
    one = fabric.with_faults([{"link": "row0.chip1->row0.chip2", "capacity": 0.5}])
    assert (both.capacity != fabric.capacity).sum() == 2 and (one.capacity != fabric.capacity).sum() == 1
    # With both directions slow the two chips may change places; with one they may not.
    assert coordinate_classes(both)[0].tolist() == [0, 1, 1, 0]
    assert coordinate_classes(one)[0].tolist() == [0, 1, 2, 0]


def test_two_faults_that_mirror_each_other_leave_their_swap():
    fabric = whole("mesh 4x4").with_faults([{"chip": 0, "speed": 0.5}, {"chip": 1, "speed": 0.5}])
    assert [classes.tolist() for classes in coordinate_classes(fabric)] == [[0, 0, 1, 1], [0, 1, 1, 1]]
    unlike = whole("mesh 4x4").with_faults([{"chip": 0, "speed": 0.5}, {"chip": 1, "speed": 0.6}])
    assert coordinate_classes(unlike)[0].tolist() == [0, 1, 2, 2]


def test_of_a_ring_the_shift_that_the_defects_share_is_left():
    ring = machine(row=tier("torus", 12)).fabric()
    assert coordinate_classes(ring)[0].tolist() == [0] * 12
    opposite = ring.with_faults([{"chip": 1, "speed": 0.5}, {"chip": 7, "speed": 0.5}])
    assert coordinate_classes(opposite)[0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert check_symmetries(opposite) == 1
    assert check_symmetries(ring.with_faults([{"chip": 1, "speed": 0.5}])) == 0


def test_a_dead_link_of_a_ring_sends_its_flows_the_other_way_round():
    ring = machine(row=tier("torus", 8)).fabric().with_faults([{"link": "chip2->chip3", "capacity": 0}])
    assert ring.router(2, 3).links.tolist() == [8 + joint for joint in (1, 0, 7, 6, 5, 4, 3)]
    # Of a tie the half that is cut joins the other.
    assert len(ring.router(0, 4).links) == 4 and ring.router(0, 4).fraction.tolist() == [1.0] * 4


def test_a_detour_stays_in_the_smallest_box_that_has_one():
    """Two chips of a board of three whose link is dead meet over the third chip, not over the pod's switches, which are as near."""
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


def test_what_is_cut_off_is_said():
    fabric = whole("rails, a plane each")
    links = ("box1.chip0<->box1.switch0", "box1.chip0<->rails0.rail0.leaf0")
    with pytest.raises(TopologyError, match=r"no way is left from box0.chip0 to 1 of the 23 other devices \(got box1.chip0\)"):
        fabric.with_faults([{"link": link, "capacity": 0} for link in links])
    with pytest.raises(TopologyError, match=r"to 20 of the 23 other devices .*and 15 more.*make the chips that are cut off dead"):
        fabric.with_faults([{"plane": f"rails0.rail{rail}"} for rail in range(4)])
    with pytest.raises(TopologyError, match="no chip is left alive"):
        whole("one switch").with_faults([{"chip": chip, "speed": 0} for chip in range(6)])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"link": "row0.chip0->row1.chip1", "capacity": 0}, "there is no such link"),
        ({"link": "row0.chip0", "capacity": 0}, "a link is written tail->head"),
        ({"link": "row0.chip0->row9.chip0", "capacity": 0}, "no node of this fabric has that name"),
        ({"link": "row0.chip0->row0.chip1"}, "capacity"),
        ({"link": "row0.chip0->row0.chip1", "capacity": 1.5}, "capacity"),
        ({"chip": 16, "speed": 0.5}, "chips 0 to 15"),
        ({"chip": "cabinet3", "speed": 0.5}, "no node of this fabric has that name"),
        ({"chip": 1, "capacity": 0.5}, "speed: is missing"),
        ({"switch": "row0.chip1"}, "is a chip, not a switch"),
        ({"plane": "plane1"}, "no node of this fabric has that name"),
        ({"rack": 1}, "one link, chip, switch or plane"),
        ({"chip": 1, "switch": "x0"}, "one link, chip, switch or plane"),
    ],
)
def test_faults_that_are_none_are_refused(fault, message):
    with pytest.raises(InputError, match=message):
        whole("mesh 4x4").with_faults([fault])


def test_a_fault_is_named_once():
    with pytest.raises(TopologyError, match="named once"):
        whole("mesh 4x4").with_faults([{"chip": 1, "speed": 0.5}, {"chip": "row0.chip1", "speed": 0.5}])
    with pytest.raises(TopologyError, match="a plane is of one tier"):
        whole(CABINETS).with_faults([{"plane": "switch0"}])


def test_no_fault_changes_nothing():
    fabric = whole("mesh 4x4")
    assert fabric.with_faults([]) is fabric
    assert fabric.with_faults([LinkFault(link=link_name(fabric, 0), capacity=1.0), ChipFault(chip=1, speed=1.0)]) is fabric


def test_faults_add_up_and_the_fabric_is_left_as_it_was():
    fabric = whole("two-level Clos")
    before = fabric.capacity.copy()
    once = fabric.with_faults([{"switch": "pod0.plane0.spine0"}])
    twice = once.with_faults([{"switch": "pod0.plane1.spine0"}, {"chip": 2, "speed": 0.5}])
    together = fabric.with_faults(
        [{"switch": "pod0.plane0.spine0"}, {"switch": "pod0.plane1.spine0"}, {"chip": 2, "speed": 0.5}]
    )
    assert (fabric.capacity == before).all() and not fabric.defects
    assert twice.defects == together.defects and (twice.capacity == together.capacity).all()
    ours, theirs = twice.router(0, 11), together.router(0, 11)
    assert (ours.links == theirs.links).all() and (ours.fraction == theirs.fraction).all()
    with pytest.raises(ValueError, match="read-only"):
        twice.capacity[0] = 1.0


def test_a_faulty_fabric_travels_to_worker_processes():
    faulty = whole("mesh 4x4").with_faults([{"link": "row0.chip0->row0.chip1", "capacity": 0}])
    again = pickle.loads(pickle.dumps(faulty))
    assert again.router(0, 1).links.tolist() == faulty.router(0, 1).links.tolist()


@pytest.mark.parametrize(
    ("name", "chips", "faults"),
    [
        ("atlas-950-superpod-8192", 512, [{"link": "cabinet3.board2.chip1->cabinet3.position1.switch0", "capacity": 0.5}]),
        ("atlas-950-superpod-8192", 8192, [{"link": "cabinet3.board2.chip1->cabinet3.position1.switch0", "capacity": 0}]),
        ("atlas-950-superpod-8192", 8192, [{"plane": "superpod0.switch2"}, {"chip": 17, "speed": 0.8}]),
        ("cloudmatrix384", 384, [{"plane": "superpod0.plane2"}]),
        ("dgx-h100", 512, [{"plane": "infiniband0.rail5"}]),
        ("tpu-v5p", 4096, [{"link": "z3.y2.x1<->z3.y2.x2", "capacity": 0}]),
        ("mi250x-frontier", 2048, [{"link": "slingshot0.group2.router7->slingshot0.group2.router8", "capacity": 0}]),
    ],
)
def test_faults_of_presets(name, chips, faults):
    system = load(name)
    fabric = system.fabric(chips).with_faults(faults)
    chance = random.Random(name)
    for _ in range(30):
        source, target = chance.sample(range(fabric.ranks), 2)
        route = fabric.router(source, target)
        assert (fabric.capacity[route.links] > 0).all()
        assert route.fraction[fabric.tail[route.links] == source].sum() == pytest.approx(1.0)


def test_the_only_router_of_a_chip_is_missed():
    """The nodes under a dead Slingshot switch keep their own mesh, and nothing else."""
    with pytest.raises(TopologyError, match="no way is left from node0.chip0.die0 to 32 of the 4095 other devices"):
        load("mi250x-frontier").fabric(2048).with_faults([{"switch": "slingshot0.group2.router7"}])
