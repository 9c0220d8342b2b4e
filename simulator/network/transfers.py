"""What the fluid server keeps of everything that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.network.contract import Ended, OperationClass
from simulator.network.shares import MANY, Column, Plan, Share


@dataclass(slots=True, eq=False)
class Transfer:
    """A launched operation: which phase it is in, and how many parts of the phase still run."""

    operation: OperationClass
    plan: Plan
    done: Any
    phase: int = -1
    running: int = 0
    version: int = 0  # of what is noted of it to come: always the latest

    def state(self) -> tuple[object, ...]:
        """What it is, and how far."""
        return self.operation.key, self.phase


@dataclass(slots=True, eq=False)
class Bundle:
    """Operations of one flow each that were launched together: ``running[i]`` is the place of the i-th flow that still runs."""

    operations: Sequence[OperationClass]
    plan: Plan
    running: list[int]
    ended: Ended
    version: int = 0

    def state(self) -> tuple[object, ...]:
        """What it is, and how far."""
        return tuple(self.operations[at].key for at in self.running)


@dataclass(slots=True, eq=False)
class Part:
    """Flows of one phase of one transfer that share links; ``remaining`` payload bytes of each, exact at ``updated``."""

    serial: int
    transfer: Transfer | Bundle
    shape: int
    remaining: Column
    updated: int
    speeds: Column = ()
    version: int = 0
    contest: Contest | None = None

    def state(self, now: int) -> tuple[object, ...]:
        """Which flows, what is left of them, how fast they go, and beside whom; times from ``now`` on."""
        contest = (self.contest.start - now, self.contest.share.key) if self.contest else ()
        return (self.shape, *self.transfer.state(), *self.remaining, self.updated - now, *self.speeds, *contest)


@dataclass(slots=True, eq=False)
class Contest:
    """Parts that are solved together, since ``start``."""

    serial: int
    parts: list[Part]
    share: Share
    start: int


def advance(part: Part, now: int) -> None:
    """Bytes that moved since the last look."""
    elapsed = now - part.updated
    if elapsed:
        speeds = part.speeds
        if isinstance(speeds, np.ndarray):
            part.remaining = part.remaining - speeds * elapsed
        else:
            part.remaining = [left - speed * elapsed for left, speed in zip(part.remaining, speeds, strict=True)]
        part.updated = now


def first_end(part: Part) -> float:
    """How long after the last look the first of a part's flows will have arrived [ps]."""
    speeds = part.speeds
    if isinstance(speeds, np.ndarray):
        return float((part.remaining / speeds).min())
    first: float = min([left / speed for left, speed in zip(part.remaining, speeds, strict=True)])
    return first


def under_way(part: Part, within: float) -> list[int]:
    """Which flows of a part have not arrived yet, and will not ``within`` so many ps."""
    speeds = part.speeds
    if isinstance(speeds, np.ndarray):
        return np.flatnonzero(part.remaining > speeds * within).tolist()
    return [place for place, (left, speed) in enumerate(zip(part.remaining, speeds, strict=True)) if left > speed * within]


def chosen(figures: Column, places: Sequence[int]) -> Column:
    """Those at these places."""
    if isinstance(figures, np.ndarray):
        kept = figures[np.array(places, dtype=np.int64)]
        return kept if len(places) >= MANY else list(kept.tolist())
    return [figures[place] for place in places]


def same(one: Column, other: Column) -> bool:
    """Whether two columns hold the same figures."""
    return one is other or (len(one) == len(other) and bool(np.array_equal(one, other) if len(one) >= MANY else one == other))
