"""Where the project lies, and its Python files."""

from __future__ import annotations

from pathlib import Path

import pytest

PACKAGES = ("simulator", "topologies", "workloads")


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def modules(root: Path) -> list[Path]:
    """Every Python file of the three packages."""
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
