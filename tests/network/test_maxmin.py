"""Max-min solvers against the textbook, and the certificate against wrong answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.network import maxmin, maxmin_compiled, maxmin_many
from simulator.network.maxmin import MANY, Loads, is_max_min, max_min, max_min_few, water_filling
from topologies.fabric import Floats

System = tuple[Loads, Floats, Floats, Floats]


@st.composite
def systems(draw: st.DrawFn) -> System:
    """Loads, capacities, weights and caps with many exact ties (few distinct values)."""
    flows, links = draw(st.integers(1, 12)), draw(st.integers(1, 8))
    entries = {}
    for flow in range(flows):
        for link in draw(st.sets(st.integers(0, links - 1), min_size=1, max_size=links)):
            entries[flow, link] = draw(st.sampled_from([0.25, 1 / 3, 0.5, 1.0, 3.0]))
    loads = Loads(
        np.array([flow for flow, _ in entries]),
        np.array([link for _, link in entries]),
        np.array(list(entries.values())),
        flows,
        links,
    )
    some = st.sampled_from([0.1, 1.0, 1.0, 2.0, 7.0])
    capacity = np.array([draw(some) for _ in range(links)])
    weight = np.array([draw(st.sampled_from([1.0, 1.0, 0.5, 3.0])) for _ in range(flows)])
    cap = np.array([draw(st.sampled_from([math.inf, math.inf, 0.05, 1.0])) for _ in range(flows)])
    return loads, capacity, weight, cap


def few(loads: Loads, capacity: Floats, weight: Floats, cap: Floats) -> Floats:
    rows = []
    for flow in range(loads.flows):
        mine = loads.flow == flow
        rows.append((loads.link[mine].tolist(), loads.load[mine].tolist(), float(weight[flow]), float(cap[flow])))
    return np.array(max_min_few(rows, dict(enumerate(capacity.tolist()))))


@given(systems())
def test_all_solvers_agree_with_the_textbook_and_are_certified(case: System) -> None:
    loads, capacity, weight, cap = case
    expected = water_filling(loads, capacity, weight, cap)
    solved = [max_min(loads, capacity, weight, cap, solver=solver) for solver in ("rounds", "numpy")]
    for rates in (*solved, few(loads, capacity, weight, cap)):
        assert np.allclose(rates, expected, rtol=1e-10, atol=0)
        assert is_max_min(loads, capacity, rates, weight, cap)


@given(systems(), st.floats(1e-4, 0.5), st.data())
def test_no_other_allocation_is_certified(case: System, change: float, data: st.DataObject) -> None:
    loads, capacity, weight, cap = case
    rates = max_min(loads, capacity, weight, cap)
    flow = data.draw(st.integers(0, loads.flows - 1))
    for factor in (1.0 + change, 1.0 - change):
        wrong = rates.copy()
        wrong[flow] *= factor
        assert not is_max_min(loads, capacity, wrong, weight, cap)


def test_two_flows_on_one_link_beside_a_long_one() -> None:
    # link 0 (capacity 1): flows a, b; link 1 (capacity 2): flows b, c. b gets 1/2, so c gets 3/2.
    loads = Loads(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), np.ones(4), 3, 2)
    assert max_min(loads, np.array([1.0, 2.0])).tolist() == pytest.approx([0.5, 0.5, 1.5])


def test_a_capped_flow_leaves_the_rest_to_the_others() -> None:
    loads = Loads(np.array([0, 1, 2]), np.zeros(3, dtype=np.int64), np.ones(3), 3, 1)
    rates = max_min(loads, np.array([3.0]), None, np.array([0.5, math.inf, math.inf]))
    assert rates.tolist() == pytest.approx([0.5, 1.25, 1.25])


def test_weights_share_a_link_in_proportion() -> None:
    loads = Loads(np.array([0, 1]), np.zeros(2, dtype=np.int64), np.ones(2), 2, 1)
    assert max_min(loads, np.array([4.0]), np.array([1.0, 3.0])).tolist() == pytest.approx([1.0, 3.0])


def test_a_flow_that_meets_no_limit_has_no_finite_rate() -> None:
    loads = Loads(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), 1, 1)
    assert max_min(loads, np.array([1.0])).tolist() == [math.inf]
    assert max_min_few([((), (), 1.0, math.inf)], {}) == [math.inf]


def test_an_allocation_above_capacity_or_below_its_due_is_not_certified() -> None:
    loads = Loads(np.array([0, 1]), np.zeros(2, dtype=np.int64), np.ones(2), 2, 1)
    capacity = np.array([2.0])
    assert is_max_min(loads, capacity, np.array([1.0, 1.0]))
    assert not is_max_min(loads, capacity, np.array([1.5, 1.5]))
    assert not is_max_min(loads, capacity, np.array([0.5, 0.5]))
    assert not is_max_min(loads, capacity, np.array([0.5, 1.5]))


def random_system(flows: int, links: int, seed: int = 1) -> System:
    """Flows over five links each, a tenth of them capped, weights and loads apart."""
    rng = np.random.default_rng(seed)
    pairs = np.unique(np.stack((np.repeat(np.arange(flows), 5), rng.integers(0, links, 5 * flows)), axis=1), axis=0)
    loads = Loads(pairs[:, 0], pairs[:, 1], rng.uniform(0.1, 1.0, len(pairs)), flows, links)
    cap = np.where(rng.random(flows) < 0.1, rng.uniform(0.0, 0.2, flows), math.inf)
    return loads, rng.uniform(1.0, 9.0, links), rng.uniform(0.5, 2.0, flows), cap


@pytest.mark.parametrize(("flows", "links"), [(10_000, 2_000), (10_000, 300), (3_000, 30_000)])
def test_thousands_of_flows_near_the_water_as_in_rounds_and_certified(flows: int, links: int) -> None:
    case = random_system(flows, links)
    rates = max_min(*case, solver="numpy")
    loads, capacity, weight, cap = case
    assert is_max_min(loads, capacity, rates, weight, cap)
    assert np.allclose(rates, max_min(*case, solver="rounds"), rtol=1e-11, atol=0)
    assert np.array_equal(rates, max_min(*case)) == (len(loads.load) >= MANY)


@pytest.mark.parametrize("window", [1, 7, 64])
def test_how_many_links_a_mark_takes_changes_no_rate(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_system(600, 150)
    monkeypatch.setattr(maxmin_many, "FEWEST", window)
    assert np.allclose(max_min(*case, solver="numpy"), max_min(*case, solver="rounds"), rtol=1e-11, atol=0)


@pytest.mark.parametrize("solver", ["numpy", "numba"])
def test_many_links_of_equal_level_all_fill_at_once(solver: maxmin.Solver) -> None:
    """Loads of thirds and sevenths, whose sums are never quite equal: 2,000 links of 3 flows each at one level."""
    if solver == "numba":
        pytest.importorskip("numba")
    flows, links = 6_000, 2_000
    flow, link = np.arange(flows), np.arange(flows) % links
    load = np.tile([1 / 3, 1 / 7, 1 / 21], flows // 3)[np.argsort(np.argsort(link, kind="stable"))]
    loads = Loads(
        np.concatenate((flow, flow)), np.concatenate((link, links + flow // 3)), np.concatenate((load, load)), flows, 2 * links
    )
    capacity = np.concatenate((np.full(links, 11 / 21), np.full(links, 0.4)))
    rates = max_min(loads, capacity, solver=solver)
    assert is_max_min(loads, capacity, rates)
    assert np.allclose(rates, max_min(loads, capacity, solver="rounds"), rtol=1e-11, atol=0)


def test_loads_of_very_different_size_are_not_lost_by_subtracting() -> None:
    # Link 0 loses a flow of 1e12 times the load of the one that stays: what is left of the sum is rounding.
    loads = Loads(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 0, 1, 2]), np.array([1e6, 1.0, 1e-6, 1.0, 1.0]), 3, 3)
    capacity = np.array([1.0 + 1e-9, 2e-6, 1.0])
    for solver in ("rounds", "numpy"):
        rates = max_min(loads, capacity, solver=solver)
        assert is_max_min(loads, capacity, rates)


def test_compiled_rates_are_those_of_numpy_and_certified() -> None:
    pytest.importorskip("numba")
    for case in (random_system(2_000, 400), random_system(500, 4_000, seed=2), random_system(3, 5, seed=3)):
        loads, capacity, weight, cap = case
        rates = max_min(*case, solver="numba")
        assert is_max_min(loads, capacity, rates, weight, cap)
        assert np.allclose(rates, max_min(*case, solver="numpy"), rtol=1e-11, atol=0)


@pytest.mark.parametrize("window", [(1 / 8, 512, 1), (1 / 3, 5, 2), (0.0, 3, 0), (1 / 8, 512, 10_000)])
def test_how_many_links_the_compiled_heap_takes_changes_no_rate(
    window: tuple[float, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    for name, value in zip(("PART", "SAMPLE", "FEWEST"), window, strict=True):
        monkeypatch.setattr(maxmin_compiled, name, value)
    for case in (random_system(600, 150), random_system(300, 2_000, seed=5)):
        assert np.allclose(max_min(*case, solver="numba"), max_min(*case, solver="rounds"), rtol=1e-11, atol=0)


@given(st.integers(0, 10_000))
def test_compiled_rates_of_loads_in_any_order_some_of_them_nothing(seed: int) -> None:
    """Entries in no order of flows, flows that put nothing on a link of theirs, links that nobody loads."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(seed)
    loads, capacity, weight, cap = random_system(12, 6, seed)
    order = rng.permutation(len(loads.load))
    load = np.where(rng.random(len(order)) < 0.3, 0.0, loads.load)[order]
    cap = np.minimum(cap, 50.0)
    mixed = Loads(loads.flow[order], loads.link[order], load, loads.flows, loads.links)
    rates = max_min(mixed, capacity, weight, cap, solver="numba")
    assert np.allclose(rates, max_min(mixed, capacity, weight, cap, solver="rounds"), rtol=1e-11, atol=0)


def test_the_number_of_loads_and_what_is_installed_choose_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxmin, "find_spec", lambda name: None)
    assert [maxmin._usual(loads) for loads in (0, MANY - 1, MANY, maxmin.COMPILED)] == ["rounds", "rounds", "numpy", "numpy"]
    monkeypatch.setattr(maxmin, "find_spec", lambda name: object())
    assert [maxmin._usual(loads) for loads in (MANY, maxmin.COMPILED)] == ["numpy", "numba"]
