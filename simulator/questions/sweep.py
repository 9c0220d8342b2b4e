"""Many plans of one scenario, each simulated: which one wins, and why the others do not run.

A sweep file names a scenario and, by field path, the values to try; every combination is a point. Points are laid out first: what
is illegal keeps its one-line reason, what needs more memory than there is its gibibytes (and is simulated only where asked),
all else is simulated, on as many processes as wanted.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from simulator.footprint import memory_of
from simulator.prepare import prepare
from simulator.results import Result
from simulator.run import simulate_prepared
from simulator.scenario import Scenario, assignment
from simulator.spec.base import Spec
from simulator.spec.document import Document
from simulator.spec.errors import InputError, NotModelled, one_line
from simulator.spec.files import build, override, read_document, read_spec

WORTH_PROCESSES = 4
"""Points from which starting worker processes pays."""
MOST_POINTS = 10_000
"""More combinations than this are a slip of the pen."""

Progress = Callable[[float, str], None]
Status = Literal["simulated", "does not fit", "refused"]


class SweepFile(Spec):
    """A sweep as a file says it. ``scenario``: a path, or the scenario itself; ``over``: values by field path."""

    name: str = "unnamed sweep"
    scenario: str | dict[str, Any]
    over: dict[str, tuple[Any, ...]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Point:
    """One combination: what was set, and what came of it.

    ``reason``: why it was not simulated. Times are seconds of the average rank; memory is of the fullest pipeline rank.
    """

    settings: dict[str, Any]
    status: Status
    reason: str | None = None
    step_time_s: float | None = None
    tokens_per_s_per_chip: float | None = None
    mfu: float | None = None
    breakdown_s: dict[str, float] = field(default_factory=dict)
    peak_gib_per_chip: float | None = None
    usable_gib_per_chip: float | None = None
    recompute: str | None = None
    warnings: tuple[str, ...] = ()
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every point of a sweep, in the order of its values."""

    name: str
    over: dict[str, tuple[Any, ...]]
    points: tuple[Point, ...]

    @property
    def ranking(self) -> tuple[Point, ...]:
        """The points that were simulated and fit, fastest first."""
        return tuple(sorted((p for p in self.points if p.status == "simulated"), key=lambda p: p.step_time_s or 0.0))

    @property
    def best(self) -> Point | None:
        """The fastest plan that fits, None if none does."""
        return next(iter(self.ranking), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        best = self.best
        return {
            "name": self.name,
            "over": {path: list(values) for path, values in self.over.items()},
            "points": [asdict(point) for point in self.points],
            "best": None if best is None else asdict(best),
        }

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def read_sweep(path: str | Path, overrides: Sequence[str] = ()) -> tuple[str, Document, dict[str, tuple[Any, ...]]]:
    """(name, base scenario, values by path) of a sweep file; ``overrides`` change the base as ``--set`` does.

    A path that is set is no longer swept.
    """
    file = read_spec(path, SweepFile)
    base = Document(data=file.scenario) if isinstance(file.scenario, dict) else read_document(file.scenario)
    over = dict(file.over)
    for text in overrides:
        name, value = assignment(text)
        base = override(base, name, value)
        over.pop(name, None)
    return file.name, base, over


def sweep(
    scenario: Scenario | Document,
    over: Mapping[str, Sequence[Any]],
    *,
    name: str = "unnamed sweep",
    jobs: int | None = None,
    simulate_all: bool = False,
    progress: Progress | None = None,
) -> Sweep:
    """Simulate every combination of the values in ``over`` (by field path), on ``jobs`` processes (all cores if left out).

    Plans that do not fit in memory are listed with what they need, and simulated only with ``simulate_all``. Raises
    InputError if a path is no field of a scenario, or if there are too many points.
    """
    if jobs is not None and jobs < 1:
        raise InputError("must be at least 1", got=jobs, path="jobs")
    values = {path: tuple(tried) for path, tried in over.items()}
    empty = [path for path, tried in values.items() if not tried]
    if empty:
        raise InputError("needs at least one value to try", got=[], do="Name some.", path=f"over.{empty[0]}")
    base = scenario if isinstance(scenario, Document) else Document(data=scenario.model_dump(exclude_unset=True))
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    if len(combinations) > MOST_POINTS:
        raise InputError(
            f"a sweep has at most {MOST_POINTS:,} points", got=len(combinations), do="Try fewer values.", path="over"
        )
    _check_paths(base, values)
    tasks = [(base.data, settings, simulate_all) for settings in combinations]
    found: dict[int, Point] = {}
    for index, point in _run(tasks, jobs or os.cpu_count() or 1):
        found[index] = point
        if progress:
            progress(len(found) / len(tasks), f"{len(found)} of {len(tasks)}: {_said(point.settings)}")
    return Sweep(name, values, tuple(found[index] for index in range(len(tasks))))


def _check_paths(base: Document, values: Mapping[str, Sequence[Any]]) -> None:
    """Every path is a field of a scenario: an unknown one would make every point refused."""
    for path in values:
        try:
            build(override(base, path, values[path][0]), Scenario)
        except InputError as error:
            if error.rule.startswith("unknown key"):
                raise InputError(error.rule, do=error.do, path=f"over.{path}") from None


def _run(tasks: list[tuple[dict[str, Any], dict[str, Any], bool]], jobs: int) -> Iterator[tuple[int, Point]]:
    """Points with their number, as they come."""
    if jobs == 1 or len(tasks) < WORTH_PROCESSES:
        yield from ((index, _point(*task)) for index, task in enumerate(tasks))
        return
    from joblib import Parallel, delayed

    results: Iterable[tuple[int, Point]] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
        delayed(_numbered)(index, task) for index, task in enumerate(tasks)
    )
    yield from results


def _numbered(index: int, task: tuple[dict[str, Any], dict[str, Any], bool]) -> tuple[int, Point]:
    return index, _point(*task)


def _point(base: dict[str, Any], settings: dict[str, Any], simulate_all: bool) -> Point:
    document = Document(data=base)
    try:
        for path, value in settings.items():
            document = override(document, path, value)
        scenario = build(document, Scenario)
        prepared = prepare(scenario)
    except (InputError, NotModelled) as error:
        if isinstance(error, InputError):  # where it stands in no file helps nobody
            error = type(error)(error.rule, got=error.got, do=error.do, path=error.path)
        return Point(settings, "refused", one_line(str(error)))
    memory = memory_of(prepared)
    if not memory.fits and not simulate_all:
        return Point(
            settings,
            "does not fit",
            f"needs {memory.peak_gib_per_chip:.1f} GiB of {memory.usable_gib_per_chip:.1f} GiB usable per chip",
            peak_gib_per_chip=memory.peak_gib_per_chip,
            usable_gib_per_chip=memory.usable_gib_per_chip,
            recompute=memory.recompute,
            warnings=prepared.warnings,
        )
    return _answered(settings, simulate_prepared(prepared))


def _answered(settings: dict[str, Any], result: Result) -> Point:
    memory = result.memory
    return Point(
        settings,
        "simulated" if memory.fits else "does not fit",
        None if memory.fits else f"needs {memory.peak_gib_per_chip:.1f} GiB",
        step_time_s=result.step_time_s,
        tokens_per_s_per_chip=result.tokens_per_s_per_chip,
        mfu=result.mfu,
        breakdown_s=result.breakdown_s.model_dump(),
        peak_gib_per_chip=memory.peak_gib_per_chip,
        usable_gib_per_chip=memory.usable_gib_per_chip,
        recompute=memory.recompute,
        warnings=result.warnings,
        fingerprint=result.fingerprint,
    )


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{path.rsplit('.', 1)[-1]} {value}" for path, value in settings.items())
