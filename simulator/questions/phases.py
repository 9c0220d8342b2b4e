"""What a step consists of as pipeline papers print it: lone forwards, lone backwards, joined pairs, the optimizer, the rest.

The names are those of DeepSeek's table (arXiv 2505.09343, table 4), where they sum to the step: ``1F_s`` forwards alone,
``1B_s`` backwards alone (whole ones, and those of inputs only), ``1W_s`` weight gradients alone, ``1F1B_s`` a forward and a
backward joined in one slot, ``opt_s`` the optimizer with its collectives that nothing hides, ``bubble_s`` all else. Seconds of
one step on the average rank. A slot counts from its start to its end, with whatever it waits for inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from simulator.engine.recorder import LANES, PICO, Recording
from simulator.results import Breakdown

SLOT = LANES.index("slot")
NAMES = {"F": "1F_s", "B": "1B_s", "I": "1B_s", "W": "1W_s"}
"""Letters that begin the name of a slot's span, and where a slot of one such work counts."""
JOINED = "1F1B_s"

PHASES = frozenset({"1F_s", "1B_s", "1W_s", JOINED, "opt_s", "bubble_s"})
"""All that a step consists of."""


def phases(recording: Recording, breakdown: Breakdown) -> dict[str, float]:
    """Seconds of one step by phase, averaged over ranks; they sum to the step [s]."""
    found = dict.fromkeys(("1F_s", "1B_s", "1W_s", JOINED), 0.0)
    ranks = sum(rank.size for rank in recording.ranks)
    for rank in recording.ranks:
        for name, start, end in _slots(recording, rank.key):
            found[name] += (end - start) / PICO * rank.size / ranks
    found["opt_s"] = breakdown.optimizer + breakdown.exposed_dp
    found["bubble_s"] = breakdown.total() - sum(found.values())
    return found


def errors(measured: Mapping[str, float], predicted: Mapping[str, float]) -> dict[str, float]:
    """Predicted / measured - 1 of everything that both have; nothing can be said beside a measured zero."""
    return {name: predicted[name] / value - 1 for name, value in measured.items() if value and name in predicted}


def _slots(recording: Recording, rank_class: int) -> Iterator[tuple[str, int, int]]:
    """Slots of a rank class in order: phase, start and end [ps]. Works that run side by side are one slot."""
    spans = recording.spans
    chosen = np.flatnonzero((spans.rank_class == rank_class) & (spans.lane == SLOT))
    open_name, open_start, open_end = "", 0, 0
    for row in chosen[np.argsort(spans.start[chosen], kind="stable")]:
        name, start, end = NAMES[spans.names[spans.name[row]][0]], int(spans.start[row]), int(spans.end[row])
        if open_name and start < open_end:
            open_name, open_end = JOINED, max(open_end, end)
            continue
        if open_name:
            yield open_name, open_start, open_end
        open_name, open_start, open_end = name, start, end
    if open_name:
        yield open_name, open_start, open_end
