"""What a rehearsed slot puts on links, read off its history: what the use of links says of the same network."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.engine.clock import Clock
from simulator.engine.watch import Traffic
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.history import History
from simulator.network.usage import Usage
from tests.network import fabrics
from tests.network.doubles import communication
from workloads.groups import Groups

SECOND = 1_000_000_000_000


def test_traffic_is_the_use_of_links_over_time() -> None:
    """Two exchanges that overlap: steps, peaks and links of the traffic are those of the use, wire bytes over capacity."""
    fold, clock = Fold(fabrics.mesh((4, 2), (1.0, 2.0)), Groups(1, 1, 8, 1), symmetric=False), Clock()
    network = FluidNetwork(clock, fold)
    for when, size in ((0.0, 8.0), (1.5, 4.0)):
        operation = fold.collective(0, communication("all-to-all", "dp", size))
        clock.call_at(round(when * SECOND), lambda operation=operation: network.launch(operation))  # type: ignore[misc]
    clock.run()
    traffic, usage = Traffic.of(network.history, network.shares), Usage(network)
    used = [link for link in fold.link_classes if usage.steps(link.key)[1].any()]
    assert traffic.links.tolist() == [link.key for link in used] == sorted(traffic.met)
    for link, peak in zip(used, traffic.peaks.tolist(), strict=True):
        times, values = traffic.load(link.key)
        at, value = usage.steps(link.key)
        place = np.searchsorted(times, at, side="right") - 1
        assert np.array(values)[place] / link.capacity == pytest.approx(value, abs=1e-12)
        assert peak == max(values) and values[-1] == 0.0


def test_a_slot_that_sends_nothing_has_no_traffic() -> None:
    """No links, no loads."""
    network = FluidNetwork(Clock(), Fold(fabrics.mesh((2,), (1.0,)), Groups(1, 1, 2, 1)))
    traffic = Traffic.of(History(), network.shares)
    assert len(traffic.links) == len(traffic.peaks) == len(traffic.met) == 0
