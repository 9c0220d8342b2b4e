"""Scenarios drawn at random: rehearsed, played and with every rank by itself, it is one and the same step.

What laws are held on elsewhere was thought of by somebody; here models, machines, plans, routers, precisions and faults meet as
they come. ``SCENARIOS=1000:2000 pytest tests/laws/test_random_scenarios.py`` looks at others.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from simulator.prepare import prepare
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import InputError, NotModelled
from simulator.spec.files import make
from topologies.naming import link_name

ROOT = Path(__file__).parents[2]
SYSTEMS = sorted(path.stem for path in (ROOT / "topologies/presets/systems").glob("*.yaml"))
MODELS = sorted(path.stem for path in (ROOT / "workloads/presets").glob("*.yaml"))
STACKS = sorted(path.stem for path in (ROOT / "simulator/presets/assumptions").glob("*.yaml"))
ROUTERS: list[Any] = [
    "balanced",
    {"kind": "zipf", "exponent": 0.5},
    {"kind": "hot-expert", "factor": 3},
    {"kind": "hot-rank", "factor": 1.5},
    {"kind": "rotating", "factor": 2},
    {"kind": "burst", "factor": 2, "every": 2},
]
FIRST, LAST = map(int, os.environ.get("SCENARIOS", "0:36").split(":"))


def drawn(seed: int) -> Scenario:
    """The first scenario that can be simulated, of those that come from a seed."""
    chance = random.Random(seed)
    while True:
        try:
            scenario = make(_drawn(chance), Scenario)
            return _with_weak_links(scenario, chance)
        except (InputError, NotModelled):
            continue


def _with_weak_links(scenario: Scenario, chance: random.Random) -> Scenario:
    """A third of the scenarios with a link or two that are degraded or dead."""
    fabric = prepare(scenario).fabric
    if chance.random() > 1 / 3 or not len(fabric.tail):
        return scenario
    links = {link_name(fabric, chance.randrange(len(fabric.tail))) for _ in range(chance.choice([1, 1, 2]))}
    weak = [{"link": link, "capacity": chance.choice([0, 0.3, 0.5, 0.9])} for link in sorted(links)]
    others = scenario.model_dump(exclude_unset=True)["cluster"].get("faults", ())
    broken = scenario.replace(cluster__faults=[*others, *weak])
    prepare(broken)
    return broken


def _drawn(chance: random.Random) -> dict[str, Any]:
    one = chance.choice

    def some(share: float, key: str, *values: Any) -> dict[str, Any]:
        return {key: one(values)} if chance.random() < share else {}

    chips = one([8, 16, 16, 32])
    tp, pp, cp = one([1, 1, 2, 4]), one([1, 1, 2, 4]), one([1, 1, 1, 2])
    return {
        "cluster": {"system": one(SYSTEMS), "chips": chips}
        | some(0.3, "faults", [{"chip": chance.randrange(chips), "speed": one([0.5, 0.8, 0.9])}]),
        "model": {"preset": one(MODELS), "layers": one([4, 4, 8])},
        "training": {
            "sequence_length": one([1024, 2048, 4096]),
            "global_batch": max(1, chips // (tp * pp * cp)) * one([2, 4, 8]),
            "micro_batch": 1,
            "precision": one(["bf16", "bf16", "bf16", "fp8", "mxfp8"]),
        }
        | some(0.3, "optimizer", "adamw", "muon")
        | some(0.5, "router", *ROUTERS),
        "plan": {"tp": tp, "pp": pp, "cp": cp, "overlap": {key: one([True, False]) for key in ("ep", "tp", "pp", "grad_reduce")}}
        | some(0.6, "ep", 2, 4, 8)
        | some(0.6, "zero", 0, 1, 2, 3)
        | some(0.6, "schedule", "1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipe-v")
        | some(0.3, "recompute", "none", "selective", "full")
        | some(0.3, "dispatcher", "alltoall", "deepep", "hybridep")
        | some(0.2, "context_exchange", "ring", "all-gather", "all-to-all")
        | some(0.1, "etp", 1, 2)
        | some(0.1, "zero_group", 2, 4)
        | some(0.1, "offload", ["optimizer"], ["activations"]),
        "assumptions": one(["default", *STACKS]),
    }


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_one_step_whichever_way_it_is_simulated(seed: int) -> None:
    """To the tick played instruction by instruction; within 1e-9 with every rank by itself (up to 16 chips)."""
    scenario = drawn(seed)
    answer, played = simulate(scenario), simulate(scenario, slots="played")
    assert answer.fingerprint == played.fingerprint, scenario
    assert answer.breakdown_s.model_dump() == pytest.approx(played.breakdown_s.model_dump(), rel=1e-9, abs=1e-12)
    if scenario.cluster.chips is not None and scenario.cluster.chips <= 16 and answer.network.rung == "exact":
        apart = simulate(scenario, symmetric=False)
        assert answer.step_time_s == pytest.approx(apart.step_time_s, rel=1e-9), scenario
        assert answer.breakdown_s.model_dump() == pytest.approx(apart.breakdown_s.model_dump(), rel=1e-6, abs=1e-9)
