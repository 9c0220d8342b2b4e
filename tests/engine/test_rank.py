"""Ranks on a clock, with a network that takes set times: pipeline closed forms, overlap, and the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from simulator.engine.clock import Clock
from simulator.engine.cohort import Cohort
from simulator.engine.lanes import Rendezvous
from simulator.engine.post import Post
from simulator.engine.rank import Contention, Rank, World
from simulator.engine.recorder import Recorder
from simulator.engine.segments import OperatorTime, Segment
from tests.engine.doubles import TimedFolding, TimedNetwork
from workloads.instructions import (
    Block,
    Communication,
    Compute,
    Instruction,
    Kernel,
    Operator,
    Phase,
    Program,
    RankProgram,
    Slot,
    StageMemory,
    Start,
    Wait,
)
from workloads.schedules import (
    Order,
    dualpipe,
    dualpipe_v,
    interleaved,
    one_f_one_b,
    overlapped_one_f_one_b,
    stage_owners,
    zb_h1,
    zb_v,
)
from workloads.timetable import play

NOTHING = Block("nothing", ())
NO_MEMORY = StageMemory(0, 0, 0, 0, 0)


def work_of(seconds: float) -> Compute:
    """A compute that takes so many seconds (the FLOPs stand for them)."""
    return Compute((Operator("op", "op", Kernel.GEMM, Phase.FORWARD, seconds, 0.0),))


def segment(compute: Compute) -> Segment:
    return Segment("op", [OperatorTime(operator.flops, 0.0, 0.0) for operator in compute.operators])


def run(
    slots: list[tuple[Slot, ...]],
    blocks: Mapping[str, tuple[Instruction, ...]],
    folding: TimedFolding,
    cores: float = 0.0,
    owners: tuple[tuple[int, ...], ...] = (),
) -> tuple[float, list[dict[str, float]]]:
    """Simulate; returns the step [s] and every rank's books [s]. Blocks are the same for all stages, by kind."""
    pp = len(slots)
    clock, recorder = Clock(), Recorder()
    network = TimedNetwork(clock)
    ranks = tuple(
        RankProgram(
            rank,
            slots[rank],
            {
                (work.stage, work.direction, str(work.kind), ""): Block(work.kind, blocks[work.kind])
                for slot in slots[rank]
                for work in slot
            },
            NOTHING,
            NOTHING,
            NO_MEMORY,
        )
        for rank in range(pp)
    )
    program = Program(ranks, owners or (tuple(range(pp)),), 1.0, True, 1.0, 1.0, 1.0, 1.0, 1)
    contention = Contention(dict.fromkeys(("tp", "cp", "ep", "dp", "pp"), cores), 0.0, 1.0)
    world = World(
        clock, network, folding, program, Rendezvous(clock, network), Post(clock, network, recorder), recorder, contention,
        segment, lambda: None,
    )  # fmt: skip
    players = [Rank(world, rank, ranks[rank]) for rank in range(pp)]
    for player in players:
        clock.process(Cohort(world, [player]).begin())
    clock.run()
    for player in players:
        player.accounts.close_idle(player.finished)
    books = [{part: value / 1e12 for part, value in player.accounts.parts.items()} for player in players]
    return max(player.finished for player in players) / 1e12, books


@pytest.mark.parametrize(("pp", "micro_batches"), [(1, 1), (2, 4), (4, 8), (8, 8), (4, 3)])
def test_1f1b_closed_form(pp: int, micro_batches: int) -> None:
    """Equal stages, free sends: (M + PP - 1)(F + B)."""
    forward, backward = 0.003, 0.006
    slots = [tuple(order) for order in one_f_one_b(pp, micro_batches)]
    blocks = {"F": (work_of(forward),), "B": (work_of(backward),)}
    step, books = run(slots, blocks, TimedFolding(pp))
    assert step == pytest.approx((micro_batches + pp - 1) * (forward + backward), rel=1e-9)
    for book in books:
        assert book["arithmetic"] == pytest.approx(micro_batches * (forward + backward), rel=1e-9)


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 8), (4, 12), (8, 16)])
@pytest.mark.parametrize("milliseconds", [{"F": 1, "B": 2, "I": 1, "W": 1}, {"F": 2, "B": 5, "I": 3, "W": 2}])
@pytest.mark.parametrize(
    ("make", "schedule", "vpp"),
    [
        (one_f_one_b, "1f1b", 1),
        (interleaved, "interleaved", 2),
        (overlapped_one_f_one_b, "interleaved", 1),
        (overlapped_one_f_one_b, "interleaved", 2),
        (zb_h1, "zb-h1", 1),
        (zb_v, "zb-v", 2),
        (dualpipe, "dualpipe", 1),
        (dualpipe_v, "dualpipe-v", 2),
    ],
)
def test_free_sends_leave_the_schedule_s_own_timetable(
    make: Callable[[int, int, int], Order],
    schedule: str,
    vpp: int,
    milliseconds: dict[str, int],
    pp: int,
    micro_batches: int,
) -> None:
    """The engine's step is the makespan that the order has on paper, joined slots starting and sending as one."""
    order = make(pp, micro_batches, vpp)
    owners = stage_owners(schedule, pp, vpp)
    paper = play(order, pp * vpp, lambda slot: sum(milliseconds[work.kind] for work in slot) * 1e-3)
    blocks = {kind: (work_of(time * 1e-3),) for kind, time in milliseconds.items()}
    step, books = run([tuple(slots) for slots in order], blocks, TimedFolding(pp), owners=owners)
    assert step == pytest.approx(paper.makespan, rel=1e-9)
    for book, busy in zip(books, paper.busy, strict=True):
        assert book["arithmetic"] == pytest.approx(busy, rel=1e-9)


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 12)])
def test_zero_bubble_closed_forms(pp: int, micro_batches: int) -> None:
    """ZB-H1: M(F + I + W) + (PP - 1)(F + I - W), and all of the rest is bubble. ZB-V, F = I = W: 6 M F + (PP - 1) F."""
    f, i, w = 0.002, 0.003, 0.001
    blocks = {"F": (work_of(f),), "I": (work_of(i),), "W": (work_of(w),)}
    step, books = run([tuple(slots) for slots in zb_h1(pp, micro_batches)], blocks, TimedFolding(pp))
    assert step == pytest.approx(micro_batches * (f + i + w) + (pp - 1) * (f + i - w), rel=1e-9)
    assert [step - book["arithmetic"] for book in books] == pytest.approx([(pp - 1) * (f + i - w)] * pp, rel=1e-9)
    assert books[0]["pipeline_bubble"] == pytest.approx((pp - 1) * (f + i - w), rel=1e-9)
    blocks = dict.fromkeys("FIW", (work_of(f),))
    folded = [tuple(slots) for slots in zb_v(pp, micro_batches)]
    step, _ = run(folded, blocks, TimedFolding(pp), owners=stage_owners("zb-v", pp, 2))
    assert step == pytest.approx((6 * micro_batches + pp - 1) * f, rel=1e-9)


def test_dualpipe_with_unequal_times_and_overlap_that_comes_from_the_lanes() -> None:
    """The case that tests/workloads works by hand, in ms: F = 2 and B = 5 of which 0.5 each is communication, I = 3, W = 2.

    Joined, each one's communication runs beside the other's arithmetic, so that the slot takes 6; the step takes 57.
    """
    transfer = Communication("move", "ep", "all-to-all", "ep", 1.0)
    wait = (Start(transfer, "t"), Wait("t"))
    blocks: dict[str, tuple[Instruction, ...]] = {
        "F": (*wait, work_of(0.0015)),
        "B": (work_of(0.0045), *wait),
        "I": (work_of(0.0025), *wait),
        "W": (work_of(0.002),),
    }
    folding = TimedFolding(4, {"move": 0.0005})
    step, _ = run([tuple(slots) for slots in dualpipe(4, 8)], blocks, folding, owners=stage_owners("dualpipe", 4, 1))
    assert step == pytest.approx(0.057, rel=1e-9)


def test_a_wait_is_exposed_communication() -> None:
    """Start, then at once wait: the whole transfer stands in the way."""
    transfer = Communication("move", "ep", "all-to-all", "ep", 1.0)
    blocks: dict[str, tuple[Instruction, ...]] = {
        "F": (work_of(0.001), Start(transfer, "t"), Wait("t"), work_of(0.001)),
        "B": (work_of(0.001),),
    }
    slots = [tuple(order) for order in one_f_one_b(1, 2)]
    step, books = run(slots, blocks, TimedFolding(1, {"move": 0.004}))
    assert step == pytest.approx(2 * 0.003 + 2 * 0.004, rel=1e-9)
    assert books[0]["exposed_ep"] == pytest.approx(0.008, rel=1e-9)


def test_a_transfer_behind_compute_costs_its_cores_only() -> None:
    """A transfer of 2 ms beside 4 ms of compute at half the cores: 2 ms do 1 ms of work, the other 3 ms follow."""
    transfer = Communication("move", "ep", "all-to-all", "ep", 1.0)
    blocks: dict[str, tuple[Instruction, ...]] = {
        "F": (Start(transfer, "t"), work_of(0.004), Wait("t")),
        "B": (work_of(0.001),),
    }
    slots = [tuple(order) for order in one_f_one_b(1, 1)]
    step, books = run(slots, blocks, TimedFolding(1, {"move": 0.002}), cores=0.5)
    assert step == pytest.approx(0.006, rel=1e-9)
    assert books[0]["interference"] == pytest.approx(0.001, rel=1e-9)
    assert books[0]["exposed_ep"] == 0.0


def test_two_chains_of_a_slot_hide_each_other() -> None:
    """A forward and a backward in one slot: while one waits for its transfer, the other computes."""
    transfer = Communication("move", "ep", "all-to-all", "ep", 1.0)
    chain: tuple[Instruction, ...] = (work_of(0.002), Start(transfer, "t"), Wait("t"), work_of(0.002))
    alone = [tuple(order) for order in one_f_one_b(1, 2)]
    forward, backward = alone[0][2][0], alone[0][1][0]
    joined: list[tuple[Slot, ...]] = [(alone[0][0], (forward, backward), alone[0][3])]
    blocks = {"F": chain, "B": chain}
    folding = TimedFolding(1, {"move": 0.002})
    serial, _ = run(alone, blocks, folding)
    overlapped, books = run(joined, blocks, folding)
    assert serial == pytest.approx(4 * 0.006, rel=1e-9)
    # Two chains alone (6 ms each) and one joined pair: 2 + 2 (both transfers run behind the other's compute) + 2 + 2.
    assert overlapped == pytest.approx(2 * 0.006 + 0.008, rel=1e-9)
    assert sum(books[0].values()) == pytest.approx(overlapped, rel=1e-9)


def test_late_partner_is_straggler_wait_or_bubble() -> None:
    """Stage 1 waits for stage 0 before its first forward: that is pipeline bubble, not exposed communication."""
    slots = [tuple(order) for order in one_f_one_b(2, 2)]
    blocks = {"F": (work_of(0.002),), "B": (work_of(0.002),)}
    _, books = run(slots, blocks, TimedFolding(2, {"send": 0.0005}))
    assert books[1]["pipeline_bubble"] == pytest.approx(0.002, rel=1e-9)
    assert books[1]["exposed_pp"] == pytest.approx(0.0005, rel=1e-9)
