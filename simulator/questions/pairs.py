"""Pairs of measured runs whose order is known: does the prediction put the same one first?

A planner chooses between plans; who orders them rightly helps even where seconds are off. A ratio is the slower run's step time
over the faster one's (above 1), from another metric where the file says so. Pairs of one ``group`` say nearly the same
and share one weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from simulator.questions.cases import Loose, Text
from simulator.questions.scores import Outcome
from simulator.spec.document import Document
from simulator.spec.errors import InputError
from simulator.spec.files import build, read_document
from simulator.spec.near import suggest

Metric = Literal["step_time_s", "tokens_per_s_per_chip", "model_tflops_per_chip", "hardware_tflops_per_chip", "mfu", "hfu"]
PLAN_ONLY = "plan"
"""The kind of pairs that differ in nothing but their plan: the question a planner asks."""


class Pair(Loose):
    """Two cases by id; ``kind`` says in what they differ (plan, precision, system, plan+precision)."""

    faster: Text
    slower: Text
    kind: str = "unnamed"
    metric: Metric = "step_time_s"
    measured_ratio: Annotated[float, Field(gt=0)] | None = None
    group: str | None = None


class PairFile(Loose):
    """The file: ``meta`` is for people."""

    meta: dict[str, Any] = {}
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A pair answered; ``predicted_ratio`` None where one of the two is not covered, which agrees with nothing."""

    pair: Pair
    measured_ratio: float | None
    predicted_ratio: float | None

    @property
    def agrees(self) -> bool:
        """Whether the faster one is predicted to be faster."""
        return self.predicted_ratio is not None and self.predicted_ratio > 1.0

    @property
    def group(self) -> str:
        """What it shares its weight with: the file's group, or nothing."""
        return self.pair.group or f"{self.pair.faster} | {self.pair.slower}"

    def to_dict(self) -> dict[str, Any]:
        """As the JSON document holds it."""
        return {
            "faster": self.pair.faster, "slower": self.pair.slower, "kind": self.pair.kind, "group": self.group,
            "metric": self.pair.metric, "measured_ratio": self.measured_ratio, "predicted_ratio": self.predicted_ratio,
            "agrees": self.agrees,
        }  # fmt: skip


def read_pairs(path: str | Path, ids: Iterable[str]) -> tuple[Pair, ...]:
    """Every pair of a file; ``ids`` are those of the case file.

    Raises InputError with file and line for a pair that is not made so, or names a case that is not there.
    """
    document = read_document(path)
    pairs, known = build(document, PairFile).pairs, set(ids)
    for index, pair in enumerate(pairs):
        for side in ("faster", "slower"):
            _require(getattr(pair, side), known, document, index, side)
    return pairs


def _require(name: str, known: set[str], document: Document, index: int, side: str) -> None:
    if name not in known:
        where = document.mark(("pairs", index, side))
        raise InputError(
            "a pair names cases of the case file", got=name, do=suggest(name, sorted(known), "cases"),
            path=f"pairs[{index}].{side}", where=str(where),
        )  # fmt: skip


def ordered(pairs: Sequence[Pair], outcomes: Mapping[str, Outcome]) -> tuple[Order, ...]:
    """Every pair with its predicted ratio; those of which neither case was run (a limit) are left out."""
    found = []
    for pair in pairs:
        if pair.faster in outcomes or pair.slower in outcomes:
            faster, slower = outcomes.get(pair.faster), outcomes.get(pair.slower)
            measured = pair.measured_ratio or _ratio(pair.metric, faster, slower, _printed)
            found.append(Order(pair, measured, _ratio(pair.metric, faster, slower, lambda row: row.predicted)))
    return tuple(found)


def _printed(row: Outcome) -> Mapping[str, float]:
    return {**row.derived, **row.measured}


def _ratio(
    metric: Metric, faster: Outcome | None, slower: Outcome | None, values: Callable[[Outcome], Mapping[str, float]]
) -> float | None:
    if faster is None or slower is None:
        return None
    one, other = values(faster).get(metric), values(slower).get(metric)
    if one is None or other is None:
        return None
    return other / one if metric == "step_time_s" else one / other


def agreement(orders: Sequence[Order]) -> float | None:
    """The share of pairs in the right order, every group weighing 1; what was not predicted counts as wrong."""
    if not orders:
        return None
    sizes = Counter(order.group for order in orders)
    return sum(order.agrees / sizes[order.group] for order in orders) / len(sizes)


def agreement_by_kind(orders: Sequence[Order]) -> dict[str, dict[str, Any]]:
    """The same for each kind, with how many pairs and groups stand behind it."""
    kinds: dict[str, list[Order]] = {}
    for order in orders:
        kinds.setdefault(order.pair.kind, []).append(order)
    return {
        kind: {
            "pairs": len(kinds[kind]),
            "groups": len({order.group for order in kinds[kind]}),
            "predicted": sum(order.predicted_ratio is not None for order in kinds[kind]),
            "agreement": agreement(kinds[kind]),
        }
        for kind in sorted(kinds)
    }
