"""Redundant experts: spare places on every rank of an expert-parallel group that hold copies of experts others are home to.

Every rank has (experts + redundant) / ep places, as many as its own experts and some spare. Copies are dealt out for the mean
load of a layer over the step: the heaviest expert of the most loaded rank is copied to the least loaded rank that has a place
left and none of it, as long as that rank stays below. Tokens are shared evenly among the copies of an expert. What no copy would
improve stays empty: a balanced router leaves all of them so, and they cost memory only.

After the gradients of all places are reduced over the ranks that hold the same, those of a copy go to the expert's home, which
updates it and sends its weights back. Every rank sends and gets as much as its own copies and experts say.

Leaves out: which of two ranks sends to which (both totals are kept, pairs are filled in proportion); copies that change within
a step; experts that move house.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.instructions import Skew
from workloads.popularity import Floats, Ints

#: A copy must leave its rank this much below the most loaded one, or it moves load to and fro.
GAIN = 1e-9

#: Rounds of scaling, and how close totals then are.
ROUNDS, CLOSE = 2000, 1e-12


@dataclass(frozen=True, slots=True)
class Spares:
    """The copies of a step, averaged over layers: ``out`` held by each position for others, ``into`` of its experts elsewhere.

    ``places``: experts that a position has room for; ``experts`` of the model.
    """

    places: int
    experts: int
    out: tuple[float, ...]
    into: tuple[float, ...]

    @property
    def share(self) -> float:
        """Places over the experts that a position is home to, on average."""
        return self.places * len(self.out) / self.experts

    @property
    def copies(self) -> float:
        """Copies in a group."""
        return sum(self.out)

    def skew(self) -> Skew | None:
        """Gradients of one expert's size going home, as shares of it from position to position; None without a copy."""
        if not self.copies:
            return None
        return Skew(*_margins(np.array(self.out), np.array(self.into)))


def home_of(experts: int, ep: int) -> Ints:
    """The position that holds each expert, neighbours together.

    >>> home_of(6, 4).tolist(), home_of(4, 2).tolist()
    ([0, 0, 1, 2, 2, 3], [0, 0, 1, 1])
    """
    return np.arange(experts, dtype=np.int64) * ep // experts


def hosted(shares: Floats, homes: Ints, ep: int, places: int) -> Floats:
    """Who holds what, 1 or 0 [positions, experts], when copies are dealt out for these shares of the load.

    >>> hosted(np.array([0.7, 0.1, 0.1, 0.1]), np.array([0, 0, 1, 1]), 2, 3).tolist()
    [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0]]
    """
    found = np.zeros((ep, len(shares)))
    found[homes, np.arange(len(shares))] = 1.0
    while True:
        each = shares / found.sum(axis=0)
        load = found @ each
        chosen = _copy(found, each, load, places)
        if chosen is None:
            return found
        found[chosen] = 1.0


def _copy(found: Floats, each: Floats, load: Floats, places: int) -> tuple[int, int] | None:
    """The next copy (position, expert), None where none helps; the lowest numbers among equals."""
    most = int(np.argmax(np.round(load, 12)))
    copies = found.sum(axis=0)
    room = found.sum(axis=1) < places
    for expert in np.argsort(-np.round(np.where(found[most] > 0.0, each, 0.0), 12), kind="stable").tolist():
        if not found[most, expert] or each[expert] <= 0.0:
            return None
        free = room & (found[:, expert] == 0.0)
        if not free.any():
            continue
        target = int(np.argmin(np.where(free, np.round(load, 12), np.inf)))
        if load[target] + each[expert] * copies[expert] / (copies[expert] + 1.0) < load[most] * (1.0 - GAIN):
            return target, expert
    return None


def counts(found: Floats, homes: Ints) -> tuple[Floats, Floats]:
    """Copies that each position holds for others, and copies elsewhere of the experts it is home to."""
    ep, experts = found.shape
    away = found.copy()
    away[homes, np.arange(experts)] = 0.0
    into = np.bincount(homes, weights=away.sum(axis=0), minlength=ep)
    return away.sum(axis=1), into.astype(np.float64)


def _margins(out: Floats, into: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Factors a, b such that a_s b_d over all d but s sum to out_s, and over all s but d to into_d.

    Found by scaling rows and columns in turn. Where some pairs can only be empty that creeps; what is left then is made up for
    by sending a little more everywhere, never less than there is.
    """
    a, b = out.copy(), into / into.sum()
    for _ in range(ROUNDS):
        rest = b.sum() - b
        a = np.divide(out, rest, out=np.zeros_like(out), where=rest > 0.0)
        rest = a.sum() - a
        b = np.divide(into, rest, out=np.zeros_like(into), where=rest > 0.0)
        sent = a * (b.sum() - b)
        if np.abs(sent - out).max() <= CLOSE * out.max():
            break
    missing = np.divide(out, sent, out=np.ones_like(out), where=sent > 0.0).max()
    return tuple(float(f"{value:.12e}") for value in a * max(missing, 1.0)), tuple(float(f"{value:.12e}") for value in b)
