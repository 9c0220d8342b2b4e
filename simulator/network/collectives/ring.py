"""Ring: each rank sends to its neighbour only, n - 1 times (all-reduce twice that).

A broadcast goes down the ring as a pipeline: everybody hands on all of it. Leaves out: that its last hop is not needed.
A send-recv is one message of the whole payload to the neighbour.
"""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from topologies.fabric import Ints
from workloads.instructions import Communication


def ring(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """(n - 1) / n x payload to the next rank of the group in n - 1 steps of payload / n; all-reduce 2 (n - 1) steps."""
    place = int(np.searchsorted(members, rank))
    size = len(members)
    peers = members[(place + 1) % size : (place + 1) % size + 1]
    if communication.collective == "send-recv":
        return Pattern(((Exchange(peers, communication.payload),),), survives="turns")
    if communication.collective not in ("all-gather", "reduce-scatter", "all-reduce", "broadcast"):
        raise refusal(communication, f"a ring {communication.collective} is not modelled")
    steps = (2 if communication.collective == "all-reduce" else 1) * (size - 1)
    total = communication.payload * (1.0 if communication.collective == "broadcast" else steps / size)
    return Pattern(((Exchange(peers, total, steps, relayed=True),),), survives="turns")
