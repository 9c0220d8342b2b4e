"""Transfers between stages: in order on each rank, told as one where they come together."""

from __future__ import annotations

from simulator.engine.clock import Clock
from simulator.engine.post import PP, Letter, Mail, Post
from simulator.engine.recorder import Recorder
from tests.engine.doubles import TimedNetwork, operation

FIRST: Mail = ("F", 1, 0, 0)
SECOND: Mail = ("F", 1, 0, 1)


def letter(rank_class: int, seconds: float, mail: Mail = FIRST, joined: int = 0) -> Letter:
    """To the rank class ten higher."""
    return Letter(
        rank_class, operation(rank_class, "pp", (rank_class,), 0, seconds), mail, (rank_class + 10,), "", mail[-1], joined
    )


def opened() -> tuple[Clock, Post, Recorder]:
    clock, recorder = Clock(), Recorder()
    return clock, Post(clock, TimedNetwork(clock), recorder), recorder


def test_a_rank_sends_one_after_the_other_and_others_meanwhile() -> None:
    """The second letter of rank 0 sets off when its first is there; that of rank 1 does not wait for either."""
    clock, post, recorder = opened()
    letters = [letter(0, 2e-12), letter(1, 5e-12), letter(0, 3e-12, SECOND)]
    post.send(letters)
    clock.run()
    assert [(each.joined, each.began) for each in letters] == [(0, 0), (0, 0), (2, 2)]
    assert sorted(zip(recorder.rank_class, recorder.lane, recorder.start, recorder.end, strict=True)) == [
        (0, PP, 0, 2),
        (0, PP, 2, 5),
        (1, PP, 0, 5),
    ]
    assert post.has(10, FIRST) and post.has(10, SECOND) and post.has(11, FIRST) and not post.has(11, SECOND)


def test_an_arrival_fires_once_at_the_tick_of_the_first_and_by_then_all_of_that_tick_are_there() -> None:
    """Three await mail; that of two comes at 4 ps, in two events, that of the third at 9 ps."""
    clock, post, _ = opened()
    seen: list[tuple[int, list[bool]]] = []
    post.on_arrival([10, 11, 12], FIRST, lambda: seen.append((clock.now, [post.has(rank, FIRST) for rank in (10, 11, 12)])))
    post.send([letter(0, 4e-12), letter(1, 4e-12), letter(2, 9e-12)])
    clock.run()
    assert seen == [(4, [True, True, False])]


def test_a_departure_is_when_a_letter_is_gone() -> None:
    """Who must wait until it has sent is told then, and not at the end of what others send."""
    clock, post, _ = opened()
    told: list[int] = []
    letters = [letter(0, 4e-12), letter(1, 6e-12)]
    post.send(letters)
    post.on_departure(letters[:1], lambda: told.append(clock.now))
    clock.run()
    assert told == [4]


def test_the_state_counts_from_a_moment_and_a_micro_batch_and_forgets_what_was_read() -> None:
    """Two like situations, one a micro-batch and some time later, are one state; one with unread mail more is another."""

    def state(batch: int, later: int, unread: bool) -> tuple[object, ...]:
        clock, post, _ = opened()
        clock.call_at(later, lambda: post.send([letter(0, 4e-12, ("F", 1, 0, batch), joined=later)]))
        if unread:
            post.hand([7], FIRST)
        clock.advance(later + 1)
        return post.state(clock.now, batch), post.state_of(0, clock.now, batch)

    assert state(0, 0, unread=False) == state(3, 50, unread=False)
    assert state(0, 0, unread=False) != state(0, 0, unread=True)


def test_mail_for_the_same_rank_needs_no_way() -> None:
    """A stage whose successor lies on the same rank hands over at once."""
    _, post, recorder = opened()
    post.hand([3], FIRST)
    assert post.has(3, FIRST) and post.read(3, FIRST) == 0 and not post.has(3, FIRST) and not recorder.start
