"""Pipeline orders: legal for any counts, and as long as their closed forms say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import PlanError
from workloads.instructions import Slot, Work, WorkKind
from workloads.schedules import (
    dualpipe,
    interleaved,
    micro_batches_in_flight,
    one_f_one_b,
    overlapped_one_f_one_b,
    stage_owners,
)
from workloads.timetable import check_order, play

F, B, I, W = WorkKind  # noqa: E741


def lasting(forward: float, backward: float, joined: float, weight: float = 0.0) -> Callable[[Slot], float]:
    """Slot durations: F, B, a split backward I + W = B, and a joined forward and backward."""
    alone = {F: forward, B: backward, I: backward - weight, W: weight}
    return lambda slot: joined if len(slot) == 2 else alone[slot[0].kind]


ranks = st.integers(1, 9)


@given(ranks, st.integers(1, 30))
def test_one_f_one_b_is_legal_and_takes_m_plus_pp_minus_1(pp: int, micro_batches: int) -> None:
    order = one_f_one_b(pp, micro_batches)
    check_order(order, stage_owners("1f1b", pp, 1), micro_batches)
    assert play(order, pp, lasting(1, 2, 3)).makespan == (micro_batches + pp - 1) * 3


@given(ranks, st.integers(1, 30), st.floats(0.1, 5), st.floats(0.1, 5))
def test_one_f_one_b_keeps_its_closed_form_for_any_durations(pp: int, micro_batches: int, f: float, b: float) -> None:
    makespan = play(one_f_one_b(pp, micro_batches), pp, lasting(f, b, 0)).makespan
    assert makespan == pytest.approx((micro_batches + pp - 1) * (f + b), rel=1e-12)


@given(st.integers(2, 6), st.integers(1, 5), st.integers(2, 5))
def test_interleaved_is_legal_and_shrinks_the_bubble_by_its_chunks(pp: int, groups: int, vpp: int) -> None:
    micro_batches = groups * pp
    order = interleaved(pp, micro_batches, vpp)
    check_order(order, stage_owners("interleaved", pp, vpp), micro_batches)
    makespan = play(order, pp * vpp, lasting(1 / vpp, 2 / vpp, 0)).makespan
    assert makespan == pytest.approx(micro_batches * 3 + (pp - 1) * 3 / vpp, rel=1e-12)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_overlapped_order_is_legal_and_joins_different_micro_batches(pp: int, groups: int, vpp: int) -> None:
    micro_batches = groups * pp
    order = overlapped_one_f_one_b(pp, micro_batches, vpp)
    check_order(order, stage_owners("interleaved", pp, vpp), micro_batches)
    for slots in order:
        for forward, backward in (slot for slot in slots if len(slot) == 2):
            assert (forward.kind, backward.kind) == (F, B)
            assert (forward.stage, forward.micro_batch) != (backward.stage, backward.micro_batch)


@given(st.integers(1, 8), st.integers(0, 20), st.floats(0.1, 4), st.floats(0.1, 4), st.floats(0, 1))
def test_overlapped_order_costs_one_joined_slot_a_micro_batch(pp: int, more: int, f: float, b: float, hidden: float) -> None:
    """F + (M - 1) FB + B on every rank, and (PP - 1)(F + B) to fill and drain, from 2 PP micro-batches on."""
    micro_batches = 2 * pp + more
    joined = max(f, b) + (f + b - max(f, b)) * (1 - hidden)
    makespan = play(overlapped_one_f_one_b(pp, micro_batches, 1), pp, lasting(f, b, joined)).makespan
    assert makespan == pytest.approx(f + (micro_batches - 1) * joined + b + (pp - 1) * (f + b), rel=1e-9)


@given(st.integers(1, 6), st.integers(0, 12))
def test_dualpipe_is_legal_and_each_direction_gets_half_of_the_micro_batches(half_pp: int, more: int) -> None:
    pp, micro_batches = 2 * half_pp, 4 * half_pp + 2 * more
    order = dualpipe(pp, micro_batches)
    check_order(order, stage_owners("dualpipe", pp, 1), micro_batches)
    for slots in order:
        works = [work for slot in slots for work in slot]
        assert all((work.direction == 1) == (work.micro_batch >= micro_batches // 2) for work in works)
        assert sum(work.kind is F for work in works) == micro_batches
        assert {slot[0].direction ^ slot[1].direction for slot in slots if len(slot) == 2} == {1}


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 8), (8, 20), (16, 48), (16, 120)])
@pytest.mark.parametrize("joined", [2.2, 2.5, 3.0])
def test_dualpipe_bubble_is_that_of_its_published_table(pp: int, micro_batches: int, joined: float) -> None:
    """(PP/2 - 1)(FB + B - 3W) idle on the middle ranks when F = I = W (DeepSeek-V3 report, table 2)."""
    forward, backward, weight = 1.0, 2.0, 1.0
    idle = play(dualpipe(pp, micro_batches), pp, lasting(forward, backward, joined, weight)).idle
    assert max(idle) == pytest.approx((pp / 2 - 1) * (joined + backward - 3 * weight), abs=1e-9)
    assert idle[pp // 2] == max(idle)


@pytest.mark.parametrize(("pp", "micro_batches"), [(4, 8), (8, 16), (16, 48)])
def test_dualpipe_holds_pp_plus_1_micro_batches_on_every_rank(pp: int, micro_batches: int) -> None:
    """The activation memory of the published table, over both directions."""
    assert {micro_batches_in_flight(slots)[0] for slots in dualpipe(pp, micro_batches)} == {pp + 1}


def test_dualpipe_of_four_ranks_by_hand() -> None:
    """Rank 0 of 4 with 8 micro-batches, step by step as the published algorithm prints it."""
    names = ["+".join(f"{work.kind}{work.direction}.{work.micro_batch % 4}" for work in slot) for slot in dualpipe(4, 8)[0]]
    assert names == [
        "F0.0", "F0.1",  # 1: nF0
        "F0.2", "F1.0",  # 2: nF0F1
        "I1.0", "W1.0", "F1.1",  # 3: nI1W1F1
        "F0.3+B1.1", "F1.2+B0.0",  # 4: nF0B1F1B0
        "B1.2", "F1.3+B0.1",  # 5: nB1F1B0
        "B1.3", "I0.2",  # 6: nB1B0, the second half split
        "W0.2", "I0.3",  # 7: nWI0
        "W0.3",  # 8: nW
    ]  # fmt: skip


@pytest.mark.parametrize(("pp", "rank", "held"), [(4, 0, 4), (4, 3, 1), (8, 2, 6)])
def test_one_f_one_b_holds_pp_minus_rank_micro_batches(pp: int, rank: int, held: int) -> None:
    assert micro_batches_in_flight(one_f_one_b(pp, 3 * pp)[rank]) == (held, {rank: held})


def test_interleaved_holds_warm_up_plus_one_chunks() -> None:
    """Rank 0 of 4 with 2 chunks: 2 * 3 + 4 warm-up forwards and one more, spread over its two stages."""
    total, by_stage = micro_batches_in_flight(interleaved(4, 8, 2)[0])
    assert total == 11 == sum(by_stage.values()) and set(by_stage) == {0, 4}


def test_an_order_that_cannot_run_is_refused() -> None:
    """A deadlock, a missing backward, a stage on the wrong rank, and a stranger's micro-batch."""
    owners = ((0, 1),)
    forward = [Work(F, stage, 0) for stage in (0, 1)]
    backward = [Work(B, stage, 0) for stage in (0, 1)]
    first: list[Slot] = [(Work(kind, 0, m),) for m in (0, 1) for kind in (F, B)]
    second: list[Slot] = [(Work(kind, 1, m),) for m in (1, 0) for kind in (F, B)]
    with pytest.raises(PlanError, match="go on"):
        check_order([first, second], owners, 2)
    with pytest.raises(PlanError, match="backward once"):
        check_order([[(forward[0],)], [(forward[1],), (backward[1],)]], owners, 1)
    with pytest.raises(PlanError, match="owns"):
        check_order([[(forward[1],)], []], owners, 1)
    legal: list[list[Slot]] = [[(forward[0],), (backward[0],)], [(forward[1],), (backward[1],)]]
    check_order(legal, owners, 1)
    with pytest.raises(PlanError, match="made for"):
        check_order([[*legal[0], (Work(F, 0, 5),)], legal[1]], owners, 1)
