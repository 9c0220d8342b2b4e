"""Reduction in the switch (NVLink SHARP): ranks write to and read from all others through one multicast address.

To reduce its slice of S / n a rank has the switch fetch it from all n ranks and add: every rank sends S, its own slice included,
and receives S / n. To share the sum it sends S / n, which the switch copies to all: every rank receives S. So a rank
sends and receives S (1 + 1/n) instead of the 2 S (n - 1) / n of a ring.

Over several domains (NVLS tree) each rail of S / g is reduced over the domains in between, along the double binary tree.
Only for ranks that one level of switches joins. All-gather and reduce-scatter gain nothing: one direction carries S anyway.
"""

from __future__ import annotations

from simulator.network.collectives.hierarchical import cut_by_domain
from simulator.network.collectives.pattern import Exchange, Pattern, refusal
from simulator.network.collectives.tree import across
from simulator.spec.errors import NotModelled
from topologies.fabric import Ints
from workloads.instructions import Communication


def in_switch(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """An all-reduce with the additions done by the switches of a domain, with trees over the rails between domains."""
    if communication.collective != "all-reduce":
        raise refusal(communication, f"switches reduce for an all-reduce, not for {communication.collective}")
    cut = cut_by_domain(members, rank, communication, domain)
    if cut.within < 2:
        raise NotModelled(f"{communication.name}: no two ranks of the group share a domain's switches. Choose tree.")
    total = communication.payload * (1.0 + 1.0 / cut.within)
    exchanges = [Exchange(cut.inner, total / len(cut.inner))]
    if cut.across > 1:
        outside, steps = across(communication.payload / cut.within, cut.across, 2)
        exchanges.append(Exchange(cut.outer, outside / len(cut.outer), steps))
    return Pattern((tuple(exchanges),))
