"""What a question costs after others of the same process: ``python tests/bench/again.py``; CPU seconds, imports apart.

The first is asked of a new process; every later one is a change of it, asked once after it, then the same with nothing kept
of slots, programs, folds and machines. Words pick questions: ``V4-Pro``, ``torus``, ``boxes``, ``racks``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from simulator import Scenario, folds, prepare, simulate  # noqa: E402
from simulator.engine.alike import KEPT  # noqa: E402
from simulator.spec.files import make  # noqa: E402
from workloads import program  # noqa: E402

CHANGES: dict[str, dict[str, Any]] = {
    "twice the batch": {"training__global_batch": 2.0},
    "two thirds of the batch": {"training__global_batch": 2.0 / 3.0},
    "another memory": {},
}

LLAMA: dict[str, Any] = {
    "model": "llama3.1-405b",
    "training": {"sequence_length": 4096, "micro_batch": 1},
}


def questions() -> dict[str, Scenario]:
    """One in which stages fill links together, and three in which no link is ever overfull."""
    torus = {
        **LLAMA,
        "name": "Llama 405B on 512 TPU v5p",
        "cluster": {"system": "tpu-v5p", "chips": 512},
        "training": {**LLAMA["training"], "global_batch": 384},
        "plan": {"tp": 8, "pp": 8, "schedule": "1f1b", "recompute": "full"},
    }
    boxes = {
        **LLAMA,
        "name": "Llama 405B on 1,024 H100, gradients not overlapped",
        "cluster": {"system": "dgx-h100", "chips": 1024},
        "training": {**LLAMA["training"], "global_batch": 384},
        "plan": {
            "tp": 8, "pp": 16, "vpp": 4, "schedule": "interleaved", "recompute": "full",
            "overlap": {"grad_reduce": False, "param_gather": False},
        },
    }  # fmt: skip
    racks = {
        "name": "DeepSeek-V3 on 1,024 GB200, experts inside racks, DualPipe",
        "cluster": {"system": "gb200-nvl72", "chips": 1024, "chips_per_domain": 64},
        "model": "deepseek-v3",
        "training": {"sequence_length": 4096, "micro_batch": 1, "global_batch": 3072},
        "plan": {"pp": 16, "ep": 64, "zero": 1, "schedule": "dualpipe", "recompute": "full"},
    }
    return {
        "V4-Pro": Scenario.load(ROOT / "examples" / "v4_pro_on_atlas_950.yaml"),
        "torus": make(torus, Scenario),
        "boxes": make(boxes, Scenario),
        "racks": make(racks, Scenario),
    }


def seconds(scenario: Scenario, slots: str) -> tuple[float, str]:
    """CPU seconds of an answer, and its fingerprint."""
    before = time.process_time()
    fingerprint = simulate(scenario, slots=slots).fingerprint
    return time.process_time() - before, fingerprint


def forget() -> None:
    """Keep nothing of slots, programs, folds and machines."""
    KEPT.forget()
    folds.forget()
    prepare._KEPT.clear()
    program._KEPT.clear()
    program._WRITTEN.clear()


def changed(scenario: Scenario, change: dict[str, Any]) -> Scenario:
    """Another batch, or a chip whose memory is a tenth slower."""
    batch = change.get("training__global_batch")
    if batch is not None:
        return scenario.replace(training__global_batch=round(scenario.training.global_batch * batch))
    memory = 0.9 * prepare.prepare(scenario).chip.memory_bandwidth.value
    return scenario.replace(cluster__set={"chip.memory_bandwidth": f"{memory / 1e12} TB/s"})


def main() -> None:
    words = sys.argv[1:]
    for title, base in questions().items():
        if words and title not in words:
            continue
        for slots in ("exact", "isolated") if title == "V4-Pro" else ("exact",):
            print(f"{title}, {slots}: first {seconds(base, slots)[0]:.2f} s, again {seconds(base, slots)[0]:.2f} s")
            for name, change in CHANGES.items():
                asked = changed(base, change)
                warm, one = seconds(asked, slots)
                forget()
                cold, other = seconds(asked, slots)
                same = "the same step" if one == other else "NOT the same step"
                print(f"{title}, {slots}: {name}: warm {warm:.2f} s, cold {cold:.2f} s, {same}")
                seconds(base, slots)


if __name__ == "__main__":
    main()
