"""Fit the few constants that kernels alone cannot decide, on measured steps: ``make calibrate``.

Three sorts of constants are fitted, none for a case or a model:
- the ``pace`` of a stack (compute seconds of a real step over those of its kernels), of its experts, of its passes over memory;
- ``sustained`` of a chip (what a power limit leaves of short-run rates) that no kernel benchmark tells, inside its range;
- one ``rank_spread`` for all (how unequal the ranks of a job are), which runs of one plan on few and on many chips tell.
With r the signed logarithmic error of a row and s its sensitivity to the logarithm of a constant c, one round solves

    min over d of  sum_rows w |r + sum_c s_c d_c| + sum_c RIDGE ((c + d_c) / spread_c)^2

(families weigh the same, w; absolute values by reweighted squares), keeps every constant in its bounds, simulates again, and
repeats. Sensitivities are measured: all rows once more with every constant of one field a step larger. A row depends on
one constant of each field, so that a round costs one evaluation of the rows and one for each field.

What nobody measured, the ``default`` assumptions among them, takes the median of the fitted stacks. Left-out scores solve the
same problem without the rows of a family, a system or a model, by the same sensitivities. Deterministic: no random numbers.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator.assumptions import PRESETS, Assumptions
from simulator.questions.bounded import bounded
from simulator.questions.calibration_page import Score, page, scatter
from simulator.questions.constants import (
    ANY_CHIP,
    FIELDS,
    LEAST_ROWS,
    MANY_ROWS,
    PACES,
    SOURCE,
    Constant,
    Slopes,
    chip_of_system,
    constants_of,
    owner,
    told_by_clocks,
    unmeasured_clock,
)
from simulator.questions.scores import Outcome, quantile, weights
from simulator.questions.stacks import FALLBACK
from simulator.questions.validate import Change, Validation, validate
from simulator.spec.errors import InputError

ROUNDS = 2
SWEEPS = 60
PROBE = 1.1  # factor on a constant whose effect is looked for
RIDGE = 0.15  # rows' weights sum to the number of families; a constant at one spread from its source costs this much
FLOOR = 0.02  # errors below this count by their square
SETTLED = 0.005  # constants that would all move less are left where they are
FAMILY, SYSTEM, MODEL = (attrgetter(name) for name in ("family", "system", "model"))  # what rows are left out by


Array = npt.NDArray[np.float64]


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


def rows_of(outcomes: Sequence[Outcome], constants: Sequence[Constant], slopes: Slopes, chip_of: Mapping[str, str]) -> Rows:
    """Errors, weights and sensitivities of rows whose step time was measured."""
    slope = np.zeros((len(outcomes), len(constants)))
    for place, row in enumerate(outcomes):
        preset, chip = owner(row.stack), chip_of[row.id]
        for column, constant in enumerate(constants):
            if constant.owner in (chip if constant.field == "sustained" else preset, ANY_CHIP):
                slope[place, column] = slopes[constant.field].get(row.id, 0.0)
    error = np.log1p([row.error["step_time_s"] for row in outcomes])
    return Rows(tuple(outcomes), np.asarray(error), weights(outcomes), slope)


def slopes_of(cases: str | Path, outcomes: Sequence[Outcome], *, jobs: int | None = None) -> dict[str, dict[str, float]]:
    """By field and row: how the logarithm of the step time follows that of the field's constant. Absent: not at all."""
    before = {row.id: row.predicted["step_time_s"] for row in outcomes}
    found: dict[str, dict[str, float]] = {}
    told = told_by_clocks(outcomes, {row.id: chip_of_system(row.system) for row in outcomes})
    for name in FIELDS:
        asked = [row for row in outcomes if name != "compute" or owner(row.stack) not in told]
        may = {row.id for row in asked if _may_feel(row, name, outcomes)}
        answered = validate(cases, jobs=jobs, change=_probe(name), only=may).outcomes if may else ()
        after = {row.id: row.predicted["step_time_s"] for row in answered if row.covered}
        step = -math.log(PROBE) if name == "sustained" else math.log(PROBE)
        found[name] = {row: math.log(after[row] / before[row]) / step for row in after}
    return found


def _may_feel(row: Outcome, name: str, outcomes: Sequence[Outcome]) -> bool:
    """Whether a row can decide a constant of this field; the others need no probing."""
    if name == "rank_spread":
        return True
    if name == "sustained":
        return unmeasured_clock(chip_of_system(row.system))
    if name in ("experts", "fused_experts"):
        return bool(row.traits.moe) and row.traits.fused == (name == "fused_experts")
    return sum(owner(other.stack) == owner(row.stack) for other in outcomes) >= (MANY_ROWS if name == "passes" else LEAST_ROWS)


def _probe(name: str) -> Change:
    """Every constant of a field a step larger."""

    def change(preset: str, system: str) -> dict[str, float]:
        if name == "rank_spread":
            return {f"{ANY_CHIP}.{name}": Assumptions.load(preset).any_chip.rank_spread.value * PROBE}
        if name != "sustained":
            return {f"pace.{name}": getattr(Assumptions.load(preset).pace, name).value * PROBE}
        chip = chip_of_system(system)
        efficiency, known = Assumptions.load(preset).of_chip(chip)
        # Down, for no chip keeps more than all of its rate; a clock's effect has the sign of its logarithm either way.
        return {f"chips.{chip}.sustained": efficiency.sustained.value / PROBE} if known else {}

    return change


def fit(rows: Rows, constants: Sequence[Constant]) -> Array:
    """The constants that the rows ask for; shape [constants]."""
    now = np.log([constant.value for constant in constants])
    prior = np.log([constant.prior for constant in constants])
    low, high = np.log([constant.low for constant in constants]), np.log([constant.high for constant in constants])
    pull = np.array([RIDGE / FIELDS[constant.field].spread ** 2 for constant in constants])
    moved = np.zeros(len(constants))
    for _ in range(SWEEPS):
        off = rows.error + rows.slope @ moved
        weight = rows.weight / np.maximum(np.abs(off), FLOOR)
        left = (rows.slope * weight[:, None]).T @ rows.slope + np.diag(pull)
        right = -(rows.slope * weight[:, None]).T @ rows.error - pull * (now - prior)
        moved = bounded(left, right, low - now, high - now)
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


def typical(constants: Sequence[Constant]) -> list[Constant]:
    """The pace of a stack that nobody measured: of each field the median of those fitted, with their range."""
    found = []
    for name in PACES:
        values = sorted(constant.value for constant in constants if constant.field == name)
        if values:
            note = f"median of {len(values)} fitted stacks" if len(values) > 1 else "of the one fitted stack"
            middle, low, high = float(np.median(values)), round(values[0], 3), round(values[-1], 3)
            found.append(Constant(FALLBACK, name, middle, FIELDS[name].prior, low, high, note=note))
    return found


def write(constants: Sequence[Constant]) -> None:
    """Put the constants into the presets, each with its range and the rows behind it."""
    stacks: dict[str, dict[str, Constant]] = {}
    for constant in constants:
        if constant.field not in PACES:
            _write_of_chip(constant)
        else:
            stacks.setdefault(constant.owner, {})[constant.field] = constant
    stacks[FALLBACK] = {constant.field: constant for constant in typical(constants)}
    for preset, fields in stacks.items():
        path = PRESETS / f"{preset}.yaml"
        text = re.sub(r"\npace:.*?(?=\n\S|\Z)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).rstrip("\n")
        lines = ["", "pace:  # written by make calibrate"]
        for name, constant in fields.items():
            lines.append(f"  {name}: {_figure(constant)}")
        if "compute" not in fields:
            lines.insert(
                2, f"  compute: {{value: 1.0, source: {SOURCE}, kind: assumed, note: the clocks of its chips are fitted instead}}"
            )
        path.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def _figure(constant: Constant) -> str:
    return (
        f"{{value: {constant.value:.3f}, low: {constant.low}, high: {constant.high}, source: {SOURCE}, kind: derived, "
        f'note: "{constant.note or f"fitted on {constant.rows} published steps"}"}}'
    )


def _write_of_chip(constant: Constant) -> None:
    """A figure of one chip, or of any."""
    path = PRESETS / f"{FALLBACK}.yaml"
    text = path.read_text(encoding="utf-8")
    owner = rf"\n{ANY_CHIP}:.*?\n  " if constant.owner == ANY_CHIP else rf"\n  {re.escape(constant.owner)}:.*?\n    "
    pattern = re.compile(rf"({owner}{constant.field}: )\{{.*?\}}\n", flags=re.DOTALL)
    figure = _figure(constant)
    changed, count = pattern.subn(lambda match: f"{match[1]}{figure}\n", text, count=1)
    if not count:
        raise InputError("a fitted figure stands on one line", got=constant.name, path=str(path), do="Write it so.")
    path.write_text(changed, encoding="utf-8")


def calibrate(
    cases: str | Path,
    *,
    pairs: str | Path | None = None,
    docs: str | Path | None = None,
    rounds: int = ROUNDS,
    jobs: int | None = None,
    keep: bool = True,
) -> list[Constant]:
    """Fit and write ``rounds`` times or until nothing moves, printing what each reached. ``keep=False`` looks only.

    ``docs``: a folder for validation-results.md and images/validation.svg, as of the last round.
    """
    from simulator.questions.cases import read_cases

    chip_of = {question.case.id: chip_of_system(question.case.system) for question in read_cases(cases)}
    constants: list[Constant] = []
    slopes: Slopes = {}
    for turn in range(rounds + 1):
        answered = validate(cases, pairs=pairs, jobs=jobs)
        outcomes = [row for row in answered.outcomes if "step_time_s" in row.error]
        slopes = slopes or slopes_of(cases, outcomes, jobs=jobs)  # smooth in the constants: later rounds take them over
        constants = constants_of(outcomes, slopes, chip_of)
        rows = rows_of(outcomes, constants, slopes, chip_of)
        _tell(turn, rows, constants)
        sys.stdout.flush()
        values = fit(rows, constants)
        moved = np.abs(np.log(values / np.array([constant.value for constant in constants]))).max(initial=0.0)
        if turn == rounds or not keep or moved < SETTLED:
            if docs is not None:
                _write_page(Path(docs), answered, rows, constants)
            break
        write([replace(constant, value=float(value)) for constant, value in zip(constants, values, strict=True)])
    return constants


def _write_page(folder: Path, answered: Validation, rows: Rows, constants: Sequence[Constant]) -> None:
    groups = (("family", FAMILY), ("model", MODEL), ("machine", SYSTEM))
    left = [Score("fitted on all rows", *score(np.expm1(rows.error), rows.weight))]
    left += [
        Score(f"without the {name} that is asked about", *score(left_out(rows, constants, group), rows.weight))
        for name, group in groups
    ]
    left.append(Score("none: every one at its prior", *score(without(rows, constants, tuple(FIELDS)), rows.weight)))
    bought = [Score(f"`{name}`", *score(without(rows, constants, (name,)), rows.weight)) for name in FIELDS]
    table = [(one.owner, one.field, one.value, one.low, one.high, one.rows) for one in constants]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "images" / "validation.svg").write_text(scatter(answered.outcomes), encoding="utf-8")
    (folder / "validation-results.md").write_text(page(answered.summary, table, left, bought), encoding="utf-8")


def _tell(turn: int, rows: Rows, constants: Sequence[Constant]) -> None:
    median, tail = score(np.expm1(rows.error), rows.weight)
    print(f"round {turn}: {len(rows.outcomes)} rows, {len(constants)} constants, median {median:.1%}, 90th percentile {tail:.1%}")
    for what, group in (("families", FAMILY), ("systems", SYSTEM), ("models", MODEL)):
        median, tail = score(left_out(rows, constants, group), rows.weight)
        print(f"  leaving out whole {what}: median {median:.1%}, 90th percentile {tail:.1%}")
    for fields in (*((name,) for name in FIELDS), tuple(FIELDS)):
        median, tail = score(without(rows, constants, fields), rows.weight)
        print(f"  without {', '.join(fields)}: median {median:.1%}, 90th percentile {tail:.1%}")
    for constant in constants:
        print(f"  {constant.name}: {constant.value:.3f} ({constant.low}-{constant.high}), {constant.rows} rows")


if __name__ == "__main__":
    published = Path("tests/published")
    calibrate(published / "steps.yaml", pairs=published / "pairs.yaml", docs="docs", keep="--look" not in sys.argv)
