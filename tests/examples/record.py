"""Run the examples and write down what they answer: python tests/examples/record.py (make record).

The recorded numbers are no truth, they are what the last change was seen to answer; a change that moves them says why.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "fingerprints.csv"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
COLUMNS = ("example", "fingerprint", "step_time_s", "mfu", "peak_gib_per_chip", "pipeline_bubble_s", "exposed_ep_s")


def answer(example: Path) -> dict[str, str]:
    """One row: the example run as a user runs it, in a process of its own."""
    command = [sys.executable, "-m", "simulator", "run", str(example.relative_to(ROOT)), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result = json.loads(done.stdout)
    return {
        "example": example.stem,
        "fingerprint": result["fingerprint"],
        "step_time_s": f"{result['step_time_s']:.9f}",
        "mfu": f"{result['mfu']:.6f}",
        "peak_gib_per_chip": f"{result['memory']['peak_gib_per_chip']:.4f}",
        "pipeline_bubble_s": f"{result['breakdown_s']['pipeline_bubble']:.6f}",
        "exposed_ep_s": f"{result['breakdown_s']['exposed_ep']:.6f}",
    }


def recorded() -> dict[str, dict[str, str]]:
    """The rows on record, by example."""
    with RECORD.open(newline="", encoding="utf-8") as stream:
        return {row["example"]: row for row in csv.DictReader(stream)}


def main() -> None:
    """Write the record anew."""
    with RECORD.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for example in EXAMPLES:
            row = answer(example)
            writer.writerow(row)
            print(f"{row['example']:32s} {float(row['step_time_s']):9.4f} s  {row['fingerprint']}")


if __name__ == "__main__":
    main()
