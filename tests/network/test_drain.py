"""One phase drained: solving again only what an end can change, against solving everything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.network.contract import FlowClass, LinkClass
from simulator.network.drain import drain, events
from simulator.network.maxmin import Loads, is_max_min, max_min


def random_phase(seed: int) -> tuple[list[FlowClass], list[LinkClass]]:
    """Flows of unlike sizes, weights and caps, some of them equal, over a few links each."""
    rng = np.random.default_rng(seed)
    flows, links = int(rng.integers(2, 60)), int(rng.integers(1, 20))
    sizes = rng.choice([0.0, 1.0, 1.0, 2.0, *rng.uniform(0.5, 3.0, 2)], flows)
    phase = []
    for size in sizes.tolist():
        met = np.sort(rng.choice(links, int(rng.integers(1, min(links, 4) + 1)), replace=False))
        load = rng.choice([0.5, 1.0, 1.0 / 3.0], len(met))
        cap = float(rng.choice([math.inf, math.inf, 0.2]))
        phase.append(FlowClass(met, load, size, 1, 0, 1.0, 0, 1.0, float(rng.choice([1.0, 1.0, 2.0])), cap))
    return phase, [LinkClass(link, "", float(rng.choice([1.0, 1.0, rng.uniform(0.5, 4.0)])), 1, "") for link in range(links)]


def solved_anew(phase: list[FlowClass], links: list[LinkClass]) -> list[float]:
    """Each flow's end with the whole system solved after every end."""
    capacity = np.array([link.capacity for link in links])
    left, ends, now = np.array([flow.size for flow in phase]), np.zeros(len(phase)), 0.0
    while (left > 0.0).any():
        chosen = np.flatnonzero(left > 0.0)
        some = [phase[flow] for flow in chosen.tolist()]
        loads = Loads(
            np.repeat(np.arange(len(some)), [len(flow.links) for flow in some]),
            np.concatenate([flow.links for flow in some]),
            np.concatenate([flow.load for flow in some]),
            len(some),
            len(links),
        )
        weight, cap = np.array([flow.weight for flow in some]), np.array([flow.rate_cap for flow in some])
        rates = max_min(loads, capacity, weight, cap)
        assert is_max_min(loads, capacity, rates, weight, cap)
        step = float((left[chosen] / rates).min())
        now += step
        left[chosen] -= rates * step
        done = chosen[left[chosen] <= 1e-11 * rates * now]
        left[done], ends[done] = 0.0, now
    return ends.tolist()


@pytest.mark.parametrize("seed", range(60))
def test_every_end_is_that_of_solving_everything_again(seed: int) -> None:
    phase, links = random_phase(seed)
    last, ends = drain(phase, links)
    assert ends == pytest.approx(solved_anew(phase, links), rel=1e-10)
    assert last == max(ends)


@pytest.mark.parametrize("seed", range(20))
def test_no_link_is_above_its_capacity_and_every_flow_ends_once(seed: int) -> None:
    phase, links = random_phase(seed)
    ended: list[int] = []
    for event in events(phase, links):
        assert np.all(event.used <= event.capacity * (1.0 + 1e-9))
        assert np.all(event.used >= -1e-9)
        ended += event.ended.tolist()
    assert sorted(ended) == [place for place, flow in enumerate(phase) if flow.size > 0.0]
