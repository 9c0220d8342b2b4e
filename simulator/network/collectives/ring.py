"""Ring: each rank sends to its neighbour only, n - 1 times (all-reduce twice that)."""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.pattern import Exchange, Pattern
from simulator.spec.errors import NotModelled
from topologies.fabric import Ints
from workloads.instructions import Communication


def ring(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """(n - 1) / n x payload to the next rank of the group in n - 1 steps of payload / n; all-reduce 2 (n - 1) steps."""
    if communication.collective not in ("all-gather", "reduce-scatter", "all-reduce"):
        raise NotModelled(f"{communication.name}: a ring {communication.collective} is not modelled. Choose direct.")
    size = len(members)
    steps = (2 if communication.collective == "all-reduce" else 1) * (size - 1)
    place = int(np.searchsorted(members, rank))
    peers = members[(place + 1) % size : (place + 1) % size + 1]
    return Pattern(((Exchange(peers, communication.payload / size * steps, steps, relayed=True),),), survives="turns")
