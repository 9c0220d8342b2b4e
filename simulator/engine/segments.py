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


class Run:
    """A segment on a compute lane since ``started`` [ps]; ``end``: when it is through if no more and no less is taken from it.

    How far it has come counts operators, fractions lie inside one: so it is the same under every state of contention.
    """

    __slots__ = ("_position", "_table", "_taken", "_updated", "end", "segment", "started")

    def __init__(self, segment: Segment, now: int, taken: tuple[float, float]) -> None:
        self.segment = segment
        self.started = self._updated = now
        self._taken = taken
        self._position = 0.0
        self._table = segment.table(*taken)
        self.end = now + round(self._table[-1])

    def turn(self, now: int, taken: tuple[float, float]) -> bool:
        """Communication takes this from now on (cores, memory); whether it took something else before.

        >>> run = Run(Segment("x", [OperatorTime(10e-6, 0.0, 0.0), OperatorTime(20e-6, 0.0, 0.0)]), 0, (0.0, 0.0))
        >>> run.turn(20_000_000, (0.5, 0.0)), run.end
        (True, 40000000)
        """
        if taken == self._taken:
            return False
        table, position = self._table, self._position
        last = len(table) - 1
        place = int(position)
        reached = table[-1] if place >= last else table[place] + (position - place) * (table[place + 1] - table[place])
        reached += now - self._updated
        segment = self.segment
        other = segment._tables.get(taken) or segment.table(*taken)
        if reached >= table[-1]:
            position, left = float(last), 0.0
        else:
            place = bisect_right(table, reached) - 1
            position = place + (reached - table[place]) / (table[place + 1] - table[place])
            place = int(position)  # rounding may have led it to the next operator
            here = other[-1] if place >= last else other[place] + (position - place) * (other[place + 1] - other[place])
            left = other[-1] - here
        self._position, self._updated, self._taken, self._table = position, now, taken, other
        self.end = now + round(left)
        return True
