"""Direct exchange: every rank sends every other its share, all at once.

With a skew the shares differ: an all-to-all-v, in which position s sends position d payload x send[s] x receive[d] bytes.
A dispatch or combine by kernels that send one copy a rank (``deduplicate``) sends less of either: see dispatch.py.
"""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.dispatch import left_of_copies, merged
from simulator.network.collectives.pattern import ANYWHERE, Exchange, Pattern, others, refusal
from simulator.spec.errors import InputError
from topologies.fabric import Floats, Ints
from workloads.instructions import Communication


def direct(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """Payload / n to each of the n - 1 others; an all-reduce does it twice (reduce-scatter, then all-gather).

    With the payload conventions of ``Communication`` the same line serves all-to-all (a share is 1/n of what a rank
    holds), all-gather (1/n of the gathered result), reduce-scatter (1/n of the input), dispatch and combine (each
    expert's rank is as likely as any other). Not for a broadcast, which has one sender, nor a send-recv, which has one receiver.
    """
    if communication.collective in ANYWHERE:
        raise refusal(communication, f"a direct {communication.collective} is not modelled")
    if communication.skew is not None:
        sizes = to_each(communication, members, rank)
        return Pattern(((Exchange.of_sizes(others(members, rank), sizes[members != rank]),),))
    once = communication.deduplicate and communication.collective in ("dispatch", "combine")
    left = merged(1.0 / len(members), communication.top_k) if once else 1.0
    exchange = Exchange(others(members, rank), communication.payload / len(members) * left)
    rounds = 2 if communication.collective == "all-reduce" else 1
    return Pattern(((exchange,),) * rounds)


def to_each(communication: Communication, members: Ints, rank: int) -> Floats:
    """What ``rank`` sends to each member under a skew, itself included [B]."""
    skew = communication.skew
    assert skew is not None
    if len(skew.send) != len(members):
        raise InputError(
            f"{communication.name}: a group of {len(members)} ranks has as many loads", got=len(skew.send), do="Check the skew."
        )
    send, receive = np.array(skew.send), np.array(skew.receive)
    if communication.deduplicate and communication.collective in ("dispatch", "combine"):
        receive = receive * left_of_copies(skew, communication, 1)
    at = int(np.searchsorted(members, rank))
    if communication.collective == "combine":
        return np.asarray(communication.payload * receive[at] * send, dtype=np.float64)
    return np.asarray(communication.payload * send[at] * receive, dtype=np.float64)
