"""Imports point one way, and each library comes in through its own door."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

LATE = ("pandas", "pyarrow", "dask", "distributed", "numba", "optuna", "joblib")
"""Heavy or optional: imported where they are used, never at a module's top."""

DOORS = {
    "simpy": ("simulator/engine/", "simulator/network/fluid.py"),
    "networkx": ("topologies/",),
    "plotly": ("simulator/report/",),
    "yaml": ("simulator/spec/strict_yaml.py",),
    "typer": ("simulator/cli", "simulator/__main__.py"),
}
"""Library -> the beginnings of the paths that may import it."""


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


class _Runs(ast.NodeTransformer):
    """The module without ``if TYPE_CHECKING``."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


class _RunsAtImport(_Runs):
    """The module also without the bodies of its functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        return None


def _tops(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_contracts_of_import_linter_are_kept(root: Path) -> None:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "5 kept, 0 broken" in run.stdout


def test_every_part_of_the_simulator_has_its_layer(root: Path) -> None:
    config = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = " ".join(next(contract for contract in config["contracts"] if contract["type"] == "layers")["layers"])
    layered = set(layers.replace("(", " ").replace(")", " ").replace("|", " ").replace(":", " ").split())
    parts = {path.stem for path in (root / "simulator").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {f"simulator.{part}" for part in parts - {"__init__"}} <= layered


@pytest.mark.parametrize("library", DOORS)
def test_a_library_comes_in_through_its_door(library: str, modules: list[Path], root: Path) -> None:
    users = {
        path.relative_to(root).as_posix()
        for path in modules
        if library in _tops(_imports(_Runs().visit(ast.parse(path.read_text()))))
    }
    assert {user for user in users if not user.startswith(DOORS[library])} == set()


def test_heavy_libraries_are_imported_where_they_are_used(modules: list[Path], root: Path) -> None:
    early = {
        (path.relative_to(root).as_posix(), library)
        for path in modules
        for library in _tops(_imports(_RunsAtImport().visit(ast.parse(path.read_text())))) & set(LATE)
    }
    assert early == set()


def test_the_search_for_early_imports_sees_one() -> None:
    source = "import pandas\ndef f():\n    import numba\nif TYPE_CHECKING:\n    import dask\nclass A:\n    import optuna\n"
    assert _tops(_imports(_RunsAtImport().visit(ast.parse(source)))) == {"pandas", "optuna"}


def test_nothing_ours_imports_tests_or_examples(modules: list[Path]) -> None:
    assert [path for path in modules if _tops(_imports(ast.parse(path.read_text()))) & {"tests", "examples"}] == []
