"""The fluid server: by hand, against solving everything at once, and its one timer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.clock import Clock as EngineClock
from simulator.network.contract import FlowClass, OperationClass
from simulator.network.drain import bound, isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.maxmin import Loads, Row, is_max_min
from simulator.network.usage import Usage
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from tests.network.systems import system
from topologies.fabric import Floats
from workloads.groups import Groups

SECOND = 10**12


def four_in_two_stages(bandwidth: float = 1.0) -> Fold:
    return Fold(fabrics.star(4, bandwidth), Groups(1, 1, 2, 2))


def test_two_operations_share_a_link_and_the_later_one_speeds_up() -> None:
    """Closed form: 6 bytes alone for 2 s at 1 B/s, then two flows at 1/2 until one is done, then alone again."""
    fold = four_in_two_stages()
    clock = Clock()
    network = FluidNetwork(clock, fold)
    long, short = fold.send(0, 1, 6.0), fold.collective(0, communication("all-to-all", "dp", 2.0))
    ends = run_at(clock, network, [(0, long), (2 * SECOND, short)])
    # short: 1 byte at 1/2 B/s from 2 s: ends at 4 s; long: 2 + 1 bytes by then, 3 more alone: 7 s
    assert [end.time for end in ends] == [7 * SECOND, 4 * SECOND]


def test_an_end_is_the_first_tick_at_which_all_bytes_are_there() -> None:
    fold = four_in_two_stages(3.0)
    clock = Clock()
    (end,) = run_at(clock, FluidNetwork(clock, fold), [(5, fold.send(0, 1, 1.0))])
    assert end.time == 5 + 333_333_333_334


def test_latency_passes_before_the_first_byte() -> None:
    fold = four_in_two_stages()
    clock = Clock()
    slow = replace(fold.send(0, 1, 1.0), latency=0.25)
    (end,) = run_at(clock, FluidNetwork(clock, fold), [(0, slow)])
    assert end.time == SECOND + SECOND // 4


def test_an_operation_without_bytes_ends_after_its_latency() -> None:
    fold = four_in_two_stages()
    clock = Clock()
    nothing = fold.send(0, 0, 1.0)
    ends = run_at(clock, FluidNetwork(clock, fold), [(3, nothing), (3, replace(nothing, key=99, latency=1e-9))])
    assert [end.time for end in ends] == [3, 1003]


def test_phases_follow_each_other() -> None:
    fold = Fold(fabrics.star(4), Groups(1, 1, 4, 1))
    clock = Clock()
    reduce = fold.collective(0, communication("all-reduce", "dp", 4.0))
    assert len(reduce.phases) == 2
    (end,) = run_at(clock, FluidNetwork(clock, fold), [(0, reduce)])
    assert end.time == 6 * SECOND


def test_one_operation_launched_twice_gets_half_each() -> None:
    fold = four_in_two_stages()
    clock = Clock()
    network = FluidNetwork(clock, fold)
    send = fold.send(0, 1, 2.0)
    assert [end.time for end in run_at(clock, network, [(0, send), (0, send)])] == [4 * SECOND] * 2
    assert Usage(network).sent_bytes == {"pp": 8.0}


def test_memory_rate_counts_what_a_rank_sends_and_receives_and_its_changes_are_told() -> None:
    fold = four_in_two_stages()
    clock = Clock()
    told: list[tuple[int, tuple[int, ...], float, float]] = []
    network = FluidNetwork(
        clock, fold, lambda classes: told.append((clock.now, classes, network.memory_rate(0), network.memory_rate(1)))
    )
    run_at(clock, network, [(0, fold.collective(0, communication("all-to-all", "dp", 2.0))), (0, fold.send(0, 1, 3.0))])
    # rank 0: all-to-all in 1/2 and out 1/2 beside the send, which takes half of a link until 2 s and doesn't count itself
    assert told == [
        (0, (0,), 1.0, 0.0),
        (2 * SECOND, (0,), 0.0, 0.0),
    ]


def test_what_is_launched_together_ends_as_if_launched_one_by_one() -> None:
    """Sends of unequal sizes from both ranks of a stage, beside an exchange that shares their links, and in any order."""

    def ends(together: bool) -> tuple[dict[int, int], FluidNetwork]:
        fold, clock = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 2, 2), symmetric=False), EngineClock()
        network = FluidNetwork(clock, fold)
        sends = [fold.send(rank, 1 - rank // 2, size) for rank, size in ((1, 5.0), (0, 2.0), (3, 5.0))]
        found: dict[int, int] = {}

        def ended(places: list[int]) -> None:
            found.update(dict.fromkeys(places, clock.now))

        def start() -> None:
            if together:
                network.launch_together(sends, ended)
                return
            for place, send in enumerate(sends):
                network.launch(send).callbacks.append(lambda _event, place=place: ended([place]))

        network.launch(fold.collective(0, communication("all-to-all", "dp", 4.0)))
        clock.call_at(SECOND, start)
        clock.run()
        return found, network

    (one, alone), (other, bundled) = ends(together=False), ends(together=True)
    assert len(one) == 3 and len(set(one.values())) > 1
    assert other == one
    assert Usage(bundled).wire_bytes == Usage(alone).wire_bytes and bundled.running == 0
    Usage(bundled).check()


@pytest.mark.parametrize(("collective", "share"), [("reduce-scatter", 1 / 2), ("all-gather", 1 / 2), ("all-to-all", 1 / 8)])
def test_a_ring_competes_as_one_connection_and_an_all_to_all_as_many(collective: str, share: float) -> None:
    """Eight ranks on one switch: beside a ring of seven peers a send has half a port, beside an all-to-all an eighth."""
    fold = Fold(fabrics.star(16, 1.0), Groups(1, 1, 8, 2))
    clock = Clock()
    long, send = fold.collective(0, communication(collective, "dp", 8000.0)), fold.send(0, 1, 1.0)
    ends = run_at(clock, FluidNetwork(clock, fold), [(0, long), (0, send)])
    assert ends[1].time == pytest.approx(SECOND / share, rel=1e-9)
    alone = Clock()
    (by_itself,) = run_at(alone, FluidNetwork(alone, fold), [(0, long)])
    assert by_itself.time == pytest.approx(isolated_time(long, fold.link_classes) * SECOND, rel=1e-12)


def test_there_is_one_timer_at_most() -> None:
    fold = Fold(fabrics.clos(4, 4, 1.0, 2.0), Groups(1, 1, 4, 4))
    clock = Clock()
    most = 0

    def watch(_classes: tuple[int, ...]) -> None:
        nonlocal most
        most = max(most, clock.live())

    network = FluidNetwork(clock, fold, watch)
    for rank_class in fold.rank_classes:
        network.launch(fold.collective(rank_class.key, communication("all-to-all", "dp", 4.0 + rank_class.key)))
        network.launch(fold.send(rank_class.key, (rank_class.pp_rank + 1) % 4, 7.0))
        assert clock.live() == 1
    clock.run()
    assert most <= 1 and network.running == 0


def operations(fold: Fold) -> list[OperationClass]:
    found = {}
    for rank_class in fold.rank_classes:
        for call in (
            communication("all-to-all", "ep", 4e3),
            communication("all-reduce", "dp", 9e3),
            communication("all-gather", "expert_dp", 3e3),
        ):
            operation = fold.collective(rank_class.key, call)
            found[operation.key] = operation
        send = fold.send(rank_class.key, (rank_class.pp_rank + 1) % fold.pp, 5e3)
        found[send.key] = send
    return [operation for operation in found.values() if operation.phases]


FOLDS = {
    "clos": Fold(fabrics.clos(4, 4, 1e9, 2e9, latencies=(1e-7, 3e-7)), Groups(1, 1, 4, 4, 1, 2)),
    "mesh": Fold(fabrics.mesh((2, 2, 4), (1e9, 1e9, 4e8), ports=2e9), Groups(1, 2, 2, 4, 2, 2)),
    "rails": Fold(fabrics.rails(4, 4, 8e9, 1e9, ports=6e9, latencies=(1e-7, 0.0)), Groups(2, 1, 2, 4, 1, 4)),
}
CHOICES = {name: operations(fold) for name, fold in FOLDS.items()}


LAUNCHES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 10**6)), min_size=1, max_size=25)  # ns, choice


@settings(max_examples=60)
@given(st.sampled_from(sorted(FOLDS)), LAUNCHES)
def test_rates_at_any_moment_are_max_min_over_all_flows_under_way(name: str, launches: list[tuple[int, int]]) -> None:
    """Solving few competitors at a time must equal solving all at once, and bytes must be conserved."""
    fold, choices = FOLDS[name], CHOICES[name]
    clock = Clock()
    checked = 0

    def check(_links: set[int]) -> None:
        nonlocal checked
        rows, rates = [], []
        for _transfer, shape, speeds in network.at_rates():
            assert len(speeds) == len(network.shares.shapes[shape])
            rows += [network.shares.patterns[pattern].row for pattern in network.shares.shapes[shape]]
            rates += [speed * 1e12 for speed in speeds]
        if rows:
            loads, capacity = system_of(fold, rows)
            assert is_max_min(loads, capacity, np.array(rates), np.array([row[2] for row in rows]))
            checked += 1

    network = FluidNetwork(clock, fold)
    network.on_use = check
    starts = [(time * 1000, choices[choice % len(choices)]) for time, choice in launches]
    ends = run_at(clock, network, starts)
    assert checked
    for (start, operation), end in zip(starts, ends, strict=True):
        assert end.time is not None
        assert end.time - start >= bound(operation, fold.link_classes) * 1e12 - 1
    Usage(network).check()


def system_of(fold: Fold, rows: list[Row]) -> tuple[Loads, Floats]:
    flows = [FlowClass(np.array(row[0]), np.array(row[1]), 1.0, 1, 0, 1.0, 0, 1.0) for row in rows]
    return system(fold, flows)


@pytest.mark.parametrize("name", FOLDS)
def test_alone_an_operation_takes_its_isolated_time(name: str) -> None:
    fold = FOLDS[name]
    for operation in CHOICES[name]:
        clock = Clock()
        (end,) = run_at(clock, FluidNetwork(clock, fold), [(0, operation)])
        expected = isolated_time(operation, fold.link_classes) * 1e12
        assert end.time == pytest.approx(expected, abs=len(operation.phases) + 1, rel=1e-12)


def test_usage_is_refused_while_bytes_are_under_way() -> None:
    fold = four_in_two_stages()
    network = FluidNetwork(Clock(), fold)
    network.launch(fold.send(0, 1, 1.0))
    with pytest.raises(AssertionError, match="under way"):
        Usage(network)
