"""Parts of a collective that nothing slows: they run at the rates they have alone, from one end of a flow to the next.

As long as no link that they cross is overfull, leaving the others out changes nothing (theorem 4 of docs/network.md). What they
do then is counted once for all times that the same operation is launched; the fluid server makes them rivals of the others the
moment a link of theirs would be overfull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.shares import Column, Share, Shares
from simulator.network.transfers import Contest, Part, Transfer, chosen, until_some_arrive
from topologies.fabric import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """From one end to the next, ``ticks`` later [ps]: flows of one ``shape``, with ``sizes`` left as it begins [B].

    ``keep``: places of the flows that go on after it, with ``left`` [B]. ``more``: links that carry more than in the leg before,
    all in the first; None: there are none, so nothing can become overfull as it begins.
    """

    share: Share
    shape: int
    sizes: Column
    ticks: int
    keep: Sequence[int]
    left: Column
    more: Ints | None


class Legs:
    """The way of one part of an operation, counted as far as somebody got undisturbed."""

    __slots__ = ("_known", "_shares")

    def __init__(self, shares: Shares, shape: int, sizes: Column) -> None:
        self._shares = shares
        self._known: list[Leg] = [self._counted(shape, sizes, None)]

    @property
    def first(self) -> Leg:
        """With which it begins."""
        return self._known[0]

    def after(self, number: int) -> Leg | None:
        """The leg after one; None if all has arrived by then."""
        known = self._known
        if number + 1 < len(known):
            return known[number + 1]
        last = known[number]
        if not last.keep:
            return None
        leg = self._counted(self._shares.left(last.shape, last.keep), chosen(last.left, last.keep), last.share)
        known.append(leg)
        return leg

    def _counted(self, shape: int, sizes: Column, before: Share | None) -> Leg:
        share = self._shares.share((shape,))
        ticks, keep, left = until_some_arrive(sizes, share.speeds[0])
        return Leg(share, shape, sizes, ticks, keep, left, share.links if before is None else _more(share, before))


@dataclass(slots=True, eq=False)
class Undisturbed:
    """One of them under way: its ``leg``, the ``number`` of that, and when it began [ps]. ``serial``: -1 before it sets out;
    ``version`` counts as a part's does.
    """

    transfer: Transfer
    legs: Legs
    leg: Leg
    number: int = 0
    serial: int = -1
    start: int = 0
    version: int = 0

    def state(self) -> tuple[object, ...]:
        """What it is, and how far."""
        return (*self.transfer.state(), self.leg.shape, self.number)

    def part(self, serial: int) -> Part:
        """The same as a part that others may slow."""
        leg = self.leg
        return Part(serial, self.transfer, leg.shape, leg.sizes, self.start, leg.share.speeds[0])

    def rival(self, serial: int) -> Part:
        """The same in a contest of its own, since the leg began."""
        part = self.part(serial)
        part.contest = Contest(self.serial, [part], self.leg.share, self.start)
        return part


def _more(share: Share, before: Share) -> Ints | None:
    """The links on which one share carries more than the one before it, which had the same flows and others."""
    more: Ints = share.links[share.amounts > before.amounts[np.searchsorted(before.links, share.links)]]
    return more if len(more) else None
