"""Laws of a whole simulated step, whatever the machine and the plan."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.prepare import prepare
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make

EXPERTS = {"preset": "deepseek-v4-flash", "layers": 4, "mtp_depth": 0}
DENSE = {"preset": "llama3.1-8b", "layers": 4}

PLANS: list[dict[str, Any]] = [
    {"model": DENSE, "plan": {"tp": 2, "pp": 2}},
    {"model": DENSE, "plan": {"tp": 4, "zero": 3}},
    {"model": DENSE, "plan": {"tp": 2, "cp": 2, "overlap": {"tp": True}}},
    {"model": EXPERTS, "plan": {"ep": 16}},
    {"model": EXPERTS, "plan": {"pp": 2, "ep": 8, "schedule": "dualpipe"}},
    {"model": EXPERTS, "plan": {"pp": 2, "ep": 4, "overlap": {"ep": True}}},
]
SYSTEMS = ["dgx-h100", "atlas-950-superpod-8192", "h800-8", "gb200-nvl72"]


def question(system: str, case: dict[str, Any], **cluster: Any) -> Scenario:
    """Sixteen chips, small batches."""
    return make(
        {
            "cluster": {"system": system, "chips": 16, **({"chips_per_domain": 8} if "nvl" in system else {}), **cluster},
            "training": {"sequence_length": 4096, "global_batch": 64, "precision": "bf16"},
            **case,
        },
        Scenario,
    )


def answer(system: str, case: dict[str, Any], **cluster: Any) -> Result:
    return simulate(question(system, case, **cluster))


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(SYSTEMS), st.sampled_from(PLANS))
def test_the_books_sum_and_no_bound_is_beaten(system: str, case: dict[str, Any]) -> None:
    """Breakdown = step within 1e-6; step >= compute, memory and link bounds; MFU <= HFU <= 1."""
    result = answer(system, case)
    assert result.breakdown_s.total() == pytest.approx(result.step_time_s, rel=1e-6)
    assert min(result.breakdown_s.model_dump().values()) > -1e-9
    assert result.step_time_s >= result.bounds.best
    assert 0 < result.mfu <= result.hfu * (1 + 1e-12) <= 1
    assert all(use.peak_utilisation <= 1 + 1e-9 for use in result.network.tiers.values())


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(PLANS), st.sampled_from(["memory_bandwidth", "matrix_peak.bf16", "tier"]), st.floats(0.1, 0.9))
def test_no_loss_of_capacity_shortens_the_step(case: dict[str, Any], what: str, share: float) -> None:
    """Less memory bandwidth, a lower peak, thinner links: the step is not shorter; bytes and memory stay.

    Of links not to the last digit: one transfer that ends later may let another end sooner, which the step waits for (2e-4 seen).
    """
    names = {
        "memory_bandwidth": ("chip.memory_bandwidth", 3.35e12, "B/s"),
        "matrix_peak.bf16": ("chip.matrix_peak.bf16", 989e12, "FLOP/s"),
        "tier": ("tiers.server.bandwidth", 450e9, "B/s"),
    }
    path, value, unit = names[what]
    case = case | {"network": {"algorithms": {"all-reduce": "rings"}}}  # left free, a library may send other bytes
    base = answer("dgx-h100", case)
    worse = answer("dgx-h100", case, set={path: f"{value * share:.6g} {unit}"})
    assert worse.step_time_s >= base.step_time_s * (1 - (1e-3 if what == "tier" else 1e-9))
    assert worse.network.sent_bytes == pytest.approx(base.network.sent_bytes, rel=1e-9)
    assert worse.memory.peak_gib_per_chip == base.memory.peak_gib_per_chip


@pytest.mark.parametrize("case", PLANS)
def test_a_run_repeats_to_the_picosecond(case: dict[str, Any]) -> None:
    """The same scenario twice: the same trajectory."""
    scenario = question("dgx-h100", case)
    assert simulate(scenario).fingerprint == simulate(scenario).fingerprint


def test_twice_the_micro_batches_cost_twice_the_steady_state() -> None:
    """Without a pipeline, work grows with the batch: what is added per micro-batch is the same each time."""
    times = []
    for batch in (32, 64, 96):
        scenario = question("dgx-h100", {"model": DENSE, "plan": {"tp": 2}}).replace(training__global_batch=batch)
        times.append(simulate(scenario).step_time_s)
    assert times[2] - times[1] == pytest.approx(times[1] - times[0], rel=1e-3)


def test_everything_scaled_changes_nothing() -> None:
    """Peak, memory and link bandwidths twice as high, all latencies and starts half: exactly half the step."""
    case = {"model": DENSE, "plan": {"tp": 2, "pp": 2}}
    base = question("dgx-h100", case)
    chip = {"chip.matrix_peak.bf16": "1978 TFLOP/s", "chip.memory_bandwidth": "6.7 TB/s", "chip.ports_bandwidth": "1 TB/s"}
    links = {"tiers.server.bandwidth": "900 GB/s", "tiers.infiniband.bandwidth": "100 GB/s"}
    before = prepare(base)
    for name, tier in before.system.tiers.items():
        links[f"tiers.{name}.latency"] = f"{tier.latency.value / 2 * 1e9:.9g} ns"
        if tier.leaf_latency is not None:
            links[f"tiers.{name}.leaf_latency"] = f"{tier.leaf_latency.value / 2 * 1e9:.9g} ns"
    own = before.efficiency.kernel_start.value / 2
    costs = {
        "any_chip.kernel_start": f"{own * 1e6:.9g} us",
        "any_chip.gemm_start.bf16": f"{before.efficiency.gemm_start['bf16'].value / 2 * 1e6:.9g} us",
        "any_chip.host_issue": f"{before.efficiency.host_issue.value / 2 * 1e6:.9g} us",
    }
    for algorithm, protocols in before.assumptions.libraries["nccl"].protocols.items():
        for protocol, cost in protocols.items():
            path = f"libraries.nccl.protocols.{algorithm}.{protocol}"
            for part in ("launch", "inside", "outside"):
                costs[f"{path}.{part}"] = f"{getattr(cost, part).value / 2 * 1e6:.9g} us"
    halved = base.replace(cluster__set={**chip, **links}, assumptions={"preset": "default", "set": costs})
    assert simulate(halved).step_time_s == pytest.approx(simulate(base).step_time_s / 2, rel=1e-6)


def test_ranks_of_one_expert_group_in_unlike_places_never_lock_each_other_out() -> None:
    """Expert groups of 8 on racks of 12: forwards and backwards ask for the lane in different orders, the step still ends."""
    scenario = question("gb200-nvl72", {"model": EXPERTS, "plan": {"pp": 2, "ep": 8, "schedule": "dualpipe"}})
    result = simulate(scenario.replace(cluster__chips=48, cluster__chips_per_domain=12, training__global_batch=96))
    assert result.simulation.rank_classes > 2
    assert result.breakdown_s.total() == pytest.approx(result.step_time_s, rel=1e-6)
