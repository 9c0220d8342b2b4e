"""Ranks, coordinates and groups: what is laid innermost, and that every group partitions the ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.groups import PIPELINE_PAIRS, Groups

V4_PRO = Groups(tp=1, cp=1, dp=512, pp=16, etp=1, ep=64)


@st.composite
def plans(draw: st.DrawFn) -> Groups:
    """Any legal set of axes of up to a few hundred ranks."""
    size = st.integers(1, 4)
    etp, ep, expert_dp = draw(size), draw(size), draw(size)
    stage = etp * ep * expert_dp
    tp = draw(st.sampled_from([n for n in range(1, stage + 1) if stage % n == 0]))
    cp = draw(st.sampled_from([n for n in range(1, stage // tp + 1) if (stage // tp) % n == 0]))
    dp = stage // tp // cp
    zero = draw(st.sampled_from([n for n in range(1, dp * cp + 1) if (dp * cp) % n == 0]))
    return Groups(tp, cp, dp, draw(st.integers(1, 5)), etp, ep, zero)


@given(plans(), st.data())
def test_a_rank_is_found_again_from_its_coordinates_on_either_side(groups: Groups, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, groups.ranks - 1))
    found = groups.coordinates(rank)
    assert groups.rank(**{axis: int(found[axis]) for axis in groups.attention_axes}) == rank
    assert groups.rank(**{axis: int(found[axis]) for axis in groups.expert_axes}) == rank


@given(plans())
def test_every_group_partitions_the_ranks_and_all_its_members_agree_on_it(groups: Groups) -> None:
    for name in [*groups.runs, *PIPELINE_PAIRS]:
        seen: dict[int, tuple[int, ...]] = {}
        for rank in range(groups.ranks):
            members = tuple(groups.members(name, rank).tolist())
            assert rank in members and len(set(members)) == len(members)
            for member in members:
                assert seen.setdefault(member, members) == members
        assert len(seen) == groups.ranks


@given(plans())
def test_a_span_describes_its_groups_by_one_stride_and_size(groups: Groups) -> None:
    for name in groups.runs:
        stride, size = groups.span(name)
        members = groups.members(name, groups.ranks - 1)
        assert len(members) == size == groups.size(name)
        assert set(np.diff(members).tolist()) <= {stride}


@given(plans())
def test_group_sizes_multiply_to_the_ranks_of_a_stage(groups: Groups) -> None:
    size = groups.size
    assert size("tp") * size("dp_cp") == size("stage") == size("etp") * size("ep") * size("expert_dp")
    assert size("zero") * size("zero_replica") == size("dp_cp")
    assert size("stage") * size("pp") == groups.ranks == size("world")


@given(plans())
def test_boundaries_run_from_one_to_all_ranks_and_hold_every_stride(groups: Groups) -> None:
    boundaries = groups.boundaries()
    assert boundaries[0] == 1 and boundaries[-1] == groups.ranks
    for stride, size in (groups.span(name) for name in groups.runs):
        assert stride in boundaries and stride * size in boundaries


def test_v4_pro_on_8192_ranks_by_hand() -> None:
    """Ranks 0..63 of a stage are one ep group; the same experts come back every 64 ranks, 8 times; stages are 512 apart."""
    assert V4_PRO.ranks == 8192 and V4_PRO.expert_dp == 8
    assert V4_PRO.members("ep", 512 + 70).tolist() == list(range(512 + 64, 512 + 128))
    assert V4_PRO.members("expert_dp", 5).tolist() == [5 + 64 * i for i in range(8)]
    assert V4_PRO.members("pp", 3).tolist() == [3 + 512 * i for i in range(16)]
    assert V4_PRO.members("pp_mirror", 3).tolist() == [3, 3 + 512 * 15]
    assert V4_PRO.members("pp_ends", 512).tolist() == [512]
    assert V4_PRO.boundaries() == (1, 64, 512, 8192)


def test_axes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        Groups(tp=1, cp=1, dp=6, pp=1, ep=4)
    with pytest.raises(KeyError, match="known"):
        V4_PRO.rank(ep=1, tp=0)
    with pytest.raises(IndexError, match="64 positions"):
        V4_PRO.rank(ep=64)
    assert math.prod(V4_PRO.attention_axes.values()) == 8192
