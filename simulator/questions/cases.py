"""Measured training steps as people write them down: one file, many cases, each a scenario and what was measured.

A case's ``scenario`` is a scenario file with its unknowns left out: the software stack's documented defaults fill them in
(:mod:`simulator.questions.stacks`). Keys that no question of ours uses (notes, confidence) are read over. A file that is not
made like this is refused with its line; a case whose scenario cannot be expressed is counted as not covered, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from simulator.questions.readings import per_rank, per_slice, readings_of, suited
from simulator.questions.stacks import assumptions_of
from simulator.scenario import Scenario
from simulator.spec.base import Spec
from simulator.spec.document import Document, Place
from simulator.spec.errors import InputError
from simulator.spec.files import build, read_document
from simulator.spec.sources import Source

RACKS: Mapping[str, int] = {"gb200-nvl72": 64, "gb300-nvl72": 64}
"""Chips that published runs use of each rack of 72: plans are powers of two, eight chips stay spare."""

UNSTATED = "unstated"
"""What a case writes for a value its source does not print; the same as leaving the key out."""

Text = Annotated[str, StringConstraints(min_length=1)]
Positive = Annotated[float, Field(gt=0)]


class Loose(Spec):
    """A mapping that may hold more than we read."""

    model_config = ConfigDict(extra="ignore")


class Measured(Loose):
    """What a source prints of one run; every quantity under the source's own definition.

    ``step_time_s`` [s], ``tokens_per_s_per_chip`` [1/s], TFLOP/s a chip with recomputation left out (``model``) or counted
    (``hardware``), ``mfu`` and ``hfu`` the same over a peak, and peak memory [GiB].
    """

    step_time_s: Positive | None = None
    tokens_per_s_per_chip: Positive | None = None
    model_tflops_per_chip: Positive | None = None
    hardware_tflops_per_chip: Positive | None = None
    mfu: Positive | None = None
    hfu: Positive | None = None
    memory_gib_per_chip: Positive | None = None
    breakdown: dict[str, Any] = {}

    def values(self) -> dict[str, float]:
        """What is there, by name, its breakdown apart."""
        return self.model_dump(exclude_none=True, exclude={"breakdown"})

    def parts(self) -> dict[str, float]:
        """The numbers of the breakdown, those of a table in it under ``table.name``: phases of the step, parts of the memory."""
        found: dict[str, float] = {}
        for name, value in self.breakdown.items():
            inner = {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
            found |= {key: float(part) for key, part in inner.items() if isinstance(part, int | float)}
        return found


class Derived(Loose):
    """Arithmetic on printed values; ``mfu_peak_tflops`` is the peak behind a printed MFU or HFU [TFLOP/s]."""

    step_time_s: Positive | None = None
    tokens_per_s_per_chip: Positive | None = None
    mfu_peak_tflops: Positive | None = None


class Case(Loose):
    """One measured run. ``release_of`` names the configuration that several software releases ran: they weigh as one.

    ``recipe_hint``: keys of the plan as a later release of the recipe has them. ``assumed``: keys of the scenario that
    nobody states and without which it cannot run. Both fill gaps only, and the answer says where they did.
    """

    id: Text
    stack: Text | None = None
    family: Text | None = None
    release_of: Text | None = None
    source: Source | None = None
    quality: tuple[str, ...] = ()
    scenario: dict[str, Any]
    measured: Measured
    derived: Derived = Derived()
    recipe_hint: dict[str, Any] = {}
    assumed: dict[str, Any] = {}

    @property
    def system(self) -> str:
        """The machine as the case names it."""
        cluster = self.scenario.get("cluster")
        return str(cluster.get("system", "unnamed")) if isinstance(cluster, dict) else "unnamed"

    @property
    def model(self) -> str:
        """The model as the case names it."""
        model = self.scenario.get("model", "unnamed")
        return str(model.get("preset", model.get("name", "unnamed")) if isinstance(model, dict) else model)

    @property
    def group(self) -> str:
        """The family a case is scored in: its own, or model and system."""
        return self.family or f"{self.model}.{self.system}"


class CaseFile(Loose):
    """The file: ``meta`` is for people, ``cases`` is what is run."""

    meta: dict[str, Any] = {}
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A case with the part of the file its scenario stands in, for errors with a line."""

    case: Case
    document: Document

    def scenario(self, *, hints: bool = True) -> tuple[Scenario, tuple[str, ...]]:
        """The scenario to simulate, and what was filled in that the source does not say.

        ``hints``: whether the recipe of a later release fills gaps of the plan. Raises InputError with file and line where
        the case says something a scenario cannot say, or lacks what a scenario needs.
        """
        notes: list[str] = []
        data = _stated(deepcopy(self.document.data), "", notes)
        if "assumptions" not in data:
            data["assumptions"], known = assumptions_of(self.case.stack)
            if not known:
                notes.append(f"stack {self.case.stack or 'unnamed'} is not known: assumptions {data['assumptions']}")
        data.setdefault("name", self.case.id)
        _spare_chips(data.get("cluster"), notes)
        if hints:
            data, filled = filled_in(data, {"plan": self.case.recipe_hint})
            notes += [f"{name} from the recipe of a later release" for name in filled]
        data, filled = filled_in(data, self.case.assumed)
        notes += [f"{name} is assumed" for name in filled]
        for reading in readings_of(self.case.stack, data, self.case.quality):
            if reading.assumptions and "assumptions" not in self.document.data:
                data["assumptions"] = reading.assumptions
                notes.append(f"assumptions {reading.assumptions}: {reading.note}")
            if reading.per_rank:
                per_rank(data, notes)
            if reading.per_slice:
                per_slice(data, notes)
            data, filled = filled_in(data, suited(reading.fill, data))
            how = ", inferred" if reading.inferred else ""
            notes += [f"{name} as tables of {reading.stack} are read{how}" for name in filled]
        return build(Document(data, self.document.keys, self.document.values), Scenario), tuple(notes)


def read_cases(path: str | Path) -> tuple[Question, ...]:
    """Every case of a file, in its order.

    Raises InputError with file, line and column for a file that is not YAML, a case without id, scenario or measured
    values, a measured value that is no positive number, or an id used twice.
    """
    document = read_document(path)
    cases = build(document, CaseFile).cases
    if not cases:
        raise InputError("needs at least one case", path="cases", where=str(document.mark(("cases",))), do="Write one.")
    _unique(cases, document)
    keys, values = _split(document.keys), _split(document.values)
    return tuple(
        Question(case, Document(case.scenario, keys.get(index, {}), values.get(index, {}))) for index, case in enumerate(cases)
    )


def _unique(cases: tuple[Case, ...], document: Document) -> None:
    seen: dict[str, int] = {}
    for index, case in enumerate(cases):
        if case.id in seen:
            where = document.mark(("cases", index, "id"))
            rule = f"an id may be used once; cases[{seen[case.id]}] has it already"
            raise InputError(rule, got=case.id, do="Rename one of them.", path=f"cases[{index}].id", where=str(where))
        seen[case.id] = index


def _split(marks: Mapping[Place, Any]) -> dict[int, dict[Place, Any]]:
    """Marks under ``cases[i].scenario``, by i, their places as in a scenario file."""
    parts: dict[int, dict[Place, Any]] = {}
    for place, mark in marks.items():
        if len(place) >= 3 and place[0] == "cases" and place[2] == "scenario" and isinstance(place[1], int):
            parts.setdefault(place[1], {})[place[3:]] = mark
    return parts


def _stated(data: Any, path: str, notes: list[str]) -> Any:
    """Data without the values a source does not state."""
    if not isinstance(data, dict):
        return data
    kept = {}
    for key, value in data.items():
        if value == UNSTATED:
            notes.append(f"{path}{key} is unstated: left out")
        else:
            kept[key] = _stated(value, f"{path}{key}.", notes)
    return kept


def _spare_chips(cluster: Any, notes: list[str]) -> None:
    """Fill in how many chips of a rack a run uses, where it spans whole racks and does not say."""
    if not isinstance(cluster, dict) or "chips_per_domain" in cluster:
        return
    used, chips = RACKS.get(str(cluster.get("system"))), cluster.get("chips")
    if used and isinstance(chips, int) and chips >= used and chips % used == 0:
        cluster["chips_per_domain"] = used
        notes.append(f"cluster.chips_per_domain taken as {used}")


def filled_in(data: Mapping[str, Any], extra: Mapping[str, Any], path: str = "") -> tuple[dict[str, Any], list[str]]:
    """Data with keys it lacks taken from ``extra``, and their paths.

    >>> filled_in({"plan": {"tp": 8}}, {"plan": {"tp": 4, "overlap": {"ep": True}}})
    ({'plan': {'tp': 8, 'overlap': {'ep': True}}}, ['plan.overlap.ep'])
    """
    result, names = dict(data), []
    for key, value in extra.items():
        inner = result.get(key)
        if isinstance(value, Mapping) and (inner is None or isinstance(inner, Mapping)):
            merged, below = filled_in(inner or {}, value, f"{path}{key}.")
            if below:
                result[key] = merged
            names += below
        elif key not in result:
            result[key] = value
            names.append(f"{path}{key}")
    return result, names
