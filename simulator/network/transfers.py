"""What the fluid server keeps of everything that is under way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.network.contract import Ended, OperationClass
from simulator.network.shares import MANY, Column, Plan, Share

#: Ends closer than this are one end [ps]; far above rounding in durations of seconds, far below a tick.
TOGETHER = 1.0 / 64.0


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
        part.remaining = after(part.remaining, part.speeds, elapsed)
        part.updated = now


def after(remaining: Column, speeds: Column, elapsed: int) -> Column:
    """What is left of flows [B] after ``elapsed`` [ps]."""
    if isinstance(speeds, np.ndarray):
        left: Column = remaining - speeds * elapsed
        return left
    return [left - speed * elapsed for left, speed in zip(remaining, speeds, strict=True)]


def first_end(remaining: Column, speeds: Column) -> int:
    """In how many ticks the first of some flows will have arrived, one at least."""
    if isinstance(speeds, np.ndarray):
        first = float((remaining / speeds).min())
    else:
        first = min([left / speed for left, speed in zip(remaining, speeds, strict=True)])
    return max(1, math.ceil(first - TOGETHER))


def under_way(remaining: Column, speeds: Column) -> list[int]:
    """Which flows have not arrived yet, and will not within what counts as one moment."""
    if isinstance(speeds, np.ndarray):
        return np.flatnonzero(remaining > speeds * TOGETHER).tolist()
    return [place for place, (left, speed) in enumerate(zip(remaining, speeds, strict=True)) if left > speed * TOGETHER]


def until_some_arrive(remaining: Column, speeds: Column) -> tuple[int, list[int], Column]:
    """The ticks until the first of some flows have arrived, the places of the others, and what is left of all of them [B]."""
    ticks, keep = 0, list(range(len(speeds)))
    while len(keep) == len(speeds):  # rounding: a huge transfer is a tick short of its end
        more = first_end(remaining, speeds)
        ticks, remaining = ticks + more, after(remaining, speeds, more)
        keep = under_way(remaining, speeds)
    return ticks, keep, remaining


def chosen(figures: Column, places: Sequence[int]) -> Column:
    """Those at these places."""
    if isinstance(figures, np.ndarray):
        kept = figures[np.array(places, dtype=np.int64)]
        return kept if len(places) >= MANY else list(kept.tolist())
    return [figures[place] for place in places]


def same(one: Column, other: Column) -> bool:
    """Whether two columns hold the same figures."""
    return one is other or (len(one) == len(other) and bool(np.array_equal(one, other) if len(one) >= MANY else one == other))
