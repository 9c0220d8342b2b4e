"""An order as columns says what its works say one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workloads.instructions import Slot, Work, WorkKind
from workloads.outline import Outline
from workloads.schedules import dualpipe, interleaved, micro_batches_in_flight, zb_v

_WORK = st.builds(Work, st.sampled_from(WorkKind), st.integers(0, 2), st.integers(0, 5), st.integers(0, 1))
_SLOTS = st.lists(st.lists(_WORK, min_size=1, max_size=2).map(tuple), max_size=12)


@given(_SLOTS, st.sampled_from(((), (0, 1, 0, 2, 1, 0))))
def test_columns_are_the_works_one_by_one(slots: list[Slot], patterns: tuple[int, ...]) -> None:
    """Cells and sorts in the order of their first use, their first and last works, and where each slot begins."""
    outline = Outline.of(slots)
    works = [work for slot in slots for work in slot]
    cells = list(dict.fromkeys((work.kind, work.stage, work.direction) for work in works))
    assert list(outline.works) == works and list(outline.cells) == cells
    assert [(*outline.cells[cell][:2], batch) for cell, batch in zip(outline.cell, outline.batch, strict=True)] == [
        work[:3] for work in works
    ]
    assert [works[at] for at in outline.first.tolist()] == [slot[0] for slot in slots]
    assert outline.lengths.tolist() == [len(slot) for slot in slots]
    for cell in cells:
        places = [at for at, work in enumerate(works) if (work.kind, work.stage, work.direction) == cell]
        assert outline.ends[cell] == (places[0], places[-1])
    kinds = [(work.kind, work.stage, work.direction, patterns[work.micro_batch] if patterns else 0) for work in works]
    some, which = outline.sorts(patterns)
    assert some == [works[kinds.index(kind)] for kind in dict.fromkeys(kinds)]
    assert which.tolist() == [list(dict.fromkeys(kinds)).index(kind) for kind in kinds]


def test_micro_batches_in_flight_are_counted_slot_by_slot() -> None:
    """What a joined slot takes is held before what it frees is given back."""
    for order in (interleaved(4, 8, 2), dualpipe(4, 10), zb_v(3, 7)):
        for slots in order:
            held: dict[int, int] = {}
            peak = 0, dict[int, int]()
            for slot in slots:
                for work in slot:
                    held[work.stage] = held.get(work.stage, 0) + (work.kind is WorkKind.F)
                if sum(held.values()) > peak[0]:
                    peak = sum(held.values()), dict(held)
                for work in slot:
                    held[work.stage] -= work.kind in (WorkKind.B, WorkKind.W)
            assert micro_batches_in_flight(slots) == peak
    assert micro_batches_in_flight([]) == (0, {})
