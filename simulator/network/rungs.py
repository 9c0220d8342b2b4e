"""How exact an operation's time is on a fold in which some defects are not told apart (relaxed).

On such a fold every link of a class has no more than its weakest link has left. Where no limit of a relaxed class stops a
flow, that changes nothing: the rates are feasible on the real links, and every flow still has its full link (theorem 4 of
docs/network.md read backwards). Otherwise the last byte still comes at the right time if the flows of a phase start together
with sizes in proportion to weights: the busiest link is as busy as it was (theorem 2). Else the time is a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from simulator.network.contract import FlowClass, LinkClass
from simulator.network.drain import busiest, events, proportional
from simulator.network.phase import Phase

Rung = Literal["exact", "makespan-only", "approximate"]

#: A link above this part of its capacity is full.
FULL = 1.0 - 1e-9


def judge(phases: Iterable[Sequence[FlowClass]], link_classes: Sequence[LinkClass]) -> Rung:
    """The rung of an operation that has the links to itself."""
    full = [phase for phase in phases if _held_up(phase, link_classes) or stopping(phase, link_classes)]
    if not full:
        return "exact"
    return "makespan-only" if all(proportional(phase) for phase in full) else "approximate"


def _held_up(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> bool:
    """Whether theorem 2 says without draining that a relaxed class is full: it is the busiest one."""
    _, link = busiest(phase, link_classes)
    return link >= 0 and link_classes[link].relaxed and proportional(phase)


def stopping(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> set[int]:
    """The relaxed link classes that are full at some time of the phase."""
    relaxed = {link for link in np.unique(Phase.of(phase).links).tolist() if link_classes[link].relaxed}
    if not relaxed:
        return set()
    full: set[int] = set()
    for event in events(phase, link_classes):
        used = event.used >= event.capacity * FULL
        full |= relaxed.intersection(event.links[np.flatnonzero(used)].tolist())
    return full
