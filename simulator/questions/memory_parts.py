"""Parts of a job's memory as papers print them, some of them under other plans than the one of the row.

The names are those of the figures of Korthikanti et al., arXiv 2205.05198: parameters with gradients and optimizer state, the
activations without recomputation or sequence parallelism (the baseline), with both, and the share of the baseline that each way
leaves [%]. All of the fullest pipeline rank [GiB per chip].
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from simulator.footprint import footprint
from simulator.results import MemoryResult
from simulator.scenario import Scenario

STATE = "params_optimizer_gib"
BASELINE = "activations_no_recompute_gib"
LIGHTEST = "activations_sp_selective_gib"
SHARES = "pct_of_baseline_activations."
WAYS = {"seqpar": (True, "none"), "selective": (False, "selective"), "seqpar_selective": (True, "selective"),
        "full": (False, "full")}  # fmt: skip
"""Sequence parallelism, and what is recomputed (selective: the attention core)."""


def memory_parts(scenario: Scenario, names: Collection[str]) -> dict[str, float]:
    """Those of ``names`` that are parts of the memory, predicted; nothing is simulated."""
    known = {STATE, BASELINE, LIGHTEST, *(SHARES + way for way in WAYS)}
    if not known & set(names):
        return {}
    baseline = _under(scenario, sequence_parallel=False, recompute="none")
    held = {way: _under(scenario, sequence_parallel=cut, recompute=again) for way, (cut, again) in WAYS.items()}
    whole = baseline.parts["activations"]
    found = {
        STATE: sum(baseline.parts[part] for part in ("weights", "gradients", "optimizer")),
        BASELINE: whole,
        LIGHTEST: held["seqpar_selective"].parts["activations"],
    }
    found |= {SHARES + way: 100.0 * memory.parts["activations"] / whole for way, memory in held.items()}
    return {name: value for name, value in found.items() if name in names}


def _under(scenario: Scenario, *, sequence_parallel: bool, recompute: str) -> MemoryResult:
    changes: dict[str, Any] = {"plan__sequence_parallel": sequence_parallel, "plan__recompute": recompute}
    if recompute == "selective":
        changes["plan__recompute_modules"] = ["core_attn"]
    return footprint(scenario.replace(**changes))
