"""Modules stay small, and are named after what is in them."""

from __future__ import annotations

import ast
from pathlib import Path

CEILING = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base_utils"}


def test_no_module_is_longer_than_the_ceiling(modules: list[Path], root: Path) -> None:
    files = [*modules, *(root / "tests").rglob("*.py"), *(root / "examples").rglob("*.py")]
    assert {path.relative_to(root).as_posix() for path in files if len(path.read_text().splitlines()) > CEILING} == set()


def test_no_module_has_a_vague_name(modules: list[Path], root: Path) -> None:
    vague = {path.relative_to(root).as_posix() for path in modules if {path.stem, *path.stem.split("_")} & VAGUE}
    assert vague == set()
    assert {path.parent.name for path in modules} & VAGUE == set()


def test_every_module_says_what_it_is(modules: list[Path], root: Path) -> None:
    silent = {
        path.relative_to(root).as_posix()
        for path in modules
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    }
    assert silent == set()


def test_every_module_reads_annotations_late(modules: list[Path], root: Path) -> None:
    eager = {
        path.relative_to(root).as_posix()
        for path in modules
        if "def " in path.read_text() and "from __future__ import annotations" not in path.read_text()
    }
    assert eager == set()


def test_the_packages_tell_type_checkers_that_they_are_typed(root: Path) -> None:
    assert all((root / package / "py.typed").is_file() for package in ("simulator", "topologies", "workloads"))
