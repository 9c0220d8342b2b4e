"""As many rings as ranks of a scale-up domain, each leaving a domain over another rail: how NCCL rings span servers.

With g ranks of the group in each of G domains, n = g G, each ring carries payload / g; it passes through all ranks of a
domain and goes on to the next domain over a rail of its own. Each of its hops carries

    c S / g,  c = (n - 1) / n for all-gather and reduce-scatter, 2 (n - 1) / n for all-reduce, 1 for broadcast,

so a rank sends g - 1 of these to ranks of its own domain, one of each ring, and one over its rail (in a single domain all
g inside). A library numbers its rings so that they use all peers of a domain alike, and all pairs of domains in turn:
here both are spread evenly, which loads ports, rails and leaf switches as the rings do and keeps every symmetry.

Leaves out: which spine links a ring's neighbours happen to use; a broadcast's last hop, which nobody needs.
"""

from __future__ import annotations

from simulator.network.collectives.hierarchical import cut_by_domain
from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from topologies.fabric import Ints
from workloads.instructions import Communication

ROUNDS = {"all-gather": 1, "reduce-scatter": 1, "all-reduce": 2, "broadcast": 1}


def rail_rings(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """The bytes of all rings of one rank, spread over its peers; the steps of one ring."""
    collective, size = communication.collective, len(members)
    if collective not in ROUNDS:
        raise refusal(communication, f"rings of {collective} are not modelled")
    cut = cut_by_domain(members, rank, communication, domain)
    rounds = ROUNDS[collective]
    share = rounds * (1.0 if collective == "broadcast" else (size - 1) / size)
    hop = share * communication.payload / cut.within
    # A chunk of an all-reduce crosses to each domain twice; else it ends before it is back where it began.
    crossings = 0 if cut.across == 1 else 2 * cut.across if rounds == 2 else cut.across - 1
    exchanges = []
    if len(cut.inner):
        inside = hop if len(cut.outer) else hop * cut.within / len(cut.inner)
        exchanges.append(Exchange(cut.inner, inside, rounds * (size - 1) - crossings, relayed=True))
    if len(cut.outer):
        exchanges.append(Exchange(cut.outer, hop / len(cut.outer), crossings, relayed=True))
    return Pattern((tuple(exchanges),))
