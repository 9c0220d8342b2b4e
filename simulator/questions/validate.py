"""Predictions against published measurements: every case of a file as a scenario, and how far each answer is off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.questions.cases import Question, read_cases
from simulator.questions.comparison import Attempt, Task, answer_alike
from simulator.questions.pairs import Order, ordered, read_pairs
from simulator.questions.scores import Outcome
from simulator.questions.summary import summary
from simulator.scenario import Scenario
from simulator.spec.errors import InputError, SupernodeError, one_line

WORTH_PROCESSES = 8
"""Different questions from which starting worker processes (about a second each) pays."""

BATCH = 4
"""Questions that a worker is handed at once: neighbours in a file mostly share a machine and a stack, which a process keeps."""

Change = Callable[[str, str], Mapping[str, float]]
"""From a preset of assumptions and a system to figures of it to replace, by path: what would change an answer, and how much."""

Progress = Callable[[float, str], None]
"""Called with the share of cases done, and a word on the one just answered."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Every case answered, in the order of the file, and every pair of them."""

    outcomes: tuple[Outcome, ...]
    orders: tuple[Order, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """Coverage, median and 90th percentile of absolute step-time error, agreement in order, worst rows, all by group."""
        return summary(self.outcomes, self.orders)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return {
            "cases": [row.to_dict() for row in self.outcomes],
            "pairs": [order.to_dict() for order in self.orders],
            "summary": self.summary,
        }

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def validate(
    cases: str | Path,
    *,
    pairs: str | Path | None = None,
    limit: int | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    change: Change | None = None,
    only: Collection[str] | None = None,
) -> Validation:
    """Run the cases of a file (the first ``limit`` of them) on ``jobs`` processes, all cores if left out.

    ``pairs``: a file of pairs of these cases whose order was measured. ``change`` replaces assumptions of cases, ``only`` names
    the cases to run (all if left out). Raises InputError with file and line for a file that is
    not made as docs/validation.md says; a case that the simulator cannot answer is in the result with its reason.
    """
    for name, count in (("limit", limit), ("jobs", jobs)):
        if count is not None and count < 1:
            raise InputError("must be at least 1", got=count, path=name)
    questions = read_cases(cases)
    known = read_pairs(pairs, (question.case.id for question in questions)) if pairs is not None else ()
    asked = [question for question in questions[:limit] if only is None or question.case.id in only]
    tasks = [_task(question, change) for question in asked]
    answers: dict[str, Outcome] = {}
    for outcomes in _run(_alike(tasks), jobs or os.cpu_count() or 1):
        for outcome in outcomes:
            answers[outcome.id] = outcome
            if progress:
                done = len(answers)
                progress(done / len(tasks), f"{done} of {len(tasks)}: {outcome.id}")
    return Validation(tuple(answers[task.case.id] for task in tasks), ordered(known, answers))


def _alike(tasks: Iterable[Task]) -> list[tuple[Task, ...]]:
    """Tasks by the question they ask: scenarios that differ in their name only have one answer."""
    groups: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks:
        asked = tuple(attempt.scenario.model_dump_json(exclude={"name"}) for attempt in task.attempts)
        groups.setdefault(asked or (task.case.id,), []).append(task)
    return [tuple(group) for group in groups.values()]


def _task(question: Question, change: Change | None = None) -> Task:
    """The scenarios a case may stand for: with the recipe of a later release, then without it."""
    attempts = []
    reason = None
    for hints in (True, False) if question.case.recipe_hint else (False,):
        try:
            scenario, notes = question.scenario(hints=hints)
            attempts.append(Attempt(_changed(scenario, question, change) if change else scenario, notes))
        except SupernodeError as error:
            reason = one_line(str(error))
    return Task(question.case, tuple(attempts), reason)


def _changed(scenario: Scenario, question: Question, change: Change) -> Scenario:
    """A scenario under other assumptions; one that changes some itself is left alone."""
    preset = scenario.assumptions
    figures = change(preset, question.case.system) if isinstance(preset, str) else {}
    return scenario.replace(assumptions={"preset": preset, "set": dict(figures)}) if figures else scenario


def _run(groups: list[tuple[Task, ...]], jobs: int) -> Iterator[list[Outcome]]:
    """Outcomes of each group as they come, in any order."""
    if jobs == 1 or len(groups) < WORTH_PROCESSES:
        yield from map(answer_alike, groups)
        return
    from joblib import Parallel, delayed

    results: Iterable[list[Outcome]] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=BATCH)(
        delayed(answer_alike)(group) for group in groups
    )
    yield from results
