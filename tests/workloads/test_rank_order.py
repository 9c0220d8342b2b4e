"""Orders of ranks: every group is the one that Megatron's own construction makes, and what cannot be laid out is refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import PlanError
from workloads.axes import cut, joined, laid, offset, offsets, position, size_of
from workloads.groups import Groups
from workloads.rank_order import AxisSizes, RankOrder, check_blocks, rank_orders

SIZES = AxisSizes(tp=2, cp=2, dp=8, pp=4, etp=2, ep=4, expert_dp=4)


def laid_out(sizes: AxisSizes, placement: str | RankOrder | None, zero_size: int = 0, context_heads: int = 1) -> Groups:
    order, experts = rank_orders(placement, sizes)
    return Groups(
        sizes.tp, sizes.cp, sizes.dp, sizes.pp, sizes.etp, sizes.ep, zero_size, context_heads, order, experts
    )  # fmt: skip


def along(parts: list[tuple[str, int]], axes: set[str]) -> set[tuple[int, ...]]:
    """The groups over some axes of a box of ranks whose axes are these, innermost first: one numpy reshape, one transpose."""
    box = np.arange(np.prod([size for _, size in parts])).reshape([size for _, size in reversed(parts)])
    names = [axis for axis, _ in reversed(parts)]
    moved = [place for place, axis in enumerate(names) if axis in axes]
    kept = [place for place in range(len(names)) if place not in moved]
    size = int(np.prod([box.shape[place] for place in moved]))
    return {tuple(sorted(row)) for row in box.transpose([*kept, *moved]).reshape(-1, size).tolist()}


def found(groups: Groups, name: str) -> set[tuple[int, ...]]:
    return {tuple(groups.members(name, rank).tolist()) for rank in range(groups.ranks)}


@pytest.mark.parametrize(
    "order", ["-".join(order) for order in permutations(("tp", "cp", "ep", "dp")) for order in [(*order, "pp")]]
)
def test_every_order_that_ends_in_stages_makes_megatrons_groups(order: str) -> None:
    """Attention: the order without ep; experts: the order without cp, tp being etp and dp those who hold the same experts."""
    groups = laid_out(SIZES, order)
    words = order.split("-")
    attention = [(axis, getattr(SIZES, axis)) for axis in words if axis != "ep"]
    sizes = {"tp": SIZES.etp, "ep": SIZES.ep, "dp": SIZES.expert_dp, "pp": SIZES.pp}
    experts = [(axis, sizes[axis]) for axis in words if axis != "cp"]
    for name, axes in {
        "tp": {"tp"},
        "cp": {"cp"},
        "dp": {"dp"},
        "dp_cp": {"dp", "cp"},
        "tp_cp": {"tp", "cp"},
        "pp": {"pp"},
    }.items():
        assert found(groups, name) == along(attention, axes), name
    for name, axes in {"etp": {"tp"}, "ep": {"ep"}, "expert_dp": {"dp"}, "etp_ep": {"tp", "ep"}, "pp": {"pp"}}.items():
        assert found(groups, name) == along(experts, axes), name
    assert found(groups, "stage") == along(attention, {"tp", "cp", "dp"}) == along(experts, {"tp", "ep", "dp"})


@pytest.mark.parametrize("order", ["tp-cp-ep-pp-dp", "tp-cp-pp-ep-dp", "pp-tp-cp-dp-ep", "pp-dp-ep-cp-tp"])
def test_stages_may_lie_before_replicas(order: str) -> None:
    """As under --use-tp-pp-dp-mapping: as many ranks below a stage on both sides (tp cp = etp ep, or none)."""
    sizes = AxisSizes(tp=2, cp=2, dp=4, pp=2, etp=1, ep=4, expert_dp=4) if order == "tp-cp-ep-pp-dp" else \
        AxisSizes(tp=2, cp=2, dp=4, pp=2, etp=4, ep=2, expert_dp=2) if order == "tp-cp-pp-ep-dp" else \
        AxisSizes(tp=2, cp=2, dp=4, pp=2, etp=1, ep=8, expert_dp=2)  # fmt: skip
    groups = laid_out(sizes, order)
    attention = [(axis, getattr(sizes, axis)) for axis in order.split("-") if axis != "ep"]
    for name, axes in {"tp": {"tp"}, "cp": {"cp"}, "dp_cp": {"dp", "cp"}, "pp": {"pp"}, "stage": {"tp", "cp", "dp"}}.items():
        assert found(groups, name) == along(attention, axes), name
    firsts = found(groups, "pp")
    assert all([groups.pp_rank(rank) for rank in members] == list(range(sizes.pp)) for members in firsts)


def test_blocks_of_an_axis_lie_apart() -> None:
    """tp-dp:2-pp-dp by hand: replicas 0 and 1 side by side, then all stages, then replicas 2 and 3."""
    groups = laid_out(AxisSizes(2, 1, 4, 2, 1, 1, 8), "tp-dp:2-pp-dp")
    assert groups.members("dp", 0).tolist() == [0, 2, 8, 10]
    assert groups.members("pp", 11).tolist() == [11, 15]
    assert groups.members("pp_mirror", 4).tolist() == [0, 4]
    assert [groups.pp_rank(rank) for rank in range(16)] == [0, 0, 0, 0, 1, 1, 1, 1] * 2
    assert groups.runs["dp"] == ((2, 2), (8, 2)) and groups.boundaries() == (1, 2, 4, 8, 16)
    # Without expert parallelism those who hold the same experts are all ranks of a stage.
    assert found(groups, "expert_dp") == found(groups, "stage")


def test_experts_may_have_an_order_of_their_own() -> None:
    """Experts strided over dp, attention as usual: an expert group takes every fourth rank."""
    sizes = AxisSizes(tp=1, cp=1, dp=16, pp=2, etp=1, ep=4, expert_dp=4)
    groups = laid_out(sizes, RankOrder(experts="dp-ep-pp"))
    assert groups.members("ep", 5).tolist() == [1, 5, 9, 13]
    assert groups.members("expert_dp", 5).tolist() == [4, 5, 6, 7]
    assert groups.members("dp", 5).tolist() == list(range(16))


@st.composite
def orders(draw: st.DrawFn) -> Groups:
    """Any order, with the pipeline anywhere and blocks of dp, of a job without experts."""
    tp, cp, inner, outer, pp = (draw(st.sampled_from([1, 2, 3, 4])) for _ in range(5))
    parts = [("tp", tp), ("cp", cp), ("dp", inner), ("dp", outer), ("pp", pp)]
    order = tuple(draw(st.permutations(parts)))
    experts = tuple(("pp" if axis == "pp" else "expert_dp", size) for axis, size in order)
    return Groups(tp, cp, inner * outer, pp, order=order, expert_order=experts)


@given(orders())
def test_every_group_of_every_order_partitions_the_ranks(groups: Groups) -> None:
    for name in groups.runs:
        members = found(groups, name)
        assert sorted(rank for group in members for rank in group) == list(range(groups.ranks))
        assert {len(group) for group in members} == {groups.size(name)}
    for rank in range(groups.ranks):
        at = groups.coordinates(rank)
        assert groups.rank(**{axis: int(at[axis]) for axis in groups.attention_axes}) == rank
        assert int(at["pp"]) == groups.pp_rank(rank)


@given(st.lists(st.tuples(st.sampled_from([2, 3, 4]), st.sampled_from([1, 2, 3])), min_size=1, max_size=4))
def test_positions_and_offsets_are_inverse(shape: list[tuple[int, int]]) -> None:
    """Runs with gaps between them: the p-th member stands at position p, and a block is cut where its digits end."""
    spans, stride = [], 1
    for size, gap in shape:
        spans.append((stride, size))
        stride *= size * gap
    runs = joined(spans)
    places = offsets(runs)
    assert [int(position(runs, int(place))) for place in places] == list(range(size_of(runs)))
    assert [offset(runs, at) for at in range(size_of(runs))] == places.tolist() == sorted(places.tolist())
    for size in range(1, size_of(runs) + 1):
        parts = cut(runs, size)
        if parts is not None:
            inner, outer = parts
            assert offsets(inner).tolist() == places[:size].tolist() and offsets(outer).tolist() == places[::size].tolist()


def test_the_default_order_is_the_one_without_any() -> None:
    for placement in (None, "default", "tp-cp-ep-dp-pp", RankOrder()):
        assert rank_orders(placement, SIZES) == ((), ())
    spelt = Groups(
        2, 2, 8, 4, 2, 4, 4, 2, (("tp", 2), ("cp", 2), ("dp", 8), ("pp", 4)), (("etp", 2), ("ep", 4), ("expert_dp", 4), ("pp", 4))
    )
    assert spelt.runs == Groups(2, 2, 8, 4, 2, 4, 4, 2).runs


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ("tp-cp-ep-dp", "plan.placement: the order leaves out pp, which has 4 ranks (got 'tp-cp-ep-dp'). Name pp."),
        ("strided", "plan.placement: an order names tp, cp, ep, dp and pp, innermost first, joined by -, and dp:8 for a block of"
                    " dp (got 'strided'). Write tp-cp-ep-dp-pp, say."),
        ("tp-cp-dp-ep-dp-pp", "plan.placement: the order names dp twice, and says of neither how much of it (got"
                              " 'tp-cp-dp-ep-dp-pp'). Write dp:2, say, for all but one of them."),
        (RankOrder(order="tp-cp-dp:3-pp-dp", experts="tp-ep-dp-pp"),
         "plan.placement: the blocks of dp must divide its 8 ranks (got 'tp-cp-dp:3-pp-dp'). Change their sizes."),
        ("tp-cp-dp:2-pp-dp", "plan.placement: an order with blocks says nothing of the experts (got 'tp-cp-dp:2-pp-dp'). Write"
                             " {order: ..., experts: ...}, the experts' with tp, ep, dp and pp."),
        ("tp-cp-ep-pp-dp", "plan.placement: the pipeline must lie alike for attention and experts, and its ranks are 4 and 8"
                           " apart (got 'tp-cp-ep-pp-dp'). End both orders with pp, or give experts an order of their own."),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_is_refused_with_what_to_change(placement: Any, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        rank_orders(placement, SIZES)
    assert str(refused.value) == message


def test_copies_of_the_state_and_exchanged_heads_are_blocks_of_the_order() -> None:
    """cp 4 between pp and dp 3: groups of 6 would take half of a cp group with them."""
    order = (("cp", 4), ("pp", 2), ("dp", 3))
    experts = tuple(("pp" if axis == "pp" else "expert_dp", size) for axis, size in order)
    check_blocks(order, experts, 4, 3, 2)
    with pytest.raises(PlanError, match=r"zero_group must end where a block of cp and dp does"):
        check_blocks(order, experts, 6, 2, 1)
    assert laid(order)["dp"] == ((8, 3),)
    with pytest.raises(ValueError, match="no block"):
        Groups(1, 4, 3, 2, zero_size=6, order=order, expert_order=experts)
