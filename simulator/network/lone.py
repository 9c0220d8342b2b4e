"""Flows sent together that nothing else slows: they run at the rates they have alone, so it is known when each will end.

As long as no link that they cross is overfull, leaving the others out changes nothing (theorem 4 of docs/network.md). They are
then moments, and not a part in a contest; the fluid server makes them one the moment a link of theirs would be overfull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.contract import Ended, OperationClass
from simulator.network.shares import SHORT, Column, Plan, Share, Shares, column, pairs
from simulator.network.transfers import Bundle, Contest, Part, until_some_arrive
from topologies.fabric import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """From one end to the next, ``ticks`` later [ps]: flows of one ``shape``, with ``sizes`` left as it begins [B].

    ``gone``: the operations that are through then, by place; ``amounts``: what they leave free on ``links`` [B/s]; ``few``: the
    same in pairs, if they are few.
    """

    share: Share
    shape: int
    sizes: Column
    ticks: int
    places: tuple[int, ...]  # of the operations under way
    gone: tuple[int, ...]
    links: Ints
    amounts: Floats
    few: Sequence[tuple[int, float]] | None


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What operations of one flow each do that start together where nothing slows them. ``order``: their places in the plan."""

    plan: Plan
    order: tuple[int, ...]
    legs: tuple[Leg, ...]

    @classmethod
    def of(cls, plan: Plan, order: Sequence[int], shares: Shares) -> Course | None:
        """Solve them alone, and count until all has arrived; None if they slow each other."""
        ((shape, sizes),) = plan.phases[0]
        if sum(len(shares.patterns[pattern].row[0]) for pattern in shares.shapes[shape]) > len(shares.links[shape]):
            return None
        legs: list[Leg] = []
        places, left = tuple(order), sizes
        while places:
            share = shares.share((shape,))
            ticks, keep, remaining = until_some_arrive(left, share.speeds[0])
            patterns, going = shares.shapes[shape], set(keep)
            ended = [place for place in range(len(places)) if place not in going]
            gone = tuple(sorted(places[place] for place in ended))
            theirs = np.isin(share.links, np.concatenate([shares.patterns[patterns[place]].loads[0] for place in ended]))
            links, amounts = share.links[theirs], share.amounts[theirs]
            few = pairs(links, amounts) if len(links) <= SHORT else None
            legs.append(Leg(share, shape, left, ticks, places, gone, links, amounts, few))
            places, left = tuple(places[place] for place in keep), column([float(remaining[place]) for place in keep])
            if places:
                shape = shares.shape(tuple(patterns[place] for place in keep))
        return cls(plan, tuple(order), tuple(legs))

    @property
    def ticks(self) -> int:
        """From the first byte to the last [ps]."""
        return sum(leg.ticks for leg in self.legs)


@dataclass(slots=True, eq=False)
class Lone:
    """Such flows. ``start``: when the leg under way began [ps]; -1 before the first. ``version`` counts as a part's does."""

    operations: Sequence[OperationClass]
    course: Course
    ended: Ended
    serial: int = 0
    start: int = -1
    number: int = 0  # of the leg
    version: int = 0

    @property
    def leg(self) -> Leg:
        """The one under way, or the first."""
        return self.course.legs[self.number]

    def state(self) -> tuple[object, ...]:
        """What it is, and how far."""
        return (*(self.operations[place].key for place in self.leg.places), self.number, self.start >= 0)

    def bundle(self) -> Bundle:
        """What has not ended of it, as a transfer whose rates are solved."""
        return Bundle(self.operations, self.course.plan, list(self.leg.places), self.ended)

    def part(self, serial: int) -> Part:
        """What of it is under way, as a contest of its own, since the leg began."""
        leg = self.leg
        part = Part(self.serial, self.bundle(), leg.shape, leg.sizes, self.start, leg.share.speeds[0])
        part.contest = Contest(serial, [part], leg.share, self.start)
        return part
