"""What one rank does in a collective: the vocabulary of the algorithms in this folder.

An algorithm is a plain function ``(members, rank, communication, domain) -> Pattern``: ``members`` are the ranks of the
group, ascending; ``domain`` is the size of a scale-up domain (domain d holds ranks d*domain .. (d+1)*domain - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.spec.errors import NotModelled
from topologies.fabric import Floats, Ints
from workloads.instructions import Communication

ANYWHERE = {"broadcast": "ring or binomial-tree", "send-recv": "ring"}
"""What does a collective on any group at all, where that is not ``direct``."""


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """``payload`` bytes from the rank to each of ``peers``, over ``steps`` successive messages of latency.

    ``sizes`` [peers] says what each gets where they do not all get the same; ``payload`` is then the most.
    Each step waits for the slowest peer, unless it is ``relayed``: then steps go on from rank to rank (a ring) and meet
    each rank's hop in turn, the mean hop on average.
    """

    peers: Ints
    payload: float
    steps: int = 1
    relayed: bool = False
    sizes: Floats | None = None

    @classmethod
    def of_sizes(cls, peers: Ints, sizes: Floats) -> Exchange:
        """One message to each peer that gets any bytes."""
        some = sizes > 0.0
        return cls(peers[some], float(sizes.max(initial=0.0)), sizes=sizes[some])

    @property
    def bytes_to(self) -> Floats:
        """What each peer gets [B]."""
        return np.full(len(self.peers), self.payload) if self.sizes is None else self.sizes


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Phases in order; the exchanges of one phase run at once (pipelined), their latencies add up.

    ``survives`` says which renumberings of the group leave it what it is: any swap within a sub-dimension, only turning
    the outermost one (a ring), only flips of bits (halving), or nothing (a tree with a root).
    """

    phases: tuple[tuple[Exchange, ...], ...]
    survives: Literal["swaps", "turns", "flips", "nothing"] = "swaps"


Algorithm = Callable[[Ints, int, Communication, int], Pattern]


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """A group cut at the domain boundary, seen from one rank.

    ``inner``: the others in its domain; ``outer``: its counterparts, at the same place of every other domain;
    ``within`` x ``across`` = group size.
    """

    inner: Ints
    outer: Ints
    within: int
    across: int


def refusal(communication: Communication, rule: str) -> NotModelled:
    """Why an algorithm does not do a collective, and one that does."""
    return NotModelled(f"{communication.name}: {rule}. Choose {ANYWHERE.get(communication.collective, 'direct')}.")


def others(members: Ints, rank: int) -> Ints:
    """The group without the rank itself."""
    rest: Ints = members[members != rank]
    return rest


def levels(members: Ints, rank: int, domain: int) -> Levels | None:
    """The group by domain, or None if it does not hold the same places in each of its domains.

    >>> cut = levels(np.array([0, 1, 8, 9]), 9, 8)
    >>> cut.inner.tolist(), cut.outer.tolist(), cut.within, cut.across
    ([8], [1], 2, 2)
    """
    places = members % domain
    across = len(np.unique(members // domain))
    within = len(members) // across
    if within * across != len(members) or not np.array_equal(places, np.tile(places[:within], across)):
        return None
    mine, place = members // domain == rank // domain, places == rank % domain
    inner = members[mine & (members != rank)]
    outer = members[place & (members != rank)]
    return Levels(inner, outer, within, across)
