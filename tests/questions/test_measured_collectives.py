"""Validation of measured collectives: by hand on rows that can be computed, and what cannot be answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.questions.collective import collective
from simulator.questions.measured_collectives import holds_collectives, validate_collectives
from simulator.spec.errors import InputError

COMMON = "system: dgx-h200, chips: 8, collective: all-reduce"
ROWS = f"""\
meta: {{title: two}}
collectives:
  - {{id: bus, {COMMON}, library: nccl, algorithm: ring, bytes_per_chip: 8589934592, measured: {{busbw_GBps: 365.6}}}}
  - {{id: time, {COMMON}, library: nccl, bytes_per_chip: 1024, measured: {{time_us: 20, busbw_GBps: 0.0}}}}
  - {{id: again, {COMMON}, library: nccl, bytes_per_chip: 1024, near_duplicate_of: time, measured: {{time_us: 1}}}}
  - {{id: nowhere, {COMMON.replace("h200", "h300")}, library: nccl, bytes_per_chip: 1024, measured: {{time_us: 1}}}}
  - {{id: empty, {COMMON}, library: nccl, bytes_per_chip: 1024, measured: {{busbw_GBps: 0.0}}}}
  - {{id: alien, {COMMON}, library: gloo, bytes_per_chip: 1024, measured: {{time_us: 1}}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.yaml"
    path.write_text(ROWS)
    return path


def test_errors_are_of_times(file: Path) -> None:
    rows = {row.id: row for row in validate_collectives(file).outcomes}
    large = collective("dgx-h200", "all-reduce", chips=8, bytes=2**33, library="nccl", algorithm="rings")
    measured = 1.75 * 2**33 / 365.6e9
    assert rows["bus"].measured_s == pytest.approx(measured)
    assert rows["bus"].error == pytest.approx(large.time_s / measured - 1)
    assert rows["time"].measured_s == pytest.approx(20e-6)


def test_what_cannot_be_answered_is_counted_with_its_reason(file: Path) -> None:
    answer = validate_collectives(file)
    reasons = {row.id: row.reason or "" for row in answer.outcomes if not row.covered}
    assert set(reasons) == {"nowhere", "empty", "alien"}
    assert "dgx-h300" in reasons["nowhere"] and "neither a time" in reasons["empty"] and "gloo" in reasons["alien"]
    assert answer.summary["rows"] == 5 and answer.summary["covered"] == 2  # the near duplicate has no weight


def test_the_document_is_json_and_the_table_shows_every_library(file: Path) -> None:
    answer = validate_collectives(file, limit=3)
    assert set(json.loads(answer.to_json())["summary"]["by_library"]) == {"nccl"}
    assert "median |e|" in answer.table()


def test_a_file_says_by_its_key_what_it_holds(file: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text("cases: []\n")
    assert holds_collectives(file) and not holds_collectives(cases) and not holds_collectives(tmp_path / "none.yaml")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text("collectives: []\n")
    with pytest.raises(InputError, match="at least one row"):
        validate_collectives(path)


def test_a_benchmark_that_times_single_operations_adds_what_its_host_takes(tmp_path: Path) -> None:
    """By the URL of its source, written out or named in the file's table; a row may say it itself."""
    row = f"{COMMON}, library: nccl, bytes_per_chip: 1024, measured: {{time_us: 40}}"
    sweep = "https://github.com/stas00/ml-engineering/blob/master/network/README.md"
    path = tmp_path / "rows.yaml"
    path.write_text(
        f"sources: {{KEY: {{title: a sweep, url: {sweep}}}}}\ncollectives:\n"
        f"  - {{id: none, {row}, source: elsewhere}}\n  - {{id: key, {row}, source: KEY}}\n"
        f"  - {{id: url, {row}, source: '{sweep}'}}\n  - {{id: said, {row}, source: KEY, host_us: 7}}\n"
    )
    rows = {row.id: row.predicted_s or 0.0 for row in validate_collectives(path).outcomes}
    assert [1e6 * (rows[name] - rows["none"]) for name in ("key", "url", "said")] == pytest.approx([25.0, 25.0, 7.0])


def test_ranks_measured_over_a_supernodes_switches_sit_in_boxes_of_their_own(tmp_path: Path) -> None:
    """Sixteen ranks send 15/16 of their copies over the switches at 84% of 392 GB/s; the boxes' own links carry nothing."""
    path = tmp_path / "rows.yaml"
    path.write_text(
        "collectives:\n  - {id: one, library: deepep-ascend, system: atlas-850e, chips: 16, collective: combine, tokens: 16384,"
        " hidden: 7168, top_k: 6, measured: {time_us: 4000}}\n"
    )
    (row,) = validate_collectives(path).outcomes
    payload = 16384 * 7168 * 6 * 2
    assert row.predicted_s == pytest.approx(payload * 15 / 16 / (0.84 * 392e9), rel=0.02)
