"""What happens to a step of DeepSeek-V4-Pro on the Atlas 950 SuperPoD if one number of the machine is another?

Run: python examples/what_ifs.py

Each row changes one thing. "moved" is the part of the breakdown that physics says must move; "hidden" is communication that
ran behind computation: the slack that keeps the step where it is when a link gets slower.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator import Result, Scenario, simulate
from simulator.engine.recorder import LANES, PICO

HERE = Path(__file__).parent
COMMUNICATION = ("tp", "cp", "ep", "dp", "pp")

#: name, changes of the scenario, the parts of the breakdown that should move
WHAT_IFS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("as given", {}, ("pipeline_bubble",)),
    ("cross-cabinet bandwidth / 2", {"cluster__set": {"tiers.superpod.bandwidth": "196 GB/s"}}, ("exposed_pp", "exposed_dp")),
    ("cross-cabinet bandwidth / 4", {"cluster__set": {"tiers.superpod.bandwidth": "98 GB/s"}}, ("exposed_pp", "exposed_dp")),
    ("cross-cabinet bandwidth / 8", {"cluster__set": {"tiers.superpod.bandwidth": "49 GB/s"}}, ("exposed_pp", "exposed_dp")),
    ("HBM bandwidth / 2", {"cluster__set": {"chip.memory_bandwidth": "2 TB/s"}}, ("memory_stall",)),
    (
        "matrix peak / 2",
        {"cluster__set": {"chip.matrix_peak.fp8": "486.5 TFLOP/s", "chip.matrix_peak.bf16": "243 TFLOP/s"}},
        ("arithmetic",),
    ),
    ("ep 64 -> 128", {"plan__ep": 128}, ("exposed_ep",)),
    (
        "link latency x 10",
        {
            "cluster__set": {
                "tiers.board.latency": "9 us",
                "tiers.cabinet.latency": "12 us",
                "tiers.superpod.latency": "21 us",
            }
        },
        ("exposed_ep", "exposed_pp"),
    ),
    (
        "board and cabinet links / 8",
        {"cluster__set": {"tiers.board.bandwidth": "49 GB/s", "tiers.cabinet.bandwidth": "77 GB/s"}},
        ("exposed_ep",),
    ),
]


def hidden(result: Result) -> float:
    """Communication per rank that nobody waited for [s]: lanes' busy time less what was exposed, average over ranks."""
    spans, ranks = result.recording.spans, result.recording.ranks
    weight = np.zeros(max(rank.key for rank in ranks) + 1)
    weight[[rank.key for rank in ranks]] = [rank.size for rank in ranks]
    lanes = np.isin(spans.lane, [LANES.index(kind) for kind in COMMUNICATION])
    seconds = (spans.end - spans.start)[lanes] / PICO
    busy = float((seconds * weight[spans.rank_class[lanes]]).sum() / weight.sum())
    return busy - sum(getattr(result.breakdown_s, f"exposed_{kind}") for kind in COMMUNICATION)


def main() -> None:
    """Print the table."""
    scenario = Scenario.load(HERE / "v4_pro_on_atlas_950.yaml")
    base: Result | None = None
    print(f"{'what if':30s} {'step':>10s} {'change':>8s} {'hidden':>9s} {'memory':>10s}   moved")
    for name, changes, parts in WHAT_IFS:
        result = simulate(scenario.replace(**changes))
        base = base or result
        change = result.step_time_s / base.step_time_s - 1
        moved = ", ".join(
            f"{part} {getattr(base.breakdown_s, part):.3f} -> {getattr(result.breakdown_s, part):.3f} s" for part in parts
        )
        memory = result.memory.peak_gib_per_chip
        print(f"{name:30s} {result.step_time_s:8.3f} s {change:+8.2%} {hidden(result):7.2f} s {memory:6.1f} GiB   {moved}")


if __name__ == "__main__":
    main()
