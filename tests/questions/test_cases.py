"""Files of measured cases: what is read over, what is filled in, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.questions.cases import read_cases
from simulator.spec.errors import InputError

ROWS = Path(__file__).parent.parent / "published" / "rows.yaml"

CASE = """\
meta: {note: mine}
cases:
  - id: mine
    stack: megatron-bridge-99.01
    confidence: high
    notes: read over
    scenario:
      cluster: {system: gb300-nvl72, chips: 128}
      model: llama3.1-8b
      training: {sequence_length: 4096, global_batch: 128, precision: bf16}
      plan: {tp: 2, sequence_parallel: unstated}
    measured: {step_time_s: 2.5, breakdown: {anything: 1}}
    recipe_hint: {tp: 4, overlap: {tp: false}}
    assumed: {training: {micro_batch: 2}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cases.yaml"
    path.write_text(text)
    return path


def test_a_case_becomes_a_scenario_of_its_stack_and_says_what_was_filled_in(tmp_path: Path) -> None:
    question = read_cases(written(tmp_path, CASE))[0]
    scenario, notes = question.scenario()
    assert scenario.assumptions == "megatron-bridge"
    assert scenario.cluster.chips_per_domain == 64
    assert scenario.plan.tp == 2
    assert scenario.plan.sequence_parallel is None
    assert scenario.plan.overlap is not None
    assert scenario.plan.overlap.tp is False
    assert scenario.training.micro_batch == 2
    assert set(notes) == {
        "plan.sequence_parallel is unstated: left out",
        "cluster.chips_per_domain taken as 64",
        "plan.overlap.tp from the recipe of a later release",
        "training.micro_batch is assumed",
        "plan.graphs as tables of megatron-bridge are read",
        "plan.recompute as tables of megatron-bridge are read",
    }


def test_without_hints_the_plan_is_what_the_source_prints(tmp_path: Path) -> None:
    scenario, notes = read_cases(written(tmp_path, CASE))[0].scenario(hints=False)
    assert scenario.plan.overlap is None
    assert not [note for note in notes if "recipe" in note]


def test_a_stack_nobody_described_falls_back_to_the_default_and_says_so(tmp_path: Path) -> None:
    scenario, notes = read_cases(written(tmp_path, CASE.replace("megatron-bridge-99.01", "homegrown-1")))[0].scenario()
    assert scenario.assumptions == "default"
    assert "stack homegrown-1 is not known: assumptions default" in notes


def test_a_mistake_inside_a_scenario_is_told_with_its_line_in_the_file_of_cases(tmp_path: Path) -> None:
    question = read_cases(written(tmp_path, CASE.replace("tp: 2,", "tq: 2,")))[0]
    with pytest.raises(InputError, match=r"cases\.yaml:11:\d+ plan\.tq: unknown key tq\."):
        question.scenario()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - id: mine\n    stack", "  - stack", r"cases\[0\]\.id: is missing"),
        ("step_time_s: 2.5", "step_time_s: -2.5", r"cases\.yaml:12:\d+ .*measured\.step_time_s: must be greater than 0"),
        ("step_time_s: 2.5", "step_time_s: fast", r"cases\.yaml:12:\d+ .*step_time_s: must be a number"),
        ("cases:\n", "rows:\n", r"cases: is missing"),
        ("    scenario:\n", "    scenery:\n", r"cases\[0\]\.scenario: is missing"),
        (CASE, "cases: []\n", r"cases\.yaml:1:\d+ cases: needs at least one case"),
    ],
)
def test_a_file_made_differently_is_refused_with_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cases(written(tmp_path, CASE.replace(old, new)))


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    again = CASE.split("cases:\n")[1]
    with pytest.raises(InputError, match=r"cases\.yaml:\d+:\d+ cases\[1\]\.id: an id may be used once"):
        read_cases(written(tmp_path, CASE + again))


def test_the_shipped_rows_are_thirty_varied_scenarios() -> None:
    questions = read_cases(ROWS)
    for question in questions:
        question.scenario()
        assert question.case.source is not None
    assert len(questions) == 30
    assert len({question.case.group for question in questions}) >= 20
    assert len({question.case.system for question in questions}) >= 10
    assert len({question.case.stack for question in questions}) >= 15
