"""How links were used, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.usage import Usage, _Moments
from simulator.spec.errors import IdentityBroken
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from workloads.groups import Groups

SECOND = 10**12


def story() -> tuple[Fold, FluidNetwork]:
    """Two stages of two ranks on a star of 1 B/s: a send of 6 bytes from 0 s, an all-to-all of 1 byte a peer from 2 s."""
    fold = Fold(fabrics.star(4), Groups(1, 1, 2, 2))
    clock = Clock()
    network = FluidNetwork(clock, fold)
    later = fold.collective(0, communication("all-to-all", "dp", 2.0, "ep"))
    run_at(clock, network, [(0, fold.send(0, 1, 6.0)), (2 * SECOND, later)])
    return fold, network


def test_bytes_seconds_and_saturation_of_each_link() -> None:
    _, network = story()
    links = {link.link_class.example: link for link in Usage(network).links()}
    up, down, back = links["device0->switch4"], links["switch4->device2"], links["switch4->device1"]
    assert (up.wire_bytes, up.seconds) == ({"pp": 6.0, "ep": 1.0}, {"pp": pytest.approx(7.0), "ep": pytest.approx(2.0)})
    assert (up.busy, up.peak, up.saturated, up.first_saturated) == pytest.approx((7.0, 1.0, 7.0, 0.0))
    assert (down.wire_bytes, down.busy, down.saturated) == ({"pp": 6.0}, pytest.approx(7.0), pytest.approx(5.0))
    assert (back.wire_bytes, back.peak, back.saturated, back.first_saturated) == ({"ep": 1.0}, 0.5, 0.0, None)
    assert (up.busiest_seconds, Usage(network).busiest_seconds()) == (7.0, 7.0)


def test_utilisation_over_time_is_a_step_function() -> None:
    fold, network = story()
    usage = Usage(network)
    by_name = {link.example: link.key for link in fold.link_classes}
    time, value = usage.steps(by_name["switch4->device2"])
    assert time.tolist() == [0, 2 * SECOND, 4 * SECOND, 7 * SECOND]
    assert value.tolist() == pytest.approx([1.0, 0.5, 1.0, 0.0])
    time, value = usage.steps(by_name["device0->switch4"])
    assert (time.tolist(), value.tolist()) == ([0, 7 * SECOND], [1.0, 0.0])


def test_sent_bytes_by_kind_count_every_rank() -> None:
    _, network = story()
    assert Usage(network).sent_bytes == {"pp": 12.0, "ep": 2.0}


def test_a_link_never_used_has_a_flat_line() -> None:
    fold = Fold(fabrics.star(4), Groups(1, 1, 2, 2))
    fold.send(0, 1, 1.0)
    time, value = Usage(FluidNetwork(Clock(), fold)).steps(0)
    assert (time.tolist(), value.tolist()) == ([0], [0.0])


def test_bytes_that_do_not_add_up_are_found() -> None:
    _, network = story()
    Usage(network).check()
    key = next(iter(network.history.completed))
    network.history.completed[key] += 1
    with pytest.raises(IdentityBroken, match="bytes"):
        Usage(network).check()


def test_a_link_above_capacity_is_found() -> None:
    fold, network = story()
    usage = Usage(network)
    usage.link_classes = tuple(
        type(link)(link.key, link.tier, link.capacity * 0.9, link.size, link.example) for link in fold.link_classes
    )
    with pytest.raises(IdentityBroken, match="of its capacity"):
        usage.check()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(0, 3)), max_size=30), st.data())
def test_moments_in_order_stack_as_intervals_one_by_one(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """What holds of shares at each moment is the sum over the intervals that hold then, to rounding."""
    amounts = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.7, 3.0]), min_size=4, max_size=4))
    start, lasts, share = (np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else ((), (), ())))
    time, value = _Moments.of(start, start + lasts, share, 4).stacked(np.array(amounts))
    held = [row for row in rows if amounts[row[2]]]
    assert time.tolist() == sorted({moment for begin, long, _ in held for moment in (begin, begin + long)})
    for moment, found in zip(time.tolist(), value.tolist(), strict=True):
        assert found == pytest.approx(
            sum(amounts[which] for begin, long, which in held if begin <= moment < begin + long), abs=1e-12
        )
