"""The shipped measurements against predictions: the quick rows run here, all of them by `supernode validate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.questions.cases import Question, read_cases
from simulator.questions.comparison import Attempt, Task, answer

ROWS = Path(__file__).parent / "rows.yaml"

FACTOR = 1.35
"""A step time further off than this is a defect, not an inaccuracy."""


def quick() -> list[Question]:
    """Rows without pipeline stages: a few thousand events each."""
    return [question for question in read_cases(ROWS) if question.case.scenario["plan"].get("pp", 1) == 1]


@pytest.mark.parametrize("question", quick(), ids=lambda question: question.case.id)
def test_a_published_row_is_answered_within_a_third(question: Question) -> None:
    scenario, notes = question.scenario()
    outcome = answer(Task(question.case, (Attempt(scenario, notes),)))
    assert outcome.covered, outcome.reason
    error = outcome.error["step_time_s"]
    assert 1 / FACTOR < 1 + error < FACTOR
    memory = outcome.error.get("memory_gib_per_chip")
    assert memory is None or abs(memory) < 0.25


def test_quick_rows_are_many_and_varied() -> None:
    questions = quick()
    assert len(questions) >= 10
    assert len({question.case.system for question in questions}) >= 6
