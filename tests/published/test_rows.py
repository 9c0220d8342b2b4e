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


def test_rows_that_are_held_back_are_none_that_constants_are_fitted_on() -> None:
    """No name, and no stack, model, machine, plan and batch of unseen.yaml is in steps.yaml."""
    folder = Path(__file__).parent
    learned, held = (read_cases(folder / name) for name in ("steps.yaml", "unseen.yaml"))
    assert len(held) >= 250
    for what in (lambda case: case.id, lambda case: repr((case.stack, case.scenario, sorted(case.measured.values().items())))):
        assert not {what(question.case) for question in learned} & {what(question.case) for question in held}
