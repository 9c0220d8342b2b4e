"""What would make a job fit in memory: one change of the plan at a time, each with what a chip then holds.

Nothing is simulated: every change is laid out and its footprint read off, as ``supernode memory`` does. A change that the plan,
the model or the machine does not allow is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.footprint import footprint, memory_of
from simulator.prepare import Prepared, prepare
from simulator.results import MemoryResult, Result
from simulator.run import OVER_MEMORY, Progress, simulate
from simulator.scenario import Scenario
from simulator.spec.errors import SupernodeError

#: A change that frees less than this share of what is held is not worth a line.
LEAST = 0.02

#: Changes that are told.
MOST = 3


@dataclass(frozen=True, slots=True)
class Remedy:
    """One setting, what the fullest chip holds under it [GiB], and whether that fits."""

    setting: str
    peak_gib: float
    fits: bool

    def __str__(self) -> str:
        return f"{self.setting} {self.peak_gib:.1f} GiB{' (fits)' if self.fits else ''}"


def remedies(scenario: Scenario) -> tuple[Remedy, ...]:
    """The changes that free most, those that fit first; nothing for a job that fits.

    Raises what laying out the scenario itself raises.
    """
    prepared = prepare(scenario)
    now = memory_of(prepared)
    if now.fits:
        return ()
    found = [remedy for remedy in _tried(scenario, prepared) if remedy.peak_gib < now.peak_gib_per_chip * (1.0 - LEAST)]
    return tuple(sorted(found, key=lambda remedy: (not remedy.fits, remedy.peak_gib))[:MOST])


def advice(scenario: Scenario) -> str:
    """The same as one sentence, for the end of a warning about a job that does not fit."""
    found = remedies(scenario)
    if not found:
        return "No single change of the plan frees much; take more chips, or a smaller model."
    return "What one change would leave: " + ", ".join(str(remedy) for remedy in found) + "."


def simulate_and_advise(scenario: Scenario, progress: Progress | None = None) -> Result:
    """The result of a scenario, with that sentence behind its warning if it does not fit."""
    result = simulate(scenario, progress)
    if result.memory.fits:
        return result
    told = advice(scenario)
    said = [f"{each}. {told}" if each.startswith(OVER_MEMORY) else each for each in result.warnings]
    return result.model_copy(update={"warnings": tuple(said)})


def footprint_and_advice(scenario: Scenario) -> tuple[MemoryResult, str]:
    """What a scenario holds, and that sentence as a paragraph if it does not fit."""
    found = footprint(scenario)
    return found, "" if found.fits else f"\n{advice(scenario)}\n"


def _tried(scenario: Scenario, prepared: Prepared) -> Iterator[Remedy]:
    for setting, changes in _changes(prepared):
        try:
            memory = memory_of(prepare(scenario.replace(**changes)))
        except SupernodeError:
            continue
        yield Remedy(setting, memory.peak_gib_per_chip, memory.fits)


def _changes(prepared: Prepared) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes to try, as they would be set and as fields."""
    plan, model = prepared.plan, prepared.model
    if plan.recompute not in ("auto", "auto-layers", "full"):
        yield "plan.recompute=full", {"plan__recompute": "full", "plan__recompute_modules": None}
    if plan.micro_batch > 1:
        half = plan.micro_batch // 2
        yield f"training.micro_batch={half}", {"training__micro_batch": half}
    if plan.zero < 3:
        yield f"plan.zero={plan.zero + 1}", {"plan__zero": plan.zero + 1}
    axes = ["tp", "pp", "cp", *(["ep"] if model.moe is not None else [])]
    for name in axes:
        twice = 2 * getattr(plan, name)
        yield f"plan.{name}={twice}", {f"plan__{name}": twice, "plan__dp": None}
    if plan.schedule in ("dualpipe", "dualpipe-v"):
        yield "plan.schedule=1f1b", {"plan__schedule": "1f1b", "plan__vpp": None}
    if not plan.offload.optimizer:
        yield "plan.offload={optimizer: 1}", {"plan__offload": {"optimizer": 1.0}}
