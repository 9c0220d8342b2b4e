"""A job uses a whole box of the machine; anything else is refused with the nearest counts that do."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import TopologyError
from tests.topologies.machines import machine, tier
from topologies.allocation import largest_divisor, units_used
from topologies.system import load


@pytest.mark.parametrize(
    ("chips", "units"),
    [
        (None, (8, 8, 128, 1)),
        (1, (1, 1, 1, 1)),
        (5, (5, 1, 1, 1)),
        (16, (8, 2, 1, 1)),
        (192, (8, 8, 3, 1)),
        (16384, (8, 8, 128, 2)),
    ],
)
def test_a_superpod_fills_board_by_board(chips, units):
    assert units_used("atlas", (8, 8, 128), (64,), chips) == units


@pytest.mark.parametrize(
    ("chips", "each", "units"),
    [
        (1152, 64, (64, 18)),
        (1152, None, (72, 16)),
        (128, None, (64, 2)),
        (64, None, (64, 1)),
        (144, None, (72, 2)),
        (36, 36, (36, 1)),
        (None, 64, (64, 1)),
    ],
)
def test_a_rack_can_be_used_in_part(chips, each, units):
    assert units_used("nvl72", (72,), (1024,), chips, each, usual_chips_per_domain=64) == units


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chips": 100}, r"chips: the chips of a job fill a whole box of atlas \(got 100\)\. Use 64 or 128"),
        ({"chips": 9}, r"Use 8 or 16"),
        ({"chips": 8193}, r"uses 8192 chips of each \(got 8193\)\. Use 8192 or 16384 chips or set chips_per_domain"),
        ({"chips": 8192 * 65}, r"at most 524288 chips"),
        ({"chips": 0}, r"at least one chip"),
        ({"chips": 1024, "chips_per_domain": 100}, r"chips_per_domain: the chips of a job fill a whole box .*Use 64 or 128"),
        ({"chips": 1000, "chips_per_domain": 64}, r"Use 960 or 1024 chips\."),
        ({"chips": 64, "chips_per_domain": 128}, r"must not exceed the job's chips \(64\)"),
        ({"chips": 64, "chips_per_domain": 9000}, r"between 1 and the 8192 chips"),
        ({"chips": 64 * 65, "chips_per_domain": 64}, r"at most 4096 chips"),
    ],
)
def test_what_fills_no_box_is_refused_with_what_does(arguments, message):
    with pytest.raises(TopologyError, match=message):
        units_used("atlas", (8, 8, 128), (64,), **arguments)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=3), st.lists(st.integers(2, 5), max_size=2), st.integers(1, 4000))
def test_units_multiply_to_the_chips_or_the_suggestion_is_legal(domain, beyond, chips):
    """Every accepted count is a box of that many chips; every suggested count is accepted."""
    try:
        units = units_used("m", domain, beyond, chips)
    except TopologyError as error:
        if error.do is None:
            raise
        counts = [int(word) for word in error.do.replace(".", " ").split() if word.isdigit()]
        assert counts
        for count in counts:
            assert prod(units_used("m", domain, beyond, count)) == count
    else:
        assert prod(units) == chips
        assert all(used <= size for used, size in zip(units, [*domain, *beyond], strict=True))


@given(st.integers(1, 3000), st.integers(1, 64))
def test_units_are_spread_evenly_over_leaves_that_hold_them(count, leaf):
    each = largest_divisor(count, leaf)
    assert count % each == 0 and each <= leaf
    assert not any(count % more == 0 for more in range(each + 1, min(leaf, count) + 1))


def test_devices_are_chips_times_their_ranks():
    assert load("cloudmatrix384").fabric(384).ranks == 768


def test_the_whole_domain_is_the_default():
    assert load("atlas-950-superpod-8192").fabric().ranks == 8192
    assert load("dgx-h100").fabric().ranks == 8


def test_tiers_that_a_job_does_not_reach_are_left_away():
    fabric = machine(board=tier("mesh", 4), cabinet=tier("switch", 4, scope="aligned"), pod=tier("switch", 4)).fabric(8)
    assert [info.name for info in fabric.tiers] == ["board", "cabinet"]
    assert [dimension.name for dimension in fabric.dimensions] == ["chip", "board"]


def test_domains_of_one_board_meet_over_the_scale_out_tier_alone():
    fabric = load("atlas-950-superpod-8192").fabric(16, chips_per_domain=8)
    assert [info.name for info in fabric.tiers] == ["board", "scale-out", "scale-out-spine"]
    assert fabric.router(0, 8).latency == pytest.approx(5e-6)


def test_one_chip_is_a_machine_without_links():
    fabric = load("dgx-h100").fabric(1)
    assert fabric.ranks == 1 and len(fabric.tail) == 0 and fabric.node_name(0) == "chip0"
