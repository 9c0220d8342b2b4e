"""Direct exchange: every rank sends every other its share, all at once."""

from __future__ import annotations

from simulator.network.collectives.pattern import Exchange, Pattern, others
from simulator.spec.errors import NotModelled
from topologies.fabric import Ints
from workloads.instructions import Communication


def direct(members: Ints, rank: int, communication: Communication, _domain: int) -> Pattern:
    """Payload / n to each of the n - 1 others; an all-reduce does it twice (reduce-scatter, then all-gather).

    With the payload conventions of ``Communication`` the same line serves all-to-all (a share is 1/n of what a rank
    holds), all-gather (1/n of the gathered result), reduce-scatter (1/n of the input), dispatch and combine (each
    expert's rank is as likely as any other). Not for a broadcast, which has one sender.
    """
    if communication.collective == "broadcast":
        raise NotModelled(f"{communication.name}: a direct broadcast is not modelled. Choose ring, tree or binomial-tree.")
    exchange = Exchange(others(members, rank), communication.payload / len(members))
    rounds = 2 if communication.collective == "all-reduce" else 1
    return Pattern(((exchange,),) * rounds)
