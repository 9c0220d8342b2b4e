"""A slot that one rank class rehearsed is handed to others only if their links let it go the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.engine.alike import handed, likeness
from simulator.engine.rehearsal import Rehearsals
from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.network.history import History
from simulator.network.shares import Shares
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_folded_equals_unfolded import SMALL_DENSE

LINKS = tuple(LinkClass(key, "tier", capacity, 1, f"link {key}") for key, capacity in enumerate((4.0, 8.0, 4.0, 8.0, 5.0)))


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


def test_what_is_handed_on_loads_the_links_of_whoever_gets_it() -> None:
    """Rows keep their times; rates are those of the other's flows on the other's links."""
    shares = Shares()
    other = operation(1, 1, flow(1, [2, 3]), flow(1, [3]))
    for each in (ONE, other):
        shares.plan(each, LINKS)
    ours = shares.share((shares.shape(tuple(sorted(shares.pattern(each, "tp") for each in ONE.phases[0]))),))
    history = History(completed={0: 3}, operations={0: ONE})
    for column, value in ((history.start, 5), (history.end, 9), (history.share, ours.key)):
        column.append(value)
    found = handed(history, shares, [ONE], [other])
    theirs = shares.shares[found.share[0]]
    assert (found.start[0], found.end[0], found.completed, found.operations) == (5, 9, {1: 3}, {1: other})
    assert dict(theirs.use) == {link + 2: amount for link, amount in ours.use}


def test_stages_of_the_same_layers_are_rehearsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four stages with one slot forward and one backward each: those in the middle, that run the same blocks, share theirs."""
    rehearsed: list[tuple[int, ...]] = []
    play = Rehearsals._rehearse
    monkeypatch.setattr(Rehearsals, "_rehearse", lambda self, team, slot: rehearsed.append(team) or play(self, team, slot))
    asked = {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"tp": 8, "pp": 4},
    }
    result = simulate(make(asked, Scenario))
    assert result.fingerprint == simulate(make(asked, Scenario), slots="played").fingerprint
    assert len(rehearsed) < 2 * 4
