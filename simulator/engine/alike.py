"""What a rank did by itself in a slot, handed to ranks that do the same on other links.

A rank that meets nobody in a slot sends and computes there as its blocks say and as its links let it. Pipeline ranks of the same
layers run the same blocks, and their collectives load links of their own, as a rule in the same way. If they do (the same flows,
in the same order, on links of the same capacities that meet in the same places), then everything that decides the course of
the slot is the same but for the names of links and operations, and so is the course: one of them is rehearsed for all.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from simulator.network.contract import LinkClass, OperationClass
from simulator.network.history import History
from simulator.network.shares import Shares

Likeness = tuple[object, ...]


def likeness(operations: Sequence[OperationClass], rank_class: int, link_classes: Sequence[LinkClass]) -> Likeness | None:
    """All that decides how these operations of one rank class go, links numbered as they are met; None if others are in them.

    Equal for two rank classes: their operations, one for one, take the same time alone and beside each other.
    """
    numbers: dict[int, int] = {}
    found: list[object] = []
    for operation in operations:
        if operation.participants != (rank_class,):
            return None
        phases: list[object] = []
        for phase in operation.phases:
            flows: list[object] = []
            for flow in phase:
                if flow.source_class != rank_class or flow.target_class != rank_class:
                    return None
                links = tuple([numbers.setdefault(link, len(numbers)) for link in flow.links.tolist()])
                ends = flow.flows_per_source, flow.flows_per_target
                flows.append((links, tuple(flow.load.tolist()), flow.size, flow.weight, flow.rate_cap, ends))
            phases.append(tuple(flows))
        found.append((operation.kind, operation.latency, tuple(phases)))
    return *found, tuple([link_classes[link].capacity for link in numbers])


def handed(history: History, shares: Shares, ours: Sequence[OperationClass], theirs: Sequence[OperationClass]) -> History:
    """What the network did for one rank, as it does it for another; ``theirs`` are the other's operations, alike one for one."""
    patterns = {}
    for one, other in zip(ours, theirs, strict=True):
        for phase, another in zip(one.phases, other.phases, strict=True):
            for flow, counterpart in zip(phase, another, strict=True):
                patterns[shares.pattern(flow, one.kind)] = shares.pattern(counterpart, other.kind)
    of = {key: shares.counterpart(key, patterns).key for key in sorted(set(history.share))}
    by_key = {one.key: other for one, other in zip(ours, theirs, strict=True)}
    return History(
        start=history.start,
        end=history.end,
        share=array("q", [of[key] for key in history.share]),
        completed={by_key[key].key: times for key, times in history.completed.items()},
        operations={by_key[key].key: by_key[key] for key in history.operations},
    )
