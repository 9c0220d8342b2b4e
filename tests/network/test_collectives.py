"""Collectives as patterns: who sends what, by hand; and which algorithm is picked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.network.collectives.choice import ALGORITHMS, choose
from simulator.network.collectives.direct import direct
from simulator.network.collectives.dispatch import distinct_domains, one_copy_per_domain
from simulator.network.collectives.halving_doubling import halving_doubling
from simulator.network.collectives.hierarchical import hierarchical
from simulator.network.collectives.pattern import Pattern, levels
from simulator.network.collectives.ring import ring
from simulator.spec.errors import InputError, NotModelled
from tests.network.doubles import communication
from workloads.instructions import Skew

EIGHT = np.arange(8)
NEEDS = {"all-gather": 7 / 8, "reduce-scatter": 7 / 8, "all-reduce": 2 * 7 / 8, "all-to-all": 7 / 8}


def sent(pattern: Pattern) -> dict[int, float]:
    """Bytes to each peer over all phases."""
    found: dict[int, float] = {}
    for phase in pattern.phases:
        for exchange in phase:
            for peer in exchange.peers.tolist():
                found[peer] = found.get(peer, 0.0) + exchange.payload
    return found


@pytest.mark.parametrize(
    ("name", "collective"),
    [(name, collective) for collective in NEEDS for name in ("direct", "ring", "halving-doubling") if collective != "all-to-all"]
    + [("direct", "all-to-all")],
)
def test_flat_algorithms_send_the_least_that_the_collective_needs(name: str, collective: str) -> None:
    call = communication(collective, "dp", 80.0)
    received = dict.fromkeys(range(8), 0.0)
    for rank in range(8):
        out = sent(ALGORITHMS[name](EIGHT, rank, call, 8))
        assert sum(out.values()) == pytest.approx(80.0 * NEEDS[collective])
        assert rank not in out
        for peer, amount in out.items():
            received[peer] += amount
    assert list(received.values()) == pytest.approx([80.0 * NEEDS[collective]] * 8)


def test_two_levels_send_like_rail_aligned_rings() -> None:
    # 4 domains of 2: outside (G-1)/G of the slice S/g, inside (g-1)/g of S
    out = sent(hierarchical(EIGHT, 3, communication("all-gather", "dp", 80.0), 2))
    assert out == {2: 40.0, 1: 10.0, 5: 10.0, 7: 10.0}
    twice = sent(hierarchical(EIGHT, 3, communication("all-reduce", "dp", 80.0), 2))
    assert twice == {peer: 2 * amount for peer, amount in out.items()}


def test_a_two_level_all_to_all_crosses_on_the_rail_only() -> None:
    out = sent(hierarchical(EIGHT, 0, communication("all-to-all", "dp", 80.0), 2))
    # to each counterpart both shares of its domain (2 x 10); inside, what all 4 domains have for the neighbour (4 x 10)
    assert out == {1: 40.0, 2: 20.0, 4: 20.0, 6: 20.0}


def test_one_copy_a_domain_crosses_and_one_a_rank_is_forwarded() -> None:
    """Four experts on the four ranks of two domains: of four copies 4 (1 - (3/4)^4) are for different ranks."""
    call = communication("dispatch", "ep", 48.0, top_k=4, max_domains=2, deduplicate=True)
    out = sent(one_copy_per_domain(EIGHT, 0, call, 2))
    copies = 2 * (1 - 0.5**4)
    forwarded = 24.0 * (1 - 0.75**4)
    assert out == pytest.approx({1: forwarded, 2: copies / 4 * 12.0, 4: copies / 4 * 12.0, 6: copies / 4 * 12.0})


def test_a_token_goes_to_each_rank_of_its_domain_once() -> None:
    """Eight experts on eight ranks: 8 (1 - (7/8)^8) = 5.25 different ones; kernels that copy for each expert send eight."""
    call = communication("dispatch", "ep", 64.0, top_k=8, deduplicate=True)
    assert sent(direct(EIGHT, 0, call, 8)) == pytest.approx(dict.fromkeys(range(1, 8), 8.0 * (1 - 0.875**8)))
    assert sent(direct(EIGHT, 0, replace(call, deduplicate=False), 8)) == dict.fromkeys(range(1, 8), 8.0)
    even = Skew(send=(1.0,) * 8, receive=(0.125,) * 8)
    assert sent(direct(EIGHT, 3, replace(call, skew=even), 8))[0] == pytest.approx(8.0 * (1 - 0.875**8))


def test_distinct_domains_at_the_ends() -> None:
    assert distinct_domains(1, 8) == 1.0
    assert distinct_domains(8, 1) == pytest.approx(1.0)
    assert distinct_domains(4, 1000) == pytest.approx(4.0)


def test_one_copy_a_domain_needs_the_experts_per_token() -> None:
    with pytest.raises(InputError, match="top_k"):
        one_copy_per_domain(EIGHT, 0, communication("dispatch", "ep", 1.0, deduplicate=True), 2)


def test_a_ring_goes_round_in_order_and_relays() -> None:
    members = np.array([3, 7, 11])
    pattern = ring(members, 11, communication("all-reduce", "dp", 9.0), 4)
    ((exchange,),) = pattern.phases
    assert (exchange.peers.tolist(), exchange.payload, exchange.steps, exchange.relayed) == ([3], 12.0, 4, True)


def test_halving_meets_the_far_half_first() -> None:
    pattern = halving_doubling(EIGHT, 5, communication("reduce-scatter", "dp", 8.0), 8)
    assert [(phase[0].peers.tolist(), phase[0].payload) for phase in pattern.phases] == [([1], 4.0), ([7], 2.0), ([4], 1.0)]


def test_what_an_algorithm_cannot_do_is_refused() -> None:
    with pytest.raises(NotModelled, match="Choose direct"):
        ring(EIGHT, 0, communication("all-to-all", "dp", 1.0), 8)
    with pytest.raises(NotModelled, match="2\\^k"):
        halving_doubling(EIGHT[:6], 0, communication("all-reduce", "dp", 1.0), 8)
    with pytest.raises(NotModelled, match="same places"):
        hierarchical(np.arange(3, 9), 4, communication("all-reduce", "dp", 1.0), 4)


def copies(members: np.ndarray, domain: int, collective: str, top_k: int = 3, payload: float = 12.0) -> np.ndarray:  # type: ignore[type-arg]
    """[ranks, ranks] bytes of one copy per domain among members that may lie unevenly."""
    call = communication(collective, "ep", payload, top_k=top_k, deduplicate=True)
    matrix = np.zeros((members.max() + 1, members.max() + 1))
    for rank in members.tolist():
        ((*exchanges,),) = one_copy_per_domain(members, rank, call, domain).phases
        for exchange in exchanges:
            matrix[rank, exchange.peers] += exchange.payload
    return matrix


UNEVEN = [(np.arange(2, 8), 4), (np.arange(12), 8), (np.arange(8, 40), 24), (np.array([0, 1, 2, 5, 6, 8]), 4)]


@pytest.mark.parametrize(("members", "domain"), UNEVEN, ids=str)
def test_one_copy_enters_uneven_domains_in_proportion_to_the_tokens_that_go_there(members: np.ndarray, domain: int) -> None:  # type: ignore[type-arg]
    """Every rank sends p_d P / k to domain d, each rank of d lets in as much, a combine is a dispatch backwards."""
    matrix = copies(members, domain, "dispatch")
    home = members // domain
    for rank in members.tolist():
        for other in set(home.tolist()) - {rank // domain}:
            there = members[home == other]
            chance = 1.0 - (1.0 - len(there) / len(members)) ** 3
            assert matrix[rank, there].sum() == pytest.approx(chance * 12.0 / 3)
    for other in set(home.tolist()):
        there = members[home == other]
        let_in = matrix[np.ix_(members[home != other], there)].sum(axis=0)
        assert let_in == pytest.approx(np.full(len(there), let_in[0]))
        inside = matrix[np.ix_(there, there)]
        # Each rank's experts take P in all, P / n_d of it on the spot; copies for the same rank are one.
        once = len(members) * (1 - (1 - 1 / len(members)) ** 3) / 3
        assert inside.sum() == pytest.approx(once * 12.0 * (len(there) - 1))
    back = copies(members, domain, "combine")
    across = home[:, None] != home[None, :]
    assert back[np.ix_(members, members)].T[across] == pytest.approx(matrix[np.ix_(members, members)][across])


def test_the_chance_that_a_token_has_an_expert_in_a_domain_is_that_of_drawing_one() -> None:
    """A million tokens with three experts each, drawn one by one, on 12 ranks over domains of 8: 8 and 4."""
    random = np.random.default_rng(0)
    homes = random.integers(0, 12, (1_000_000, 3)) // 8
    matrix = copies(np.arange(12), 8, "dispatch", payload=3.0)
    assert matrix[0, 8:].sum() == pytest.approx(np.mean((homes == 1).any(axis=1)), rel=2e-3)
    assert matrix[8, :8].sum() == pytest.approx(np.mean((homes == 0).any(axis=1)), rel=2e-3)


def test_uneven_places_of_even_domains_are_even_domains() -> None:
    """Two ranks in each of two domains, at other places: bytes are those of two aligned ones."""
    even, shifted = copies(np.array([0, 1, 4, 5]), 4, "dispatch"), copies(np.array([2, 3, 4, 5]), 4, "dispatch")
    assert shifted[2, [3, 4, 5]] == pytest.approx(even[0, [1, 4, 5]])


def test_a_router_that_looks_at_some_uneven_domains_is_refused() -> None:
    call = communication("dispatch", "ep", 12.0, top_k=3, max_domains=1, deduplicate=True)
    with pytest.raises(NotModelled, match=r"\[8, 4\] ranks"):
        one_copy_per_domain(np.arange(12), 0, call, 8)


def test_levels_of_strided_groups() -> None:
    cut = levels(np.array([1, 3, 5, 7]), 5, 4)
    assert cut is not None
    assert (cut.inner.tolist(), cut.outer.tolist(), cut.within, cut.across) == ([7], [1], 2, 2)
    assert levels(np.array([0, 1, 2, 4]), 0, 4) is None
    assert levels(np.array([0, 1, 5, 6]), 0, 4) is None


def test_the_choice_of_a_library() -> None:
    def chosen(collective: str, members: np.ndarray, **more: int | bool) -> str:  # type: ignore[type-arg]
        return choose(communication(collective, "ep", 1.0, **more), members, 4, {})

    assert chosen("all-reduce", EIGHT[:4]) == "direct"
    assert chosen("all-reduce", EIGHT) == "hierarchical"
    assert chosen("all-to-all", EIGHT) == "direct"
    assert chosen("dispatch", EIGHT) == "direct"
    assert chosen("dispatch", EIGHT, deduplicate=True) == "one-copy-per-domain"
    assert chosen("dispatch", EIGHT[:4], deduplicate=True) == "direct"
    assert chosen("all-gather", np.array([0, 1, 2, 4])) == "direct"


def test_the_choice_can_be_overridden_and_misspelt() -> None:
    call = communication("all-reduce", "tp", 1.0)
    assert choose(call, EIGHT, 4, {"all-reduce": "ring"}) == "ring"
    assert choose(call, EIGHT, 4, {"all-reduce": "ring", "all-reduce:tp": "direct"}) == "direct"
    with pytest.raises(InputError, match="unknown algorithm"):
        choose(call, EIGHT, 4, {"all-reduce": "bush"})
    with pytest.raises(InputError, match="unknown collective"):
        choose(communication("gather", "tp", 1.0), EIGHT, 4, {})
