"""Fit the few constants that kernels alone cannot decide, on measured steps: ``make calibrate``.

Two sorts of constants are fitted, none for a case or a model:

- the ``pace`` of a stack (compute seconds of a real step over those of its kernels), of its experts, of its passes over memory;
- ``sustained`` of a chip (what a power limit leaves of short-run rates) that no kernel benchmark tells, inside its range.

In logarithms a step is nearly linear in them. With r the signed logarithmic error of a row and s its sensitivity to a constant c,
one round solves

    min over d of  sum_rows w |r + sum_c s_c d_c| + RIDGE sum_c ((c + d_c) / SPREAD)^2

(families weigh the same, w; absolute values by reweighted squares), keeps every constant in its bounds, simulates again, and
repeats. Sensitivities are read off the parts of the simulated step: a bubble grows with the compute that makes it.

Left-out scores solve the same problem without the rows of a family, a system or a model and move their errors by the same
sensitivities. Deterministic: no random numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator.assumptions import PRESETS, Assumptions
from simulator.questions.scores import Outcome, quantile, weights
from simulator.questions.stacks import FALLBACK, assumptions_of
from simulator.questions.validate import validate
from simulator.spec.errors import InputError, SupernodeError

ROUNDS = 3
SWEEPS = 60
RIDGE = 0.15  # rows' weights sum to the number of families; a constant at one SPREAD from its source costs this much
SPREAD = 0.20  # of the logarithm of a pace
LEAST_ROWS = 3  # for a constant of one's own; a stack with fewer keeps the default and is a prediction
MANY_ROWS = 20  # of a stack, for the pace of its passes over memory
FLOOR = 0.02  # errors below this count by their square
EXPERT_SHARE = 0.5  # of the compute of a mixture of experts, in its sensitivity; rounds correct what it misses
COMPUTE = ("arithmetic", "memory_stall", "interference", "overhead", "optimizer")
COMMUNICATION = ("exposed_ep", "exposed_tp", "exposed_cp", "exposed_dp", "exposed_pp")
SOURCE = "STEPS"
FIELDS = ("compute", "passes", "experts", "sustained")
BOUNDS = {"compute": (0.7, 1.8), "experts": (0.7, 3.0), "passes": (0.7, 4.0)}

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Constant:
    """One fitted number: ``owner`` is a preset of a stack, or a chip; ``field`` compute, experts, passes or sustained."""

    owner: str
    field: str
    value: float
    prior: float
    low: float
    high: float
    rows: int = 0

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.field}"


@dataclass(frozen=True, slots=True)
class Rows:
    """What a fit needs of the answered rows: signed log errors [rows], weights [rows], sensitivities [rows, constants]."""

    outcomes: tuple[Outcome, ...]
    error: Array
    weight: Array
    slope: Array

    def without(self, out: npt.NDArray[np.bool_]) -> Rows:
        """The rows that are not left out."""
        kept = ~out
        chosen = tuple(row for row, keep in zip(self.outcomes, kept, strict=True) if keep)
        return Rows(chosen, self.error[kept], weights(chosen), self.slope[kept])


def constants_of(outcomes: Sequence[Outcome], chip_of: Mapping[str, str]) -> list[Constant]:
    """The constants that these rows can say something about, at their present values; the fallback preset keeps its own."""
    found: list[Constant] = []
    compared = [row for row in outcomes if "step_time_s" in row.error]
    for preset in sorted({_owner(row.stack) for row in compared} - {FALLBACK}):
        pace = Assumptions.load(preset).pace
        mine = [row for row in compared if _owner(row.stack) == preset]
        if len(mine) < LEAST_ROWS:
            continue
        found.append(Constant(preset, "compute", pace.compute.value, 1.0, *BOUNDS["compute"], len(mine)))
        if len(mine) >= MANY_ROWS:
            found.append(Constant(preset, "passes", pace.passes.value, 1.0, *BOUNDS["passes"], len(mine)))
        experts = [row for row in mine if row.traits.moe]
        if len(experts) >= LEAST_ROWS and len(experts) < len(mine):
            found.append(Constant(preset, "experts", pace.experts.value, 1.0, *BOUNDS["experts"], len(experts)))
    default = Assumptions.load(FALLBACK)
    usual = default.any_chip.sustained.value
    for chip in sorted(set(chip_of.values())):
        sustained, known = default.of_chip(chip)[0].sustained, default.of_chip(chip)[1]
        stacks = {_owner(row.stack) for row in compared if chip_of[row.id] == chip}
        others = {chip_of[row.id] for row in compared if _owner(row.stack) in stacks} - {chip}
        count = sum(chip_of[row.id] == chip for row in compared)
        apart = count > LEAST_ROWS and bool(others)  # else it could not be told from the pace of the one stack on it
        unknown = sustained.kind == "assumed" or sustained.source == SOURCE  # no kernel was measured for long enough
        if known and unknown and apart and sustained.low is not None and sustained.high is not None:
            found.append(Constant(chip, "sustained", sustained.value, usual, sustained.low, sustained.high, count))
    return found


def rows_of(outcomes: Sequence[Outcome], constants: Sequence[Constant], chip_of: Mapping[str, str]) -> Rows:
    """Errors, weights and sensitivities of the rows whose step time was measured."""
    chosen = tuple(row for row in outcomes if "step_time_s" in row.error and row.parts)
    error = np.log1p([row.error["step_time_s"] for row in chosen])
    slope = np.zeros((len(chosen), len(constants)))
    for place, row in enumerate(chosen):
        compute = sum(row.parts[part] for part in COMPUTE)
        busy = compute + sum(row.parts[part] for part in COMMUNICATION)
        share = compute / busy
        preset = _owner(row.stack)
        share_of = {
            "compute": share,
            "passes": row.parts["memory_stall"] / busy,
            "experts": share * EXPERT_SHARE * bool(row.traits.moe),
        }
        for column, constant in enumerate(constants):
            if constant.field == "sustained":
                if constant.owner == chip_of[row.id]:
                    slope[place, column] = -row.parts["arithmetic"] / busy
            elif constant.owner == preset:
                slope[place, column] = share_of[constant.field]
    return Rows(chosen, np.asarray(error), weights(chosen), slope)


def fit(rows: Rows, constants: Sequence[Constant]) -> Array:
    """The constants that the rows ask for; shape [constants]."""
    now = np.log([constant.value for constant in constants])
    prior = np.log([constant.prior for constant in constants])
    low, high = np.log([constant.low for constant in constants]), np.log([constant.high for constant in constants])
    moved = np.zeros(len(constants))
    for _ in range(SWEEPS):
        off = rows.error + rows.slope @ moved
        weight = rows.weight / np.maximum(np.abs(off), FLOOR)
        pull = RIDGE / SPREAD**2
        left = (rows.slope * weight[:, None]).T @ rows.slope + pull * np.eye(len(constants))
        right = -(rows.slope * weight[:, None]).T @ rows.error - pull * (now - prior)
        moved = np.clip(np.linalg.solve(left, right), low - now, high - now)
    return np.exp(now + moved)


def left_out(rows: Rows, constants: Sequence[Constant], group: Callable[[Outcome], str]) -> Array:
    """Signed errors of every row under constants fitted without its group; shape [rows]."""
    names = np.array([group(row) for row in rows.outcomes])
    full = np.log([constant.value for constant in constants])
    errors = np.zeros(len(names))
    for name in sorted(set(names)):
        out = names == name
        moved = np.log(fit(rows.without(out), constants)) - full
        errors[out] = np.expm1(rows.error[out] + rows.slope[out] @ moved)
    return errors


def score(errors: Array, weight: Array) -> tuple[float, float]:
    """Weighted median and 90th percentile of absolute errors."""
    sizes = np.abs(errors).tolist()
    return quantile(sizes, weight, 0.5), quantile(sizes, weight, 0.9)


def without(rows: Rows, constants: Sequence[Constant], fields: Sequence[str]) -> Array:
    """Signed errors of every row if the constants of these fields had stayed at their priors; shape [rows]."""
    back = np.array([math.log(one.prior / one.value) if one.field in fields else 0.0 for one in constants])
    return np.asarray(np.expm1(rows.error + rows.slope @ back))


def write(constants: Sequence[Constant]) -> None:
    """Put the constants into the presets, each with its range and the rows behind it."""
    stacks: dict[str, dict[str, Constant]] = {}
    for constant in constants:
        if constant.field == "sustained":
            _write_sustained(constant)
        else:
            stacks.setdefault(constant.owner, {})[constant.field] = constant
    for preset, fields in stacks.items():
        path = PRESETS / f"{preset}.yaml"
        text = re.sub(r"\npace:.*?(?=\n\S|\Z)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).rstrip("\n")
        lines = ["", "pace:  # written by make calibrate"]
        for name, constant in fields.items():
            lines.append(f"  {name}: {_figure(constant)}")
        path.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def _figure(constant: Constant) -> str:
    return (
        f"{{value: {constant.value:.3f}, low: {constant.low}, high: {constant.high}, source: {SOURCE}, kind: derived, "
        f'note: "fitted on {constant.rows} published steps"}}'
    )


def _write_sustained(constant: Constant) -> None:
    path = PRESETS / f"{FALLBACK}.yaml"
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(\n  {re.escape(constant.owner)}:.*?\n    sustained: )\{{.*?\}}\n", flags=re.DOTALL)
    figure = _figure(constant)
    changed, count = pattern.subn(lambda match: f"{match[1]}{figure}\n", text, count=1)
    if not count:
        raise InputError(
            "a chip's sustained clock is one figure on one line", got=constant.owner, path=str(path), do="Write it so."
        )
    path.write_text(changed, encoding="utf-8")


def calibrate(cases: str | Path, *, rounds: int = ROUNDS, jobs: int | None = None, keep: bool = True) -> list[Constant]:
    """Fit and write ``rounds`` times, printing what each reached. ``keep=False`` looks only."""
    from simulator.questions.cases import read_cases

    chip_of = {question.case.id: _chip(question.case.system) for question in read_cases(cases)}
    constants: list[Constant] = []
    for turn in range(rounds + 1):
        outcomes = validate(cases, jobs=jobs).outcomes
        constants = constants_of(outcomes, chip_of)
        rows = rows_of(outcomes, constants, chip_of)
        _tell(turn, rows, constants)
        if turn == rounds or not keep:
            break
        values = fit(rows, constants)
        write(
            [
                Constant(c.owner, c.field, float(value), c.prior, c.low, c.high, c.rows)
                for c, value in zip(constants, values, strict=True)
            ]
        )
    return constants


@cache
def _owner(stack: str) -> str:
    """The preset whose pace a stack takes: a preset that adds nothing but its name shares that of the one it extends."""
    preset = assumptions_of(stack)[0]
    while True:
        keys = dict(re.findall(r"^(\w+):[ ]*(.*)$", (PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE))
        if set(keys) != {"extends", "name", "title"}:
            return preset
        preset = keys["extends"]


def _chip(system: str) -> str:
    import topologies

    try:
        return topologies.load(system).chip.name
    except SupernodeError:  # a machine that is not ours: its rows are not compared either
        return system


def _tell(turn: int, rows: Rows, constants: Sequence[Constant]) -> None:
    median, tail = score(np.expm1(rows.error), rows.weight)
    print(f"round {turn}: {len(rows.outcomes)} rows, {len(constants)} constants, median {median:.1%}, 90th percentile {tail:.1%}")
    for what, group in (("families", _family), ("systems", _system), ("models", _model)):
        median, tail = score(left_out(rows, constants, group), rows.weight)
        print(f"  leaving out whole {what}: median {median:.1%}, 90th percentile {tail:.1%}")
    for fields in (("compute",), ("passes",), ("experts",), ("sustained",), FIELDS):
        median, tail = score(without(rows, constants, fields), rows.weight)
        print(f"  without {', '.join(fields)}: median {median:.1%}, 90th percentile {tail:.1%}")
    for constant in constants:
        print(f"  {constant.name}: {constant.value:.3f} ({constant.low}-{constant.high}), {constant.rows} rows")


def _family(row: Outcome) -> str:
    return row.family


def _system(row: Outcome) -> str:
    return row.system


def _model(row: Outcome) -> str:
    return row.model


if __name__ == "__main__":
    import sys

    calibrate(sys.argv[1] if len(sys.argv) > 1 else "tests/published/steps.yaml", keep="--look" not in sys.argv)
