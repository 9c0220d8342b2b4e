"""A slot that one team rehearsed is told of another only if ranks, chips, blocks, flows and links are the same, one for one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from simulator.engine import repertoire
from simulator.engine.course import Began, Course, Ended, Rates
from simulator.engine.kindred import Precedent, _renamed, kind_of
from simulator.engine.lanes import NOBODY
from simulator.engine.rank import Rank
from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_faults import SLOW, WEAK
from tests.laws.test_rehearsed_equals_played import SCHEDULED
from workloads.instructions import Block, Communication, Start

LINKS = tuple(LinkClass(key, "tier", capacity, 1, f"link {key}") for key, capacity in enumerate((4.0, 8.0, 4.0, 8.0, 5.0)))
ASK = Start(Communication("exchange", "ep", "all-to-all", "ep", 8.0), "token")
BLOCK = Block("forward", (ASK,))


@dataclass(frozen=True)
class World:
    """Of all that ranks share, the number of what computes."""

    device: int = 0


@dataclass(frozen=True)
class Member:
    """A rank that starts one operation."""

    rank_class: int
    asked: OperationClass
    world: World = World()

    def operation(self, _start: Start) -> OperationClass:
        return self.asked


def exchange(key: int, pair: tuple[int, int], links: tuple[int, int], **changes: Any) -> OperationClass:
    """Two rank classes send to each other, each over one link."""
    one, other = pair
    there = FlowClass(np.array([links[0]]), np.ones(1), 6.0, 1, one, 1.0, other, 1.0)
    back = FlowClass(np.array([links[1]]), np.ones(1), 6.0, 1, other, 1.0, one, 1.0)
    return OperationClass(key, "exchange", "ep", ((replace(there, **changes), back),), 1e-6, pair, 1.0, "direct")


def kind(operation: OperationClass, *, device: int = 0, scene: int = 0) -> object:
    first, last = operation.participants
    team = [Member(first, operation), Member(last, operation, World(device))]
    found, operations = kind_of(cast(list[Rank], team), [(BLOCK,)] * 2, [(0,), (scene,)], LINKS)
    assert found is None or operations == (operation,)
    return found


ONE = exchange(0, (0, 1), (0, 1))


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (exchange(1, (2, 3), (2, 3)), True),
        (exchange(1, (2, 3), (0, 1)), True),
        (exchange(1, (2, 3), (4, 3)), False),
        (exchange(1, (2, 3), (2, 2)), False),
        (exchange(1, (2, 3), (2, 3), size=7.0), False),
        (exchange(1, (2, 3), (2, 3), weight=2.0), False),
        (exchange(1, (2, 3), (2, 3), rate_cap=1.0), False),
        (exchange(1, (2, 3), (2, 3), flows_per_source=2.0), False),
        (exchange(1, (2, 3), (2, 3), target_class=2), False),
        (exchange(1, (2, 3), (2, 3), load=np.array([0.5])), False),
        (replace(exchange(1, (2, 3), (2, 3)), latency=2e-6), False),
    ],
    ids=["other links", "same links", "capacity", "meet", "size", "weight", "cap", "ends", "whom", "load", "latency"],
)
def test_alike_are_teams_whose_flows_are_the_same_rank_for_rank(other: OperationClass, alike: bool) -> None:
    assert (kind(ONE) == kind(other)) is alike


def test_another_chip_or_another_block_of_one_rank_makes_another_team() -> None:
    assert kind(ONE) != kind(ONE, device=1)
    assert kind(ONE) != kind(ONE, scene=1)


def test_a_team_with_whom_others_exchange_is_like_none() -> None:
    """What its links carry is not its own doing alone."""
    assert kind(exchange(1, (2, 3), (2, 3), target_class=4)) is None
    assert kind(exchange(1, (2, 3), (2, 3), target_class=0)) is None
    outsider = replace(ONE, participants=(0, 1, 2))
    team = cast(list[Rank], [Member(0, outsider), Member(1, outsider)])
    assert kind_of(team, [(BLOCK,)] * 2, [(0,), (0,)], LINKS)[0] is None


def test_a_course_is_told_with_the_names_of_those_who_take_it() -> None:
    began, waited = Began(0, 7, 1, 2), Began(1, 7, 1, NOBODY)
    course = Course([(5, began), (6, Rates({2: 3.0})), (9, Ended(0)), (9, waited)], 2)
    told = _renamed(course, {2: 4}, {7: 11})
    assert told.moments == [(5, Began(0, 11, 1, 4)), (6, Rates({4: 3.0})), (9, Ended(0)), (9, Began(1, 11, 1, NOBODY))]


@pytest.mark.parametrize("fault", [SLOW, WEAK], ids=["slow", "weak"])
def test_what_is_told_of_a_team_is_what_it_would_have_rehearsed(fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every team rehearsed by itself gives the same step, to the tick; and teams are told of."""
    shared = SCHEDULED["experts and stages share the network cards"]
    cluster, training = {**shared["cluster"], "faults": [fault]}, {**shared["training"], "global_batch": 128}
    asked = make({**shared, "name": "kindred", "cluster": cluster, "training": training}, Scenario)
    told = []
    own = Precedent.told_of

    def counted(*arguments: Any) -> Any:
        told.append(arguments)
        return own(*arguments)

    monkeypatch.setattr(Precedent, "told_of", counted)
    found = simulate(asked)
    assert told
    monkeypatch.setattr(repertoire, "kind_of", lambda *_arguments: (None, ()))
    count = len(told)
    each = simulate(asked)
    assert len(told) == count
    assert found.fingerprint == each.fingerprint
    assert found.model_dump(exclude={"simulation"}) == each.model_dump(exclude={"simulation"})
    assert found.simulation.events < each.simulation.events
