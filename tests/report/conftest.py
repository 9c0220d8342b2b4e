"""A made-up result, whole: DualPipe on 16 pipeline ranks of 512 ranks each, timed by hand-set durations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from dualpipe import recording

from simulator.results import (
    Bounds,
    Breakdown,
    MemoryResult,
    NetworkResult,
    Result,
    Simulation,
    StageMemoryResult,
    TierUse,
)

SHARES = {
    "arithmetic": 0.46,
    "memory_stall": 0.12,
    "interference": 0.03,
    "exposed_ep": 0.11,
    "exposed_tp": 0.0,
    "exposed_cp": 0.0,
    "exposed_dp": 0.011,
    "exposed_pp": 0.004,
    "pipeline_bubble": 0.19,
    "optimizer": 0.04,
    "straggler_wait": 0.0,
    "overhead": 0.035,
}


def made_up(pp: int = 16, micro_batches: int = 48) -> Result:
    """A result with its recording; the breakdown is invented, its sum is the step."""
    columns = recording(pp, micro_batches)
    step = columns.end / 1e12
    tokens = 512 * micro_batches * 4096.0
    stages = tuple(
        StageMemoryResult(
            pp_rank=rank,
            total_gib=51.0 + rank % 4,
            weights_gib=20.0,
            gradients_gib=12.0,
            optimizer_gib=6.0,
            activations_gib=9.0 + rank % 4,
            buffers_gib=4.0,
            micro_batches_in_flight=17.0,
        )
        for rank in range(pp)
    )
    tiers = {
        "board": TierUse(
            mean_utilisation=0.31,
            peak_utilisation=0.97,
            saturated_s=0.4,
            capacity_bytes_per_s=9.8e11,
            links=16384,
            payload_bytes={"ep": 4.1e15, "dp": 3.0e13, "pp": 8.8e12},
            wire_bytes={"ep": 4.1e15, "dp": 3.0e13, "pp": 8.8e12},
        ),
        "scale-up": TierUse(
            mean_utilisation=0.12,
            peak_utilisation=0.64,
            saturated_s=0.0,
            capacity_bytes_per_s=2e12,
            links=4096,
            payload_bytes={"ep": 9.1e14, "dp": 3.0e13},
            wire_bytes={"ep": 9.1e14, "dp": 3.0e13},
        ),
        "scale-out <b>": TierUse(
            mean_utilisation=0.0,
            peak_utilisation=0.0,
            saturated_s=0.0,
            capacity_bytes_per_s=5e10,
            links=512,
            payload_bytes={},
            wire_bytes={},
        ),
    }
    result = Result(
        name="DeepSeek-V4-Pro on a made-up machine <script>alert(1)</script>",
        step_time_s=step,
        tokens_per_s=tokens / step,
        tokens_per_s_per_chip=tokens / step / (512 * pp),
        model_tflops_per_chip=351.0,
        mfu=0.382,
        mfu_peak_tflops=919.0,
        hfu=0.441,
        breakdown_s=Breakdown(**{name: share * step for name, share in SHARES.items()}),
        memory=MemoryResult(
            peak_gib_per_chip=54.0,
            capacity_gib_per_chip=128.0,
            usable_gib_per_chip=115.2,
            fits=True,
            recompute="selective",
            parts={"weights": 20.0, "gradients": 12.0, "optimizer": 6.0, "activations": 12.0, "buffers": 4.0},
            stages=stages,
        ),
        network=NetworkResult(
            tiers=tiers,
            first_to_saturate="chip 0 -> board switch 0",
            first_saturation_s=0.0312,
            busiest_link="chip 0 -> board switch 0",
            sent_bytes={"ep": 2e15, "dp": 1e13, "pp": 8e12},
            rung="exact",
            rungs={"all-to-all": "exact"},
        ),
        bounds=Bounds(compute_s=0.43 * step, memory_s=0.3 * step, network_s=0.12 * step),
        warnings=("expert load is taken as balanced; a router's real skew is not modelled",),
        scenario={
            "name": "made up",
            "cluster": {"system": "atlas-950-superpod-8192", "chips": 512 * pp},
            "model": "deepseek-v4-pro",
            "training": {"sequence_length": 4096, "global_batch": 512 * micro_batches, "precision": "fp8"},
            "plan": {"tp": 1, "pp": pp, "ep": 64, "schedule": "dualpipe", "overlap": {"ep": True}},
        },
        version="0.1.0",
        fingerprint="3f9a61c2d0b7",
        simulation=Simulation(
            wall_s=7.1,
            cpu_s=6.8,
            peak_rss_mib=312.0,
            events=812_344,
            rank_classes=pp,
            link_classes=41,
            flow_classes=96,
            ranks=512 * pp,
        ),
    )
    return result.with_recording(columns)


@pytest.fixture(scope="session")
def result() -> Result:
    return made_up()


@pytest.fixture(scope="session")
def small() -> Result:
    return made_up(4, 12)
