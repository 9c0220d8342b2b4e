"""The constants that published steps decide: which there are, what is known of them beforehand, which rows can tell them.

How they are fitted is in :mod:`simulator.questions.calibrate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from simulator.assumptions import PRESETS, Assumptions
from simulator.questions.scores import Outcome
from simulator.questions.stacks import FALLBACK, assumptions_of
from simulator.spec.errors import SupernodeError

LEAST_ROWS = 3  # for a constant of one's own; a stack with fewer keeps the default and is a prediction
MANY_ROWS = 20  # of a stack, for the pace of its passes over memory
FELT = 0.01  # sensitivity of a row that a constant means anything to
SOURCE = "STEPS"

Slopes = Mapping[str, Mapping[str, float]]
"""By field and row: how much the row answers to it."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of a sort of constant beforehand: its prior, how far from it it may lie (of a logarithm), its bounds."""

    prior: float
    spread: float
    low: float
    high: float


FIELDS: Mapping[str, Field] = {
    "compute": Field(1.1, 0.2, 0.7, 1.8),
    "passes": Field(1.5, 0.6, 0.7, 5.0),  # a framework without fusion makes several passes where one would do
    "experts": Field(1.0, 0.3, 0.7, 3.0),
    "fused_experts": Field(1.0, 0.3, 0.7, 3.0),
    "sustained": Field(0.92, 0.2, 0.5, 1.0),  # its prior and bounds are those of the chip's file
    "rank_spread": Field(0.015, 0.7, 0.002, 0.05),  # 8 % between the whiskers of one machine's GPUs (arXiv 2208.11035)
}
ANY_CHIP = "any_chip"
PACES = tuple(name for name in FIELDS if name not in ("sustained", "rank_spread"))


@dataclass(frozen=True, slots=True)
class Constant:
    """One fitted number: ``owner`` is a preset of a stack, or a chip; ``field`` one of FIELDS."""

    owner: str
    field: str
    value: float
    prior: float
    low: float
    high: float
    rows: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.field}"


def constants_of(outcomes: Sequence[Outcome], slopes: Slopes, chip_of: Mapping[str, str]) -> list[Constant]:
    """The constants that these rows can say something about, at their present values; the fallback preset keeps its own.

    ``slopes``: by field, how much a row answers to it. The pace of experts needs rows that feel it and rows that do not; a
    stack alone on chips whose clocks are all fitted has no pace of compute, for nothing could tell one from the other.
    """
    found: list[Constant] = []
    told = told_by_clocks(outcomes, chip_of)
    for preset in sorted({owner(row.stack) for row in outcomes} - {FALLBACK}):
        pace = Assumptions.load(preset).pace
        mine = {row.id for row in outcomes if owner(row.stack) == preset}
        if len(mine) < LEAST_ROWS:
            continue
        for name in PACES:
            if name == "compute" and preset in told:
                continue
            feel = {row for row in mine if abs(slopes[name].get(row, 0.0)) > FELT}
            apart = name not in ("experts", "fused_experts") or len(feel) < len(mine)
            if apart and len(feel) >= (MANY_ROWS if name == "passes" else LEAST_ROWS):
                known = FIELDS[name]
                found.append(Constant(preset, name, getattr(pace, name).value, known.prior, known.low, known.high, len(feel)))
    return [*found, *_clocks_of(outcomes, chip_of), *_spread_of(slopes["rank_spread"])]


def _spread_of(slopes: Mapping[str, float]) -> list[Constant]:
    """How unequal ranks are, in every job: rows tell if some feel it more than others, as jobs of more ranks do."""
    feel = [slope for slope in slopes.values() if slope > FELT]
    if not feel or max(feel) - min(slopes.values()) < FELT:
        return []
    known, value = FIELDS["rank_spread"], Assumptions.load(FALLBACK).any_chip.rank_spread.value
    return [Constant(ANY_CHIP, "rank_spread", value, known.prior, known.low, known.high, len(feel))]


def told_by_clocks(outcomes: Sequence[Outcome], chip_of: Mapping[str, str]) -> set[str]:
    """Stacks that are alone on their chips, whose clocks are all fitted."""
    timed = {constant.owner for constant in _clocks_of(outcomes, chip_of)}
    lone = {chip for chip in timed if len(_stacks_on(chip, outcomes, chip_of)) == 1}
    elsewhere = {owner(row.stack) for row in outcomes if chip_of[row.id] not in lone}
    return {owner(row.stack) for row in outcomes} - elsewhere


def _clocks_of(outcomes: Sequence[Outcome], chip_of: Mapping[str, str]) -> list[Constant]:
    """The clocks that no kernel tells and that differ from the pace of the one stack on a chip."""
    default, found = Assumptions.load(FALLBACK), []
    usual = default.any_chip.sustained.value
    for chip in sorted(set(chip_of.values())):
        sustained = default.of_chip(chip)[0].sustained
        stacks = _stacks_on(chip, outcomes, chip_of)
        others = {chip_of[row.id] for row in outcomes if owner(row.stack) in stacks} - {chip}
        count = sum(chip_of[row.id] == chip for row in outcomes)
        apart = count > LEAST_ROWS and bool(others)
        if unmeasured_clock(chip) and apart and sustained.low is not None and sustained.high is not None:
            found.append(Constant(chip, "sustained", sustained.value, usual, sustained.low, sustained.high, count))
    return found


def _stacks_on(chip: str, outcomes: Sequence[Outcome], chip_of: Mapping[str, str]) -> set[str]:
    """The presets whose stacks ran on a chip."""
    return {owner(row.stack) for row in outcomes if chip_of[row.id] == chip}


@cache
def unmeasured_clock(chip: str) -> bool:
    """Whether no kernel was measured on a chip for long enough to tell its clock."""
    efficiency, known = Assumptions.load(FALLBACK).of_chip(chip)
    return known and (efficiency.sustained.kind == "assumed" or efficiency.sustained.source == SOURCE)


@cache
def owner(stack: str) -> str:
    """The preset whose pace a stack takes: a preset that adds nothing but its name shares that of the one it extends."""
    preset = assumptions_of(stack)[0]
    while True:
        keys = dict(re.findall(r"^(\w+):[ ]*(.*)$", (PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE))
        if set(keys) != {"extends", "name", "title"}:
            return preset
        preset = keys["extends"]


def chip_of_system(system: str) -> str:
    import topologies

    try:
        return topologies.load(system).chip.name
    except SupernodeError:  # a machine that is not ours: its rows are not compared either
        return system
