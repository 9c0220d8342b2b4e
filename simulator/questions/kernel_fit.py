"""Fitting the constants of the operator-time model to measured kernels, and checking that they are not memorised.

    python -m simulator.questions.kernel_fit tests/published/kernels.yaml [--leave-out]

A constant is a figure of ``default`` (``any_chip.gemm_tail``, ``chips.b200-sxm.sustained``) or of a kernel library
(``libraries.deepgemm.figures.gemm_depth``). It moves inside the range its file gives, one constant after the other, to lower

    sum of weight x sqrt(log(predicted / measured)^2 + 0.03^2)  +  0.01 x sum(((value - start) / range)^2)

with weights of 1 / sqrt(rows of the source). So long tables count less than in proportion, one wild row cannot pull, and what
no row speaks of stays where its source put it.
There is no chance in it: the same file gives the same figures. ``--leave-out`` fits once for each source without its rows and
predicts those. Figures are printed, not written: they go into the presets rounded, by hand, with their note.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Any

import numpy as np

from simulator.assumptions import Assumptions, ChipEfficiency
from simulator.questions.kernel_libraries import KernelLibrary, figure_at, kernel_libraries, leaves, with_figure
from simulator.questions.kernel_operators import Work
from simulator.questions.kernel_rows import Measured, read_rows
from simulator.questions.measured_kernels import KernelModel
from simulator.spec.errors import SupernodeError
from simulator.spec.sources import Figure

SOFTENING = 0.03
HOLD = 0.01
SWEEPS = 3
STEPS = 9  # values tried in a range, twice: over all of it, then around the best

ANY = (
    *("gemm_small_tile", "gemm_tail", "gemm_depth", "gemm_start.bf16", "gemm_start.fp8", "gemm_start.fp4"),
    *("operand_memory", "kernel_start"),
)
CURVES = [
    f"attention_{way}.{name}"
    for way in ("forward", "backward")
    for name in ("ceiling", "half_sequence", "half_sequence_causal", "large_head", "eight_bits")
]
CHIP = (
    "gemm.bf16",
    "gemm.fp8",
    "gemm.fp4",
    "sustained",
    "grouped_gemm",
    "memory",
    "attention_small_head",
    "gemm_start.bf16",
    *CURVES,
)


@dataclass(slots=True)
class Constant:
    """A figure that may move: where it is, its value now, and the range its file gives."""

    path: str
    value: float
    low: float
    high: float
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.value

    def forgotten(self) -> Constant:
        """The same figure as if only its range were known."""
        return Constant(self.path, (self.low + self.high) / 2, self.low, self.high)

    @property
    def pull(self) -> float:
        """What it costs to have moved."""
        return HOLD * ((self.value - self.start) / (self.high - self.low)) ** 2


@dataclass(frozen=True, slots=True)
class Question:
    """A row that the model can answer, with all that does not depend on the constants."""

    source: str
    chip: str
    library: str
    work: Work
    seconds: float


@dataclass(frozen=True, slots=True)
class Ground:
    """What a fit starts from: the stack, and the figures of each chip as its files give them."""

    stack: Assumptions
    chips: dict[str, ChipEfficiency]

    @classmethod
    def of(cls, stack: Assumptions) -> Ground:
        return cls(stack, {chip: stack.of_chip(chip)[0] for chip in {*stack.chips, *kernel_libraries().chips}})


class TrialModel(KernelModel):
    """The model with some of its figures replaced."""

    def __init__(self, ground: Ground, values: dict[str, float]) -> None:
        super().__init__(ground.stack)
        self.ground = ground
        self.values = values

    def _efficiency_of(self, chip: str, library: str) -> ChipEfficiency:
        efficiency, profile = self.ground.chips[chip], self.libraries.libraries[library]
        own = self.stack.chips.get(chip, {})
        for name, value in self.values.items():
            scope, *path = name.split(".")
            if scope == "any_chip" and not _holds(own, path):
                efficiency = with_figure(efficiency, tuple(path), value)
            elif scope == "chips" and path[0] == chip:
                efficiency = with_figure(efficiency, tuple(path[1:]), value)
            elif scope == "libraries" and path[0] == library:
                profile = _library_with(profile, tuple(path[1:]), value)
        return profile.applied(efficiency)


def questions(rows: Sequence[Measured], model: KernelModel) -> list[Question]:
    """The rows that can be answered."""
    found = []
    for measured in rows:
        row = measured.row
        try:
            chip = model.libraries.chip(row.chip)
            library = model.libraries.library(measured.family, model.label(row))
            work = measured.work()
            seconds = measured.seconds(work)
            model.seconds(chip, library, work)
        except SupernodeError:
            continue
        found.append(Question(row.src, chip, library, work, seconds))
    return found


def constants(ground: Ground) -> list[Constant]:
    """Every figure that may move and has a range: what holds for any chip, what a chip has of its own, what a library has."""
    found = [_constant(f"any_chip.{name}", figure_at(ground.stack.any_chip, tuple(name.split(".")))) for name in ANY]
    for chip, own in ground.stack.chips.items():
        efficiency = ground.chips[chip]
        paths = [name.split(".") for name in CHIP]
        found += [
            _constant(f"chips.{chip}.{'.'.join(path)}", figure_at(efficiency, tuple(path))) for path in paths if _holds(own, path)
        ]
    for name, library in kernel_libraries().libraries.items():
        found += [_constant(f"libraries.{name}.shares.{share}", figure) for share, figure in library.shares.items()]
        for path, data in leaves(library.figures):
            figure = Figure[float].model_validate(data)
            found.append(_constant(f"libraries.{name}.figures.{'.'.join(path)}", figure))
    return [constant for constant in found if constant is not None]


def fit(asked: Sequence[Question], moving: Sequence[Constant], ground: Ground) -> None:
    """Move the constants, one after the other, to where the rows they touch are predicted best."""
    values = {constant.path: constant.value for constant in moving}
    touched = {}
    for constant in moving:
        concerned = [index for index, question in enumerate(asked) if _concerns(constant, question)]
        trial = [asked[index] for index in concerned]
        ends = [_errors(trial, ground, values | {constant.path: end}) for end in (constant.low, constant.high)]
        touched[constant.path] = [index for index, low, high in zip(concerned, *ends, strict=True) if low != high]
    weights = _weights(asked)
    for _ in range(SWEEPS):
        for constant in moving:
            rows = touched[constant.path]
            if rows:
                _improve(constant, [asked[index] for index in rows], weights[rows], ground, values)


def leave_out(asked: Sequence[Question], ground: Ground, paths: Collection[str] = ()) -> dict[str, list[float]]:
    """Errors of each source's rows, predicted with constants (those of ``paths``, or all) that were fitted without them.

    Every figure of their chips and libraries starts from the middle of its range, so that nothing is left of an earlier fit;
    one that no other row touches stays there. What holds for any chip rests on dozens of sources and keeps its value.
    """
    found = {}
    for source in sorted({question.source for question in asked}):
        held_out = [question for question in asked if question.source == source]
        moving = [
            constant.forgotten()
            for constant in constants(ground)
            if (constant.path in paths if paths else not constant.path.startswith("any_chip."))
            and any(_concerns(constant, question) for question in held_out)
        ]
        fit([question for question in asked if question.source != source], moving, ground)
        values = {constant.path: constant.value for constant in moving}
        found[source] = [float(np.exp(e) - 1) for e in _errors([q for q in asked if q.source == source], ground, values)]
    return found


def main(path: str, *, left_out: bool) -> None:
    """Fit, and print what moved and how well it fits; or predict every source from the others."""
    ground = Ground.of(Assumptions.load("default"))
    asked = questions(read_rows(path), KernelModel(ground.stack))
    if left_out:
        for source, errors in leave_out(asked, ground).items():
            print(f"{source:<12}{len(errors):>5} rows  median {np.median(np.abs(errors)):6.1%}  signed {np.median(errors):+6.1%}")
        return
    moving = constants(ground)
    before = np.abs(np.expm1(_errors(asked, ground, {})))
    fit(asked, moving, ground)
    after = np.abs(np.expm1(_errors(asked, ground, {constant.path: constant.value for constant in moving})))
    for constant in moving:
        if constant.value != constant.start:
            span = f"{constant.low:.4g} to {constant.high:.4g}"
            print(f"{constant.path:<58}{constant.start:>12.4g} -> {constant.value:<10.4g} of {span}")
    print(f"{len(asked)} rows, {len(moving)} constants: median {np.median(before):.1%} -> {np.median(after):.1%}, ", end="")
    print(f"90th percentile {np.percentile(before, 90):.1%} -> {np.percentile(after, 90):.1%}")


def _improve(constant: Constant, rows: Sequence[Question], weights: Any, ground: Ground, values: dict[str, float]) -> None:
    """The best value of one constant, the others as they are."""

    def cost(value: float) -> float:
        constant.value = value
        soft = np.sqrt(np.square(_errors(rows, ground, values | {constant.path: value})) + SOFTENING**2)
        return float(weights @ soft) + constant.pull

    best, width = constant.value, constant.high - constant.low
    tried = {best: cost(best)}
    for span in (width, width / (STEPS - 1) * 2):
        low, high = max(constant.low, best - span), min(constant.high, best + span)
        for value in np.linspace(low, high, STEPS):
            tried.setdefault(float(value), cost(float(value)))
        best = min(tried, key=lambda value: tried[value])
    constant.value = values[constant.path] = best


def _errors(rows: Sequence[Question], ground: Ground, values: dict[str, float]) -> list[float]:
    """log(predicted / measured) of every row under these figures."""
    model = TrialModel(ground, values)
    return [log(model.seconds(row.chip, row.library, row.work) / row.seconds) for row in rows]


def _weights(asked: Sequence[Question]) -> Any:
    """One over the square root of a source's rows: long tables count more than short ones, but not in proportion."""
    rows: dict[str, int] = {}
    for question in asked:
        rows[question.source] = rows.get(question.source, 0) + 1
    weights = np.array([1 / sqrt(rows[question.source]) for question in asked])
    return weights / weights.sum() * len(rows)


def _concerns(constant: Constant, question: Question) -> bool:
    """Whether a constant could touch a row, by the chip or library that its path names."""
    scope, name = constant.path.split(".")[:2]
    return scope == "any_chip" or name in (question.chip, question.library)


def _constant(path: str, figure: Figure[float]) -> Constant | None:
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return None
    return Constant(path, figure.value, figure.low, figure.high)


def _library_with(library: KernelLibrary, path: tuple[str, ...], value: float) -> KernelLibrary:
    """A library with one of its shares or figures replaced."""
    if path[0] == "shares":
        return with_figure(library, path, value)
    figures = deepcopy(library.figures)
    *outer, last = path[1:]
    table = figures
    for key in outer:
        table = table[key]
    table[last] = {"value": value}
    return library.model_copy(update={"figures": figures})


def _holds(own: Any, path: Sequence[str]) -> bool:
    """Whether a chip's own figures hold this one."""
    for key in path:
        if not isinstance(own, dict) or key not in own:
            return False
        own = own[key]
    return True


if __name__ == "__main__":
    main(sys.argv[1], left_out="--leave-out" in sys.argv[2:])
