"""What is told of one collective: time, the bandwidths of nccl-tests, the bound; one, or several sizes, as JSON or text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulator.spec.units import show


def bus_factor(operation: str, ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth, as nccl-tests defines it.

    >>> bus_factor("all-reduce", 8), bus_factor("all-to-all", 8), bus_factor("broadcast", 8)
    (1.75, 0.875, 1.0)
    """
    if operation in ("broadcast", "send-recv"):
        return 1.0
    return (2.0 if operation == "all-reduce" else 1.0) * (ranks - 1) / ranks


@dataclass(frozen=True, slots=True)
class CollectiveResult:
    """One collective of all groups at once.

    ``bytes`` is the per-rank buffer of nccl-tests: all that a rank holds (all-reduce, reduce-scatter, all-to-all), gets
    (all-gather) or sends. ``algorithm_bandwidth`` = bytes / time; ``bus_bandwidth`` = that x 2 (n - 1) / n for an
    all-reduce, x (n - 1) / n for all-gather, reduce-scatter and all-to-all, x 1 for broadcast and send-recv [B/s].
    ``bound_s``: payload bytes of the busiest link over its raw capacity, level after level where an algorithm takes them
    in turn; ``latency_s``: the part of the time that does not grow with bytes.
    """

    collective: str
    system: str
    chips: int
    group_size: int  # ranks
    bytes: float
    time_s: float
    algorithm_bandwidth: float
    bus_bandwidth: float
    bound_s: float
    latency_s: float
    busiest_link: str
    busiest_tier: str
    algorithm: str
    protocol: str
    library: str
    rung: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return asdict(self)

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class CollectiveSweep:
    """The same collective at several sizes, ascending."""

    rows: tuple[CollectiveResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return {"sweep": [row.to_dict() for row in self.rows]}

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def table(rows: Sequence[CollectiveResult]) -> str:
    """Sizes, times and bandwidths as columns of text."""
    first = rows[0]
    lines = [
        f"{first.collective} on {first.chips:,} chips of {first.system}, groups of {first.group_size:,} ranks",
        f"{'bytes':>12}{'time':>12}{'algorithm':>14}{'bus':>14}{'bound':>12}{'of bound':>10}  algorithm",
    ]
    for row in rows:
        how = f"{row.algorithm} {row.protocol}".strip()
        lines.append(
            f"{show(row.bytes, 'bytes', digits=4):>12}{show(row.time_s, 'time', digits=4):>12}"
            f"{show(row.algorithm_bandwidth, 'bandwidth', digits=4):>14}{show(row.bus_bandwidth, 'bandwidth', digits=4):>14}"
            f"{show(row.bound_s, 'time', digits=4):>12}{row.bound_s / row.time_s:>10.1%}  {how} ({row.library}, {row.rung})"
        )
    lines.append(f"busiest link: {rows[-1].busiest_link} ({rows[-1].busiest_tier})")
    return "\n".join(lines)
