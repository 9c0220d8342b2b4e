"""Phases cut into parts once, and sends routed at once: what is spared changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.network.fold import Fold
from simulator.network.phase import Phase
from simulator.network.shares import Shares
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.faulty import hurt
from workloads.groups import Groups


def test_another_payload_is_the_same_parts_with_other_bytes() -> None:
    """A phase that differs in bytes alone has the shapes of the first one, and sizes in proportion."""
    fold = Fold(fabrics.mesh((4, 4), (1.0, 1.0)), Groups(1, 1, 16, 1), symmetric=False)
    shares = Shares()
    plans = [shares.plan(fold.collective(0, communication("all-to-all", "dp", size)), fold.link_classes) for size in (1.0, 3.0)]
    again = Shares().plan(fold.collective(0, communication("all-to-all", "dp", 3.0)), fold.link_classes)
    for one, other, anew in zip(*(plan.phases for plan in (*plans, again)), strict=True):
        assert [shape for shape, _ in one] == [shape for shape, _ in other]
        for (_, small), (_, large), (_, fresh) in zip(one, other, anew, strict=True):
            assert np.array(large) == pytest.approx(3.0 * np.array(small), rel=1e-15)
            assert list(large) == list(fresh)


@pytest.mark.parametrize("faults", ["one", "row"])
def test_sends_routed_at_once_are_those_routed_one_by_one(faults: str) -> None:
    """Every send of both stages loads links of the same names, with as much."""
    fabric = hurt(fabrics.mesh((4, 4, 2), (1.0, 1.0, 1.0)), faults, 3)
    loads = []
    for at_once in (False, True):
        fold = Fold(fabric, Groups(1, 1, 16, 2))
        if at_once:
            fold.route_sends([(0, 1), (1, 0)])
        sends = [fold.send(each.key, 1 - each.pp_rank, 5.0) for each in fold.rank_classes]
        rows = [flow for send in sends for phase in send.phases for flow in phase]
        named = [
            sorted(
                (fold.link_classes[link].example, load)
                for link, load in zip(flow.links.tolist(), flow.load.tolist(), strict=True)
            )
            for flow in rows
        ]
        loads.append((named, [(flow.size, flow.count, flow.path) for flow in rows], [send.latency for send in sends]))
    assert loads[0] == loads[1]


def test_a_pattern_is_found_in_the_columns_of_a_phase_and_what_is_left_of_a_shape_by_place() -> None:
    """Both are what the flow classes themselves say, none of which is made."""
    fold = Fold(fabrics.mesh((4, 4), (1.0, 1.0)), Groups(1, 1, 16, 1))
    operation = fold.collective(0, communication("all-to-all", "dp", 2.0))
    (phase,) = operation.phases
    shares, other = Shares(), Shares()

    def figures(of: Shares, number: int) -> tuple[object, ...]:
        found = of.patterns[number]
        return found.row, found.kind, found.ends

    for each in (shares, other):
        each.know(fold.link_classes)
    columns = [shares.pattern_at(phase, place, "ep") for place in range(len(phase))]
    rows = [other.pattern(flow, "ep") for flow in Phase.of(list(phase))]
    assert [figures(shares, at) for at in columns] == [figures(other, at) for at in rows]
    assert len(set(columns)) > 2
    columns = sorted(set(columns))
    shape = shares.shape(tuple(columns[:3]))
    left = shares.left(shape, [0, 2])
    assert shares.shapes[left] == (columns[0], columns[2]) and shares.left(shape, [0, 2]) == left


@pytest.mark.parametrize("seed", range(6))
def test_few_flows_are_solved_one_by_one_as_many_are_at_once(seed: int) -> None:
    """Rates, links and what these carry, of some flows of an exchange around a fault."""
    fold = Fold(hurt(fabrics.mesh((4, 4), (1.0, 2.0)), "one", seed), Groups(1, 1, 16, 1))
    shares = Shares()
    shares.plan(fold.collective(0, communication("all-to-all", "dp", 2.0)), fold.link_classes)
    chosen = np.random.default_rng(seed).choice(len(shares.patterns), size=1 + 2 * seed, replace=False)
    patterns = [shares.patterns[number] for number in chosen.tolist()]
    (rates, links, amounts), (expected, there, carried) = shares._few(patterns), shares._many(patterns)
    assert rates == pytest.approx(expected, rel=1e-12) and links.tolist() == there.tolist()
    assert amounts == pytest.approx(carried, rel=1e-12) and min(rates) > 0.0
