"""What people see of a result: a table that fits, a page that needs no network, a trace that tools can read."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from simulator.report.page import page
from simulator.report.perfetto import write_trace
from simulator.report.table import WIDTH, summary
from simulator.report.timeline import timeline
from simulator.results import Result
from simulator.spec.errors import InputError


def test_the_table_fits_and_says_what_matters(result: Result) -> None:
    """At most 100 columns; step time, MFU, memory and every part of the breakdown that is not nought."""
    text = summary(result)
    assert max(map(len, text.splitlines())) <= WIDTH <= 100
    for word in ("Step time", "MFU", "Memory", "pipeline bubble", "Links"):
        assert word in text


def test_the_page_stands_alone(result: Result) -> None:
    """One file: nothing is loaded from anywhere, and a name with markup in it stays text."""
    text = page(result)
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    assert text.count("<script>alert") == 0
    for title in ("Where a step", "What no schedule can beat", "Timeline of the stages", "Memory", "Network", "Scenario"):
        assert f"<h2>{title}" in text


def test_the_page_holds_both_figures_with_their_data(result: Result) -> None:
    """The figures are drawn from JSON in the page: traces exist and hold the breakdown's parts."""
    text = page(result)
    for name in ("breakdown", "pipeline"):
        found = re.search(rf'id="{name}-data">(.*?)</script>', text, re.S)
        assert found
        assert json.loads(found.group(1))["data"]


def test_a_result_from_a_file_has_a_page_without_timeline(result: Result, tmp_path: Path) -> None:
    """Saved and loaded: the numbers are all there, the page says that the timeline is not."""
    result.save(tmp_path / "r.json")
    loaded = Result.load(tmp_path / "r.json")
    assert loaded.to_dict() == result.to_dict()
    assert "holds no timeline" in page(loaded)


def test_an_unknown_figure_is_refused(result: Result) -> None:
    """The error names the figures that exist."""
    with pytest.raises(InputError, match="breakdown"):
        result.figure("nothing")


def test_the_timeline_draws_every_work_once(result: Result) -> None:
    """As many cells as works in the recording, halves only where two run side by side."""
    spans = result.recording.spans
    drawn = timeline(result.recording)
    assert len(drawn.cells.row) == int((spans.lane == 0).sum())
    assert set(drawn.cells.half.tolist()) <= {0, 1, 2}


def test_the_trace_is_well_formed(result: Result, tmp_path: Path) -> None:
    """JSON, sorted by time, spans of one thread never overlap, every thread has a name."""
    path = tmp_path / "t.json.gz"
    write_trace(result, path)
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == len(result.recording.spans.start)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    ends: dict[tuple[int, int], float] = {}
    for event in spans:
        thread = (event["pid"], event["tid"])
        assert event["ts"] >= ends.get(thread, 0.0) - 1e-6
        ends[thread] = event["ts"] + event["dur"]
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert set(ends) <= named
