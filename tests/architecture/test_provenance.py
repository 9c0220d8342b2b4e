"""Every number that a preset ships says where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.assumptions import Assumptions
from simulator.spec.files import read_document, read_spec
from simulator.spec.sources import figures, unsourced
from topologies.parts import CHIPS, Chip
from topologies.system import SYSTEMS, System

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for package in ("simulator", "topologies", "workloads") for path in (ROOT / package / "presets").rglob("*.yaml")
)
ASSUMPTIONS = ROOT / "simulator" / "presets" / "assumptions"
MODELS = ROOT / "workloads" / "presets"


def _presets(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _name(path: Path) -> str:
    return path.stem


def _figures_as_written(data: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(data, dict) and "value" in data:
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _figures_as_written(value, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _figures_as_written(value, f"{path}[{index}]")


def test_there_are_presets_of_every_kind() -> None:
    assert all(len(_presets(folder)) >= 1 for folder in (CHIPS, SYSTEMS, ASSUMPTIONS, MODELS))


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_figure_as_written_names_a_source_of_its_file_or_gives_a_note(file: Path) -> None:
    data = read_document(file, file.parent).data
    table = data.get("sources", {})
    bad = [
        path
        for path, figure in _figures_as_written(data)
        if (figure["source"] not in table if figure.get("source") else not figure.get("note"))
    ]
    assert bad == []


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_source_has_a_title_and_an_address(file: Path) -> None:
    table = read_document(file, file.parent).data.get("sources", {})
    assert [
        key for key, source in table.items() if not source.get("title") or not str(source.get("url")).startswith("http")
    ] == []


@pytest.mark.parametrize("file", _presets(CHIPS), ids=_name)
def test_no_number_of_a_chip_is_bare(file: Path) -> None:
    chip = read_spec(file, Chip, CHIPS)
    assert len(list(figures(chip))) >= 4
    assert unsourced(chip) == []


@pytest.mark.parametrize("file", _presets(SYSTEMS), ids=_name)
def test_no_number_of_a_system_is_bare(file: Path) -> None:
    system = read_spec(file, System, SYSTEMS)
    assert len(list(figures(system))) >= 4
    assert unsourced(system) == []


@pytest.mark.parametrize("file", _presets(ASSUMPTIONS), ids=_name)
def test_no_assumption_is_bare(file: Path) -> None:
    assumptions = read_spec(file, Assumptions, ASSUMPTIONS)
    assert unsourced(assumptions) == []
    for chip in assumptions.chips:
        assert unsourced(assumptions.of_chip(chip)[0], assumptions.sources) == []


@pytest.mark.parametrize("file", _presets(MODELS), ids=_name)
def test_every_model_names_the_documents_it_was_read_from(file: Path) -> None:
    data = read_document(file, MODELS).data
    named = [data["source"]] if isinstance(data["source"], str) else data["source"]
    assert named and set(named) <= set(data["sources"])
