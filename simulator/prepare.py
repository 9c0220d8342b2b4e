"""From a scenario to all that a step needs: machine, model, plan and program loaded, checked and laid out; nothing simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import topologies
import workloads
from simulator.assumptions import Assumptions, ChipEfficiency, figure_of
from simulator.engine.chip import Device, precision_key
from simulator.engine.slowest import Slowest
from simulator.network.collectives.choice import check_overrides
from simulator.network.collectives.library import Libraries
from simulator.network.collectives.stack import libraries_of
from simulator.scenario import AssumptionChoice, Scenario
from simulator.spec.errors import InputError, NotModelled
from topologies.fabric import Fabric
from topologies.faults import with_faults
from topologies.parts import Chip
from topologies.spares import on_spares
from topologies.system import System
from workloads.groups import PIPELINE_PAIRS, Groups
from workloads.instructions import HostLane, Program
from workloads.memory import MemoryBudget
from workloads.model import Model
from workloads.plan import ResolvedPlan, resolve
from workloads.program import build_program

_Part = tuple[int | None, int | None, str | dict[str, Any], int | None]

_KEPT: deque[tuple[tuple[object, ...], _Part, Fabric]] = deque(maxlen=4)
"""Machines that were built last, by what decides their links: what is folded on one is kept as long as it is the same."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a step needs, loaded and checked; nothing simulated yet."""

    scenario: Scenario
    system: System
    chip: Chip
    model: Model
    assumptions: Assumptions
    efficiency: ChipEfficiency
    plan: ResolvedPlan
    groups: Groups
    fabric: Fabric
    program: Program
    device: Device  # of the slowest rank
    slowest: Slowest
    libraries: Libraries
    usable_memory: float  # per rank [B]
    warnings: tuple[str, ...]


def prepare(scenario: Scenario, fabric: Fabric | None = None) -> Prepared:
    """Load the machine, the model and the assumptions; lay the plan out; build the program.

    ``fabric`` (a user's own graph, from ``topologies.from_networkx``) takes the place of the system's links; its devices
    are chips of the system.
    Raises InputError (with its sentence) for anything illegal, NotModelled for what we cannot answer.
    """
    cluster = scenario.cluster
    with scenario.blamed("cluster", at="cluster.system"):
        system = topologies.load(cluster.system)
    with scenario.blamed("cluster.set"):
        system = system.with_overrides(cluster.set)
    with scenario.blamed("model"):
        model = workloads.load(scenario.model)
    with scenario.blamed("assumptions"):
        assumptions = load_assumptions(scenario)
    chip = system.chip
    efficiency, known = assumptions.of_chip(chip.name)
    warnings = list(assumptions_without_effect(scenario, chip.name, chip.vendor))
    if not known:
        warnings.append(
            f"no efficiencies of {chip.name} in assumptions {assumptions.name!r}: values of an unmeasured chip are used"
        )
    with scenario.blamed("training", at="training.precision"):
        chip.peak(scenario.training.precision)
    with scenario.blamed("cluster"):
        fabric, moved = _machine(scenario, system, fabric)
    warnings += moved
    with scenario.blamed("plan"):
        plan = resolve(scenario.plan, scenario.training, model, fabric.ranks, assumptions.defaults)
    slowest = Slowest.of(plan, efficiency.rank_spread.value)
    device = Device.of(
        chip,
        efficiency,
        pace=assumptions.pace,
        host=assumptions.host,
        graphs=plan.graphs,
        fused_experts=plan.fused_experts,
        slowest=slowest.in_job,
    )
    figure_of(efficiency.gemm, precision_key(plan.precision), f"GEMM efficiency of {chip.name}")
    groups = Groups.of(plan)
    with scenario.blamed("network"):
        check_overrides(scenario.network.algorithms, (*groups.runs, *PIPELINE_PAIRS))
    capacity = chip.memory_capacity.value / chip.ranks_per_chip
    overhead = assumptions.memory_overhead
    usable = capacity * (1 - overhead.fragmentation.value) - overhead.reserved.value / chip.ranks_per_chip
    if plan.offload.anything:
        device.host.rate(HostLane.UPDATE if plan.offload.optimizer else HostLane.TO)
    program = build_program(model, plan, groups, MemoryBudget(usable))
    return Prepared(
        scenario,
        system,
        chip,
        model,
        assumptions,
        efficiency,
        plan,
        groups,
        fabric,
        program,
        device,
        slowest,
        libraries_of(assumptions, chip.name, chip.vendor),
        usable,
        (*warnings, *program.warnings),
    )


def _machine(scenario: Scenario, system: System, own: Fabric | None) -> tuple[Fabric, tuple[str, ...]]:
    """The machine as it is left: with its faults, spare chips in the place of dead ones, and what moved for that."""
    cluster, routing = scenario.cluster, _routing(scenario)
    if own is None:
        fabric = _whole(system, cluster.chips, cluster.chips_per_domain, routing, cluster.slices)
    else:
        _check_own_fabric(scenario, own, system.chip)
        fabric = own
    with scenario.blamed("cluster", at="cluster.faults"):
        fabric = with_faults(fabric, cluster.faults)
    if own is None:
        return on_spares(system, fabric, system.units(cluster.chips, cluster.chips_per_domain, cluster.slices), routing)
    dead = [node for node in fabric.dead if node < fabric.ranks]
    if dead:
        raise NotModelled(
            f"{fabric.node_name(min(dead))} is dead, and a graph that was passed in has no spare chips: leave it out of it, or"
            " make it slow instead (speed above 0)."
        )
    return fabric, ()


def _whole(
    system: System, chips: int | None, chips_per_domain: int | None, routing: str | dict[str, Any], slices: int | None
) -> Fabric:
    """The part of a machine that a job uses, without faults; the very same for what was asked lately."""
    part, wiring = (chips, chips_per_domain, routing, slices), system.wiring
    for known, of, fabric in tuple(_KEPT):  # others may ask meanwhile, on other threads
        if of == part and known == wiring:
            return fabric
    fabric = system.fabric(chips, chips_per_domain, routing, slices)
    _KEPT.append((wiring, part, fabric))
    return fabric


def _check_own_fabric(scenario: Scenario, fabric: Fabric, chip: Chip) -> None:
    """A graph that was passed in must be what the scenario says of the machine."""
    chips = fabric.ranks // chip.ranks_per_chip
    if scenario.cluster.chips not in (None, chips):
        raise InputError(
            f"the graph passed in has {chips} chips",
            got=scenario.cluster.chips,
            do="Leave cluster.chips out, or make them equal.",
            path="cluster.chips",
        )
    if scenario.cluster.chips_per_domain is not None or scenario.network.routing != "spray":
        raise InputError(
            "a graph that was passed in brings its own domains and routes",
            do="Leave cluster.chips_per_domain and network.routing out.",
            path="cluster",
        )


def load_assumptions(scenario: Scenario) -> Assumptions:
    """The scenario's assumptions, its replacements applied."""
    choice = scenario.assumptions
    if isinstance(choice, AssumptionChoice):
        return Assumptions.load(choice.preset).with_overrides(choice.set)
    return Assumptions.load(choice)


def assumptions_without_effect(scenario: Scenario, chip: str, vendor: str) -> Iterator[str]:
    """A sentence for every replaced figure that this job's chip does not use: it has its own, or is another chip."""
    choice = scenario.assumptions
    if not isinstance(choice, AssumptionChoice):
        return
    base = Assumptions.load(choice.preset)
    all_set = base.with_overrides(choice.set)
    for path, value in choice.set.items():
        others = {each: other for each, other in choice.set.items() if each != path}
        without = base.with_overrides(others)
        same_libraries = libraries_of(without, chip, vendor) == libraries_of(all_set, chip, vendor)
        if same_libraries and without.used_by(chip) == all_set.used_by(chip):
            yield f"assumptions.set {path} = {value} changes nothing for {chip}; what it has of its own is under chips.{chip}"


def _routing(scenario: Scenario) -> str | dict[str, Any]:
    routing = scenario.network.routing
    return routing if isinstance(routing, str) else routing.model_dump()
