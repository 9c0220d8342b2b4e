"""A scenario becomes a result: simulate one step of what was prepared, close the books, report."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import simulator
from simulator import identities
from simulator.answers import Answers, Question
from simulator.engine.accounts import WORK
from simulator.engine.chip import precision_key
from simulator.engine.clock import PICOSECONDS
from simulator.engine.garbage import seldom
from simulator.engine.recorder import RankInfo, Recording
from simulator.engine.spans import Spans
from simulator.engine.step import StepOutcome, run_step
from simulator.folds import folded
from simulator.footprint import memory_of
from simulator.link_timelines import LinkBook
from simulator.memory_book import MemoryBook
from simulator.network.contract import LinkClass, RankClass
from simulator.network.fold import Fold
from simulator.network.ladder import best_fold, overrun
from simulator.network.unfolded import Send
from simulator.network.usage import Usage
from simulator.prepare import Prepared, prepare
from simulator.results import Bounds, Breakdown, Result, RouterResult, Simulation
from simulator.saturation import network_result, series
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from topologies.fabric import Fabric
from workloads.expert_load import sparse_layers
from workloads.instructions import Communication, Program

Progress = Callable[[float, str], None]

#: How the warning begins that a job needs more memory than there is.
OVER_MEMORY = "does not fit: needs"


def simulate(
    scenario: Scenario,
    progress: Progress | None = None,
    *,
    fabric: Fabric | None = None,
    symmetric: bool = True,
    slots: str = "exact",
    answers: Answers | None = None,
    record: bool = True,
) -> Result:
    """One training step of the scenario.

    ``fabric``: the links of a user's own graph (``topologies.from_networkx``) between chips of the scenario's system.
    ``symmetric=False`` simulates every rank and every flow by itself: the same answer, for checking, at small sizes.
    ``slots``: "exact" simulates slots that repeat once; "played" plays every one instruction by instruction: the same answer.
    "isolated" lets traffic between stages pass slots without either feeling the other: quicker where they share links, an
    approximation that says so (0.04-0.6% of a step on plans where both fill network cards).
    ``answers`` keeps what was answered: the same question is not simulated again.
    ``record=False`` does not put in order what happened when: no figures, no trace, an empty fingerprint.
    """
    began = time.perf_counter(), time.process_time()
    kept_so = answers is not None and fabric is None and symmetric and record
    question = Question.of(scenario, slots) if kept_so else None
    kept = answers.find(question, scenario, began) if answers is not None and question is not None else None
    if kept is not None:
        return kept
    if progress:
        progress(0.0, "building the machine and the program")
    with seldom():
        result = simulate_prepared(
            prepare(scenario, fabric), progress, symmetric=symmetric, slots=slots, began=began, record=record
        )
    if answers is not None and question is not None:
        answers.keep(question, result)
    return result


def simulate_prepared(
    prepared: Prepared,
    progress: Progress | None = None,
    *,
    symmetric: bool = True,
    slots: str = "exact",
    began: tuple[float, float] | None = None,
    record: bool = True,
) -> Result:
    """The step of a scenario that is laid out already; ``began``: wall and CPU seconds when it was asked for."""
    began = began or (time.perf_counter(), time.process_time())
    folding = _fold(prepared, symmetric)
    try:
        outcome = run_step(prepared.program, folding, prepared.device, progress, slots=slots, record=record)
    except OverflowError:
        raise InputError(
            f"a step is simulated in picoseconds of 64 bits, and this one takes more than {2**63 // PICOSECONDS // 86_400} days",
            do="Correct the sizes of the model, or its sequence_length and global_batch.",
        ) from None
    usage, spans = outcome.usage or Usage(outcome.network), outcome.recorder.spans() if record else None
    overfull = overrun(folding, usage)
    passed = usage.overfull() if slots == "isolated" else ()
    result = _result(prepared, folding, outcome, spans, usage, _approximations(overfull, passed), began)
    identities.check(prepared, folding, usage, result, met=not passed)
    if spans is None:
        return result
    links = LinkBook((folding, usage), outcome.end / PICOSECONDS)
    recording = _recording(prepared, folding, outcome, spans, usage)
    return result.with_recording(recording, links, MemoryBook(prepared, recording))


def _fold(prepared: Prepared, symmetric: bool) -> Fold:
    """The machine folded under the plan; around faults, the most exact fold that stays small."""
    libraries, algorithms = prepared.libraries, prepared.scenario.network.algorithms
    ordered = _ringed(algorithms)
    fabric, groups, loads = prepared.fabric, prepared.groups, prepared.program.load_classes
    if not symmetric:
        return Fold(fabric, groups, symmetric=False, libraries=libraries, algorithms=algorithms, ordered=ordered, loads=loads)
    if not fabric.defects:
        return folded(fabric, groups, prepared.program, libraries=libraries, algorithms=algorithms, ordered=ordered)
    asked = list(operations(prepared.program))
    return best_fold(fabric, groups, asked, libraries=libraries, algorithms=algorithms, ordered=ordered, loads=loads)


def operations(program: Program) -> Iterator[Communication | Send]:
    """Everything that ranks of a program send, each once."""
    found: dict[Communication | Send, None] = {}
    for rank in program.ranks:
        for block in (rank.prologue, rank.epilogue, *rank.blocks.values()):
            found.update(dict.fromkeys(block.communications))
    for owners in program.rank_of:
        for one, other in pairwise(owners):
            if one != other:
                found[Send(one, other, program.boundary_bytes)] = None
                found[Send(other, one, program.boundary_bytes)] = None
    yield from found


def _result(
    prepared: Prepared,
    folding: Fold,
    outcome: StepOutcome,
    spans: Spans | None,
    usage: Usage,
    approximations: tuple[str, ...],
    began: tuple[float, float],
) -> Result:
    step = outcome.end / PICOSECONDS
    program, plan = prepared.program, prepared.plan
    chips = prepared.fabric.ranks // prepared.fabric.ranks_per_chip
    peak = prepared.chip.peak(plan.precision)
    network = network_result(folding, usage, outcome.end)
    memory = memory_of(prepared)
    warnings = prepared.warnings
    if approximations:
        warnings = (*warnings, *approximations)
        network = network.model_copy(update={"rung": "approximate"})
    if not memory.fits:
        warnings = (
            *warnings,
            f"{OVER_MEMORY} {memory.peak_gib_per_chip:.1f} GiB of {memory.usable_gib_per_chip:.1f} GiB usable per chip",
        )
    share = memory.host_usable_gib_per_chip
    if share is not None and memory.host_gib_per_chip > share:
        warnings = (
            *warnings,
            f"does not fit in the host: keeps {memory.host_gib_per_chip:.1f} GiB a chip there, of {share:.1f} GiB each",
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
        breakdown_s=_breakdown(folding, outcome, prepared.slowest.in_job),
        memory=memory,
        network=network,
        router=_router(prepared),
        bounds=_bounds(prepared, outcome, usage),
        warnings=warnings,
        scenario=prepared.scenario.model_dump(mode="json", exclude_unset=True),
        version=simulator.__version__,
        fingerprint=fingerprint(spans, outcome.end) if spans is not None else "",
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


def _approximations(overfull: Sequence[LinkClass], passed: Sequence[LinkClass]) -> tuple[str, ...]:
    """What makes an answer approximate, in words."""

    def names(links: Sequence[LinkClass]) -> str:
        return ", ".join(link.example for link in links[:3])

    found = []
    if overfull:
        found.append(f"approximate: degraded links that were not told apart were full ({names(overfull)})")
    if passed:
        found.append(f"approximate: traffic between stages did not feel that of slots on full links ({names(passed)})")
    return tuple(found)


def _breakdown(folding: Fold, outcome: StepOutcome, slowest: float) -> Breakdown:
    """The average over ranks: every class weighs as many ranks as it stands for.

    The slowest rank was simulated; a typical one does its work ``slowest`` times as fast and waits for that one.
    """
    total = sum(rank_class.size for rank_class in folding.rank_classes)
    parts: dict[str, float] = {}
    for rank_class, accounts in zip(folding.rank_classes, outcome.accounts, strict=True):
        for part, value in accounts.parts.items():
            parts[part] = parts.get(part, 0.0) + value * rank_class.size / total / PICOSECONDS
    for part in WORK:
        waits = parts[part] * (1.0 - 1.0 / slowest)
        parts[part] -= waits
        parts["straggler_wait"] += waits
    return Breakdown(**parts)


def _router(prepared: Prepared) -> RouterResult | None:
    """What the router's load was; None without experts."""
    model, loads = prepared.model, prepared.plan.loads
    sparse = sparse_layers(model)
    if not sparse:
        return None
    patterns = [at for at, count in enumerate(loads.counts) if count]
    routed = loads.mean(sparse, lambda load: load.routed)
    return RouterResult(
        kind=loads.kind,
        rank_factor=loads.mean(sparse, lambda load: load.factor),
        worst_rank_factor=max(loads.at(layer, at).factor for layer in sparse for at in patterns),
        expert_factor=loads.mean(sparse, lambda load: load.peak),
        dropped_share=loads.mean(sparse, lambda load: load.dropped),
        padding_share=1.0 - routed,
        classes=len(loads.positions),
        expert_copies=loads.spares.copies if loads.spares else 0.0,
    )


def _bounds(prepared: Prepared, outcome: StepOutcome, usage: Usage) -> Bounds:
    """Data-sheet rates, no efficiency: nothing we assume can make a step shorter than these."""
    compute = memory = 0.0
    for flops, moved in identities.executed(prepared.program):
        seconds = sum(amount / prepared.device.peak[precision_key(precision)] for precision, amount in flops.items())
        compute = max(compute, seconds)
        memory = max(memory, moved / prepared.device.raw_memory_bandwidth)
    return Bounds(compute_s=compute, memory_s=memory, network_s=usage.busiest_seconds())


def _recording(prepared: Prepared, folding: Fold, outcome: StepOutcome, spans: Spans, usage: Usage) -> Recording:
    ranks = tuple(
        RankInfo(rank_class.key, _label(rank_class, folding), rank_class.size, rank_class.pp_rank)
        for rank_class in folding.rank_classes
    )
    return Recording(spans, series(folding, usage), ranks, outcome.end, prepared.slowest)


def _label(rank_class: RankClass, folding: Fold) -> str:
    stages = len({other.pp_rank for other in folding.rank_classes})
    if len(folding.rank_classes) == stages:
        return f"pipeline rank {rank_class.pp_rank}"
    return f"pipeline rank {rank_class.pp_rank}, rank {rank_class.representative}"


def fingerprint(spans: Spans, end: int) -> str:
    """A hash of the trajectory: every span of every lane in integer picoseconds."""
    digest = hashlib.sha256(str(end).encode())
    for piece in spans.pieces():
        digest.update(piece.data)
    digest.update("\n".join(spans.names).encode())
    return digest.hexdigest()[:16]


def _ringed(algorithms: Mapping[str, str]) -> tuple[str, ...]:
    """The groups along which a ring was asked for: there the order of ranks must be kept when they are folded."""
    return tuple({key.partition(":")[2]: None for key, name in algorithms.items() if name == "ring" and ":" in key})
