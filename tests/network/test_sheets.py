"""What a link carried, told from sheets that were laid out, against every tick by itself."""

from __future__ import annotations

from array import array

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.network.sheets import SATURATED, Carried, Laid, Layout, Sheet, Uses

HORIZON = 60
_ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=4)
_SHEETS = st.lists(st.tuples(_ROWS, st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 2)), max_size=4)
_LOADS = st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), min_size=3, max_size=3)


def _laid(rows: list[tuple[int, int, int]], starts: list[int], lane: int, first: int) -> Laid:
    begins, lengths, shares = zip(*rows, strict=True)
    ends = [begin + length for begin, length in zip(begins, lengths, strict=True)]
    used = sorted(set(shares))
    sheet = Sheet(array("q", begins), array("q", ends), array("q", [used.index(share) for share in shares]))
    return Laid(sheet, [first + share for share in used], np.array(starts, dtype=np.int64), lane)


def _tick_by_tick(layout: Layout, uses: Uses) -> list[float]:
    load, level = dict(uses), [0.0] * HORIZON
    for starts, ends, shares in layout.rows():
        for start, end, share in zip(starts.tolist(), ends.tolist(), shares.tolist(), strict=True):
            for tick in range(start, end):
                level[tick] += load.get(share, 0.0)
    return level


@given(_SHEETS, st.lists(_LOADS, min_size=4, max_size=4))
def test_what_sheets_say_of_a_link_is_what_every_tick_says(
    sheets: list[tuple[list[tuple[int, int, int]], list[int], int]], loads: list[list[float]]
) -> None:
    """Sheets that overlap and such that do not, of one lane and of several; a link that some of them never load."""
    layout = Layout([_laid(*sheet, first=3 * number) for number, sheet in enumerate(sheets)])
    uses = [(3 * number + local, load) for number, some in enumerate(loads) for local, load in enumerate(some) if load]
    level = _tick_by_tick(layout, uses)
    parts = layout.parts(uses)
    found = Carried.of_parts(parts, apart=layout.apart(parts)) if parts else Carried.nothing()
    high = [tick for tick, value in enumerate(level) if value > SATURATED]
    assert (found.peak, found.high, found.first_high) == (max(level), len(high), high[0] if high else None)
    time, value = found.steps
    place = np.searchsorted(time, np.arange(HORIZON), side="right") - 1
    assert [float(value[at]) if at >= 0 else 0.0 for at in place] == level


@given(_SHEETS)
def test_shares_of_a_sheet_hold_as_long_as_its_rows(sheets: list[tuple[list[tuple[int, int, int]], list[int], int]]) -> None:
    """However often it is laid out; what one link of it carries is kept."""
    for rows, starts, lane in sheets:
        sheet = _laid(rows, starts, lane, 0).sheet
        assert sum(sheet.held.values()) == sum(length for _, length, _ in rows)
        uses = tuple((local, 0.5) for local in set(sheet.share))
        assert sheet.track(uses) is sheet.track(uses)
        assert int(np.diff(sheet.track(uses).time) @ sheet.track(uses).value[:-1] * 2) == sum(sheet.held.values())
