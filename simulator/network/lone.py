"""A single flow that nothing else slows: it runs at the rate it has alone, so when it ends is known as it sets off.

As long as no link that it crosses is overfull, leaving the others out changes nothing (theorem 4 of docs/network.md). It is
then two moments, and not a part in a contest; the fluid server makes it one the moment a link of it would be overfull.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from simulator.network.contract import OperationClass
from simulator.network.shares import Plan, Share, Shares
from simulator.network.transfers import Bundle, Contest, Part

#: Ends closer than this are one end [ps]; far above rounding in durations of seconds, far below a tick.
TOGETHER = 1.0 / 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What an operation of one flow does where nothing slows it: ``ticks`` from its first byte to its last [ps]."""

    plan: Plan
    share: Share
    shape: int
    size: float
    ticks: int
    use: list[tuple[int, float]]  # as of the share

    @classmethod
    def of(cls, plan: Plan, shares: Shares) -> Course:
        """Solve it alone, and count until all has arrived."""
        ((shape, (size,)),) = plan.phases[0]
        share = shares.share((shape,))
        ((speed,),) = share.speeds
        ticks, left = 0, size
        while left > speed * TOGETHER:
            ticks += max(1, math.ceil(left / speed - TOGETHER))
            left = size - speed * ticks
        return cls(plan, share, shape, float(size), ticks, share.use)


@dataclass(slots=True, eq=False)
class Lone:
    """One such flow. ``start``: when its first byte left [ps]; before that, -1. ``version`` counts as a part's does."""

    operation: OperationClass
    course: Course
    ended: Callable[[], None]
    serial: int = 0
    start: int = -1
    version: int = 0

    def state(self) -> tuple[object, ...]:
        """What it is, and whether it has set off."""
        return self.operation.key, self.start >= 0

    def bundle(self) -> Bundle:
        """The same as a transfer whose rates are solved."""
        return Bundle((self.operation,), self.course.plan, [0], lambda _places: self.ended())

    def part(self, serial: int) -> Part:
        """What of it is under way, as a contest of its own, since it set off."""
        course = self.course
        part = Part(self.serial, self.bundle(), course.shape, [course.size], self.start, course.share.speeds[0])
        part.contest = Contest(serial, [part], course.share, self.start)
        return part
