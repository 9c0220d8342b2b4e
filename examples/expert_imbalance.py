"""How much longer does a step of DeepSeek-V4-Flash take when experts are loaded unequally, and where do supernodes help?

Run: python examples/expert_imbalance.py

The same model under the same plan (4 stages, experts over 64 ranks, 256 ranks, bf16) on three machines: one domain of 384 chips,
racks of 72, boxes of 8. The most loaded experts get 1 to 4 times the mean and lie on one rank of every group of 64. A second
table gives the same load to one expert alone, whose neighbours on the rank take the edge off.

A step grows for two reasons, told apart in the table: the others wait while the hot rank computes (``waiting``), and the links
into and out of the hot rank fill (``links``: exposed dispatch and combine). Both are seconds over the balanced step, average over
ranks.
"""

from __future__ import annotations

from typing import Any

from simulator import Result, Scenario, simulate
from simulator.spec.files import make

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0)

#: name, cluster, dispatcher
MACHINES: list[tuple[str, dict[str, Any], str]] = [
    ("cloudmatrix384", {"system": "cloudmatrix384", "chips": 128}, "alltoall"),
    ("gb200-nvl72", {"system": "gb200-nvl72", "chips": 256, "chips_per_domain": 64}, "alltoall"),
    ("h800-8, every copy sent", {"system": "h800-8", "chips": 256}, "alltoall"),
    ("h800-8, one copy a box", {"system": "h800-8", "chips": 256}, "deepep"),
]


def step(cluster: dict[str, Any], dispatcher: str, kind: str, factor: float) -> Result:
    """One step; recomputation is held at full so that only the load changes."""
    router = {"kind": kind, "factor": factor}
    scenario = {
        "cluster": cluster,
        "model": {"preset": "deepseek-v4-flash", "mtp_depth": 0},
        "training": {"sequence_length": 4096, "global_batch": 512, "precision": "bf16", "router": router},
        "plan": {"pp": 4, "ep": 64, "dispatcher": dispatcher, "recompute": "full", "overlap": {"ep": False}},
    }
    return simulate(make(scenario, Scenario))


def study(kind: str, factors: tuple[float, ...]) -> None:
    """Print one table: a machine a block, a load a row."""
    print(f"{'machine':26s} {'max/mean':>8s} {'step':>9s} {'slower':>7s} {'waiting':>9s} {'links':>9s} {'links/step':>11s}")
    for name, cluster, dispatcher in MACHINES:
        base: Result | None = None
        for factor in factors:
            result = step(cluster, dispatcher, kind, factor)
            base = base or result
            now, then = result.breakdown_s, base.breakdown_s
            waiting, links = now.straggler_wait - then.straggler_wait, now.exposed_ep - then.exposed_ep
            slower, share = result.step_time_s / base.step_time_s, now.exposed_ep / result.step_time_s
            seconds = f"{result.step_time_s:7.3f} s {slower:6.2f}x {waiting:7.3f} s {links:7.3f} s"
            print(f"{name if result is base else '':26s} {factor:8.1f} {seconds} {share:10.1%}")


def main() -> None:
    """Both tables."""
    print("The hot experts fill one rank of 64: the rank's load is theirs\n")
    study("hot-rank", FACTORS)
    print("\nOne hot expert of 256, beside three of the mean on its rank\n")
    study("hot-expert", FACTORS[::2])


if __name__ == "__main__":
    main()
