"""A run of operators on the compute lane, and how long it takes while communication runs beside it.

Communication takes cores from arithmetic and bytes per second from HBM. Under a contention state (cores, memory), both
fractions taken, an operator lasts max(c / (1 - cores), m / (1 - memory)) + o where c, m, o are its arithmetic,
memory and launch seconds alone. A state may change in the middle: the position in the run is carried over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.engine.clock import PICOSECONDS

#: Communication never starves compute altogether: schedulers and memory controllers leave it at least this share.
LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator alone on the chip [s]: ``arithmetic`` at the achieved full-chip rate, ``memory`` for its HBM bytes."""

    arithmetic: float
    memory: float
    overhead: float

    @property
    def total(self) -> float:
        return max(self.arithmetic, self.memory) + self.overhead


class Segment:
    """The operator times of one ``Compute``; durations per contention state are cached."""

    __slots__ = ("_tables", "arithmetic", "name", "overhead", "stall", "times", "total")

    def __init__(self, name: str, times: Sequence[OperatorTime]) -> None:
        self.name = name
        self.times = tuple(times)
        self.arithmetic = sum(time.arithmetic for time in times)
        self.overhead = sum(time.overhead for time in times)
        self.stall = sum(max(0.0, time.memory - time.arithmetic) for time in times)
        self.total = self.arithmetic + self.stall + self.overhead
        self._tables: dict[tuple[float, float], list[float]] = {}

    def table(self, cores: float, memory: float) -> list[float]:
        """Cumulative end times of the operators [ps, float] under a contention state; first entry 0."""
        key = (cores, memory)
        table = self._tables.get(key)
        if table is None:
            slow_cores = 1.0 / max(LEAST_SHARE, 1.0 - cores)
            slow_memory = 1.0 / max(LEAST_SHARE, 1.0 - memory)
            table = [0.0]
            for time in self.times:
                busy = max(time.arithmetic * slow_cores, time.memory * slow_memory) + time.overhead
                table.append(table[-1] + busy * PICOSECONDS)
            self._tables[key] = table
        return table


def advance(table: list[float], position: float, elapsed: float) -> float:
    """Where a run stands after ``elapsed`` [ps] under ``table``; positions count operators, fractions lie inside one.

    >>> advance([0.0, 10.0, 30.0], 0.5, 15.0)
    1.5
    """
    reached = elapsed_at(table, position) + elapsed
    if reached >= table[-1]:
        return float(len(table) - 1)
    index = bisect_right(table, reached) - 1
    width = table[index + 1] - table[index]
    return index + (reached - table[index]) / width


def elapsed_at(table: list[float], position: float) -> float:
    """Time [ps] at which a run under ``table`` from its start reaches ``position``."""
    index = int(position)
    if index >= len(table) - 1:
        return table[-1]
    return table[index] + (position - index) * (table[index + 1] - table[index])
