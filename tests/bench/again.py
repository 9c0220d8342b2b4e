"""What a question costs after others of the same process: ``python tests/bench/again.py``; CPU seconds, imports apart.

The first is asked of a new process; every later one is a change of it, asked once after it, then the same with nothing kept
of slots and programs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from simulator import Scenario, simulate  # noqa: E402
from simulator.engine.alike import KEPT  # noqa: E402
from workloads import program  # noqa: E402

CHANGES: dict[str, dict[str, Any]] = {
    "twice the batch": {"training__global_batch": 49152},
    "two thirds of the batch": {"training__global_batch": 16384},
    "another memory": {"cluster__set": {"chip.memory_bandwidth": "3 TB/s"}},
}


def seconds(scenario: Scenario, slots: str) -> tuple[float, str]:
    """CPU seconds of an answer, and its fingerprint."""
    before = time.process_time()
    fingerprint = simulate(scenario, slots=slots).fingerprint
    return time.process_time() - before, fingerprint


def main() -> None:
    base = Scenario.load(ROOT / "examples" / "v4_pro_on_atlas_950.yaml")
    for slots in ("exact", "isolated"):
        print(f"{slots}: first {seconds(base, slots)[0]:.2f} s")
        for name, change in CHANGES.items():
            changed = base.replace(**change)
            warm, one = seconds(changed, slots)
            KEPT.forget()
            program._KEPT.clear()
            cold, other = seconds(changed, slots)
            same = "the same step" if one == other else "NOT the same step"
            print(f"{slots}: {name}: warm {warm:.2f} s, cold {cold:.2f} s, {same}")
            seconds(base, slots)


if __name__ == "__main__":
    main()
