"""The table of goals: its rows can be measured, one by one and apart."""

from __future__ import annotations

from tests.bench import goals


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in goals.rows()]
    assert len(set(names)) == len(names)


def test_a_row_is_measured_in_a_process_of_its_own() -> None:
    """The smallest one answers with times and a peak; what it may cost is told apart from what it costs."""
    row = next(row for row in goals.rows() if row.name == "growth: 64 chips of Atlas 950")
    found = goals.measured_apart(row)
    assert not isinstance(found, str)
    assert found["warm"] > 0.0 and found["first"] > 0.0 and found["memory"] > 0.0
    strict = goals.Row("", row.prepare, found["warm"] / 2, found["memory"] * 2)
    assert goals.verdict(strict, found) == "not: time"
    assert goals.verdict(goals.Row("", row.prepare, found["warm"], found["memory"]), found) == "reached"
    assert goals.verdict(row, found) == ""


def test_what_goes_wrong_is_said_in_the_table() -> None:
    assert "no row is called nothing" in str(goals.measured_apart(goals.Row("nothing", dict, None)))
