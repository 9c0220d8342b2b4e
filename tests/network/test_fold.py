"""Folding against every flow by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.network.collectives.library import Libraries, Library
from simulator.network.contract import PORTS, FlowClass, LinkClass
from simulator.network.drain import bound, drain, isolated_time, last_end
from simulator.network.fold import Fold, scale_up_domain
from simulator.network.maxmin import is_max_min, max_min, water_filling
from simulator.network.unfolded import Send, unfolded
from simulator.spec.errors import InputError, NotModelled, TopologyError
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.systems import FABRICS, launch_all, plans, rates_of_each_flow, system
from topologies.fabric import Dimension
from workloads.groups import Groups

CASES = [(name, plan) for name, make in FABRICS.items() for plan in plans(make().ranks)]


def traffic(groups: Groups) -> list[object]:
    """Operations of every kind at once, of unequal sizes."""
    found: list[object] = [
        communication("all-to-all", "ep", 7.0),
        communication("combine", "ep", 24.0, top_k=4, deduplicate=True),
        communication("all-gather", "tp", 2.0),
        communication("reduce-scatter", "dp_cp", 11.0),
        communication("all-reduce", "expert_dp", 5.0),
    ]
    if groups.pp > 1:
        found += [Send(0, 1, 3.0), Send(groups.pp - 1, 0, 1.0)]
    return found


@pytest.mark.parametrize(("name", "groups"), CASES, ids=str)
def test_rates_of_overlapping_operations_equal_those_of_every_flow_by_itself(name: str, groups: Groups) -> None:
    fabric = FABRICS[name]()
    operations = traffic(groups)
    fold = Fold(fabric, groups)
    folded = launch_all(fold, operations)
    each = unfolded(fabric, groups, operations)
    tagged = [(number, flow) for number, phases in enumerate(folded) for flow in (phases[0] if phases else ())]
    rates = max_min(*system(fold, [flow for _, flow in tagged]))
    chosen = np.flatnonzero(each.phase == 0)
    loads, _ = each.select(chosen)
    expected = max_min(loads, each.capacity)
    found = rates_of_each_flow(fold, rates, tagged, each, chosen.tolist())
    assert np.max(np.abs(found / expected - 1.0)) <= 1e-10
    assert is_max_min(loads, each.capacity, found)
    assert is_max_min(*system(fold, [flow for _, flow in tagged]), rates)
    assert sum(flow.count for _, flow in tagged) == len(chosen)
    if len(chosen) <= 300:
        assert np.max(np.abs(found / water_filling(loads, each.capacity) - 1.0)) <= 1e-10


@pytest.mark.parametrize(("name", "groups"), CASES, ids=str)
def test_loads_summed_over_links_are_those_of_every_flow_in_every_phase(name: str, groups: Groups) -> None:
    fabric = FABRICS[name]()
    operations = [communication("all-reduce", "dp", 6.0), communication("all-gather", "world", 4.0)]
    fold = Fold(fabric, groups)
    each = unfolded(fabric, groups, operations)
    sizes = np.array([link.size for link in fold.link_classes])
    for number, phases in enumerate(launch_all(fold, operations)):
        for index, phase in enumerate(phases):
            sizes = np.array([link.size for link in fold.link_classes])
            loads, _ = system(fold, phase)
            folded = float(loads.on_links(np.array([flow.size for flow in phase])) @ sizes)
            chosen = np.flatnonzero((each.operation == number) & (each.phase == index))
            few, payload = each.select(chosen)
            assert folded == pytest.approx(float(few.on_links(payload).sum()), rel=1e-12)


def test_a_symmetric_fabric_without_pipeline_is_one_rank_class() -> None:
    fold = Fold(fabrics.clos(4, 4, 1.0, 2.0), Groups(1, 1, 16, 1))
    assert [(rank.representative, rank.size, rank.pp_rank) for rank in fold.rank_classes] == [(0, 16, 0)]


def test_stages_are_told_apart_and_numbered() -> None:
    fold = Fold(fabrics.clos(4, 4, 1.0, 2.0), Groups(1, 1, 4, 4))
    assert [(rank.representative, rank.size, rank.pp_rank) for rank in fold.rank_classes] == [
        (0, 4, 0),
        (4, 4, 1),
        (8, 4, 2),
        (12, 4, 3),
    ]


def test_every_participant_gets_the_same_operation() -> None:
    fold = Fold(fabrics.mesh((4, 4), (1.0, 1.0)), Groups(1, 1, 16, 1), symmetric=False)
    call = communication("all-to-all", "dp", 16.0)
    assert len({id(fold.collective(rank, call)) for rank in range(16)}) == 1
    assert fold.collective(3, call).participants == tuple(range(16))


def test_a_group_of_one_and_an_empty_payload_send_nothing_at_once() -> None:
    fold = Fold(fabrics.star(4), Groups(1, 1, 4, 1))
    for call in (communication("all-reduce", "tp", 8.0), communication("all-reduce", "dp", 0.0)):
        operation = fold.collective(0, call)
        assert (operation.phases, operation.latency, operation.bytes_sent) == ((), 0.0, 0.0)


def test_pooled_ports_are_links_of_their_own_and_count_transit() -> None:
    fabric = fabrics.mesh((2, 2), (1.0, 1.0), ports=1.5)
    fold = Fold(fabric, Groups(1, 1, 4, 1))
    operation = fold.collective(0, communication("all-to-all", "dp", 4.0))
    ports = [link.key for link in fold.link_classes if link.tier == PORTS]
    assert len(ports) == 2
    loads, _ = system(fold, operation.phases[0])
    used = loads.on_links(np.array([flow.size for flow in operation.phases[0]]))
    # one byte to each of 3 peers, and the two-hop one leaves a second device as well: 2 + 2 bytes out of each device
    assert used[ports] == pytest.approx([4.0, 4.0])


def test_efficiency_makes_wire_bytes_of_payload() -> None:
    fold = Fold(fabrics.star(4, 2.0, efficiency=0.5), Groups(1, 1, 4, 1))
    operation = fold.collective(0, communication("all-to-all", "dp", 4.0))
    assert isolated_time(operation, fold.link_classes) == pytest.approx(3.0 / 0.5 / 2.0)


def test_latency_is_the_library_plus_the_slowest_route_of_each_step() -> None:
    fabric = fabrics.clos(4, 4, 1.0, 2.0, latencies=(1.0, 3.0), scale_out=True)
    libraries = Libraries(Library.plain(launch=10.0, step=0.5))
    fold = Fold(fabric, Groups(1, 1, 16, 1), libraries=libraries, algorithms={"all-gather:dp": "ring"}, ordered=("dp",))
    assert fold.collective(0, communication("all-to-all", "dp", 1.0)).latency == pytest.approx(10 + 0.5 + 3)
    # two levels: one step inside, one outside, and an all-reduce does both twice
    assert fold.collective(0, communication("reduce-scatter", "dp", 1.0)).latency == pytest.approx(10 + 1.5 + 3.5)
    assert fold.collective(0, communication("all-reduce", "dp", 1.0)).latency == pytest.approx(10 + 2 * (1.5 + 3.5))
    # a ring meets 12 hops inside a node and 4 between nodes in 16 steps: 15 steps of the mean hop
    assert fold.collective(0, communication("all-gather", "dp", 1.0)).latency == pytest.approx(10 + 15 * (0.5 + 1.5))


def test_send_goes_to_the_counterpart_of_the_other_stage() -> None:
    fold = Fold(fabrics.clos(4, 4, 1.0, 2.0), Groups(1, 1, 4, 4))
    operation = fold.send(1, 3, 5.0)
    (flow,) = operation.phases[0]
    assert (flow.source_class, flow.target_class, flow.count, operation.bytes_sent) == (1, 3, 4, 20.0)
    assert operation.participants == (1,) and operation.kind == "pp"
    assert fold.send(1, 3, 5.0) is operation
    assert fold.send(2, 2, 5.0).phases == ()
    with pytest.raises(InputError, match="4 pipeline ranks"):
        fold.send(0, 4, 1.0)


def test_a_ring_needs_ranks_in_order() -> None:
    fabric = fabrics.star(8)
    call = communication("all-reduce", "dp", 8.0)
    with pytest.raises(NotModelled, match="Ask for a ring by its group"):
        Fold(fabric, Groups(1, 1, 8, 1), algorithms={"all-reduce": "ring"}).collective(0, call)
    for fold in (
        Fold(fabric, Groups(1, 1, 8, 1), algorithms={"all-reduce": "ring"}, ordered=("dp",)),
        Fold(fabric, Groups(1, 1, 8, 1), algorithms={"all-reduce": "ring"}, symmetric=False),
    ):
        assert isolated_time(fold.collective(0, call), fold.link_classes) == pytest.approx(2 * 7 / 8 * 8.0)


def test_a_ring_over_two_dimensions_that_turn_apart_is_refused() -> None:
    """Rank (3, 0) of a torus sends to (0, 1): no turn makes that of what rank (0, 0) does."""
    fold = Fold(fabrics.torus((4, 4)), Groups(1, 1, 16, 1), algorithms={"all-reduce": "ring"})
    with pytest.raises(NotModelled, match="follows the order of ranks"):
        fold.collective(0, communication("all-reduce", "dp", 1.0))


def test_halving_survives_flips_only() -> None:
    call = communication("all-reduce", "dp", 8.0)
    chosen = {"all-reduce": "halving-doubling"}
    assert len(Fold(fabrics.mesh((2, 2), (1.0, 1.0)), Groups(1, 1, 4, 1), algorithms=chosen).collective(0, call).phases) == 4
    with pytest.raises(NotModelled, match="follows the order of ranks"):
        Fold(fabrics.torus((8,)), Groups(1, 1, 8, 1), algorithms=chosen).collective(0, call)


@pytest.mark.parametrize("name", FABRICS)
@pytest.mark.parametrize("algorithm", ["ring", "direct"])
def test_ordered_folding_of_rings_equals_every_flow_by_itself(name: str, algorithm: str) -> None:
    fabric = FABRICS[name]()
    groups = Groups(1, 1, fabric.ranks, 1)
    call = communication("all-reduce", "dp", 8.0)
    fold = Fold(fabric, groups, algorithms={"all-reduce": algorithm}, ordered=("dp",))
    plain = Fold(fabric, groups, symmetric=False, algorithms={"all-reduce": algorithm})
    ours, theirs = fold.collective(0, call), plain.collective(0, call)
    assert isolated_time(ours, fold.link_classes) == pytest.approx(isolated_time(theirs, plain.link_classes), rel=1e-12)
    assert ours.bytes_sent == pytest.approx(theirs.bytes_sent)
    assert ours.latency == pytest.approx(theirs.latency)


def test_a_group_that_cuts_across_the_folding_is_refused() -> None:
    class Odd(Groups):
        def members(self, group: str, rank: int) -> np.ndarray:  # type: ignore[override, type-arg]
            return np.array([rank, (rank + 1) % self.ranks])

    with pytest.raises(NotModelled, match="does not follow the folded dimensions"):
        Fold(fabrics.star(8), Odd(1, 1, 8, 1)).collective(0, communication("all-gather", "dp", 1.0))


def test_a_route_over_a_dead_link_is_refused() -> None:
    fabric = fabrics.star(4, bandwidth=0.0)
    with pytest.raises(TopologyError, match="no capacity"):
        Fold(fabric, Groups(1, 1, 4, 1)).collective(0, communication("all-gather", "dp", 1.0))


def test_too_many_classes_are_refused_with_the_reason() -> None:
    fabric = fabrics.clos(6, 40, 1.0, 2.0)
    with pytest.raises(NotModelled, match=r"\[4, 6\].*do not divide"):
        Fold(fabric, Groups(1, 1, 240, 1, 1, 4), class_limit=5)


def test_the_scale_up_domain_is_what_the_inner_tiers_join() -> None:
    assert scale_up_domain(fabrics.rails(4, 3, 1.0, 1.0)) == 4
    assert scale_up_domain(fabrics.clos(4, 3, 1.0, 1.0)) == 12


@pytest.mark.parametrize("name", FABRICS)
def test_no_operation_alone_beats_its_bound_and_uniform_ones_meet_it(name: str) -> None:
    fabric = FABRICS[name]()
    fold = Fold(fabric, Groups(1, 1, fabric.ranks, 1))
    uniform = fold.collective(0, communication("all-to-all", "dp", 9.0))
    assert isolated_time(uniform, fold.link_classes) == pytest.approx(bound(uniform, fold.link_classes), rel=1e-9)
    for call in (communication("all-reduce", "dp", 9.0), communication("all-gather", "dp", 3.0)):
        operation = fold.collective(0, call)
        assert isolated_time(operation, fold.link_classes) >= bound(operation, fold.link_classes) * (1 - 1e-9)


@pytest.mark.parametrize("name", FABRICS)
def test_the_last_end_of_equal_flows_needs_no_draining(name: str) -> None:
    """Theorem 2: the busiest link's bytes over its capacity, also of a phase of which some links are weaker than others."""
    fabric = FABRICS[name]()
    capacity = fabric.capacity * np.random.default_rng(3).uniform(0.5, 1.0, len(fabric.capacity))
    uneven = replace(fabric, capacity=capacity, dimensions=tuple(replace(each, symmetry="none") for each in fabric.dimensions))
    for each in (fabric, uneven):
        fold = Fold(each, Groups(1, 1, each.ranks, 1))
        operation = fold.collective(0, communication("all-to-all", "dp", 3e6))
        assert last_end(operation.phases[0], fold.link_classes) == pytest.approx(
            drain(operation.phases[0], fold.link_classes)[0], rel=1e-12
        )


def test_the_last_end_of_unequal_flows_is_drained() -> None:
    """Two flows of 1 and 3 bytes share a link of 1 B/s, the second one then meets one of 0.5 B/s: it ends after 6 s."""
    links = [LinkClass(0, "", 1.0, 1, ""), LinkClass(1, "", 0.5, 1, "")]
    short = FlowClass(np.array([0]), np.ones(1), 1.0, 1, 0, 1.0, 0, 1.0)
    long = FlowClass(np.array([0, 1]), np.ones(2), 3.0, 1, 0, 1.0, 0, 1.0)
    assert last_end((short, long), links) == pytest.approx(6.0)
    assert last_end((), links) == 0.0


def test_a_ring_turned_round_has_half_the_classes() -> None:
    """Eight chips: seven others under shifts, four distances under shifts and reflections; links of one class, not two."""
    found = []
    for symmetry in ("cyclic", "dihedral"):
        ring = fabrics.torus((8,), symmetry=symmetry)
        fold = Fold(ring, Groups(1, 1, 8, 1))
        fold.orbits.check()
        operation = fold.collective(0, communication("all-to-all", "dp", 8.0))
        found.append((len(operation.phases[0]), len(fold.link_classes), isolated_time(operation, fold.link_classes)))
    assert found == [(7, 2, 8.0), (4, 1, 8.0)]


def test_slices_of_a_ring_turn_but_not_round() -> None:
    """Four slices of two on a ring of eight: with slices in reverse a chip's neighbour would be another. As every chip alone."""
    ring, groups = fabrics.torus((8,), symmetry="dihedral"), Groups(2, 1, 4, 1)
    fold = Fold(ring, groups)
    fold.orbits.check()
    assert [part.symmetry for part in fold.orbits.parts] == ["none", "cyclic"]
    for group, collective in (("dp", "all-to-all"), ("dp_cp", "all-gather"), ("tp", "all-reduce")):
        wanted = communication(collective, group, 8.0)
        times = [
            isolated_time(each.collective(0, wanted), each.link_classes) for each in (fold, Fold(ring, groups, symmetric=False))
        ]
        assert times[0] == pytest.approx(times[1], rel=1e-12)


def test_a_dimension_without_symmetry_keeps_its_coordinates_apart() -> None:
    fabric = fabrics.star(6)
    dimensions = (Dimension("chip", 6, "none"), *fabric.dimensions[1:])
    fold = Fold(replace(fabric, dimensions=dimensions), Groups(1, 1, 6, 1))
    assert len(fold.rank_classes) == 6
    assert math.isclose(isolated_time(fold.collective(0, communication("all-to-all", "dp", 6.0)), fold.link_classes), 5.0)
