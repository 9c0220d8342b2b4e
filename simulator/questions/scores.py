"""How far predictions are off, over many cases: families weigh the same, and releases of one configuration weigh as one.

A family of thirty rows says little more than one of three, and ten releases of one container hardly more than one: without
weights the best-documented model would be the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.questions.traits import UNKNOWN, Traits


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case, answered or not. ``error`` is predicted / measured - 1 by quantity; the step time's is the headline.

    ``derived`` holds what arithmetic on printed values gives, the step time behind a printed MFU included. ``notes`` say what
    was filled in for the source; ``warnings`` are the simulation's own. ``breakdown``: parts of the step or of the memory that a
    source prints, as ``measured``, ``predicted`` and ``error``. ``parts``: where the predicted step's time goes [s].
    ``cpu_s``: what answering took [s].
    """

    id: str
    stack: str
    family: str
    system: str
    model: str
    release_of: str | None = None
    covered: bool = False
    reason: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    derived: Mapping[str, float] = field(default_factory=dict)
    predicted: Mapping[str, float] = field(default_factory=dict)
    error: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    breakdown: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    traits: Traits = UNKNOWN
    cpu_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As the JSON document holds it."""
        parts = {key: {"breakdown": dict(values)} for key, values in self.breakdown.items() if values}
        return {
            "id": self.id, "stack": self.stack, "family": self.family, "system": self.system, "model": self.model,
            "vendor": self.traits.vendor, "classes": list(self.traits.classes),
            "covered": self.covered, "reason": self.reason,
            "measured": dict(self.measured) | parts.get("measured", {}), "derived": dict(self.derived),
            "predicted": dict(self.predicted) | parts.get("predicted", {}),
            "error": dict(self.error) | parts.get("error", {}), "parts_s": dict(self.parts),
            "notes": list(self.notes), "warnings": list(self.warnings), "cpu_s": self.cpu_s,
        }  # fmt: skip


def weights(outcomes: Sequence[Outcome]) -> np.ndarray:
    """What each outcome weighs: 1 a family, shared by its configurations, each shared by its releases; shape [outcomes].

    >>> rows = [Outcome("a", "s", "f", "y", "m", "r"), Outcome("b", "s", "f", "y", "m", "r"), Outcome("c", "s", "f", "y", "m")]
    >>> weights(rows).tolist()
    [0.25, 0.25, 0.5]
    """
    groups = [(row.family, row.release_of or row.id) for row in outcomes]
    rows_of = Counter(groups)
    groups_of = Counter(family for family, _ in rows_of)
    return np.array([1.0 / (groups_of[group[0]] * rows_of[group]) for group in groups])


def quantile(values: Sequence[float], weight: np.ndarray, share: float) -> float:
    """Weighted quantile: every value stands in the middle of its weight, linear in between.

    >>> quantile([1.0, 2.0, 9.0], np.ones(3), 0.5)
    2.0
    """
    order = np.argsort(values)
    sorted_values, sorted_weight = np.asarray(values, dtype=float)[order], weight[order]
    middle = (np.cumsum(sorted_weight) - sorted_weight / 2) / sorted_weight.sum()
    return float(np.interp(share, middle, sorted_values))


def score(outcomes: Sequence[Outcome], quantity: str = "step_time_s") -> dict[str, Any]:
    """Coverage, and the errors of one quantity over what is covered; None where nothing was compared."""
    compared = [row for row in outcomes if quantity in row.error]
    result: dict[str, Any] = {
        "cases": len(outcomes),
        "covered": sum(row.covered for row in outcomes),
        "compared": len(compared),
        "median_abs_error": None,
        "p90_abs_error": None,
        "median_error": None,
    }
    if compared:
        weight, signed = weights(compared), [row.error[quantity] for row in compared]
        absolute = [abs(value) for value in signed]
        result["median_abs_error"] = quantile(absolute, weight, 0.5)
        result["p90_abs_error"] = quantile(absolute, weight, 0.9)
        result["median_error"] = quantile(signed, weight, 0.5)
    return result
