"""Segments: how long a run of operators lasts when contention comes and goes in the middle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.segments import OperatorTime, Segment, advance, elapsed_at

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
    """Contention during a part of a run costs no more than during all of it, no less than none."""
    segment = Segment("x", times)
    alone, slowed = segment.table(0.0, 0.0), segment.table(cores, memory)
    first = share * alone[-1]
    position = advance(alone, 0.0, first)
    total = first + slowed[-1] - elapsed_at(slowed, position)
    assert alone[-1] * (1 - 1e-9) <= total <= slowed[-1] * (1 + 1e-9) + 1e-6


@given(TIMES, st.floats(0, 1), st.floats(0, 1))
def test_positions_and_times_are_inverse(times: list[OperatorTime], one: float, two: float) -> None:
    """Advancing in two steps is advancing in one."""
    table = Segment("x", times).table(0.0, 0.0)
    end = table[-1]
    first, second = sorted((one * end, two * end))
    direct = elapsed_at(table, advance(table, 0.0, second))
    stepped = elapsed_at(table, advance(table, advance(table, 0.0, first), second - first))
    assert stepped == pytest.approx(direct, rel=1e-9, abs=1e-3)
