"""One operation alone: how long it takes, and what it can never beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.network.maxmin import Loads, max_min
from topologies.fabric import Floats


def isolated_time(operation: OperationClass, link_classes: Sequence[LinkClass]) -> float:
    """Latency, then phase after phase drained at max-min rates with nobody else on the links [s]."""
    return operation.latency + sum(drain(phase, link_classes)[0] for phase in operation.phases)


def bound(operation: OperationClass, link_classes: Sequence[LinkClass]) -> float:
    """Latency, then for each phase the most loaded link's wire bytes over its raw capacity [s]: no schedule is faster."""
    return operation.latency + sum(_busiest(phase, link_classes)[0] for phase in operation.phases)


def busiest_link(operation: OperationClass, link_classes: Sequence[LinkClass]) -> LinkClass | None:
    """The link class that needs most seconds for its bytes, in the phase that needs most; None if nothing is sent."""
    seconds, link = max((_busiest(phase, link_classes) for phase in operation.phases), default=(0.0, -1))
    return link_classes[link] if seconds > 0.0 else None


def drain(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> tuple[float, list[float]]:
    """Time until all flows that start together have ended, and each one's own end [s]."""
    ends = [0.0] * len(phase)
    left = {index: flow.size for index, flow in enumerate(phase) if flow.size > 0.0}
    now = 0.0
    while left:
        flows = [phase[index] for index in left]
        rates = max_min(*_system(flows, link_classes))
        needed = np.array(list(left.values())) / rates
        step = float(needed.min())
        now += step
        for index, rate, time in zip(list(left), rates.tolist(), needed.tolist(), strict=True):
            left[index] -= rate * step
            if time <= step * (1.0 + 1e-12):
                ends[index] = now
                del left[index]
    return now, ends


def _busiest(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> tuple[float, int]:
    seconds: dict[int, float] = {}
    for flow in phase:
        for link, load in zip(flow.links.tolist(), flow.load.tolist(), strict=True):
            seconds[link] = seconds.get(link, 0.0) + load * flow.size / link_classes[link].capacity
    capped = max((flow.size / flow.rate_cap for flow in phase if math.isfinite(flow.rate_cap)), default=0.0)
    link, most = max(seconds.items(), key=lambda item: item[1], default=(-1, 0.0))
    return max(most, capped), link


def _system(flows: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> tuple[Loads, Floats, Floats, Floats]:
    """Loads, capacities, weights and rate caps of these flows on the links they use."""
    used, places = np.unique(np.concatenate([flow.links for flow in flows]), return_inverse=True)
    loads = Loads(
        flow=np.repeat(np.arange(len(flows)), [len(flow.links) for flow in flows]),
        link=places.astype(np.int64),
        load=np.concatenate([flow.load for flow in flows]),
        flows=len(flows),
        links=len(used),
    )
    capacity = np.array([link_classes[link].capacity for link in used.tolist()])
    return loads, capacity, np.array([flow.weight for flow in flows]), np.array([flow.rate_cap for flow in flows])
