"""A network and a folding without links: every collective takes a set time. For tests of the engine alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.engine.clock import Clock
from simulator.network.contract import Ended, FlowClass, LinkClass, OperationClass, RankClass
from workloads.instructions import Communication


def operation(key: int, kind: str, participants: tuple[int, ...], target: int, latency: float) -> OperationClass:
    """An operation of one phase with one flow, to ``target``."""
    flow = FlowClass(np.zeros(0, np.int64), np.zeros(0), 1.0, 1, participants[0], 1.0, target, 1.0)
    return OperationClass(key, kind, kind, ((flow,),), latency, participants, 1.0, "set time")


class TimedFolding:
    """One rank class a pipeline rank; a collective named ``x`` takes ``seconds["x"]``."""

    def __init__(self, pp: int, seconds: dict[str, float] | None = None, participants: tuple[int, ...] = ()) -> None:
        self.rank_classes = tuple(RankClass(rank, rank, 1, rank) for rank in range(pp))
        self.link_classes: tuple[LinkClass, ...] = ()
        self._seconds = seconds or {}
        self._participants = participants
        self._keys: dict[str, int] = {}

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        participants = self._participants or (rank_class,)
        name = f"{communication.name}{participants}"
        key = self._keys.setdefault(name, len(self._keys))
        return operation(key, communication.kind, participants, rank_class, self._seconds[communication.name])

    def send(self, rank_class: int, target_pp_rank: int, payload: float) -> OperationClass:
        return operation(-1, "pp", (rank_class,), target_pp_rank, self._seconds.get("send", 0.0))


class TimedNetwork:
    """Every launched operation ends after its latency."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rate = 0.0

    def launch(self, operation: OperationClass) -> Any:
        done = self._clock.event()

        def end() -> None:
            done.succeed()

        self._clock.call_at(self._clock.now + round(operation.latency * 1e12), end)
        return done

    def launch_together(self, operations: Sequence[OperationClass], ended: Ended) -> None:
        for place, operation in enumerate(operations):
            self.launch(operation).callbacks.append(lambda _event, place=place: ended([place]))

    def memory_rate(self, rank_class: int) -> float:
        return self.rate
