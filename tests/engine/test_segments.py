"""Segments: how long a run of operators lasts when contention comes and goes in the middle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.segments import OperatorTime, Run, Segment

MICRO = 1e-6
TIMES = st.lists(
    st.builds(
        OperatorTime,
        st.floats(0, 1e-3),
        st.floats(0, 1e-3),
        st.floats(0, 1e-5),
    ),
    min_size=1,
    max_size=8,
)


def test_parts_of_a_segment_by_hand() -> None:
    """Two operators, one bound by arithmetic and one by memory: 10 + 2 and max(3, 8) + 2 microseconds."""
    segment = Segment("x", [OperatorTime(10 * MICRO, 4 * MICRO, 2 * MICRO), OperatorTime(3 * MICRO, 8 * MICRO, 2 * MICRO)])
    assert segment.arithmetic == pytest.approx(13 * MICRO)
    assert segment.stall == pytest.approx(5 * MICRO)
    assert segment.overhead == pytest.approx(4 * MICRO)
    assert segment.total == pytest.approx(22 * MICRO)
    assert segment.table(0.0, 0.0)[-1] == pytest.approx(22e6)


def test_contention_slows_only_what_it_takes_from() -> None:
    """Half of the cores double arithmetic until the operator is bound by it; launch time stays."""
    segment = Segment("x", [OperatorTime(10 * MICRO, 15 * MICRO, 1 * MICRO)])
    assert segment.table(0.5, 0.0)[-1] == pytest.approx(21e6)
    assert segment.table(0.0, 0.5)[-1] == pytest.approx(31e6)


@given(TIMES, st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0, 1))
def test_a_change_in_the_middle_lies_between_both(times: list[OperatorTime], cores: float, memory: float, share: float) -> None:
    """Contention during a part of a run costs no more than during all of it, no less than none; to the tick of a moment."""
    segment = Segment("x", times)
    alone, slowed = segment.table(0.0, 0.0), segment.table(cores, memory)
    run = Run(segment, 0, (0.0, 0.0))
    run.turn(int(share * alone[-1]), (cores, memory))
    assert alone[-1] * (1 - 1e-9) - 1 <= run.end <= slowed[-1] * (1 + 1e-9) + 1


@given(TIMES, st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0, 1), st.floats(0, 1))
def test_what_comes_and_goes_at_one_moment_changes_nothing(
    times: list[OperatorTime], cores: float, memory: float, one: float, two: float
) -> None:
    """A change that is taken back at once leaves the end where it was, wherever in the run, and also after another change."""
    run = Run(Segment("x", times), 100, (0.0, 0.0))
    first, second = sorted((round(one * (run.end - 100)), round(two * (run.end - 100))))
    run.turn(100 + first, (0.1, 0.2))
    for moment in (100 + first, 100 + second):
        before = run.end
        assert run.turn(moment, (cores, memory)) == ((cores, memory) != (0.1, 0.2))
        run.turn(moment, (0.1, 0.2))
        assert abs(run.end - before) <= 1
    assert not run.turn(100 + second, (0.1, 0.2))


@given(TIMES, st.floats(0, 0.8), st.floats(0, 1))
def test_a_change_counts_operators(times: list[OperatorTime], memory: float, share: float) -> None:
    """What was done of a run before a change, operator by operator, and the rest under it: summed by hand."""
    segment = Segment("x", times)
    alone, slowed = segment.table(0.0, 0.0), segment.table(0.0, memory)
    moment = int(share * alone[-1])
    left = 0.0
    for begin, end, width in zip(alone, alone[1:], np.diff(slowed), strict=False):
        if end > max(moment, begin):
            left += width * min(1.0, (end - moment) / (end - begin))
    run = Run(segment, 0, (0.0, 0.0))
    run.turn(moment, (0.0, memory) if memory else (0.0, 1e-12))
    assert run.end == pytest.approx(moment + left, rel=1e-9, abs=1)
