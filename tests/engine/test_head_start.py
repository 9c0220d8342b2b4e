"""A rank that comes to a slot before the others, followed by itself beside the course of their collectives: by hand."""

from __future__ import annotations

import pytest

from simulator.engine.accounts import PARTS, Mark, SlotBooks
from simulator.engine.clock import PICOSECONDS, Clock
from simulator.engine.course import Began, Course, Ended, Rates
from simulator.engine.ensemble import Role
from simulator.engine.head_start import NEVER, HeadStart, follow
from simulator.engine.lanes import Rendezvous
from simulator.engine.post import Post
from simulator.engine.rank import Contention, Rank, World
from simulator.engine.recorder import LANES, Recorder
from tests.engine.doubles import TimedFolding, TimedNetwork
from tests.engine.test_rank import NO_MEMORY, NOTHING, segment, work_of
from workloads.instructions import Block, Communication, Program, RankProgram, Start, Wait, Work, WorkKind

SECOND = PICOSECONDS
EXCHANGE = Communication("exchange", "ep", "all-to-all", "ep", 1.0)
WORK = Work(WorkKind.F, 0, 0)
BLOCK = Block(
    "layer", (work_of(2.0), Start(EXCHANGE, "there"), Wait("there"), work_of(1.0), Start(EXCHANGE, "back"), Wait("back"))
)


def rank() -> Rank:
    """One of two that meet in both exchanges: computes 2 s, exchanges, computes 1 s, exchanges."""
    clock, recorder = Clock(), Recorder()
    network = TimedNetwork(clock)
    program = RankProgram(0, ((WORK,),), {(0, 0, "F", ""): BLOCK}, NOTHING, NOTHING, NO_MEMORY)
    whole = Program((program,), ((0,),), 1.0, True, 1.0, 1.0, 1.0, 1.0, 1)
    contention = Contention(dict.fromkeys(("tp", "cp", "ep", "dp"), 0.0), 0.0, 1.0)
    folding = TimedFolding(1, {"exchange": 1.0}, (0, 1))
    post = Post(clock, network, recorder)
    world = World(
        clock, network, folding, whole, Rendezvous(clock, network), post, recorder, contention, segment, lambda: None
    )  # fmt: skip
    return Rank(world, 0, program)


def course(begins: float = 2.0, again: float = 4.0) -> Course:
    """Both exchanges take a second; the first begins when who came last has computed, the second when all have."""
    moments: list[tuple[float, Began | Ended]] = [
        (begins, Began(0, 0, 0)),
        (begins + 1, Ended(0)),
        (again, Began(1, 0, 0)),
        (again + 1, Ended(1)),
    ]
    return Course([(round(time * SECOND), what) for time, what in moments], 2)


def parts(**seconds: float) -> dict[str, float]:
    return dict.fromkeys(PARTS, 0.0) | {part: value * SECOND for part, value in seconds.items()}


#: Of who comes last: it computes from 0 to 2 s and from 3 s on.
MARKS = {
    0: Mark(0, (0, 0), parts()),
    3 * SECOND: Mark(3 * SECOND, (3, 0), parts(arithmetic=2, exposed_ep=1)),
}


def followed(early: float, taken: Course, marks: dict[int, Mark]) -> HeadStart | None:
    return follow(rank(), (WORK,), round(early * SECOND), taken, 0, marks)[0]


def test_an_early_rank_waits_for_the_last_one_and_then_does_what_it_does() -> None:
    """1.5 s early: it computes from -1.5 to 0.5 s, waits 1.5 s for a straggler, and is a twin once both compute at 3 s."""
    head = followed(1.5, course(), MARKS)
    assert head is not None and head.whole is None
    assert head.merged == 3 * SECOND
    assert head.opening == (-1.5 * SECOND, ())
    assert dict(head.more) == pytest.approx({"straggler_wait": 1.5 * SECOND})
    books = SlotBooks((0, ()), (("arithmetic", 3.0 * SECOND), ("exposed_ep", 1.0 * SECOND)), (), 4 * SECOND)
    role = head.before(Role(5 * SECOND, ((0, 5 * SECOND),), books))
    assert role.end == 5 * SECOND and role.works == ((-1.5 * SECOND, 5 * SECOND),)
    assert dict(role.books.parts) == pytest.approx(
        {"arithmetic": 3.0 * SECOND, "exposed_ep": SECOND, "straggler_wait": 1.5 * SECOND}
    )
    spans = {
        (LANES[lane], start, end)
        for lane, start, end in zip(head.recorder.lane, head.recorder.start, head.recorder.end, strict=True)
    }
    assert ("compute", 0, 2 * SECOND) in spans and ("ep", 3.5 * SECOND, 4.5 * SECOND) in spans


def test_who_is_never_like_its_twin_is_followed_to_the_end() -> None:
    """Without a mark in common what it did in the whole slot is told, counted from when the last one came.

    Somebody else is half a second slower in the second computation, and it waits for that one as well.
    """
    head = followed(1.5, course(again=4.5), {})
    assert head is not None and head.whole is not None and head.merged == NEVER
    assert head.whole.end == 5.5 * SECOND and head.whole.works == ((-1.5 * SECOND, 5.5 * SECOND),)
    assert head.before(Role(0, (), SlotBooks(None, (), (), 0))) is head.whole
    booked = dict(head.whole.books.parts)
    assert booked == pytest.approx({"arithmetic": 3.0 * SECOND, "straggler_wait": 1.5 * SECOND, "exposed_ep": SECOND})


def test_who_falls_behind_cannot_be_told() -> None:
    """The exchange begins before this rank has computed: no course of others that it could go by."""
    assert followed(1.0, course(0.5), MARKS) is None


@pytest.mark.parametrize("early", [1.0, 1.25])
def test_order_within_a_tick_is_not_guessed(early: float) -> None:
    """Rates change at the tick at which it ends its first computation, or between: only the second can be told."""
    taken = course()
    taken.moments.insert(0, (SECOND, Rates({0: 1.0})))
    assert (followed(early, taken, MARKS) is None) == (early == 1.0)


def test_a_course_knows_for_whom_it_waited() -> None:
    """One collective waited for rank class 3, the next for the one before it: whoever else comes early changes nothing."""
    taken = Course([(0, Began(0, 0, 0, by=3)), (1, Ended(0)), (1, Began(1, 1, 0))], 2)
    assert taken.waits_for({3, 4}) and not taken.waits_for({4})
    assert Course([(1, Began(0, 0, 0))], 1).waits_for(())


def test_one_is_told_its_own_rate_when_it_changes() -> None:
    """Rates of others, and the same rate again, say nothing to it; begins and ends do."""
    begin, end = Began(0, 0, 0), Ended(0)
    taken = Course([(0, begin), (0, Rates({7: 2.0, 8: 1.0})), (1, Rates({8: 3.0})), (2, Rates({7: 2.0})), (3, end)], 1)
    assert taken.told(7) == [(0, begin), (0, 2.0), (3, end)]
    assert taken.told(8) == [(0, begin), (0, 1.0), (1, 3.0), (3, end)]
