"""--set PATH=VALUE on plain data and on documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.document import dotted, split_path
from simulator.spec.errors import FileProblem, InputError
from simulator.spec.files import apply_override, build, merge, override, read_document
from simulator.spec.problems import locate
from simulator.spec.strict_yaml import read_scalar
from tests.spec.machines import Machine

DATA: dict[str, Any] = {
    "plan": {"tp": 1},
    "tiers": [{"latency": "1 us"}, {"latency": "2 us"}],
    "model": "v4",
    "chip": {"memory": {"value": "96 GB", "source": "SHEET", "kind": "official"}},
}


@pytest.mark.parametrize(
    ("path", "text", "place", "value"),
    [
        ("plan.tp", "8", ("plan", "tp"), 8),
        ("plan.schedule", "dualpipe", ("plan", "schedule"), "dualpipe"),
        ("plan.overlap", "{ep: true}", ("plan", "overlap"), {"ep": True}),
        ("training.precision", "fp8", ("training", "precision"), "fp8"),
        ("tiers[1].latency", "5 us", ("tiers", 1, "latency"), "5 us"),
        ("tiers.1.latency", "5 us", ("tiers", 1, "latency"), "5 us"),
        ("model", "{preset: v4, layers: 16}", ("model",), {"preset": "v4", "layers": 16}),
        ("cluster.chips", "1e3", ("cluster", "chips"), 1000.0),
        ('set."chip.memory"', "1 GB", ("set", "chip.memory"), "1 GB"),
        ("plan.tp", "", ("plan", "tp"), None),
        ("chip.memory", "80 GiB", ("chip", "memory"), "80 GiB"),
    ],
)
def test_a_field_is_set_and_nothing_else(path: str, text: str, place: tuple[Any, ...], value: Any) -> None:
    changed: Any = apply_override(DATA, path, text)
    found = changed
    for step in place:
        found = found[step]
    assert found == value and type(found) is type(value)
    assert {key for key in DATA if changed[key] != DATA[key]} <= {place[0]}


def test_the_data_given_is_left_alone() -> None:
    before = repr(DATA)
    apply_override(DATA, "tiers[0].latency", "9 us")
    assert repr(DATA) == before


def test_a_new_value_drops_the_old_ones_source() -> None:
    assert apply_override(DATA, "chip.memory.value", "80 GiB")["chip"]["memory"] == "80 GiB"


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("", "1", "not the path of a field"),
        ("plan.", "1", "not the path of a field"),
        (".plan", "1", "not the path of a field"),
        ("plan..tp", "1", "not the path of a field"),
        ("plan]", "1", "not the path of a field"),
        ("tiers[2].latency", "1 us", "tiers is a list of 2 (got '2'). Write a number from 0 to 1."),
        ("tiers.first.latency", "1 us", "tiers is a list of 2 (got 'first')"),
        ("model.layers", "16", "model has no fields, it is a single value (got 'v4'). Set model itself."),
        ("plan.tp", "[1, 2", "is not YAML"),
        ("plan.tp", "!!python/name:os 1", "tags are not read"),
    ],
)
def test_an_impossible_override_is_refused_in_one_line(path: str, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        apply_override(DATA, path, text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_override_of_an_empty_list_says_so() -> None:
    with pytest.raises(InputError, match="is a list of 0"):
        apply_override({"tiers": []}, "tiers[0]", "1")


def test_a_wrong_value_is_told_with_the_option_it_came_from(presets: Path) -> None:
    document = override(read_document("small", presets), "plan.tp", "many")
    with pytest.raises(InputError) as caught:
        build(document, Machine)
    assert str(caught.value) == "--set plan.tp: must be a whole number (got 'many')."


def test_an_error_found_later_is_told_where_its_field_stands(presets: Path) -> None:
    document = read_document(presets / "small.yaml")
    error = locate(InputError("does not divide", path="plan.tp"), document)
    assert str(error).endswith("small.yaml:5:12 plan.tp: does not divide.")
    assert locate(InputError("no", path="plan.cp", where="x"), document).where == "x"
    assert locate(InputError("no"), document).where is None


def test_merging_replaces_figures_and_lists_whole() -> None:
    above = {"chip": {"memory": {"value": "1 GB"}}, "tiers": [{}], "plan": {"pp": 2}}
    assert merge(DATA, above) == {
        "plan": {"tp": 1, "pp": 2},
        "tiers": [{}],
        "model": "v4",
        "chip": {"memory": {"value": "1 GB"}},
    }


@given(st.lists(st.text("ab.c_-", min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_path_reads_back_as_it_is_written(place: list[str]) -> None:
    assert split_path(dotted(place)) == tuple(place)


@given(st.text(max_size=40))
def test_any_path_and_text_is_set_or_refused_in_our_own_words(text: str) -> None:
    for attempt in (lambda: apply_override(DATA, text, "1"), lambda: apply_override(DATA, "plan.tp", text)):
        try:
            attempt()
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017  (either outcome is right, a second line is not)


def test_a_typed_value_names_its_option_when_it_is_not_yaml() -> None:
    with pytest.raises(FileProblem, match=r"^--set a\.b: is not YAML"):
        read_scalar("{", "--set a.b")
