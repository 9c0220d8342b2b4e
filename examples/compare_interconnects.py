"""DeepSeek-V4-Pro under one plan on 1,024 chips of two supernodes: what their interconnects make of it.

Run: python examples/compare_interconnects.py. The chips differ too, so read the rows of the network for the interconnect: how
long the busiest link of each tier was busy, and what of the transfers nothing hid.
"""

from __future__ import annotations

from simulator import Result, Scenario, simulate

MACHINES = {
    "Atlas 950 SuperPoD": ({"system": "atlas-950-superpod-8192", "chips": 1024}, "fp8"),
    "GB200 NVL72": ({"system": "gb200-nvl72", "chips": 1024, "chips_per_domain": 64}, "mxfp8"),
}
PARTS = (
    "arithmetic", "memory_stall", "interference", "exposed_ep", "exposed_pp", "exposed_dp", "pipeline_bubble", "optimizer",
    "overhead",
)  # fmt: skip


def question(name: str) -> Scenario:
    """The same model, batch and plan on one of the machines."""
    cluster, precision = MACHINES[name]
    return Scenario(
        name=name,
        cluster=cluster,
        model="deepseek-v4-pro",
        training={"sequence_length": 4096, "global_batch": 3072, "precision": precision, "optimizer": "muon"},
        plan={"pp": 16, "ep": 64, "schedule": "dualpipe", "dispatcher": "deepep"},
    )


def network(result: Result) -> dict[str, str]:
    """Per tier: bandwidth of a link, and the share of the step for which the busiest one ran full."""
    return {
        name: f"{tier.capacity_bytes_per_s / 1e9:,.0f} GB/s, mean {tier.mean_utilisation:.1%}, full {tier.saturated_s:.3f} s"
        for name, tier in result.network.tiers.items()
    }


def main() -> None:
    """Print both breakdowns side by side, then the links of each machine."""
    results = {name: simulate(question(name)) for name in MACHINES}
    columns = list(results)
    print(f"{'seconds of one step':24s}" + "".join(f"{name:>22s}" for name in columns))
    for part in PARTS:
        print(f"{part:24s}" + "".join(f"{getattr(results[name].breakdown_s, part):22.3f}" for name in columns))
    print(f"{'step':24s}" + "".join(f"{results[name].step_time_s:22.3f}" for name in columns))
    print(f"{'fits (recompute)':24s}" + "".join(f"{results[name].memory.fits!s:>22s}" for name in columns))
    for name, result in results.items():
        print(f"\n{name}: recompute {result.memory.recompute}")
        for tier, text in network(result).items():
            print(f"  {tier:16s} {text}")


if __name__ == "__main__":
    main()
