"""The same scenario with every rank and every flow simulated by itself gives the same answer as the folded one."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make

SMALL_V3 = {"preset": "deepseek-v3", "layers": 6, "mtp_depth": 0}
SMALL_V4 = {"preset": "deepseek-v4-flash", "layers": 8, "mtp_depth": 0}
SMALL_DENSE = {"preset": "llama3.1-8b", "layers": 8}

CASES: dict[str, dict[str, Any]] = {
    "dense tp on one box": {
        "cluster": {"system": "dgx-h100", "chips": 8},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 8},
        "plan": {"tp": 4},
    },
    "dense tp pp dp over boxes": {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"tp": 4, "pp": 2, "overlap": {"tp": True}},
    },
    "dense cp": {
        "cluster": {"system": "atlas-800t-a2", "chips": 16},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 8192, "global_batch": 8},
        "plan": {"tp": 2, "cp": 4},
    },
    "experts over mesh and switches": {
        "cluster": {"system": "atlas-950-superpod-8192", "chips": 64},
        "model": SMALL_V4,
        "training": {"sequence_length": 4096, "global_batch": 64, "precision": "fp8", "optimizer": "muon"},
        "plan": {"ep": 64},
    },
    "experts and stages on the superpod": {
        "cluster": {"system": "atlas-950-superpod-8192", "chips": 64},
        "model": SMALL_V4,
        "training": {"sequence_length": 4096, "global_batch": 128, "precision": "fp8", "optimizer": "muon"},
        "plan": {"pp": 4, "ep": 8, "schedule": "dualpipe"},
    },
    "dies of a two-level Clos": {
        "cluster": {"system": "cloudmatrix384", "chips": 16},
        "model": SMALL_V4,
        "training": {"sequence_length": 4096, "global_batch": 32},
        "plan": {"pp": 2, "ep": 8, "overlap": {"ep": True}},
    },
    "deduplicated dispatch over planes": {
        "cluster": {"system": "h800-8", "chips": 32},
        "model": SMALL_V3,
        "training": {"sequence_length": 4096, "global_batch": 64, "precision": "fp8"},
        "plan": {"pp": 2, "ep": 16, "dispatcher": "deepep"},
    },
    "two copies of the state, experts' too": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": {"preset": "mixtral-8x7b", "layers": 3},
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"ep": 4, "zero": 1, "zero_group": 8, "pp": 1},
    },
    "two works of a slot ask for parameters at one instant, of other groups": {
        "cluster": {"system": "atlas-850e", "chips": 16},
        "model": {"preset": "grok-1", "layers": 1},
        "training": {"sequence_length": 2048, "global_batch": 8, "micro_batch": 1},
        "plan": {"tp": 4, "cp": 2, "ep": 2, "zero": 3, "schedule": "interleaved", "vpp": 1, "overlap": {"ep": True, "tp": False}},
    },
    "a layout by hand, state in groups": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": {"preset": "mixtral-8x7b", "layers": 5},
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"ep": 4, "zero": 3, "zero_group": 4, "pp": 2, "layout": [2, 3]},
    },
    "deduplicated dispatch to groups that lie unevenly over racks": {
        "cluster": {"system": "gb200-nvl72", "chips": 12, "chips_per_domain": 6},
        "model": {"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0},
        "training": {"sequence_length": 4096, "global_batch": 12, "precision": "mxfp8"},
        "plan": {"ep": 4, "dispatcher": "deepep"},
    },
    "heads exchanged over a box": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": {"preset": "llama3.1-8b", "layers": 4},
        "training": {"sequence_length": 16384, "global_batch": 4},
        "plan": {"cp": 8, "context_exchange": "all-to-all", "recompute": "selective"},
    },
    "heads exchanged inside boxes, keys round a ring of boxes": {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": {"preset": "llama3.1-8b", "layers": 4},
        "training": {"sequence_length": 32768, "global_batch": 4},
        "plan": {"cp": 16, "context_exchange": "all-to-all+ring", "context_heads": 4, "tp": 2},
    },
    "stages before replicas": {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"tp": 2, "pp": 4, "placement": "tp-cp-ep-pp-dp"},
    },
    "stages innermost, mirrored": {
        "cluster": {"system": "atlas-800t-a2", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 64},
        "plan": {"tp": 2, "pp": 4, "placement": "pp-tp-dp", "schedule": "dualpipe"},
    },
    "blocks of replicas around the stages": {
        "cluster": {"system": "atlas-950-superpod-8192", "chips": 64},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 64},
        "plan": {"tp": 2, "pp": 4, "zero_group": 4, "placement": "tp-dp:4-pp-dp"},
    },
    "experts strided over racks": {
        "cluster": {"system": "gb200-nvl72", "chips": 32, "chips_per_domain": 16},
        "model": SMALL_V3,
        "training": {"sequence_length": 4096, "global_batch": 128, "precision": "mxfp8"},
        "plan": {"pp": 2, "ep": 8, "placement": {"experts": "dp-ep-pp"}},
    },
    "hot ranks of experts strided over boxes, stages first": {
        "cluster": {"system": "h800-8", "chips": 32},
        "model": SMALL_V3,
        "training": {"sequence_length": 4096, "global_batch": 64, "router": {"kind": "hot-rank", "factor": 2.0}},
        "plan": {"pp": 2, "ep": 8, "placement": "pp-dp-ep"},
    },
    "copies of hot experts": {
        "cluster": {"system": "h800-8", "chips": 32},
        "model": SMALL_V3,
        "training": {
            "sequence_length": 4096,
            "global_batch": 64,
            "precision": "fp8",
            "router": {"kind": "hot-rank", "factor": 3.0, "redundant_experts": 32},
        },
        "plan": {"pp": 2, "ep": 16, "dispatcher": "deepep", "schedule": "dualpipe", "overlap": {"ep": False}},
    },
    "tensor parallelism across boxes": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 16},
        "plan": {"tp": 2, "cp": 2, "placement": "dp-cp-tp", "zero_group": 4},
    },
    "racks": {
        "cluster": {"system": "gb200-nvl72", "chips": 32, "chips_per_domain": 16},
        "model": SMALL_V3,
        "training": {"sequence_length": 4096, "global_batch": 128, "precision": "mxfp8"},
        "plan": {"pp": 2, "ep": 16, "vpp": 3, "schedule": "interleaved"},
    },
}


@pytest.mark.parametrize("name", CASES)
def test_folded_equals_unfolded(name: str) -> None:
    """Step time within 1e-9, and the same payload bytes on every tier from every sender."""
    scenario = make({"name": name, **CASES[name]}, Scenario)
    folded, unfolded = simulate(scenario), simulate(scenario, symmetric=False)
    assert unfolded.simulation.rank_classes == unfolded.simulation.ranks > folded.simulation.rank_classes
    assert folded.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    assert folded.network.tiers.keys() == unfolded.network.tiers.keys()
    for tier, use in folded.network.tiers.items():
        assert use.payload_bytes == pytest.approx(unfolded.network.tiers[tier].payload_bytes, rel=1e-9)
    for part, seconds in folded.breakdown_s.model_dump().items():
        assert seconds == pytest.approx(getattr(unfolded.breakdown_s, part), rel=1e-6, abs=1e-9)
