"""What faults in a step cost beside the whole machine: ``python tests/bench/faulty.py [half] [slow] [dead] [all]``; CPU seconds.

DeepSeek-V4-Pro on 8,192 chips, first whole, then with each fault named (default: each alone), in one process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from simulator import Scenario, simulate  # noqa: E402

FAULTS: dict[str, dict[str, Any]] = {
    "half": {"link": "cabinet0.board0.chip0->superpod0.switch0", "capacity": 0.5},
    "slow": {"chip": 17, "speed": 0.8},
    "dead": {"link": "cabinet70.board0.chip1->cabinet70.board0.chip2", "capacity": 0},
}


def main(asked: list[str]) -> None:
    base = Scenario.load(ROOT / "examples" / "v4_pro_on_atlas_950.yaml")
    whole = 0.0
    for name in ("whole", *(asked or FAULTS)):
        faults = list(FAULTS.values()) if name == "all" else [FAULTS[name]] if name in FAULTS else []
        before = time.process_time()
        result = simulate(base.replace(cluster__faults=faults))
        taken = time.process_time() - before
        whole = whole or taken
        run = result.simulation
        print(f"{name}: {taken:.2f} s, {taken / whole:.1f} times the whole; {run.events} events, step {result.step_time_s:.6f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
