"""One case answered: the quantities its source prints, each predicted under the source's own definition.

Step time [s] and tokens a second and chip say the same thing; a printed TFLOP/s or MFU is turned into a step time by the stack's
FLOP counter where nothing better is printed, so that every row has one comparable error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simulator.questions.cases import Case
from simulator.questions.counters import counter_of, model_flops_per_token, recomputed_flops_per_token
from simulator.questions.memory_parts import memory_parts
from simulator.questions.phases import PHASES, errors, phases
from simulator.questions.scores import Outcome
from simulator.questions.traits import traits_of
from simulator.results import Result
from simulator.scenario import Scenario
from simulator.spec.errors import IdentityBroken, SupernodeError, one_line
from workloads import load as load_model

TERA = 1e12


@dataclass(frozen=True, slots=True)
class Attempt:
    """A scenario to try, and what was filled in to make it."""

    scenario: Scenario
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A case ready to run: attempts in order of preference, or the reason why it cannot be a scenario."""

    case: Case
    attempts: tuple[Attempt, ...] = ()
    reason: str | None = None


def answer(task: Task) -> Outcome:
    """Simulate a case and hold the answer against what was measured.

    A case the simulator refuses is not covered, with the sentence of the refusal; so is one that it fails on, which is a
    defect of ours and says so.
    """
    return answer_alike((task,))[0]


def answer_alike(tasks: Sequence[Task]) -> list[Outcome]:
    """The same for tasks whose attempts ask the same question, as releases of one configuration do: simulated once."""
    from simulator.run import simulate

    started = time.process_time()
    reason, dropped, result, chosen = tasks[0].reason, "", None, 0
    recorded = any(PHASES & task.case.measured.parts().keys() for task in tasks)
    for index, attempt in enumerate(tasks[0].attempts):
        try:
            result, chosen = simulate(attempt.scenario, slots="isolated", record=recorded), index
            break
        except IdentityBroken as error:
            reason = f"defect: {one_line(str(error))}"
            break
        except SupernodeError as error:
            reason = one_line(str(error))
            dropped = f"recipe hint left out: {reason}"
        except Exception as error:  # a defect in one case must not hide the answers of all others
            reason = f"defect: {type(error).__name__}: {one_line(str(error))}"
            break
    if result is None:
        found = [_uncovered(task, task.reason or reason or "nothing to run") for task in tasks]
    else:
        found = [_compared(task, task.attempts[chosen], result, dropped) for task in tasks]
    seconds = (time.process_time() - started) / len(tasks)
    return [replace(outcome, cpu_s=seconds) for outcome in found]


def _bare(task: Task) -> Outcome:
    """What is known of a case before it is answered."""
    case = task.case
    return Outcome(
        id=case.id, stack=case.stack or "unnamed", family=case.group, system=case.system, model=case.model,
        release_of=case.release_of, measured=case.measured.values(), derived=case.derived.model_dump(exclude_none=True),
        traits=traits_of(task.attempts[0].scenario if task.attempts else None), breakdown={"measured": case.measured.parts()},
    )  # fmt: skip


def _uncovered(task: Task, reason: str) -> Outcome:
    return replace(_bare(task), reason=reason)


def _compared(task: Task, attempt: Attempt, result: Result, dropped: str) -> Outcome:
    case = task.case
    notes = [*attempt.notes, *([dropped] if dropped else [])]
    measured = case.measured.values()
    predicted = _predicted(case, attempt.scenario, result, notes)
    derived = _derived(case, result, predicted)
    reference = measured | {key: value for key, value in derived.items() if key not in measured}
    error = {key: predicted[key] / value - 1 for key, value in reference.items() if key in predicted}
    return replace(
        _bare(task), covered=True, derived=derived, predicted=predicted, error=error,
        breakdown=_parts(case, attempt.scenario, result), parts=result.breakdown_s.model_dump(),
        notes=tuple(notes), warnings=result.warnings,
    )  # fmt: skip


def _parts(case: Case, scenario: Scenario, result: Result) -> dict[str, dict[str, float]]:
    """Phases of the step and parts of the memory beside those that a source prints; nothing for one that prints none."""
    measured = case.measured.parts()
    if not measured:
        return {}
    predicted = phases(result.recording) if PHASES & measured.keys() else {}
    predicted |= memory_parts(scenario, measured.keys())
    return {"measured": measured, "predicted": predicted, "error": errors(measured, predicted)}


def _predicted(case: Case, scenario: Scenario, result: Result, notes: list[str]) -> dict[str, float]:
    """Every quantity we can predict under the definition of the case's stack."""
    model, length = load_model(scenario.model), scenario.training.sequence_length
    counter, known = counter_of(case.stack, case.system, case.model)
    printed = case.measured.values().keys()
    rates = {"model_tflops_per_chip", "hardware_tflops_per_chip", "mfu", "hfu"}
    if not known and printed & rates:
        notes.append(f"no FLOP counter is known for stack {case.stack or 'unnamed'}: the simulator's own is used")
    speed = result.tokens_per_s_per_chip / TERA
    peak = case.derived.mfu_peak_tflops or result.mfu_peak_tflops
    flops = model_flops_per_token(model, length, counter)
    predicted = {
        "step_time_s": result.step_time_s,
        "tokens_per_s_per_chip": result.tokens_per_s_per_chip,
        "model_tflops_per_chip": flops * speed,
        "mfu": flops * speed / peak,
        "memory_gib_per_chip": result.memory.peak_gib_per_chip,
    }
    if printed & {"hardware_tflops_per_chip", "hfu"}:
        # Counters take a layer that is made again for all of it, whatever its checkpoint leaves out.
        whole = scenario.plan.recompute == "full" and scenario.plan.recompute_layers is None
        recompute = "full" if whole else result.memory.recompute
        try:
            executed = flops + recomputed_flops_per_token(model, length, counter, recompute)
        except SupernodeError as error:
            notes.append(one_line(str(error)))
        else:
            predicted |= {"hardware_tflops_per_chip": executed * speed, "hfu": executed * speed / peak}
    return predicted


def _derived(case: Case, result: Result, predicted: Mapping[str, float]) -> dict[str, float]:
    """Arithmetic on printed values: the step time first, from whatever is closest to a measured one."""
    derived = {key: value for key, value in case.derived.model_dump(exclude_none=True).items() if key != "mfu_peak_tflops"}
    measured = case.measured.values()
    if "step_time_s" not in measured and "step_time_s" not in derived:
        for key in ("tokens_per_s_per_chip", "model_tflops_per_chip", "hardware_tflops_per_chip", "mfu", "hfu"):
            if key in measured and key in predicted:
                derived["step_time_s"] = result.step_time_s * predicted[key] / measured[key]
                break
    return derived
