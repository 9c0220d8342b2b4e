"""What people see of a result: a table that fits, a page that needs no network, a trace that tools can read."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from simulator.report.page import page
from simulator.report.perfetto import write_trace
from simulator.report.table import WIDTH, summary
from simulator.report.timeline import timeline
from simulator.report.words import duration, percent
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import IdentityBroken, InputError
from simulator.spec.files import make


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


def test_the_page_holds_the_numbers(result: Result) -> None:
    """Step time, MFU, peak memory, the first link to saturate, every tier, warnings, fingerprint, and the scenario again."""
    text = page(result)
    for number in (duration(result.step_time_s).split()[0], percent(result.mfu).split()[0], result.fingerprint, result.version):
        assert escape(number) in text
    for told in (*result.network.tiers, result.network.first_to_saturate or "", *result.warnings):
        assert escape(told) in text
    scenario = re.search(r"<pre>(.*?)</pre>", text, re.S)
    assert scenario
    assert yaml.safe_load(unescape(scenario.group(1))) == result.scenario


def test_a_job_that_does_not_fit_says_so(result: Result) -> None:
    """Table and page name it, the page in the headline."""
    burst = result.model_copy(update={"memory": result.memory.model_copy(update={"fits": False})})
    assert "DOES NOT FIT" in summary(burst)
    assert "Does not fit" in page(burst)
    assert "Does not fit" not in page(result)


def test_the_breakdown_draws_the_whole_step(result: Result) -> None:
    """Its bars sum to the step; a part that took no time has none."""
    bars = result.figure("breakdown").data
    drawn = [length for trace in bars for length in trace.x]
    assert sum(drawn) == pytest.approx(result.step_time_s)
    assert len(drawn) == sum(seconds > 0 for seconds in result.breakdown_s.model_dump().values())


def test_the_timeline_names_what_it_draws(result: Result) -> None:
    """A trace a kind of work and direction, one a cause of idle time, the optimizer; a bar a work, inside the step."""
    figure = result.figure("pipeline")
    names = {trace.name for trace in figure.data}
    assert {"forward ↓", "forward ↑", "backward ↓", "backward ↑", "optimizer and other work", "idle: pipeline bubble"} <= names
    works = [trace for trace in figure.data if "ward" in trace.name]
    assert sum(len(trace.x) for trace in works) == int((result.recording.spans.lane == 0).sum())
    assert max((trace.base + trace.x).max() for trace in works) <= result.step_time_s * (1 + 1e-9)


def test_a_span_that_is_no_work_is_refused(small: Result) -> None:
    """The slot lane holds works of the schedule alone: nothing is left out of the timeline in silence."""
    spans = small.recording.spans
    strange = replace(small.recording, spans=replace(spans, names=tuple(name.replace("F1 ", "X1 ") for name in spans.names)))
    with pytest.raises(IdentityBroken, match="X1 stage"):
        timeline(strange)


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


def simulated(**plan: object) -> Result:
    """A real run: four layers with experts on sixteen chips."""
    return simulate(make({
        "cluster": {"system": "h800-8", "chips": 16},
        "model": {"preset": "deepseek-v4-flash", "layers": 4, "mtp_depth": 0},
        "training": {"sequence_length": 4096, "global_batch": 64, "precision": "bf16"},
        "plan": {"pp": 2, "ep": 8, **plan},
    }, Scenario))  # fmt: skip


@pytest.mark.parametrize(("schedule", "stages"), [("dualpipe", 2), ("1f1b", 2), ("interleaved", 4)])
def test_a_real_run_is_drawn_whole(schedule: str, stages: int) -> None:
    """Every micro-batch goes forward through every stage once and back once, and the page and the table can show it."""
    result = simulated(schedule=schedule, vpp=stages // 2)
    cells = timeline(result.recording).cells
    for kinds in ("F", "BI"):
        done = np.isin(cells.kind, list(kinds))
        passed = {(b, s) for b, s in zip(cells.micro_batch[done].tolist(), cells.stage[done].tolist(), strict=True)}
        assert len(passed) == int(done.sum()) == 8 * stages
    assert 'id="pipeline-data"' in page(result)
    assert max(map(len, summary(result).splitlines())) <= 100


def test_a_real_run_has_a_trace(tmp_path: Path) -> None:
    """Same run, same bytes; spans as many as recorded, utilisation between 0 and 100 %, nothing after the end."""
    result = simulated(schedule="dualpipe")
    for name in ("a.json.gz", "b.json.gz", "c.json"):
        write_trace(result, tmp_path / name)
    packed = (tmp_path / "a.json.gz").read_bytes()
    assert packed == (tmp_path / "b.json.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "c.json").read_bytes()
    events = check_trace(json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["traceEvents"], result)
    used = [event["args"]["%"] for event in events if event["ph"] == "C"]
    assert used
    assert 0 <= min(used) < max(used) <= 100 * (1 + 1e-9)
    assert max(event["ts"] + event.get("dur", 0) for event in events) <= result.step_time_s * 1e6 + 1e-3


def test_the_trace_is_well_formed(result: Result, tmp_path: Path) -> None:
    """JSON, sorted by time, spans of one thread never overlap, every thread has a name."""
    path = tmp_path / "t.json.gz"
    write_trace(result, path)
    check_trace(json.loads(gzip.decompress(path.read_bytes()))["traceEvents"], result)


def check_trace(events: list[dict[str, Any]], result: Result) -> list[dict[str, Any]]:
    """Sorted, whole, no overlap within a thread, all threads named; the events again."""
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
    return events
