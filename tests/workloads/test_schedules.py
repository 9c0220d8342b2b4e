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
    dualpipe_v,
    interleaved,
    micro_batches_in_flight,
    one_f_one_b,
    overlapped_one_f_one_b,
    stage_owners,
    zb_h1,
    zb_v,
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


def test_dualpipe_with_unequal_times_by_hand() -> None:
    """Four ranks, 8 micro-batches, F = 2, I = 3, W = 2, B = I + W, and 6 for a forward and a backward that overlap.

    By symmetry rank 3 runs as rank 0 does, rank 2 as rank 1. What waits: rank 1 for its first forward; rank 0 for the forward
    and the gradient that rank 1's joined slots send at 23 and 35; rank 1 for the gradient that rank 0 sends at 46; rank 0 for
    rank 1's last at 52.
    """
    order = dualpipe(4, 8)
    table = play(order, 4, lasting(2, 5, 6, 2))
    assert table.start[0] == (0, 2, 4, 6, 8, 11, 13, 15, 23, 29, 35, 41, 46, 49, 52, 55)
    assert table.start[1] == (2, 4, 6, 8, 10, 12, 17, 23, 29, 35, 40, 46, 49, 52, 54)
    assert (table.start[3], table.start[2]) == (table.start[0], table.start[1])
    assert table.makespan == 57


@given(st.integers(1, 6), st.integers(0, 12))
def test_dualpipe_v_is_legal_and_joins_the_two_stages_of_a_rank(pp: int, more: int) -> None:
    micro_batches = 2 * pp + more
    order = dualpipe_v(pp, micro_batches)
    check_order(order, stage_owners("dualpipe-v", pp, 2), micro_batches)
    for slots in order:
        assert {slot[0].stage != slot[1].stage for slot in slots if len(slot) == 2} <= {True}


@pytest.mark.parametrize(("pp", "micro_batches"), [(1, 2), (2, 4), (3, 7), (4, 20), (8, 60)])
@pytest.mark.parametrize("joined", [2.2, 2.5, 3.0])
def test_dualpipe_v_has_the_bubble_of_a_dualpipe_twice_as_long(pp: int, micro_batches: int, joined: float) -> None:
    """(PP/2 - 1)(FB + B - 3W), PP = 2 pp the number of stages (table of github.com/deepseek-ai/DualPipe)."""
    idle = play(dualpipe_v(pp, micro_batches), 2 * pp, lasting(1, 2, joined, 1)).idle
    assert max(idle) == pytest.approx((pp - 1) * (joined + 2 - 3), abs=1e-9)


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 8), (8, 24)])
def test_dualpipe_v_walks_as_half_of_dualpipe_and_holds_what_it_holds(pp: int, micro_batches: int) -> None:
    """Rank r does what rank r of 2 pp does, kind by kind, and holds 2 pp + 1 micro-batches of a stage."""
    whole, half = dualpipe(2 * pp, 2 * micro_batches), dualpipe_v(pp, micro_batches)
    for rank in range(pp):
        assert [[work.kind for work in slot] for slot in half[rank]] == [[work.kind for work in slot] for slot in whole[rank]]
        assert micro_batches_in_flight(half[rank])[0] == 2 * pp + 1


@given(ranks, st.integers(1, 30))
def test_zb_h1_is_legal_and_holds_no_more_than_the_first_rank_of_one_f_one_b(pp: int, micro_batches: int) -> None:
    order = zb_h1(pp, micro_batches)
    check_order(order, stage_owners("zb-h1", pp, 1), micro_batches)
    assert {micro_batches_in_flight(slots)[0] for slots in order} == {min(pp, micro_batches)}


@given(ranks, st.integers(0, 20), st.floats(0.1, 4), st.floats(0.1, 4), st.floats(0, 1))
def test_zb_h1_shrinks_the_bubble_to_that_of_its_table(pp: int, more: int, f: float, i: float, part: float) -> None:
    """(PP - 1)(F + I - W) for every rank, any F and I and any W below both, from PP micro-batches on (2401.10241, table 2)."""
    w = min(f, i) * part
    idle = play(zb_h1(pp, pp + more), pp, lasting(f, i + w, 0, w)).idle
    assert idle == pytest.approx([(pp - 1) * (f + i - w)] * pp, rel=1e-9, abs=1e-9)


@given(st.integers(1, 8), st.integers(1, 40))
def test_zb_v_is_legal_and_holds_at_most_two_stages_of_pp_micro_batches(pp: int, micro_batches: int) -> None:
    """As much as 1F1B's first rank, whose stages are twice as long (arXiv 2401.10241, section 6)."""
    order = zb_v(pp, micro_batches)
    check_order(order, stage_owners("zb-v", pp, 2), micro_batches)
    held = {micro_batches_in_flight(slots)[0] for slots in order}
    assert max(held) == min(2 * pp, 2 * micro_batches)
    if micro_batches >= 2 * pp - 1:
        assert held == {2 * pp}


@given(st.integers(1, 8), st.integers(0, 20), st.floats(0.1, 4))
def test_zb_v_leaves_no_rank_idle_once_it_began(pp: int, more: int, time: float) -> None:
    """F = I = W: rank r works without a gap from r F on; the step has (PP - 1) F of bubble, which is the staggered start."""
    micro_batches = 2 * pp - 1 + more
    table = play(zb_v(pp, micro_batches), 2 * pp, lasting(time, 2 * time, 0, time))
    for rank, (starts, ends) in enumerate(zip(table.start, table.end, strict=True)):
        assert starts[0] == pytest.approx(rank * time)
        assert ends[-1] - starts[0] == pytest.approx(table.busy[rank], rel=1e-9)
    assert table.makespan == pytest.approx(6 * micro_batches * time + (pp - 1) * time, rel=1e-9)


def test_zero_bubble_beats_one_f_one_b_by_as_much_as_the_papers_say() -> None:
    """F = I = W, 8 ranks: ZB-H1 has a third of 1F1B's bubble, ZB-V (stages half as long) a sixth."""
    pp, micro_batches = 8, 24
    plain = max(play(one_f_one_b(pp, micro_batches), pp, lasting(1, 2, 0)).idle)
    h1 = max(play(zb_h1(pp, micro_batches), pp, lasting(1, 2, 0, 1)).idle)
    v = max(play(zb_v(pp, micro_batches), 2 * pp, lasting(0.5, 1, 0, 0.5)).idle)
    assert (plain, h1, v) == (21, 7, 3.5)


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
