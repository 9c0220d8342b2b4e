"""What ``import simulator`` offers, and what it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import simulator

PUBLIC = ["Answers", "Result", "Scenario", "collective", "simulate", "sweep", "validate"]

HEAVY = ("numpy", "pydantic", "plotly", "simpy", "networkx", "yaml", "typer", "rich", "joblib")


def _python(code: str, root: Path) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_the_public_names_are_these() -> None:
    assert simulator.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(simulator))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(simulator, name))


def test_a_name_that_is_not_there_is_missed_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        simulator.simulat  # noqa: B018  (the access itself is the test)


def test_importing_the_simulator_loads_no_library(root: Path) -> None:
    code = f"import sys, simulator; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert _python(code, root) == ""


def test_importing_the_simulator_costs_less_than_80_ms_of_cpu(root: Path) -> None:
    code = "import time; before = time.process_time(); import simulator; print(time.process_time() - before)"
    assert min(float(_python(code, root)) for _ in range(3)) < 0.08
