"""Laws of the network: bytes, capacities, scaling, symmetry, bounds, and folding under time."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.network.contract import PORTS
from simulator.network.drain import bound, isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.maxmin import max_min
from simulator.network.unfolded import Flows, unfolded
from simulator.network.usage import Usage
from tests.network.doubles import Clock, communication, run_at
from tests.network.systems import FABRICS, plans
from topologies.fabric import Fabric, Floats
from workloads.groups import Groups
from workloads.instructions import Communication

GIGA = 1e9


def faster(fabric: Fabric, factor: float) -> Fabric:
    return replace(fabric, capacity=fabric.capacity * factor, ports=fabric.ports * factor)


CASES = [(name, groups) for name, make in FABRICS.items() if (fabric := make()).ranks <= 16 for groups in plans(fabric.ranks)]
case = st.sampled_from(CASES)
launches = st.lists(
    st.tuples(
        st.integers(0, 30),  # us
        st.sampled_from(["all-to-all", "all-gather", "reduce-scatter", "all-reduce"]),
        st.sampled_from(["tp", "cp", "dp", "ep", "expert_dp", "dp_cp"]),
        st.sampled_from([1e3, 4e3, 15e3]),
    ),
    min_size=1,
    max_size=6,
)
Launches = list[tuple[int, str, str, float]]


def play(fabric: Fabric, groups: Groups, wanted: Launches, symmetric: bool = True) -> tuple[Fold, FluidNetwork, list[int]]:
    """Launch the operations in every rank class; the time at which the last of each has ended [ps]."""
    fold = Fold(fabric, groups, symmetric)
    clock = Clock()
    network = FluidNetwork(clock, fold)
    starts, owners = [], []
    for owner, (time, collective, group, payload) in enumerate(wanted):
        found = {}
        for rank_class in fold.rank_classes:
            operation = fold.collective(rank_class.key, communication(collective, group, payload, kind=f"k{owner}"))
            found[operation.key] = operation
        starts += [(time * 10**6, operation) for operation in found.values()]
        owners += [owner] * len(found)
    ends = [0] * len(wanted)
    for owner, event in zip(owners, run_at(clock, network, starts), strict=True):
        assert event.time is not None
        ends[owner] = max(ends[owner], event.time)
    return fold, network, ends


@settings(max_examples=40)
@given(case, launches)
def test_folded_and_unfolded_end_at_the_same_time_with_the_same_bytes(chosen: tuple[str, Groups], wanted: Launches) -> None:
    name, groups = chosen
    fabric = faster(FABRICS[name](), GIGA)
    fold, network, ends = play(fabric, groups, wanted)
    plain, every, expected = play(fabric, groups, wanted, symmetric=False)
    assert ends == pytest.approx(expected, rel=1e-9, abs=2 * len(wanted))
    ours, theirs = Usage(network), Usage(every)
    ours.check()
    theirs.check()
    assert ours.sent_bytes == pytest.approx(theirs.sent_bytes)
    assert by_tier(fold, ours) == pytest.approx(by_tier(plain, theirs), rel=1e-9)


def by_tier(fold: Fold, usage: Usage) -> dict[str, float]:
    """Wire bytes over all links of each tier."""
    found: dict[str, float] = {}
    for link in usage.links():
        tier = link.link_class.tier
        found[tier] = found.get(tier, 0.0) + sum(link.wire_bytes.values()) * link.link_class.size
    return found


@settings(max_examples=25)
@given(case, launches)
def test_draining_single_flows_ends_when_the_server_says(chosen: tuple[str, Groups], wanted: Launches) -> None:
    """All start at 0, one phase each, no latency: an independent event loop over single flows."""
    name, groups = chosen
    fabric = faster(FABRICS[name](), GIGA)
    calls = [
        communication("all-gather" if collective == "all-reduce" else collective, group, payload, kind=f"k{place}")
        for place, (_, collective, group, payload) in enumerate(wanted)
    ]
    _, _, ends = play(fabric, groups, [(0, call.collective, call.group, call.payload) for call in calls])
    flows = unfolded(fabric, groups, calls)
    expected = textbook(flows, len(calls), weights(flows, calls))
    latency = [_latency(fabric, groups, call) for call in calls]
    assert latency == [0.0] * len(calls)
    assert [end * 1e-12 for end in ends] == pytest.approx(expected, rel=1e-9, abs=1e-11)


def _latency(fabric: Fabric, groups: Groups, call: Communication) -> float:
    fold = Fold(fabric, groups)
    return max(fold.collective(rank_class.key, call).latency for rank_class in fold.rank_classes)


def weights(flows: Flows, calls: list[Communication]) -> Floats:
    """What each flow competes with: those of a ring have a weight of 1 together out of each rank; shape [flows]."""
    weight = np.ones(len(flows.size))
    for place, call in enumerate(calls):
        mine = flows.operation == place
        if call.collective in ("all-gather", "reduce-scatter", "broadcast") and mine.any():
            weight[mine] /= np.bincount(flows.source[mine]).max()
    return weight


def textbook(flows: Flows, operations: int, weight: Floats) -> list[float]:
    """End of the last flow of each operation [s]."""
    ends = [0.0] * operations
    left = flows.size.copy()
    alive = np.arange(len(left))
    now = 0.0
    while len(alive):
        loads, _ = flows.select(alive)
        rates = max_min(loads, flows.capacity, weight[alive])
        step = float((left[alive] / rates).min())
        now += step
        left[alive] -= rates * step
        over = left[alive] <= rates * step * 1e-9
        for flow in alive[over].tolist():
            ends[int(flows.operation[flow])] = now
        alive = alive[~over]
    return ends


@settings(max_examples=25)
@given(case, launches, st.sampled_from([0.5, 3.0, 1000.0]))
def test_scaling_bytes_and_capacities_together_changes_no_time(
    chosen: tuple[str, Groups], wanted: Launches, factor: float
) -> None:
    name, groups = chosen
    fabric = faster(FABRICS[name](), GIGA)
    _, _, ends = play(fabric, groups, wanted)
    larger = [(time, collective, group, payload * factor) for time, collective, group, payload in wanted]
    _, _, scaled = play(faster(fabric, factor), groups, larger)
    assert scaled == pytest.approx(ends, rel=1e-9, abs=2 * len(wanted))


@settings(max_examples=25)
@given(case, launches)
def test_no_operation_ends_before_its_own_bound(chosen: tuple[str, Groups], wanted: Launches) -> None:
    name, groups = chosen
    fold, _, ends = play(faster(FABRICS[name](), GIGA), groups, wanted)
    for place, ((time, collective, group, payload), end) in enumerate(zip(wanted, ends, strict=True)):
        for rank_class in fold.rank_classes:
            operation = fold.collective(rank_class.key, communication(collective, group, payload, kind=f"k{place}"))
            assert end >= time * 10**6 + bound(operation, fold.link_classes) * 1e12 - 1
            assert isolated_time(operation, fold.link_classes) >= bound(operation, fold.link_classes) * (1 - 1e-9)


@settings(max_examples=25)
@given(case, st.sampled_from([0.25, 0.5, 1.0]))
def test_less_capacity_never_shortens_an_operation_alone(chosen: tuple[str, Groups], factor: float) -> None:
    name, groups = chosen
    fabric = FABRICS[name]()
    weaker = replace(fabric, capacity=np.where(fabric.link_tier == 0, fabric.capacity * factor, fabric.capacity))
    for group in ("dp", "ep"):
        call = communication("all-to-all", group, 8.0)
        whole, hurt = Fold(fabric, groups), Fold(weaker, groups)
        assert isolated_time(hurt.collective(0, call), hurt.link_classes) >= isolated_time(
            whole.collective(0, call), whole.link_classes
        ) * (1 - 1e-12)


@pytest.mark.parametrize("name", FABRICS)
def test_renumbering_ranks_by_a_declared_symmetry_changes_nothing(name: str) -> None:
    """Route every pair before and after a swap (or turn) in each dimension: loads, latency and bottleneck are the same."""
    fabric = FABRICS[name]()
    rng = np.random.default_rng(3)
    pairs = [pair for pair in rng.integers(0, fabric.ranks, (40, 2)).tolist() if pair[0] != pair[1]]
    for index, dimension in enumerate(fabric.dimensions):
        if dimension.hidden:
            continue
        image = np.arange(dimension.size)
        if dimension.symmetry == "full":
            image[[0, 1]] = image[[1, 0]]
        else:
            image = np.roll(image, 1)
        moved = fabric.coordinates[: fabric.ranks].copy()
        moved[:, index] = image[moved[:, index]]
        sizes = [part.size for part in fabric.dimensions if not part.hidden]
        renumbered = moved[:, : len(sizes)] @ np.cumprod([1, *sizes[:-1]])
        for source, target in pairs:
            before = fabric.router(source, target)
            after = fabric.router(int(renumbered[source]), int(renumbered[target]))
            assert before.latency == after.latency
            profile = [
                sorted(zip(fabric.link_tier[route.links].tolist(), route.fraction.round(12).tolist(), strict=True))
                for route in (before, after)
            ]
            assert profile[0] == profile[1]


@settings(max_examples=25)
@given(case, launches)
def test_no_link_runs_above_capacity_and_the_busiest_bounds_the_end(chosen: tuple[str, Groups], wanted: Launches) -> None:
    name, groups = chosen
    fold, network, ends = play(faster(FABRICS[name](), GIGA), groups, wanted)
    usage = Usage(network)
    for link in usage.links():
        time, value = usage.steps(link.link_class.key)
        assert value.max() <= 1.0 + 1e-9 and value.min() >= 0.0
        assert value[-1] == 0.0 and all(low < high for low, high in pairwise(time.tolist()))
        assert link.busiest_seconds <= max(ends) * 1e-12 * (1 + 1e-9)
        assert link.busy <= max(ends) * 1e-12 * (1 + 1e-12)
    tiers = {link.tier for link in fold.link_classes}
    assert (PORTS in tiers) <= math.isfinite(fold.fabric.ports)
