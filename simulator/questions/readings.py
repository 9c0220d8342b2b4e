"""How gaps in published tables are read, stack by stack: rules with reasons in simulator/presets/readings.yaml.

A reading fills what a case leaves out; what its source prints stays. Every case touched says so in its notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import model_validator

import topologies
from simulator.questions.stacks import family_of
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, SupernodeError
from simulator.spec.files import read_spec
from simulator.spec.sources import Source

HANGS_ON = {"recompute": ("recompute_modules",), "pp": ("vpp", "schedule")}
FILE = Path(__file__).parent.parent / "presets" / "readings.yaml"


class Reading(Spec):
    """One rule: for which cases, and what it fills in. The keys are explained at the top of the file."""

    stack: str
    models: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    truncated: bool = False
    flag: str = ""
    when: dict[str, Any] = {}
    fill: dict[str, Any] = {}
    assumptions: str = ""
    inferred: bool = False
    per_rank: bool = False
    per_slice: bool = False
    source: str
    note: str

    def matches(self, stack: str, scenario: Mapping[str, Any], quality: tuple[str, ...]) -> bool:
        """Whether it says anything about a case of this stack."""
        model = scenario.get("model")
        name = model.get("preset") if isinstance(model, Mapping) else model
        if family_of(stack, [self.stack]) is None or (self.models and name not in self.models):
            return False
        if self.systems and _within(scenario, "cluster", "system") not in self.systems:
            return False
        if self.precisions and _within(scenario, "training", "precision") not in self.precisions:
            return False
        if any(_within(scenario, *path.split(".")) != value for path, value in self.when.items()):
            return False
        if self.truncated and not (isinstance(model, Mapping) and "layers" in model):
            return False
        return not self.flag or any(word.startswith(self.flag) for word in quality)


class Readings(Spec):
    """The file."""

    sources: dict[str, Source]
    readings: tuple[Reading, ...]

    @model_validator(mode="after")
    def _sources_exist(self) -> Readings:
        for reading in self.readings:
            if reading.source not in self.sources:
                raise InputError("a reading names its source", got=reading.source, do="Add it to sources.", path="readings")
        return self


def readings_of(stack: str | None, scenario: Mapping[str, Any], quality: tuple[str, ...]) -> tuple[Reading, ...]:
    """The rules for a case, in the order of the file."""
    return tuple(reading for reading in _file().readings if reading.matches(stack or "", scenario, quality))


def per_slice(scenario: dict[str, Any], notes: list[str]) -> None:
    """Parameters are cut inside a slice and copied between slices, where a case of several says nothing of it."""
    cluster, plan = scenario.get("cluster"), scenario.get("plan")
    if not (isinstance(cluster, dict) and isinstance(plan, dict)) or "zero_group" in plan:
        return
    slices, copies = cluster.get("slices"), plan.get("dp")
    if isinstance(slices, int) and isinstance(copies, int) and slices > 1 and copies % slices == 0:
        plan["zero_group"] = copies * int(plan.get("cp") or 1) // slices
        notes.append(f"plan.zero_group taken as {plan['zero_group']}: one slice")


def suited(fill: Mapping[str, Any], scenario: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule fills in, without what hangs on a choice that the case made otherwise: modules of another way to recompute,
    chunks of another number of stages.
    """
    given, filled = scenario.get("plan"), fill.get("plan")
    if not (isinstance(given, Mapping) and isinstance(filled, Mapping)):
        return dict(fill)
    kept = dict(filled)
    for choice, dependent in HANGS_ON.items():
        if choice in filled and choice in given and given[choice] != filled[choice]:
            for key in dependent:
                kept.pop(key, None)
    return {**fill, "plan": kept}


def _within(scenario: Mapping[str, Any], section: str, key: str) -> Any:
    inner = scenario.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


def per_rank(scenario: dict[str, Any], notes: list[str]) -> None:
    """Counts given by chips, by devices: dp and zero_group grow by the devices of a chip, the micro-batch shrinks by them.

    A micro-batch that its devices cannot share is left as it is, and the plan says what is wrong with it.
    """
    cluster, plan, training = (scenario.get(key) for key in ("cluster", "plan", "training"))
    if not (isinstance(cluster, dict) and isinstance(plan, dict) and isinstance(training, dict)):
        return
    try:
        devices = topologies.load(str(cluster.get("system"))).chip.ranks_per_chip
    except SupernodeError:  # whoever builds the machine says what is wrong with it
        return
    for key in ("dp", "zero_group"):
        if isinstance(plan.get(key), int):
            plan[key] *= devices
            notes.append(f"plan.{key} is given by chips: {plan[key]} by devices")
    batch = training.get("micro_batch")
    if isinstance(batch, int) and batch % devices == 0:
        training["micro_batch"] = batch // devices
        notes.append(f"training.micro_batch is given by chips: {batch // devices} by devices")


@cache
def _file() -> Readings:
    return read_spec(FILE, Readings)
