"""What reading files costs: every run reads half a dozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from simulator.spec.files import read_document
from topologies.system import SYSTEMS, System, load

CASES = 500


def test_a_system_preset(benchmark: Any) -> None:
    name = sorted(SYSTEMS.glob("*.yaml"))[0].stem
    assert isinstance(benchmark(load, name), System)


def test_a_file_of_hundreds_of_cases(benchmark: Any, tmp_path: Path) -> None:
    case = {
        "scenario": {"plan": {"tp": 8, "pp": 16, "schedule": "dualpipe"}, "model": "deepseek-v3"},
        "measured": {"step_time_s": 8.15},
    }
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump({"cases": [{"id": f"case-{number}", **case} for number in range(CASES)]}))
    assert len(benchmark(read_document, file).data["cases"]) == CASES
