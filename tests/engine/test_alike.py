"""A slot that one rank class rehearsed is handed to others only if their links let it go the same way."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.engine.accounts import SlotBooks
from simulator.engine.alike import KEPT, Keepsake, Keepsakes, likeness
from simulator.engine.ensemble import Role
from simulator.engine.macro import Macro
from simulator.engine.recorder import Recorder
from simulator.engine.repertoire import Repertoire
from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.network.history import History
from simulator.network.shares import Shares
from simulator.network.sheets import Sheet
from simulator.prepare import prepare
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_folded_equals_unfolded import SMALL_DENSE
from workloads.instructions import Wait

LINKS = tuple(LinkClass(key, "tier", capacity, 1, f"link {key}") for key, capacity in enumerate((4.0, 8.0, 4.0, 8.0, 5.0)))

ASKED = {
    "cluster": {"system": "dgx-h100", "chips": 32},
    "model": SMALL_DENSE,
    "training": {"sequence_length": 4096, "global_batch": 16},
    "plan": {"tp": 8, "pp": 4},
}


def flow(rank: int, links: list[int], **changes: Any) -> FlowClass:
    made = FlowClass(np.array(links), np.ones(len(links)), 6.0, 1, rank, 1.0, rank, 1.0)
    return replace(made, **changes)


def operation(key: int, rank: int, *flows: FlowClass, latency: float = 1e-6) -> OperationClass:
    return OperationClass(key, "gather", "tp", (flows,), latency, (rank,), 1.0, "ring")


ONE = operation(0, 0, flow(0, [0, 1]), flow(0, [1]))


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3])), True),
        (operation(1, 1, flow(1, [0, 1]), flow(1, [1])), True),
        (operation(1, 1, flow(1, [4, 3]), flow(1, [3])), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [2])), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3], size=7.0)), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3], rate_cap=1.0)), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3], weight=2.0)), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3], load=np.array([0.5]))), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3], flows_per_target=2.0)), False),
        (operation(1, 1, flow(1, [2, 3])), False),
        (operation(1, 1, flow(1, [2, 3]), flow(1, [3]), latency=2e-6), False),
    ],
    ids=["other links", "same links", "capacity", "meet elsewhere", "size", "cap", "weight", "load", "ends", "fewer", "latency"],
)
def test_alike_are_the_same_flows_on_links_of_the_same_capacities_that_meet_in_the_same_places(
    other: OperationClass, alike: bool
) -> None:
    assert (likeness([ONE], 0, LINKS) == likeness([other], 1, LINKS)) is alike


def test_a_rank_that_others_send_to_is_like_nobody() -> None:
    """What its links carry is not its own doing alone."""
    assert likeness([operation(1, 1, flow(1, [2], target_class=2))], 1, LINKS) is None
    assert likeness([replace(ONE, participants=(0, 1))], 0, LINKS) is None


def test_slots_of_very_many_flows_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they would be kept by takes more memory than they are worth."""
    monkeypatch.setattr("simulator.engine.alike.MOST_FLOWS", 1)
    assert likeness([ONE], 0, LINKS) is None


def test_equal_instructions_are_one_script_as_long_as_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three with room for two the first gets another number when it comes again, and no other's."""
    monkeypatch.setattr("simulator.engine.alike.SCRIPTS", 2)
    kept = Keepsakes()
    numbers = [kept.script((Wait(name),)) for name in ("a", "b", "b", "c", "a")]
    assert numbers[1] == numbers[2] and len(set(numbers)) == 4


def test_what_is_kept_loads_the_links_of_whoever_takes_it_up() -> None:
    """Rows keep their times; rates are those of the other's flows on the other's links, whatever else its network knows."""
    rehearsed, network = Shares(), Shares()
    other = operation(7, 1, flow(1, [2, 3]), flow(1, [3]))
    rehearsed.plan(ONE, LINKS)
    for each in (operation(8, 2, flow(2, [4])), other):
        network.plan(each, LINKS)
    ours = rehearsed.share((rehearsed.shape(tuple(sorted(rehearsed.pattern(each, "tp") for each in ONE.phases[0]))),))
    history = History(completed={0: 3}, operations={0: ONE})
    for column, value in ((history.start, 5), (history.end, 9), (history.share, ours.key)):
        column.append(value)
    role = Role(9, ((0, 9),), SlotBooks(None, (), (), 0))
    found = Keepsake.of(role, Recorder(), history, rehearsed, [ONE]).history(network, [other])
    theirs = network.shares[found.share[0]]
    assert (found.start[0], found.end[0], found.completed, found.operations) == (5, 9, {7: 3}, {7: other})
    assert dict(theirs.use) == {link + 2: amount for link, amount in ours.use}


def test_what_was_longest_not_asked_for_goes_and_equal_devices_are_one() -> None:
    """Of three slots two are kept; a device made again is known, one with less memory bandwidth is another."""
    kept = Keepsakes(most=2)
    keepsake = Keepsake(Role(1, (), SlotBooks(None, (), (), 0)), Recorder(), Sheet(array("q"), array("q"), array("q")), (), ())
    for name in ("a", "b"):
        kept.keep((name,), keepsake)
    assert kept.find(("a",)) is keepsake
    kept.keep(("c",), keepsake)
    assert [kept.find((name,)) is not None for name in "abc"] == [True, False, True] and len(kept) == 2
    device = prepare(make(ASKED, Scenario)).device
    assert kept.device(device) == kept.device(replace(device)) != kept.device(device.slowed(0.5))
    kept.forget()
    assert len(kept) == 0


def test_stages_of_the_same_layers_are_rehearsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the middle share theirs; another batch rehearses nothing and is the same step as in a process of its own."""
    rehearsed: list[int] = []
    play = Repertoire._kept_of

    def counted(self: Repertoire, rank_class: int, *rest: Any) -> Keepsake:
        rehearsed.append(rank_class)
        return play(self, rank_class, *rest)

    monkeypatch.setattr(Repertoire, "_kept_of", counted)
    monkeypatch.setattr(Macro, "run", lambda _macro: None)  # it keeps what ranks do otherwise
    KEPT.forget()
    result = simulate(make(ASKED, Scenario))
    assert 0 < len(rehearsed) < 2 * 4
    first = len(rehearsed)
    assert result.fingerprint == simulate(make(ASKED, Scenario), slots="played").fingerprint
    twice = make(ASKED, Scenario).replace(training__global_batch=32)
    warm = simulate(twice)
    assert len(rehearsed) == first
    KEPT.forget()
    assert simulate(twice).fingerprint == warm.fingerprint
