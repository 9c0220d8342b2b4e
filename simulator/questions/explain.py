"""Every number behind an answer, with its range and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import topologies
import workloads
from simulator.assumptions import PRESETS as ASSUMPTION_PRESETS
from simulator.assumptions import Assumptions
from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.errors import MissingPreset
from simulator.spec.files import preset_names, read_spec
from simulator.spec.near import suggest
from simulator.spec.sources import Figure, Source, figures
from topologies.parts import CHIPS, Chip
from topologies.system import SYSTEMS
from workloads.loading import PRESETS as MODEL_PRESETS
from workloads.model import Model

#: Kinds of presets, in the order in which they are listed.
FOLDERS: dict[str, Path] = {
    "systems": SYSTEMS,
    "chips": CHIPS,
    "models": MODEL_PRESETS,
    "assumptions": ASSUMPTION_PRESETS,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One number: its field path, value and range as text, how it is known, and its source."""

    path: str
    value: str
    low: str | None
    high: str | None
    kind: str
    check: str | None
    note: str | None
    source: str | None
    url: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def catalog() -> dict[str, list[str]]:
    """Names of all presets, by kind."""
    return {kind: preset_names(folder) for kind, folder in FOLDERS.items()}


def find_preset(name: str) -> tuple[str, BaseModel]:
    """A preset by name, whatever its kind: (kind, the loaded spec). MissingPreset with near names if there is none."""
    loaders: dict[str, Any] = {
        "systems": topologies.load,
        "chips": lambda chip: read_spec(chip, Chip, CHIPS),
        "models": workloads.load,
        "assumptions": Assumptions.load,
    }
    names = catalog()
    for kind, known in names.items():
        if name in known:
            return kind, loaders[kind](name)
    everything = [preset for known in names.values() for preset in known]
    raise MissingPreset("there is no preset of this name", got=name, do=suggest(name, everything, "presets"))


def explain_scenario(scenario: Scenario) -> list[Fact]:
    """The numbers that a scenario's answer stands on: the file's own, the machine's, the model's, the assumptions used."""
    prepared = prepare(scenario)
    own = (f"this scenario: {scenario.name}", None)
    found = list(_numbers(scenario.model_dump(mode="json", exclude_unset=True), "scenario", "given", own))
    found += explain_spec(prepared.system, "system")
    found += explain_spec(prepared.model, "model")
    table = prepared.assumptions.sources
    stack = prepared.assumptions
    used: dict[str, BaseModel] = {"chip": prepared.efficiency, "memory_overhead": stack.memory_overhead}
    for name in prepared.libraries.names:
        used |= {f"libraries.{name}": stack.libraries[name]} if name in stack.libraries else {"library": stack.library}
    for name, part in used.items():
        found += [_fact(path, figure, table) for path, figure in figures(part, f"assumptions.{name}")]
    return found


def explain_spec(spec: BaseModel, path: str = "") -> list[Fact]:
    """The numbers of one preset. A model's carry the sources of the whole file, for its config is one document."""
    table: Mapping[str, Source] = getattr(spec, "sources", {})
    if isinstance(spec, Model):
        sources = [table[key] for key in spec.source]
        whole = ("; ".join(source.title for source in sources), "; ".join(source.url for source in sources))
        data = spec.model_dump(mode="json", exclude={"sources", "source", "notes", "name", "stated"}, exclude_none=True)
        return list(_numbers(data, path, f"confidence {spec.confidence}", whole))
    return [_fact(where, figure, table) for where, figure in figures(spec, path)]


def _fact(path: str, figure: Figure[Any], table: Mapping[str, Source]) -> Fact:
    source = table.get(figure.source) if figure.source else None
    return Fact(
        path=path,
        value=figure.show(figure.value),
        low=None if figure.low is None else figure.show(figure.low),
        high=None if figure.high is None else figure.show(figure.high),
        kind=figure.kind,
        check=figure.check,
        note=figure.note,
        source=source.title if source else None,
        url=source.url if source else None,
    )


def _numbers(data: Any, path: str, kind: str, source: tuple[str, str | None]) -> Iterator[Fact]:
    """Every number below plain data."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key), kind, source)
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from _numbers(value, f"{path}[{index}]", kind, source)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield Fact(path, str(data), None, None, kind, None, None, *source)
