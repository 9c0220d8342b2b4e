"""The whole answer of a validation in numbers: all cases, then by class of run, vendor, stack, system and family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from simulator.questions.pairs import PLAN_ONLY, Order, agreement, agreement_by_kind
from simulator.questions.scores import Outcome, score

WORST = 15
"""Rows that the summary lists."""


def summary(outcomes: Sequence[Outcome], orders: Sequence[Order] = ()) -> dict[str, Any]:
    """Step time first, memory beside it, agreement in order, then every group by itself."""
    compared = [row for row in outcomes if "step_time_s" in row.error]
    worst = sorted(compared, key=lambda row: -abs(row.error["step_time_s"]))[:WORST]
    kinds = agreement_by_kind(orders)
    return {
        **score(outcomes),
        "memory": score(outcomes, "memory_gib_per_chip"),
        "worst": [{"id": row.id, "error": row.error["step_time_s"]} for row in worst],
        "pair_agreement": agreement(orders),
        "plan_pair_agreement": kinds.get(PLAN_ONLY, {}).get("agreement"),
        "pair_agreement_by_kind": kinds,
        "cpu_s": sum(row.cpu_s for row in outcomes),
        "by_class": _by(outcomes, lambda row: row.traits.classes),
        "by_vendor": _by(outcomes, lambda row: (row.traits.vendor or "unnamed",)),
        "by_stack": _by(outcomes, lambda row: (row.stack,)),
        "by_system": _by(outcomes, lambda row: (row.system,)),
        "by_family": _by(outcomes, lambda row: (row.family,)),
    }


def _by(outcomes: Iterable[Outcome], names: Callable[[Outcome], Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Scores by name; a row may count under several."""
    groups: dict[str, list[Outcome]] = {}
    for row in outcomes:
        for name in names(row):
            groups.setdefault(name, []).append(row)
    return {name: score(groups[name]) for name in sorted(groups)}
