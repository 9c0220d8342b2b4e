"""Where a schedule repeats itself, and what of a step comes again when rounds of it are left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.recorder import Recorder
from simulator.engine.repetition import Repetition
from simulator.engine.rounds import Cycle, cycle_of
from workloads.schedules import Order, dualpipe, interleaved, one_f_one_b, zb_h1

WORDS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


def scenes(order: Order, rank: int) -> tuple[list[object], list[int]]:
    """What a rank does in each slot, and the micro-batch from which it counts."""
    found: list[object] = [
        tuple((work.kind, work.stage, work.direction, work.micro_batch - slot[0].micro_batch) for work in slot)
        for slot in order[rank]
    ]
    return found, [slot[0].micro_batch for slot in order[rank]]


def test_every_schedule_of_many_micro_batches_is_found_to_repeat_itself() -> None:
    """1F1B every micro-batch, interleaved every pp of them, whatever the rank; nearly all of the schedule is in the cycle."""
    for order, slots, micro_batches in (
        (one_f_one_b(4, 40), 2, 1),
        (interleaved(4, 40, 2), 16, 4),
        (zb_h1(4, 40), 3, 1),
        (dualpipe(4, 40), 2, 1),
    ):
        for rank in range(4):
            cycle = cycle_of(*scenes(order, rank))
            assert cycle is not None
            assert (cycle.slots, cycle.micro_batches) == (slots, micro_batches)
            assert cycle.end - cycle.start > 0.6 * len(order[rank])


@given(WORDS, WORDS, WORDS, st.integers(3, 6), st.integers(1, 3))
def test_a_cycle_holds_what_it_says(before: list[int], body: list[int], after: list[int], times: int, step: int) -> None:
    """Inside it every slot is the one a round earlier, so many micro-batches on; and one that is there is found."""
    words = [*before, *body * times, *after]
    batches = [0] * len(before) + [step * turn for turn in range(times) for _ in body] + [step * times] * len(after)
    cycle = cycle_of(words, batches)
    middle = len(words) // 2
    if len(before) <= middle and middle + 2 * len(body) <= len(before) + times * len(body):
        assert cycle is not None
    if cycle is not None:
        for place in range(cycle.start, cycle.end - cycle.slots):
            assert words[place] == words[place + cycle.slots]
            assert batches[place + cycle.slots] - batches[place] == cycle.micro_batches


def test_nothing_repeats_where_micro_batches_do_not_go_on() -> None:
    """The same blocks on the same micro-batch, or ever other blocks, make no round."""
    assert cycle_of("abababab", [0] * 8) is None
    assert cycle_of("abcdefgh", list(range(8))) is None
    assert cycle_of("", []) is None


def test_rounds_that_fit_are_counted_from_the_slot_under_way() -> None:
    """The slot after the leap must be in the cycle, and so must the whole of the round that is repeated."""
    cycle = Cycle(start=4, end=20, slots=2, micro_batches=1)
    assert cycle.repeats(6, 1) == 6  # to slot 18; slot 20 would be outside
    assert cycle.repeats(7, 1) == 6
    assert cycle.repeats(5, 1) == 0  # the round before began at slot 3
    assert cycle.repeats(8, 2) == 2
    assert cycle.of(3) == Cycle(4, 20, 6, 3)


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 30), st.integers(1, 20), st.integers(1, 4))
def test_what_was_repeated_is_what_playing_it_again_would_have_recorded(
    starts: list[int], since: int, period: int, times: int
) -> None:
    """Before the end of the round as it was; the round again, each time a period later; the rest, all the periods later."""
    repetition = Repetition(since, since + period, times, 1)
    expected = [start for start in starts if start < since + period]
    for turn in range(1, times + 1):
        expected += [start + turn * period for start in starts if since <= start < since + period]
    expected += [start + times * period for start in starts if start >= since + period]
    assert sorted(repetition.moments(np.array(starts, dtype=np.int64)).tolist()) == sorted(expected)


def test_the_spans_of_a_round_come_again_under_the_numbers_of_their_micro_batches() -> None:
    """Names with a number count on, others stay; slots that were repeated begin again in every round."""
    recorder, slot = Recorder(), Recorder()
    slot.add(0, 1, "gemm", 1, 3)
    recorder.add(0, 0, "F{} stage 0", 0, 10, 0)
    recorder.add(0, 0, "F{} stage 0", 10, 20, 1)
    recorder.add(0, 7, "idle", 12, 13)
    recorder.add(0, 0, "F{} stage 0", 20, 30, 2)
    recorder.repeat(slot, [10])
    recorder.spread(Repetition(10, 20, 2, 1))
    late = Recorder()
    late.add(0, 2, "written down afterwards", 0, 1)
    recorder.repeat(late, [15])
    spans = recorder.spans()
    told = [(spans.names[name], start) for name, start in zip(spans.name.tolist(), spans.start.tolist(), strict=True)]
    assert [each for each in told if each[0].startswith("F")] == [(f"F{turn} stage 0", 10 * turn) for turn in range(5)]
    assert [start for name, start in told if name == "idle"] == [12, 22, 32]
    assert [start for name, start in told if name == "gemm"] == [11, 21, 31]
    assert [start for name, start in told if name == "written down afterwards"] == [15]
    assert recorder.spans().start.tolist() == spans.start.tolist()
