"""Flows that nothing slows run by themselves: what comes of it is what comes of solving them with all others."""

from __future__ import annotations

import pytest

from simulator.engine.clock import Clock
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.lone import Course
from simulator.network.shares import Plan, Shares
from simulator.network.usage import Usage
from tests.network import fabrics
from workloads.groups import Groups

SECOND = 1_000_000_000_000
Sends = tuple[tuple[int, float, float], ...]  # sender, bytes, when [s]


def ends(sends: Sends, alone: bool) -> tuple[dict[int, int], FluidNetwork, Fold]:
    """When each of some sends between two ranks of two stages is through; ``alone``: as what may run by itself."""
    fold, clock = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 2, 2), symmetric=False), Clock()
    network = FluidNetwork(clock, fold)
    found: dict[int, int] = {}

    def start(place: int) -> None:
        rank, size, _ = sends[place]
        operation = fold.send(rank, 1 - rank // 2, size)
        if alone:
            network.launch_together([operation], lambda _places: found.setdefault(place, clock.now))
        else:
            network.launch(operation).callbacks.append(lambda _event: found.setdefault(place, clock.now))

    for place, (_, _, when) in enumerate(sends):
        clock.call_at(round(when * SECOND), lambda place=place: start(place))  # type: ignore[misc]
    clock.run()
    return found, network, fold


@pytest.mark.parametrize(
    "sends",
    [
        ((0, 3.0, 0.0),),
        ((0, 3.0, 0.0), (2, 5.0, 1.0)),
        ((0, 3.0, 0.0), (1, 3.0, 1.0)),
        ((0, 5.0, 0.0), (1, 2.0, 1.0), (2, 7.0, 1.5), (3, 1.0, 2.0)),
        ((0, 5.0, 0.0), (0, 2.0, 1.0), (0, 1.0, 1.25), (1, 9.0, 1.0)),
    ],
    ids=["one", "opposite", "one fabric", "all four", "one port"],
)
def test_flows_by_themselves_end_and_load_links_as_solved_ones_do(sends: Sends) -> None:
    """Ends to the tick, and the use of every link over time, whether flows meet on a link that they fill or not."""
    (one, by_itself, _), (other, solved, _) = ends(sends, alone=True), ends(sends, alone=False)
    assert one == other and len(one) == len(sends)
    first, second = Usage(by_itself), Usage(solved)
    first.check()
    for link in by_itself.folding.link_classes:
        for here, there in zip(first.steps(link.key), second.steps(link.key), strict=True):
            assert here.tolist() == pytest.approx(there.tolist(), rel=1e-12)
    assert all(abs(by_itself.use(link.key)) < 1e-9 for link in by_itself.folding.link_classes)


def test_flows_that_meet_nobody_form_no_contest_and_those_on_a_full_link_do() -> None:
    """Opposite directions share no link; two sends from one port do, and are slower together."""
    _, network, _ = ends(((0, 3.0, 0.0), (2, 3.0, 0.0)), alone=True)
    assert len(network.shares.shares) == 2 and not network._coupled
    found, network, _ = ends(((0, 3.0, 0.0), (0, 3.0, 0.0)), alone=True)
    assert network._coupled
    alone, _, _ = ends(((0, 3.0, 0.0),), alone=True)
    assert found[0] == pytest.approx(2 * alone[0], rel=1e-9)


def test_a_course_counts_ticks_until_the_last_byte_is_there() -> None:
    """What takes 3.1 ticks needs four; what takes ten needs ten, and not another one for what rounding leaves."""
    fold = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 2, 2), symmetric=False)
    operation = fold.send(0, 1, 10.0)
    shares = Shares()
    plan = shares.plan(operation, fold.link_classes)
    ((shape, _),) = plan.phases[0]
    ((speed,),) = shares.share((shape,)).speeds
    for bytes_sent, ticks in ((3.1, 4), (10.0, 10), (10.0 + 1e-9, 10), (0.5, 1)):
        sized = Plan(0, (((shape, (bytes_sent * speed,)),),))
        course = Course.of(sized, [0], shares)
        assert course is not None and course.ticks == ticks


Volleys = tuple[tuple[float, tuple[tuple[int, float], ...]], ...]  # when [s], and who sends how much at once


def together(groups: Volleys, alone: bool) -> tuple[dict[tuple[int, int], int], FluidNetwork]:
    """When each send of some groups is through; ``alone``: launched together, as what may run by itself; else one by one."""
    fold, clock = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 2, 2), symmetric=False), Clock()
    network = FluidNetwork(clock, fold)
    found: dict[tuple[int, int], int] = {}

    def start(number: int) -> None:
        operations = [fold.send(rank, 1 - rank // 2, size) for rank, size in groups[number][1]]

        def ended(places: list[int]) -> None:
            for place in places:
                assert found.setdefault((number, place), clock.now) == clock.now

        if alone:
            network.launch_together(operations, ended)
        else:
            for place, operation in enumerate(operations):
                network.launch(operation).callbacks.append(lambda _event, place=place: ended([place]))

    for number, (when, _) in enumerate(groups):
        clock.call_at(round(when * SECOND), lambda number=number: start(number))  # type: ignore[misc]
    clock.run()
    assert network.running == 0
    return found, network


@pytest.mark.parametrize(
    "groups",
    [
        ((0.0, ((0, 3.0), (1, 3.0))),),
        ((0.0, ((0, 3.0), (1, 5.0))),),
        ((0.0, ((0, 3.0), (2, 5.0), (3, 4.0))),),
        ((0.0, ((0, 5.0), (2, 2.0))), (1.0, ((0, 2.0), (3, 1.0)))),
        ((0.0, ((2, 6.0), (0, 2.0))), (3.0, ((2, 2.0), (0, 1.0))), (3.5, ((3, 1.0),))),
    ],
    ids=["alike", "one fabric", "three", "meeting", "meeting in the second leg"],
)
def test_flows_sent_together_end_and_load_links_as_solved_ones_do(groups: Volleys) -> None:
    """Ends to the tick and the use of every link, whether all end at once or not, and whether others come in between."""
    (one, by_themselves), (other, solved) = together(groups, alone=True), together(groups, alone=False)
    assert one == other and len(one) == sum(len(sends) for _, sends in groups)
    first, second = Usage(by_themselves), Usage(solved)
    first.check()
    assert first.wire_bytes == second.wire_bytes
    for link in by_themselves.folding.link_classes:
        for here, there in zip(first.steps(link.key), second.steps(link.key), strict=True):
            assert here.tolist() == pytest.approx(there.tolist(), rel=1e-12)
    assert all(abs(by_themselves.use(link.key)) < 1e-9 for link in by_themselves.folding.link_classes)


def test_flows_that_slow_each_other_have_no_course_of_their_own() -> None:
    """Two from one port are solved; two from two ports have a leg for each end."""
    fold = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 2, 2), symmetric=False)
    shares = Shares()
    plans = [
        shares.plan(fold.send(rank, 1 - rank // 2, size), fold.link_classes) for rank, size in ((0, 3.0), (0, 2.0), (2, 5.0))
    ]
    assert Course.of(*shares.together(plans[:2]), shares) is None
    course = Course.of(*shares.together(plans[1:]), shares)
    assert course is not None and [leg.gone for leg in course.legs] == [(0,), (1,)]
