"""A rank by itself beside the course of its team's collectives: two chains on one compute lane, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine.accounts import PARTS
from simulator.engine.course import Began, Ended
from simulator.engine.follower import Follower, OutOfStep
from simulator.engine.rank import Rank
from simulator.engine.segments import OperatorTime, Segment
from tests.engine.test_head_start import EXCHANGE, SECOND, WORK, rank
from tests.engine.test_rank import work_of
from workloads.instructions import Block, Start, Wait, Work, WorkKind

BACKWARD = Work(WorkKind.B, 0, 1)
COMES, GOES = Began(0, 0, 0), Ended(0)


def of(*blocks: Block) -> tuple[Rank, tuple[Work, ...]]:
    """The rank with other blocks in its only slot."""
    one, works = rank(), (WORK, BACKWARD)[: len(blocks)]
    one.block = lambda work: blocks[works.index(work)]  # type: ignore[method-assign]
    return one, works


def seconds(follower: Follower) -> dict[str, float]:
    return {part: value / SECOND for part, value in follower.role().books.parts if part in PARTS}


def test_two_chains_take_turns_on_the_compute_lane() -> None:
    """2 s of one, 3 s of the other behind it; an exchange from 2 to 4 s is hidden, and the last second begins at 5 s."""
    first = Block("a", (work_of(2.0), Start(EXCHANGE, "x"), Wait("x"), work_of(1.0)))
    follower = Follower(*of(first, Block("b", (work_of(3.0),))))
    assert follower.comes_to(2 * SECOND + 1)
    follower.hear(COMES)
    assert follower.comes_to(4 * SECOND)
    follower.hear(GOES)
    assert follower.finished == -1 and follower.ended() == (None, None)
    follower.finish()
    assert follower.ended() == (6 * SECOND, 5 * SECOND)
    assert seconds(follower) == pytest.approx({"arithmetic": 6.0})
    assert follower.role().works == ((0, 6 * SECOND), (0, 5 * SECOND))


def test_it_waits_for_others_and_then_for_the_bytes() -> None:
    """Ready at 1 s, begun at 3 s, over at 4 s: two seconds of waiting for others and one of the exchange."""
    follower = Follower(*of(Block("a", (work_of(1.0), Start(EXCHANGE, "x"), Wait("x"), work_of(1.0)))))
    for time, what in ((3, COMES), (4, GOES)):
        assert follower.comes_to(time * SECOND)
        follower.hear(what)
    follower.finish()
    assert follower.finished == 5 * SECOND
    assert seconds(follower) == pytest.approx({"arithmetic": 2.0, "straggler_wait": 2.0, "exposed_ep": 1.0})
    assert follower.books.marks[4 * SECOND].places == (3, 0)


def test_what_it_does_at_the_very_tick_is_not_guessed() -> None:
    """Its computation ends at 1 s: nothing can be told to happen at that tick."""
    follower = Follower(*of(Block("a", (work_of(1.0), Start(EXCHANGE, "x"), Wait("x")))))
    assert not follower.comes_to(SECOND) and not follower.goes_at(SECOND, 1.0)


def test_who_has_not_asked_or_is_not_free_is_out_of_step() -> None:
    """A collective that it has not come to; and one behind another on the same lane."""
    follower = Follower(*of(Block("a", (work_of(1.0), Start(EXCHANGE, "x"), Wait("x")))))
    with pytest.raises(OutOfStep):
        follower.hear(COMES)
    follower = Follower(*of(Block("a", (Start(EXCHANGE, "x"), Start(EXCHANGE, "y"), Wait("x"), Wait("y")))))
    follower.hear(COMES)
    with pytest.raises(OutOfStep):
        follower.hear(Began(1, 0, 0))


def test_a_payload_rate_slows_what_it_reads() -> None:
    """2 s of reading memory; from 1 s on payload takes half of the bandwidth, and the second half takes twice as long."""
    one, works = of(Block("a", (work_of(2.0),)))
    contention = replace(one.world.contention, memory_factor=1.0)
    reading = Segment("read", [OperatorTime(0.0, 2.0, 0.0)])
    one.world = replace(one.world, contention=contention, segment=lambda _: reading)
    follower = Follower(one, works)
    assert follower.goes_at(SECOND, 0.5)
    follower.finish()
    assert follower.finished == 3 * SECOND
    assert seconds(follower) == pytest.approx({"memory_stall": 2.0, "interference": 1.0})
