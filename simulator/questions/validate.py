"""Predictions against published measurements: every case of a file as a scenario, and how far each answer is off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.questions.cases import Question, read_cases
from simulator.questions.comparison import Attempt, Task, answer
from simulator.questions.scores import Outcome, summary
from simulator.spec.errors import InputError, SupernodeError, one_line

WORTH_PROCESSES = 8
"""Cases from which starting worker processes (about a second each) pays."""

Progress = Callable[[float, str], None]
"""Called with the share of cases done, and a word on the one just answered."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Every case answered, in the order of the file."""

    outcomes: tuple[Outcome, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """Coverage, median and 90th percentile of absolute step-time error, worst rows, and all by group."""
        return summary(self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return {"cases": [row.to_dict() for row in self.outcomes], "summary": self.summary}

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def validate(
    cases: str | Path, *, limit: int | None = None, jobs: int | None = None, progress: Progress | None = None
) -> Validation:
    """Run the cases of a file (the first ``limit`` of them) on ``jobs`` processes, all cores if left out.

    Raises InputError with file and line for a file that is not made as docs/validation.md says; a case that the simulator
    cannot answer is in the result with its reason.
    """
    if limit is not None and limit < 1:
        raise InputError("must be at least 1", got=limit, path="limit")
    questions = read_cases(cases)[:limit]
    tasks = [_task(question) for question in questions]
    answers: dict[str, Outcome] = {}
    for done, outcome in enumerate(_run(tasks, jobs or os.cpu_count() or 1), start=1):
        answers[outcome.id] = outcome
        if progress:
            progress(done / len(tasks), f"{done} of {len(tasks)}: {outcome.id}")
    return Validation(tuple(answers[task.case.id] for task in tasks))


def _task(question: Question) -> Task:
    """The scenarios a case may stand for: with the recipe of a later release, then without it."""
    attempts = []
    reason = None
    for hints in (True, False) if question.case.recipe_hint else (False,):
        try:
            scenario, notes = question.scenario(hints=hints)
            attempts.append(Attempt(scenario, notes))
        except SupernodeError as error:
            reason = one_line(str(error))
    return Task(question.case, tuple(attempts), reason)


def _run(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, in any order."""
    if jobs == 1 or len(tasks) < WORTH_PROCESSES:
        yield from map(answer, tasks)
        return
    from joblib import Parallel, delayed

    results: Iterable[Outcome] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
        delayed(answer)(task) for task in tasks
    )
    yield from results
