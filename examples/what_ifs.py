"""What happens to V4-Pro's step on the Atlas 950 SuperPoD if a number of the machine is different?

Run: python examples/what_ifs.py [SCENARIO]. Each line changes one thing and prints the step, the part of the breakdown that
it is expected to move, and what hides the change where nothing moves.
"""

from __future__ import annotations

import sys
from pathlib import Path

from simulator import Result, Scenario, simulate

HERE = Path(__file__).parent

WHAT_IFS: list[tuple[str, dict[str, str], str]] = [
    ("as given", {}, "pipeline_bubble"),
    ("cross-cabinet bandwidth at 1/2", {"tiers.superpod.bandwidth": "196 GB/s"}, "exposed_pp"),
    ("cross-cabinet bandwidth at 1/4", {"tiers.superpod.bandwidth": "98 GB/s"}, "exposed_pp"),
    ("cross-cabinet bandwidth at 1/8", {"tiers.superpod.bandwidth": "49 GB/s"}, "exposed_pp"),
    ("HBM bandwidth at 1/2", {"chip.memory_bandwidth": "2 TB/s"}, "memory_stall"),
    ("matrix peak at 1/2", {"chip.matrix_peak.fp8": "486.5 TFLOP/s", "chip.matrix_peak.bf16": "243 TFLOP/s"}, "arithmetic"),
]


def line(name: str, result: Result, part: str, base: Result) -> str:
    """One row: step, change, the part that should move."""
    seconds = getattr(result.breakdown_s, part)
    change = result.step_time_s / base.step_time_s - 1
    return f"{name:34s} {result.step_time_s:8.4f} s {change:+7.2%}   {part:16s} {seconds:8.4f} s"


def main() -> None:
    """Print the table."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "v4_pro_on_atlas_950.yaml"
    scenario = Scenario.load(path)
    base = simulate(scenario)
    for name, changes, part in WHAT_IFS:
        result = simulate(scenario.replace(cluster__set=changes)) if changes else base
        print(line(name, result, part, base))


if __name__ == "__main__":
    main()
