"""Answers kept by what was asked: a question that comes back is not simulated again.

A question is all that a step depends on: the scenario but its name and seed, and the content of every file it names, read anew
each time: a system file that was changed in between is another question. What comes back is the answer itself, with the new
question's name, what finding it cost, and ``simulation.reused``.

>>> from simulator import Answers, Scenario, simulate
>>> answers = Answers(most=16)
>>> machine = {"system": "dgx-h100"}
>>> scenario = Scenario(cluster=machine, model="llama3.1-8b", training={"sequence_length": 4096, "global_batch": 8})
>>> first = simulate(scenario, answers=answers)
>>> again = simulate(scenario.replace(name="the same"), answers=answers)
>>> again.simulation.reused, again.fingerprint == first.fingerprint
(True, True)

Leaves out: a user's own graph and steps of every rank by itself (``fabric``, ``symmetric=False``), which are always simulated.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import topologies
import workloads
from simulator.assumptions import Assumptions
from simulator.prepare import load_assumptions
from simulator.results import Result
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from topologies.system import System
from workloads.model import Model
from workloads.router import RouterLoad
from workloads.schedules.table import ScheduleTable


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer depends on. ``asked`` is the scenario as text, ``files`` digests of tables that it names."""

    asked: str
    slots: str
    system: System
    model: Model
    assumptions: Assumptions
    files: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, slots: str) -> Question:
        """Read all that the scenario names. Raises InputError as preparing it would."""
        with scenario.blamed("cluster", at="cluster.system"):
            system = topologies.load(scenario.cluster.system)
        with scenario.blamed("model"):
            model = workloads.load(scenario.model)
        with scenario.blamed("assumptions"):
            assumptions = load_assumptions(scenario)
        asked = scenario.model_dump_json(exclude={"name", "seed"})
        return cls(asked, slots, system, model, assumptions, tuple(_digest(path) for path in _tables(scenario)))


class Answers:
    """The last ``most`` answers, by question. Give one to :func:`simulator.run.simulate`; it belongs to one process.

    An answer takes as much memory as the result that holds it: some megabytes of spans for a step of a hundred thousand events.
    Raises InputError for a bound below 1.
    """

    def __init__(self, most: int = 16) -> None:
        if most < 1:
            raise InputError("an answer is kept at least", got=most, do="Keep 1 or more.", path="most")
        self.most = most
        self._kept: OrderedDict[tuple[str, str], tuple[Question, Result]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, question: Question, scenario: Scenario, began: tuple[float, float]) -> Result | None:
        """The answer under this scenario's name, or None. ``began``: wall and CPU seconds when it was asked."""
        kept = self._kept.get((question.asked, question.slots))
        if kept is None or kept[0] != question:
            return None
        self._kept.move_to_end((question.asked, question.slots))
        return _copied(kept[1], scenario, began)

    def keep(self, question: Question, result: Result) -> None:
        """Remember an answer; the one that was longest not asked for goes."""
        self._kept[question.asked, question.slots] = (question, result)
        self._kept.move_to_end((question.asked, question.slots))
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


def _copied(result: Result, scenario: Scenario, began: tuple[float, float]) -> Result:
    """A result of its own: nothing that is done to one shows in the other but the recorded columns, which nobody changes."""
    cost = result.simulation.model_copy(
        update={
            "wall_s": time.perf_counter() - began[0],
            "cpu_s": time.process_time() - began[1],
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "reused": True,
        }
    )
    changed: dict[str, Any] = {
        "name": scenario.name,
        "scenario": scenario.model_dump(mode="json", exclude_unset=True),
        "network": result.network.model_copy(deep=True),
        "simulation": cost,
    }
    return result.model_copy(update=changed)


def _tables(scenario: Scenario) -> list[Path]:
    """Files that a scenario names beside those of machine, model and assumptions."""
    found = []
    if isinstance(scenario.plan.schedule, ScheduleTable) and scenario.plan.schedule.file:
        found.append(Path(scenario.plan.schedule.file))
    router = scenario.training.router
    if isinstance(router, RouterLoad) and router.file:
        found.append(Path(router.file))
    return found


def _digest(path: Path) -> str:
    """Of a file's content; whoever reads it says what is wrong with one that cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
