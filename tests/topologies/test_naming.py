"""Names of nodes and links, printed and read back."""

from __future__ import annotations

import pytest

from simulator.spec.errors import TopologyError
from tests.topologies.machines import MACHINES, whole
from topologies.naming import link_name, links_named
from topologies.system import load


@pytest.mark.parametrize("name", MACHINES)
def test_every_node_is_found_by_its_name(name):
    fabric = whole(name)
    names = [fabric.node_name(node) for node in range(len(fabric.node_kind))]
    assert len(set(names)) == len(names)
    assert [fabric.node_number(label) for label in names] == list(range(len(names)))


@pytest.mark.parametrize("name", MACHINES)
def test_every_link_is_found_by_its_name(name):
    fabric = whole(name)
    for link in range(0, len(fabric.tail), 7):
        assert link in links_named(fabric, link_name(fabric, link))


@pytest.mark.parametrize(
    ("system", "chips", "names"),
    [
        ("atlas-950-superpod-8192", 8192, ["cabinet3.board2.chip1", "cabinet3.position5.switch0", "superpod0.switch3"]),
        (
            "atlas-950-superpod-8192",
            16384,
            ["superpod1.cabinet3.board2.chip1", "scale-out0.leaf3.plane0", "scale-out0.plane0.spine7"],
        ),
        ("cloudmatrix384", 384, ["node4.chip5.die1", "superpod0.node4.plane2", "superpod0.plane2.spine9"]),
        ("gb200-nvl72", 144, ["rack1.chip71", "rack1.switch17", "infiniband0.rail5.leaf0"]),
        ("dgx-h100", 8 * 64, ["server63.chip7", "server9.switch3", "infiniband0.rail7.leaf1", "infiniband0.spine15"]),
        ("h800-8", 8 * 64, ["infiniband0.rail5.spine31"]),
    ],
)
def test_the_grammar_of_each_system(system, chips, names):
    fabric = load(system).fabric(chips)
    for name in names:
        assert fabric.node_name(fabric.node_number(name)) == name


def test_a_link_of_the_scenario_contract():
    """``rack3.board2.chip1->rack3...`` as a fault writes it: one direction, in the machine's own words."""
    fabric = load("atlas-950-superpod-8192").fabric()
    (link,) = links_named(fabric, "cabinet3.board2.chip1->cabinet3.position1.switch0")
    assert fabric.capacity[link] == 616e9
    assert links_named(fabric, "cabinet3.position1.switch0->cabinet3.board2.chip1") != [link]


def test_single_outer_boxes_may_be_written_or_left_out():
    fabric = load("atlas-950-superpod-8192").fabric(64)
    assert fabric.node_number("board2.chip1") == fabric.node_number("superpod0.cabinet0.board2.chip1") == 17
    assert fabric.node_number("position5.switch0") == fabric.node_number("cabinet0.position5.switch0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cabinet3.board9.chip1", "no node of this fabric has that name .*cabinet0-127.board0-7.chip0-7"),
        ("cabinet1.cabinet3.board2.chip1", "no node"),
        ("board2.chip1", "no node"),
        ("cabinet3..chip1", "path of words with numbers"),
        ("", "path of words with numbers"),
        ("Cabinet3", "path of words with numbers"),
    ],
)
def test_wrong_node_names_are_refused_with_the_grammar(name, message):
    with pytest.raises(TopologyError, match=message):
        load("atlas-950-superpod-8192").fabric().node_number(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cabinet3.board2.chip1", "written tail->head"),
        ("cabinet3.board2.chip1->", "written tail->head"),
        ("cabinet3.board2.chip1->cabinet4.board2.chip1", "no such link .*From cabinet3.board2.chip1 links lead to"),
    ],
)
def test_wrong_link_names_are_refused(name, message):
    with pytest.raises(TopologyError, match=message):
        links_named(load("atlas-950-superpod-8192").fabric(), name)
