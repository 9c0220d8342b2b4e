"""Measured kernels held against the operator-time model: a file of rows as kernel_rows.py says, one error a row.

The error is predicted time / measured time - 1. The model is the engine's own (simulator/engine/chip.py), under the figures of
``default`` and the row's library, and under the conditions of a benchmark: short or steady, cache flushed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from simulator.assumptions import Assumptions, ChipEfficiency
from simulator.engine.chip import Conditions, Device
from simulator.questions.kernel_libraries import KernelLibraries, kernel_libraries
from simulator.questions.kernel_operators import Work
from simulator.questions.kernel_rows import Measured, Row, holds_kernels, read_rows
from simulator.spec.errors import SupernodeError, one_line
from simulator.spec.files import read_spec
from topologies.parts import CHIPS, Chip

__all__ = ["KernelModel", "KernelOutcome", "KernelValidation", "holds_kernels", "score", "validate_kernels"]

GROUPINGS = ("chip", "kernel", "precision", "library", "source")


@dataclass(frozen=True, slots=True)
class KernelOutcome:
    """A row, answered or not."""

    id: str
    kernel: str  # gemm, grouped gemm, attention forward ...
    chip: str
    precision: str
    library: str
    source: str
    covered: bool = False
    reason: str | None = None
    measured_s: float | None = None
    predicted_s: float | None = None
    error: float | None = None


@dataclass(frozen=True, slots=True)
class KernelValidation:
    """Every row answered, in the order of the file."""

    outcomes: tuple[KernelOutcome, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """Errors of all rows, by each of ``GROUPINGS``, and by chip, kernel and precision together."""
        found = score(self.outcomes)
        for name in GROUPINGS:
            found[f"by_{name}"] = _by(self.outcomes, attrgetter(name))
        found["by_chip_kernel_precision"] = _by(self.outcomes, lambda row: f"{row.chip} / {row.kernel} / {row.precision}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return {"kernels": [asdict(row) for row in self.outcomes], "summary": self.summary}

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def table(self) -> str:
        """Every row, then the errors by group, as text."""
        lines = [f"{'row':<32}{'chip':<20}{'kernel':<22}{'precision':<11}{'measured':>13}{'predicted':>13}{'error':>9}"]
        for row in self.outcomes:
            if row.error is not None and row.measured_s and row.predicted_s:
                times = f"{row.measured_s * 1e6:>10.1f} us{row.predicted_s * 1e6:>10.1f} us{100 * row.error:>+7.1f} %"
                lines.append(f"{row.id[:30]:<32}{row.chip:<20}{row.kernel:<22}{row.precision:<11}{times}")
        lines += [f"not covered: {row.id}: {row.reason}" for row in self.outcomes if not row.covered]
        summary = self.summary
        for group in ("chip_kernel_precision", "library", "kernel"):
            head = f"by {group.replace('_', ', ')}"
            lines += ["", f"{head:<52}{'rows':>6}{'covered':>9}{'median |e|':>12}{'90th pct':>10}{'median e':>10}  worst"]
            lines += [_line(name, found) for name, found in summary[f"by_{group}"].items()]
        lines.append(_line("all", summary))
        return "\n".join(lines) + "\n"


def validate_kernels(
    path: str | Path, *, limit: int | None = None, progress: Callable[[float, str], None] | None = None
) -> KernelValidation:
    """Predict the rows of a file (the first ``limit`` of them); InputError with file and line for one that is not made so."""
    rows = read_rows(path)[:limit]
    model = KernelModel(Assumptions.load("default"))
    outcomes = []
    for done, row in enumerate(rows, start=1):
        outcomes.append(model.answer(row))
        if progress:
            progress(done / len(rows), f"{done} of {len(rows)}: {row.id}")
    return KernelValidation(tuple(outcomes))


class KernelModel:
    """The operator-time model as benchmarks meet it, under one set of figures."""

    def __init__(self, stack: Assumptions, libraries: KernelLibraries | None = None) -> None:
        self.stack = stack
        self.libraries = libraries or kernel_libraries()
        self._efficiency = lru_cache(maxsize=None)(self._efficiency_of)

    def answer(self, measured: Measured) -> KernelOutcome:
        """One row predicted, or the reason why it cannot be."""
        row = measured.row
        outcome = KernelOutcome(measured.id, _kernel(measured), row.chip, row.prec, row.lib, row.src)
        try:
            chip = self.libraries.chip(row.chip)
            library = self.libraries.library(measured.family, self.label(row))
            work = measured.work()
            seconds = measured.seconds(work)
            predicted = self.seconds(chip, library, work)
        except SupernodeError as error:
            return KernelOutcome(**asdict(outcome) | {"reason": one_line(str(error))})
        precision = work.operators[-1].precision
        return KernelOutcome(
            measured.id, outcome.kernel, chip, precision, library, row.src,
            True, None, seconds, predicted, predicted / seconds - 1.0,
        )  # fmt: skip

    def label(self, row: Row) -> str:
        """What patterns of libraries are held against."""
        return f"{row.lib} {row.prec} [{row.src}] {self.libraries.chip(row.chip)}"

    def seconds(self, chip: str, library: str, work: Work) -> float:
        """What the work takes on a chip under a library, in the way that library is benchmarked [s]."""
        spec, profile = _chip(chip), self.libraries.libraries[library]
        fits = spec.l2 is not None and 0 < work.operands <= spec.l2.value / spec.ranks_per_chip
        bandwidth = spec.memory_bandwidth.value / spec.ranks_per_chip
        cached = self.libraries.cache.value * bandwidth if fits and not profile.flushes else 0.0
        conditions = Conditions(burst=profile.run == "burst", even=work.even, operand_bandwidth=cached)
        device = Device.of(spec, self._efficiency(chip, library), conditions)
        return sum(device.time(operator).total for operator in work.operators)

    def _efficiency_of(self, chip: str, library: str) -> ChipEfficiency:
        return self.libraries.libraries[library].applied(self.stack.of_chip(chip)[0])


def score(rows: Iterable[KernelOutcome]) -> dict[str, Any]:
    """Rows, rows covered, median and 90th percentile of |error|, median of the signed error, and the worst row."""
    listed = list(rows)
    covered = [(row.error, row.id) for row in listed if row.error is not None]
    found: dict[str, Any] = {"rows": len(listed), "covered": len(covered)}
    if covered:
        errors = np.array([error for error, _ in covered])
        error, name = max(covered, key=lambda pair: abs(pair[0]))
        found |= {
            "median": float(np.median(np.abs(errors))),
            "p90": float(np.percentile(np.abs(errors), 90)),
            "bias": float(np.median(errors)),
            "worst": f"{name} {100 * error:+.1f} %",
        }
    return found


def _by(rows: Sequence[KernelOutcome], group: Callable[[KernelOutcome], str]) -> dict[str, Any]:
    """Scores of the covered rows by group."""
    covered = [row for row in rows if row.covered]
    return {name: score(row for row in covered if group(row) == name) for name in sorted({group(row) for row in covered})}


def _line(name: str, found: dict[str, Any]) -> str:
    if not found["covered"]:
        return f"{name:<52}{found['rows']:>6}{0:>9}"
    numbers = f"{found['median']:>11.1%} {found['p90']:>9.1%} {found['bias']:>+9.1%} "
    return f"{name:<52}{found['rows']:>6}{found['covered']:>9}{numbers} {found['worst']}"


def _kernel(measured: Measured) -> str:
    """The family, and of attention the passes."""
    found = passes_of(measured.row.kernel) if measured.family == "attention" else ""
    return f"{measured.family.replace('_', ' ')} {found}".strip()


def passes_of(kernel: str) -> str:
    """Which passes of attention a row's kernel names."""
    if "fwd+bwd" in kernel:
        return "both"
    return "backward" if "bwd" in kernel else "forward"


@cache
def _chip(name: str) -> Chip:
    return read_spec(name, Chip, CHIPS)
