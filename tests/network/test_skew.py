"""A dispatch in which some ranks send and get more than others: bytes arrive as asked, folded as unfolded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.network.collectives.choice import ALGORITHMS
from simulator.network.collectives.dispatch import distinct_domains, domain_copies
from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.network.maxmin import is_max_min, max_min
from simulator.network.placement import SubDimension
from simulator.network.unfolded import unfolded
from simulator.network.unlike import tell_apart
from simulator.spec.errors import InputError, NotModelled
from tests.network.systems import FABRICS, launch_all, plans, rates_of_each_flow, system
from topologies.fabric import Floats
from workloads.groups import Groups
from workloads.instructions import Communication, Skew

SHARES = st.lists(st.floats(0.0, 1.0), min_size=16, max_size=16).filter(lambda shares: sum(shares) > 0.1)


def call(collective: str, skew: Skew | None, *, deduplicate: bool = False, limit: int = 0) -> Communication:
    return Communication("tokens", "ep", collective, "ep", 1000.0, 4, limit, deduplicate, skew)


def matrix(communication: Communication, algorithm: str, domain: int) -> Floats:
    """What each of 16 ranks sends each other."""
    members = np.arange(16)
    found = np.zeros((16, 16))
    for rank in range(16):
        for exchange in ALGORITHMS[algorithm](members, rank, communication, domain).phases[0]:
            np.add.at(found[rank], exchange.peers, exchange.bytes_to)
    return found


@given(SHARES, SHARES)
def test_direct_sends_what_the_shares_say_and_combine_is_its_mirror(send: list[float], receive: list[float]) -> None:
    skew = Skew(tuple(send), tuple(share / sum(receive) for share in receive))
    out = matrix(call("dispatch", skew), "direct", 16)
    wanted = 1000.0 * np.outer(skew.send, skew.receive)
    np.fill_diagonal(wanted, 0.0)
    assert out == pytest.approx(wanted, rel=1e-12)
    assert matrix(call("combine", skew), "direct", 16) == pytest.approx(out.T, rel=1e-12)


@given(SHARES, SHARES, st.sampled_from([0, 1, 2, 4]))
def test_one_copy_per_domain_and_its_mirror(send: list[float], receive: list[float], limit: int) -> None:
    """A combine is a dispatch turned round; what enters a domain is its copies; inside, a rank hands each other what is for it.

    Once for all of a token's four experts there: of the tokens that the router looks at a domain for, 1 - (1 - q)^4.
    """
    skew = Skew(tuple(send), tuple(share / sum(receive) for share in receive))
    out = matrix(call("dispatch", skew, limit=limit), "one-copy-per-domain", 4)
    assert matrix(call("combine", skew, limit=limit), "one-copy-per-domain", 4) == pytest.approx(out.T, rel=1e-12, abs=1e-12)
    copies = domain_copies(np.array(skew.receive).reshape(4, 4).sum(axis=1), 4, limit)
    assert copies.max() <= 1 + 1e-12
    assert copies.sum() <= min(limit or 4, 4) + 1e-9
    for home in range(4):
        for place in range(4):
            rank = 4 * home + place
            entering = sum(out[other, rank] for other in range(place, 16, 4) if other != rank)
            others = sum(skew.send[other] for other in range(place, 16, 4) if other != rank)
            assert entering == pytest.approx(250.0 * others * copies[home], rel=1e-9, abs=1e-9)
            handed = out[rank, 4 * home : 4 * home + 4].sum()
            share = sum(skew.receive[4 * home : 4 * home + 4])
            looked_at = min(1.0, limit * share) if 0 < limit < 4 else 1.0
            away = [skew.receive[at] for at in range(4 * home, 4 * home + 4) if at != rank]
            drawn = [min(1.0, each / looked_at) if looked_at else 0.0 for each in away]
            for_others = looked_at * sum((1 - (1 - each) ** 4) / 4 for each in drawn)
            assert handed == pytest.approx(1000.0 * sum(skew.send[place::4]) * for_others, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("limit", [0, 1, 3, 8])
@pytest.mark.parametrize("algorithm", ["direct", "one-copy-per-domain"])
def test_a_skew_of_equal_shares_is_no_skew(algorithm: str, limit: int) -> None:
    even = Skew((1.0,) * 16, (1 / 16,) * 16)
    for collective in ("dispatch", "combine"):
        plain, skewed = (matrix(call(collective, skew, limit=limit), algorithm, 2) for skew in (None, even))
        assert skewed == pytest.approx(plain, rel=1e-12)
    assert domain_copies(np.full(8, 1 / 8), 4, limit).sum() == pytest.approx(distinct_domains(8, 4, limit), rel=1e-12)


LOADS: dict[str, Callable[[int], Skew]] = {
    "hot rank": lambda n: Skew((1.0,) * n, (0.5, *(0.5 / (n - 1),) * (n - 1))),
    "every second rank hot": lambda n: Skew((1.0,) * n, tuple((1.5 if at % 2 else 0.5) / n for at in range(n))),
    "idle rank": lambda n: Skew((1.0,) * n, (0.0, *(1.0 / (n - 1),) * (n - 1))),
    "ragged": lambda n: Skew((0.5, *(1.0,) * (n - 1)), (1.0 / n,) * n),
    "all unequal": lambda n: Skew((1.0,) * n, tuple(2.0 * at / n / (n + 1) for at in range(1, n + 1))),
}
CASES = [(name, plan) for name, make in FABRICS.items() for plan in plans(make().ranks) if plan.ep > 1]
HOT = LOADS["hot rank"](8)


def labels(skew: Skew) -> list[int]:
    seen = list(zip(skew.send, skew.receive, strict=True))
    return [seen.index(both) for both in seen]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("name", "groups"), CASES, ids=str)
def test_folded_rates_are_those_of_every_flow_by_itself(name: str, groups: Groups, load: str) -> None:
    """Dispatch and combine of all groups beside other traffic: same flows, same max-min rates, and the certificate."""
    fabric, skew = FABRICS[name](), LOADS[load](groups.ep)
    calls = [call("dispatch", skew), call("combine", skew), Communication("sums", "dp", "all-reduce", "dp_cp", 300.0)]
    fold = Fold(fabric, groups, loads=labels(skew))
    tagged = [(number, flow) for number, phases in enumerate(launch_all(fold, calls)) for flow in (phases[0] if phases else ())]
    each = unfolded(fabric, groups, calls)
    chosen = np.flatnonzero(each.phase == 0)
    loads, _ = each.select(chosen)
    assert sum(flow.count for _, flow in tagged) == len(chosen)
    folded = max_min(*system(fold, [flow for _, flow in tagged]))
    found = rates_of_each_flow(fold, folded, tagged, each, chosen.tolist())
    assert is_max_min(loads, each.capacity, found)
    assert found == pytest.approx(max_min(loads, each.capacity), rel=1e-9)


@pytest.mark.parametrize("name", ["star 16, 3 planes", "mesh 4x4", "clos 8x4, tight ports", "rails 4x4"])
def test_the_last_byte_comes_when_it_comes_unfolded(name: str) -> None:
    """Flows of unequal sizes leave one after the other; the fold follows every departure."""
    fabric = FABRICS[name]()
    groups = Groups(tp=1, cp=1, dp=fabric.ranks, pp=1, ep=8)
    fold, free = (Fold(fabric, groups, symmetric=folded, loads=labels(HOT)) for folded in (True, False))
    ends = [isolated_time(each.collective(0, call("dispatch", HOT)), each.link_classes) for each in (fold, free)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert len(fold.rank_classes) < len(free.rank_classes)


def test_a_fold_that_does_not_know_of_the_loads_is_refused() -> None:
    """Without the loads the hot rank would be taken for its neighbours: an error, no wrong number."""
    fabric = FABRICS[next(name for name, make in FABRICS.items() if make().ranks % 8 == 0)]()
    groups = Groups(tp=1, cp=1, dp=fabric.ranks, pp=1, ep=8)
    with pytest.raises(AssertionError, match="holds ranks of unequal loads"):
        Fold(fabric, groups).collective(0, call("dispatch", HOT))


def test_a_skew_of_another_size_or_an_algorithm_that_knows_none_is_refused() -> None:
    fabric = next(make() for make in FABRICS.values() if make().ranks % 8 == 0)
    groups = Groups(tp=1, cp=1, dp=fabric.ranks, pp=1, ep=8)
    with pytest.raises(InputError, match="8 ranks has as many loads"):
        Fold(fabric, groups).collective(0, call("dispatch", Skew((1.0,) * 4, (0.25,) * 4)))
    fold = Fold(fabric, groups, algorithms={"dispatch": "hierarchical"}, symmetric=False)
    with pytest.raises(NotModelled, match="hierarchical with unequal loads"):
        fold.collective(0, call("dispatch", HOT))


def test_only_positions_that_are_loaded_alike_may_be_swapped() -> None:
    """A group of 4 x 2 with one hot corner splits both; a column of hot ones splits one; a turn needs all to be alike."""
    inner, outer = (
        SubDimension(name, at, 1, size, "full", unit) for at, (name, size, unit) in enumerate([("a", 4, 1), ("b", 2, 4)])
    )
    beyond = SubDimension("c", 2, 1, 4, "full", 8)
    corner = tell_apart((inner, outer, beyond), ((1, 8),), (1, 0, 0, 0, 0, 0, 0, 0))
    assert [part.labels for part in corner] == [(0, 1, 1, 1), (0, 1), (0, 0, 0, 0)]
    column = tell_apart((inner, outer, beyond), ((1, 8),), (1, 0, 0, 0, 1, 0, 0, 0))
    assert [part.classes for part in column] == [2, 1, 1]
    ring = SubDimension("a", 0, 1, 8, "cyclic", 1)
    assert tell_apart((ring,), ((1, 8),), (1, 0, 0, 0, 0, 0, 0, 0))[0].symmetry == "none"
    assert tell_apart((ring,), ((1, 8),), (2,) * 8) == (ring,)
