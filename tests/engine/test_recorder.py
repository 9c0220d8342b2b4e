"""Spans in order: what was written down once and repeated, against every span by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.recorder import Recorder
from simulator.engine.spans import PIECE, UNNUMBERED

_NAMES = ("F{} stage 1", "F{} stage 10", "gemm", "F1 stage 1")
_SPAN = st.tuples(
    st.integers(0, 2), st.integers(0, 2), st.sampled_from(_NAMES), st.integers(0, 6), st.integers(0, 4), st.integers(0, 11)
)
_Spans = list[tuple[int, int, str, int, int, int]]


def _recorder(spans: _Spans) -> Recorder:
    recorder = Recorder()
    for rank_class, lane, name, start, length, batch in spans:
        recorder.add(rank_class, lane, name, start, start + length, batch if "{}" in name else UNNUMBERED)
    return recorder


def _one_by_one(spans: _Spans, moments: list[int]) -> list[tuple[int, int, int, int, str]]:
    return [
        (moment + start, moment + start + length, rank_class, lane, name.format(batch))
        for moment in moments
        for rank_class, lane, name, start, length, batch in spans
        if length
    ]


@given(
    st.lists(_SPAN, max_size=12),
    st.lists(st.tuples(st.lists(_SPAN, max_size=6), st.lists(st.integers(0, 12), max_size=4))),
    st.sampled_from((0, 2**60)),
)
def test_spans_are_those_of_every_repetition_in_one_order(
    own: _Spans, repeated: list[tuple[_Spans, list[int]]], late: int
) -> None:
    """By start, end, rank class, lane and name, whatever was written down first and however often something is repeated.

    After so long a time a moment and a row are no longer one number.
    """
    recorder = _recorder(own)
    expected = _one_by_one(own, [0])
    for spans, early in repeated:
        moments = [late + moment for moment in early]
        recorder.repeat(_recorder(spans), moments)
        expected += _one_by_one(spans, moments)
    found = recorder.spans()
    names = [found.names[number] for number in found.name.tolist()]
    columns = (found.start, found.end, found.rank_class, found.lane)
    assert list(zip(*(column.tolist() for column in columns), names, strict=True)) == sorted(expected)
    assert list(found.names) == sorted({name for *_, name in expected})


def test_what_is_added_after_spans_were_asked_for_is_in_them() -> None:
    """Rows are kept, but not beyond a change."""
    recorder = _recorder([(0, 0, "gemm", 0, 1, 0)])
    assert len(recorder.spans().start) == 1
    recorder.add(0, 0, "gemm", 3, 4)
    assert recorder.spans().start.tolist() == [0, 3]


def test_spans_of_one_rank_class_are_repeated_as_those_of_another() -> None:
    """What is kept of a rank class serves whoever is alike."""
    recorder, kept = Recorder(), _recorder([(0, 1, "gemm", 0, 2, 0)])
    recorder.repeat(kept, [5], 7)
    recorder.repeat(kept, [1])
    assert recorder.spans().rank_class.tolist() == [0, 7] and recorder.spans().start.tolist() == [1, 5]


def test_pieces_are_the_columns_one_after_the_other() -> None:
    """Longer ones than fit into a piece, and none."""
    recorder = _recorder([(1, 2, "gemm", 0, 3, 0), (0, 1, "F{} stage 1", 1, 1, 4)])
    recorder.repeat(_recorder([(3, 0, "F1 stage 1", 0, 2, 0), (4, 1, "gemm", 1, 5, 0)]), range(0, 3 * PIECE, 3))
    spans = recorder.spans()
    columns = (spans.rank_class, spans.lane, spans.name, spans.start, spans.end)
    assert b"".join(piece.tobytes() for piece in spans.pieces()) == b"".join(column.tobytes() for column in columns)
    assert not b"".join(piece.tobytes() for piece in Recorder().spans().pieces())
