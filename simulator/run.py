"""A scenario becomes a result: prepare (load, check, lay out), simulate one step, close the books, report."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import simulator
import topologies
import workloads
from simulator import identities
from simulator.assumptions import Assumptions, ChipEfficiency, figure_of
from simulator.engine.chip import Device, precision_key
from simulator.engine.clock import PICOSECONDS
from simulator.engine.recorder import RankInfo, Recording, Spans
from simulator.engine.step import StepOutcome, run_step
from simulator.network.collectives.choice import check_overrides
from simulator.network.collectives.pattern import LibraryCosts
from simulator.network.fold import Fold
from simulator.network.usage import Usage, busiest_seconds
from simulator.results import Bounds, Breakdown, MemoryResult, Result, Simulation, StageMemoryResult
from simulator.saturation import network_result, series
from simulator.scenario import AssumptionChoice, Scenario
from simulator.spec.errors import InputError, NotModelled
from topologies.fabric import Fabric
from topologies.parts import Chip
from topologies.system import System
from workloads.groups import PIPELINE_PAIRS, Groups
from workloads.instructions import Program
from workloads.memory import MemoryBudget
from workloads.model import Model
from workloads.plan import ResolvedPlan, resolve
from workloads.program import build_program

GIB = 2.0**30
Progress = Callable[[float, str], None]


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
    device: Device
    usable_memory: float  # per rank [B]
    warnings: tuple[str, ...]


def prepare(scenario: Scenario, fabric: Fabric | None = None) -> Prepared:
    """Load the machine, the model and the assumptions; lay the plan out; build the program.

    ``fabric`` (a user's own graph, from ``topologies.from_networkx``) takes the place of the system's links; its devices
    are chips of the system.
    Raises InputError (with its sentence) for anything illegal, NotModelled for what we cannot answer.
    """
    cluster = scenario.cluster
    if cluster.faults:
        raise NotModelled("cluster.faults are not modelled yet; leave them out.")
    if cluster.slices is not None:
        raise NotModelled("cluster.slices (pods joined by a data-centre network) are not modelled yet; leave it out.")
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
    warnings = list(assumptions_without_effect(scenario, chip.name))
    if not known:
        warnings.append(
            f"no efficiencies of {chip.name} in assumptions {assumptions.name!r}: values of an unmeasured chip are used"
        )
    with scenario.blamed("training", at="training.precision"):
        chip.peak(scenario.training.precision)
    if fabric is None:
        with scenario.blamed("cluster"):
            fabric = system.fabric(cluster.chips, cluster.chips_per_domain, routing=_routing(scenario))
    else:
        _check_own_fabric(scenario, fabric, chip)
    with scenario.blamed("plan"):
        plan = resolve(scenario.plan, scenario.training, model, fabric.ranks, assumptions.defaults)
    device = Device.of(chip, efficiency)
    figure_of(efficiency.gemm, precision_key(plan.precision), f"GEMM efficiency of {chip.name}")
    groups = Groups.of(plan)
    with scenario.blamed("network"):
        check_overrides(scenario.network.algorithms, (*groups.spans, *PIPELINE_PAIRS))
    capacity = chip.memory_capacity.value / chip.ranks_per_chip
    overhead = assumptions.memory_overhead
    usable = capacity * (1 - overhead.fragmentation.value) - overhead.reserved.value / chip.ranks_per_chip
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
        usable,
        (*warnings, *program.warnings),
    )


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


def assumptions_without_effect(scenario: Scenario, chip: str) -> Iterator[str]:
    """A sentence for every replaced figure that this job's chip does not use: it has its own, or is another chip."""
    choice = scenario.assumptions
    if not isinstance(choice, AssumptionChoice):
        return
    base = Assumptions.load(choice.preset)
    for path, value in choice.set.items():
        if base.with_overrides({path: value}).used_by(chip) == base.used_by(chip):
            yield f"assumptions.set {path} = {value} changes nothing for {chip}; what it has of its own is under chips.{chip}"


def _ringed(algorithms: Mapping[str, str]) -> tuple[str, ...]:
    """The groups along which a ring was asked for: there the order of ranks must be kept when they are folded."""
    return tuple({key.partition(":")[2]: None for key, name in algorithms.items() if name == "ring" and ":" in key})


def _routing(scenario: Scenario) -> str:
    routing = scenario.network.routing
    if not isinstance(routing, str):
        raise NotModelled("network.routing hash is not modelled yet; use spray or dimension-order.")
    return routing


def simulate(
    scenario: Scenario, progress: Progress | None = None, *, fabric: Fabric | None = None, symmetric: bool = True
) -> Result:
    """One training step of the scenario.

    ``fabric``: the links of a user's own graph (``topologies.from_networkx``) between chips of the scenario's system.
    ``symmetric=False`` simulates every rank and every flow by itself: the same answer, for checking, at small sizes.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    if progress:
        progress(0.0, "building the machine and the program")
    prepared = prepare(scenario, fabric)
    library = prepared.assumptions.library
    costs = LibraryCosts(library.launch.value, library.step.value)
    folding = Fold(
        prepared.fabric,
        prepared.groups,
        symmetric=symmetric,
        library=costs,
        algorithms=scenario.network.algorithms,
        ordered=_ringed(scenario.network.algorithms),
    )
    outcome = run_step(prepared.program, folding, prepared.device, progress)
    usage = Usage(outcome.network)
    result = _result(prepared, folding, outcome, usage, (wall, cpu))
    identities.check(prepared, folding, usage, result)
    return result.with_recording(_recording(folding, outcome, usage))


def _result(prepared: Prepared, folding: Fold, outcome: StepOutcome, usage: Usage, began: tuple[float, float]) -> Result:
    step = outcome.end / PICOSECONDS
    program, plan = prepared.program, prepared.plan
    chips = prepared.fabric.ranks // prepared.fabric.ranks_per_chip
    peak = prepared.chip.peak(plan.precision)
    network = network_result(folding, usage, outcome.end)
    memory = _memory(prepared)
    warnings = prepared.warnings
    if not memory.fits:
        warnings = (
            *warnings,
            f"does not fit: needs {memory.peak_gib_per_chip:.1f} GiB of {memory.usable_gib_per_chip:.1f} GiB usable per chip",
        )
    return Result(
        name=prepared.scenario.name,
        step_time_s=step,
        tokens_per_s=program.tokens / step,
        tokens_per_s_per_chip=program.tokens / step / chips,
        model_tflops_per_chip=program.model_flops / step / chips / 1e12,
        mfu=program.model_flops / step / chips / peak,
        mfu_peak_tflops=peak / 1e12,
        hfu=program.hardware_flops / step / chips / peak,
        breakdown_s=_breakdown(folding, outcome),
        memory=memory,
        network=network,
        bounds=_bounds(prepared, outcome),
        warnings=warnings,
        scenario=prepared.scenario.model_dump(mode="json", exclude_unset=True),
        version=simulator.__version__,
        fingerprint=fingerprint(outcome.recorder.spans(), outcome.end),
        simulation=Simulation(
            wall_s=time.perf_counter() - began[0],
            cpu_s=time.process_time() - began[1],
            peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            events=outcome.events,
            rank_classes=len(folding.rank_classes),
            link_classes=len(folding.link_classes),
            flow_classes=folding.flow_class_count,
            ranks=prepared.fabric.ranks,
        ),
    )


def _breakdown(folding: Fold, outcome: StepOutcome) -> Breakdown:
    """The average over ranks: every class weighs as many ranks as it stands for."""
    total = sum(rank_class.size for rank_class in folding.rank_classes)
    parts: dict[str, float] = {}
    for rank_class, accounts in zip(folding.rank_classes, outcome.accounts, strict=True):
        for part, value in accounts.parts.items():
            parts[part] = parts.get(part, 0.0) + value * rank_class.size / total / PICOSECONDS
    return Breakdown(**parts)


def _memory(prepared: Prepared) -> MemoryResult:
    per_chip = prepared.fabric.ranks_per_chip / GIB
    stages = tuple(
        StageMemoryResult(
            pp_rank=rank.pp_rank,
            total_gib=rank.memory.total * per_chip,
            weights_gib=rank.memory.weights * per_chip,
            gradients_gib=rank.memory.gradients * per_chip,
            optimizer_gib=rank.memory.optimizer * per_chip,
            activations_gib=rank.memory.activations * per_chip,
            buffers_gib=rank.memory.buffers * per_chip,
            micro_batches_in_flight=rank.memory.micro_batches_in_flight,
        )
        for rank in prepared.program.ranks
    )
    fullest = max(stages, key=lambda stage: stage.total_gib)
    capacity = prepared.chip.memory_capacity.value / GIB
    usable = prepared.usable_memory * per_chip
    parts = {name: getattr(fullest, f"{name}_gib") for name in ("weights", "gradients", "optimizer", "activations", "buffers")}
    return MemoryResult(
        peak_gib_per_chip=fullest.total_gib,
        capacity_gib_per_chip=capacity,
        usable_gib_per_chip=usable,
        fits=fullest.total_gib <= usable,
        recompute=prepared.program.recompute,
        parts=parts,
        stages=stages,
    )


def _bounds(prepared: Prepared, outcome: StepOutcome) -> Bounds:
    """Data-sheet rates, no efficiency: nothing we assume can make a step shorter than these."""
    compute = memory = 0.0
    for flops, moved in identities.executed(prepared.program):
        seconds = sum(amount / prepared.device.peak[precision_key(precision)] for precision, amount in flops.items())
        compute = max(compute, seconds)
        memory = max(memory, moved / prepared.device.raw_memory_bandwidth)
    return Bounds(compute_s=compute, memory_s=memory, network_s=busiest_seconds(outcome.network))


def _recording(folding: Fold, outcome: StepOutcome, usage: Usage) -> Recording:
    ranks = tuple(
        RankInfo(rank_class.key, _label(rank_class, folding), rank_class.size, rank_class.pp_rank)
        for rank_class in folding.rank_classes
    )
    return Recording(outcome.recorder.spans(), series(folding, usage), ranks, outcome.end)


def _label(rank_class: Any, folding: Fold) -> str:
    stages = len({other.pp_rank for other in folding.rank_classes})
    if len(folding.rank_classes) == stages:
        return f"pipeline rank {rank_class.pp_rank}"
    return f"pipeline rank {rank_class.pp_rank}, rank {rank_class.representative}"


def fingerprint(spans: Spans, end: int) -> str:
    """A hash of the trajectory: every span of every lane in integer picoseconds."""
    digest = hashlib.sha256(str(end).encode())
    for column in (spans.rank_class, spans.lane, spans.name, spans.start, spans.end):
        digest.update(column.tobytes())
    digest.update("\n".join(spans.names).encode())
    return digest.hexdigest()[:16]
