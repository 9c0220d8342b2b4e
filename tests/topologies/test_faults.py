"""Faults: what they take away, what they leave symmetric, and what is refused."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from simulator.spec.errors import InputError, TopologyError
from tests.topologies.machines import TWO_DIES, machine, tier, whole
from topologies.fabric import Defect
from topologies.faults import ChipFault, LinkFault
from topologies.naming import link_name
from topologies.symmetry import check_symmetries, coordinate_classes
from topologies.system import load

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
    together = fabric.with_faults([{"switch": "pod0.plane0.spine0"}, {"switch": "pod0.plane1.spine0"}, {"chip": 2, "speed": 0.5}])
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
    with pytest.raises(TopologyError, match=r"no way is left from node0\.chip0\.die0 to 32 of the 4095 other devices"):
        load("mi250x-frontier").fabric(2048).with_faults([{"switch": "slingshot0.group2.router7"}])
