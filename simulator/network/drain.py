"""One operation alone: how long it takes, and what it can never beat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.contract import FlowClass, LinkClass, OperationClass
from simulator.network.maxmin import Loads, max_min
from simulator.network.phase import Phase
from topologies.adjacency import spans
from topologies.fabric import Floats, Ints

#: Ends closer than this times the time that has passed are one end: relative to what is left of the last flow, sums would tell
#: apart what symmetry makes equal.
TOGETHER = 1e-11

#: Levels closer than this count as one when flows end: to solve a flow again that keeps its rate is no harm.
ALIKE = 1e-9


def isolated_time(operation: OperationClass, link_classes: Sequence[LinkClass]) -> float:
    """Latency, then phase after phase drained at max-min rates with nobody else on the links [s]."""
    return operation.latency + sum(drain(phase, link_classes)[0] for phase in operation.phases)


def last_end(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> float:
    """When the last of the flows of a phase ends that start together with nobody else on the links [s].

    Where sizes are in proportion to weights that is the busiest link's bytes over its capacity (theorem 2 of docs/network.md),
    and nothing need be drained.
    """
    return busiest(phase, link_classes)[0] if proportional(phase) else drain(phase, link_classes)[0]


def proportional(phase: Sequence[FlowClass]) -> bool:
    """Whether the flows' sizes are in proportion to their weights, without caps: the condition of theorem 2."""
    flows = Phase.of(phase)
    some = flows.size > 0.0
    levels = flows.size[some] / flows.weight[some]
    alike = float(levels.max(initial=0.0)) <= float(levels.min(initial=math.inf)) * (1.0 + 1e-12)
    return alike and bool(np.isinf(flows.rate_cap).all())


def bytes_on_links(phase: Sequence[FlowClass], links: int) -> Floats:
    """Wire bytes that a phase puts on one link of each class [links]."""
    return Phase.of(phase).on_links(links)


def bound(operation: OperationClass, link_classes: Sequence[LinkClass]) -> float:
    """Latency, then for each phase the most loaded link's wire bytes over its raw capacity [s]: no schedule is faster."""
    return operation.latency + sum(busiest(phase, link_classes)[0] for phase in operation.phases)


def busiest_link(operation: OperationClass, link_classes: Sequence[LinkClass]) -> LinkClass | None:
    """The link class that needs most seconds for its bytes, in the phase that needs most; None if nothing is sent."""
    seconds, link = max((busiest(phase, link_classes) for phase in operation.phases), default=(0.0, -1))
    return link_classes[link] if seconds > 0.0 else None


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Some flows of a phase end at ``time`` [s]; until then ``used`` of the ``capacity`` of ``links`` was in use."""

    time: float
    ended: Ints
    used: Floats
    links: Ints
    capacity: Floats


def events(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> Iterator[Event]:
    """The flows of a phase start together at max-min rates with nobody else on the links: who ends when.

    When flows end, only those of their level and above can get another rate: a link that an ended flow crossed was full at its
    level or never, so filling below that level goes as before. The others keep their rates, and what they use.
    """
    flows = Phase.of(phase)
    sizes = flows.size
    running = np.flatnonzero(sizes > 0.0)
    if not len(running):
        return
    loads, links = flows.system(running)
    capacity = np.array([link_classes[link].capacity for link in links.tolist()])
    weight, rate_cap = flows.weight[running], flows.rate_cap[running]
    starts = np.searchsorted(loads.flow, np.arange(loads.flows + 1))
    rates = max_min(loads, capacity, weight, rate_cap)
    ends, levels = sizes[running] / rates, rates / weight  # as long as a flow keeps its rate, it keeps its end
    used, every = loads.on_links(rates), np.arange(len(loads.link), dtype=np.int64)
    rest = np.arange(loads.flows, dtype=np.int64)
    while len(rest):
        until = ends[rest]
        now = float(until.min())
        keep = until > now * (1.0 + TOGETHER)
        ended, rest = rest[~keep], rest[keep]
        yield Event(now, running[ended], used, links, capacity)
        again = rest[levels[rest] >= float(levels[ended].min()) * (1.0 - ALIKE)]
        gone = np.concatenate((ended, again)) if len(again) else ended
        used = used - _part(loads, starts, every, gone).on_links(rates[gone])
        if len(again):
            few = _part(loads, starts, every, again)
            met, place = np.unique(few.link, return_inverse=True)
            system = Loads(few.flow, place.astype(np.int64), few.load, few.flows, len(met))
            left = (ends[again] - now) * rates[again]
            rates[again] = max_min(system, (capacity - used)[met], weight[again], rate_cap[again])
            ends[again], levels[again] = now + left / rates[again], rates[again] / weight[again]
            used = used + few.on_links(rates[again])


def _part(loads: Loads, starts: Ints, every: Ints, flows: Ints) -> Loads:
    """The loads of some flows, renumbered in their order; those of flow f are entries ``starts[f]`` to ``starts[f + 1]``."""
    entries, owner = spans(every, starts, flows)
    return Loads(owner, loads.link[entries], loads.load[entries], len(flows), loads.links)


def drain(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> tuple[float, list[float]]:
    """Time until all flows that start together have ended, and each one's own end [s]."""
    ends = np.zeros(len(phase))
    now = 0.0
    for event in events(phase, link_classes):
        now = event.time
        ends[event.ended] = now
    return now, ends.tolist()


def busiest(phase: Sequence[FlowClass], link_classes: Sequence[LinkClass]) -> tuple[float, int]:
    """The link class that needs most seconds for its bytes, and these (or those of a capped flow, if more); -1 for none."""
    flows = Phase.of(phase)
    seconds = flows.on_links(len(link_classes)) / np.array([link.capacity for link in link_classes])
    some = np.isfinite(flows.rate_cap)
    capped = float((flows.size[some] / flows.rate_cap[some]).max(initial=0.0))
    if not seconds.any():
        return capped, -1
    link = int(np.argmax(seconds >= seconds.max() * (1.0 - 1e-12)))  # of equals the first, however their sums were rounded
    return max(float(seconds.max()), capped), link
