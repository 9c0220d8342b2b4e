"""How the links were used, as the result states it: per tier, who sent what, what saturated first."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from simulator.engine.clock import PICOSECONDS
from simulator.engine.recorder import LinkSeries
from simulator.network.fold import Fold
from simulator.network.usage import LinkUse, Usage
from simulator.results import NetworkResult, TierUse


def network_result(folding: Fold, usage: Usage, end: int) -> NetworkResult:
    """The network part of a result, from the use of every link class over a step of ``end`` [ps]."""
    step = end / PICOSECONDS
    links = usage.links()
    by_tier: dict[str, list[LinkUse]] = {}
    for link in links:
        by_tier.setdefault(link.link_class.tier, []).append(link)
    efficiency = {tier.name: tier.efficiency for tier in folding.fabric.tiers}
    saturated = [link for link in links if link.first_saturated is not None]
    first = min(saturated, key=lambda link: link.first_saturated or 0.0, default=None)
    busiest = max(links, key=lambda link: link.busiest_seconds, default=None)
    rungs = {operation.name: operation.rung for operation in folding.operations}
    return NetworkResult(
        tiers={tier: _tier_use(found, step, efficiency.get(tier)) for tier, found in by_tier.items()},
        first_to_saturate=first.link_class.example if first else None,
        first_saturation_s=first.first_saturated if first else None,
        busiest_link=busiest.link_class.example if busiest else None,
        sent_bytes=usage.sent_bytes,
        rung=worst_rung(rungs.values()),
        rungs=rungs,
    )


def series(folding: Fold, usage: Usage) -> tuple[LinkSeries, ...]:
    """Utilisation over time of every link class that carried anything."""
    return tuple(
        LinkSeries(link_class.example, link_class.tier, partial(usage.steps, link_class.key))
        for link_class in folding.link_classes
        if usage.peak(link_class.key) > 0.0
    )


def worst_rung(rungs: Iterable[str]) -> str:
    """The least exact of the rungs that answered.

    >>> worst_rung(["exact", "approximate"])
    'approximate'
    """
    order = ("exact", "makespan-only", "approximate")
    return max(rungs, key=order.index, default="exact")


def _tier_use(links: list[LinkUse], step: float, efficiency: float | None) -> TierUse:
    """``efficiency`` None: pooled ports, which mix tiers and so have wire bytes only."""
    count = sum(link.link_class.size for link in links)
    capacity = sum(link.link_class.size * link.link_class.capacity for link in links)
    wire: dict[str, float] = {}
    for link in links:
        for kind, amount in link.wire_bytes.items():
            wire[kind] = wire.get(kind, 0.0) + amount * link.link_class.size
    payload = {} if efficiency is None else {kind: amount * efficiency for kind, amount in wire.items()}
    return TierUse(
        mean_utilisation=sum(wire.values()) / capacity / step,
        peak_utilisation=max(link.peak for link in links),
        saturated_s=max(link.saturated for link in links),
        capacity_bytes_per_s=capacity / count,
        links=count,
        payload_bytes=payload,
        wire_bytes=wire,
    )
