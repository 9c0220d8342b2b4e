"""The lanes to and from the host, against times worked out by hand."""

from __future__ import annotations

import pytest

from simulator.engine.accounts import Accounts
from simulator.engine.clock import Clock
from simulator.engine.host import HostRates
from simulator.engine.host_lanes import HostLanes
from simulator.engine.lanes import Ticket
from simulator.engine.recorder import LANES, Recorder
from simulator.spec.errors import NotModelled
from simulator.spec.files import read_spec
from topologies.parts import CHIPS, Chip
from workloads.instructions import HostLane, HostWork

RATES = HostRates(copy=10.0, update=5.0)


class Bench:
    """Lanes on a clock of their own, and what they draw over time."""

    def __init__(self) -> None:
        self.clock, self.recorder = Clock(), Recorder()
        self.drawn: list[tuple[float, float]] = []
        self.lanes = HostLanes(self.clock, RATES, Accounts(0, self.recorder), self.recorder, self._draw)

    def _draw(self, change: float) -> None:
        self.drawn.append((self.clock.now / 1e12, change))

    def submit(self, lane: HostLane, amount: float, after: Ticket | None = None) -> Ticket:
        return self.lanes.submit(HostWork(f"{lane} {amount}", lane, amount, "t"), after)

    def spans(self) -> list[tuple[str, float, float]]:
        self.clock.run()
        assert self.lanes.is_idle
        spans = self.recorder.spans()
        rows = zip(spans.lane, spans.start, spans.end, strict=True)
        return sorted((LANES[lane], start / 1e12, end / 1e12) for lane, start, end in rows)


def test_copies_of_one_way_follow_each_other_and_those_of_the_other_way_run_beside_them() -> None:
    bench = Bench()
    for amount in (20.0, 10.0):
        bench.submit(HostLane.TO, amount)
    bench.submit(HostLane.FROM, 5.0)
    assert bench.spans() == [("from_host", 0.0, 0.5), ("to_host", 0.0, 2.0), ("to_host", 2.0, 3.0)]


def test_a_pipeline_of_down_update_and_up_takes_its_slowest_part_and_the_ends_of_the_others() -> None:
    """Three pieces, 1 s down, 4 s of update, 0.5 s up each: 1 + 3 x 4 + 0.5."""
    bench = Bench()
    last = None
    for _ in range(3):
        down = bench.submit(HostLane.TO, 10.0)
        last = bench.submit(HostLane.FROM, 5.0, bench.submit(HostLane.UPDATE, 20.0, down))
    spans = bench.spans()
    assert max(end for _, _, end in spans) == 13.5
    assert [span for span in spans if span[0] == "host_update"] == [("host_update", at, at + 4.0) for at in (1.0, 5.0, 9.0)]
    assert last is not None and last.done.processed


def test_copies_draw_on_the_chips_memory_while_they_last_and_updates_do_not() -> None:
    bench = Bench()
    bench.submit(HostLane.TO, 20.0)
    bench.submit(HostLane.UPDATE, 5.0)
    bench.spans()
    assert [entry for entry in bench.drawn if entry[1]] == [(0.0, 10.0), (2.0, -10.0)]


def test_a_copy_goes_at_the_slower_of_link_and_host_memory_shared_by_the_ranks_of_a_chip() -> None:
    chips = {name: read_spec(name, Chip, CHIPS) for name in ("h100-sxm", "gb300", "tpu7x")}
    assert HostRates.of(chips["h100-sxm"], None).copy == pytest.approx(63e9 * 0.85)
    assert HostRates.of(chips["gb300"], None).copy == pytest.approx(256e9), "LPDDR5X is slower than NVLink-C2C"
    assert HostRates.of(chips["tpu7x"], None).copy == pytest.approx(64e9 * 0.85 / 2)


def test_what_nobody_says_is_refused_with_the_field_to_give() -> None:
    nothing = read_spec("ascend-910b", Chip, CHIPS)
    with pytest.raises(NotModelled, match=r"chip\.host"):
        HostRates.of(nothing, None).rate(HostLane.TO)
    no_memory = HostRates.of(read_spec("ascend-950dt", Chip, CHIPS), None)
    assert no_memory.rate(HostLane.FROM) == pytest.approx(64e9 * 0.85)
    with pytest.raises(NotModelled, match=r"chip\.host\.memory_bandwidth"):
        no_memory.rate(HostLane.UPDATE)
