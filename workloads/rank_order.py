"""The order in which a scenario lays its axes on rank numbers, read and checked; :mod:`workloads.axes` says what an order is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.spec.base import Spec
from simulator.spec.errors import PlanError
from workloads.axes import Parts, cut, joined, laid, read_order

PATH = "plan.placement"

#: The order that every stack has unasked; Megatron-LM's own.
DEFAULT = "tp-cp-ep-dp-pp"


class RankOrder(Spec):
    """An order for attention and dense layers, and one for the experts (of tp, ep, dp and pp) where it is another."""

    order: str = DEFAULT
    experts: str | None = None


@dataclass(frozen=True, slots=True)
class AxisSizes:
    """How long the axes are that an order lays out; ``expert_dp`` ranks hold the same experts."""

    tp: int
    cp: int
    dp: int
    pp: int
    etp: int
    ep: int
    expert_dp: int

    @property
    def attention(self) -> Mapping[str, int]:
        return {"tp": self.tp, "cp": self.cp, "dp": self.dp, "pp": self.pp}

    @property
    def experts(self) -> Mapping[str, int]:
        """By the words of an order: tp cuts an expert, dp counts those who hold the same ones."""
        return {"tp": self.etp, "ep": self.ep, "dp": self.expert_dp, "pp": self.pp}


def rank_orders(placement: str | RankOrder | None, sizes: AxisSizes) -> tuple[Parts, Parts]:
    """The parts of both sides, innermost first; none for the default order.

    Without expert parallelism the experts lie as all else does. Raises PlanError for an order that leaves out or repeats an
    axis, and for one under which a pipeline rank of the experts is none of the attention's.
    """
    given = RankOrder(order=placement) if isinstance(placement, str) and placement != "default" else placement
    if not isinstance(given, RankOrder) or (given.order == DEFAULT and given.experts in (None, DEFAULT)):
        return (), ()
    order = read_order(given.order, sizes.attention, PATH)
    if given.experts is None and sizes.ep == sizes.etp == 1:
        return order, tuple(("pp" if axis == "pp" else "expert_dp", size) for axis, size in order)
    if given.experts is None and ":" in given.order:
        raise PlanError(
            "an order with blocks says nothing of the experts", got=given.order,
            do="Write {order: ..., experts: ...}, the experts' with tp, ep, dp and pp.", path=PATH,
        )  # fmt: skip
    words = {"tp": "etp", "dp": "expert_dp"}
    found = read_order(given.experts or given.order, sizes.experts, PATH)
    experts = tuple((words.get(axis, axis), size) for axis, size in found)
    one, other = laid(order).get("pp", ()), laid(experts).get("pp", ())
    if one != other:
        raise PlanError(
            f"the pipeline must lie alike for attention and experts, and its ranks are {_stride(one)} and {_stride(other)} apart",
            got=given.order if given.experts is None else f"{given.order}, experts {given.experts}",
            do="End both orders with pp, or give experts an order of their own.", path=PATH,
        )  # fmt: skip
    return order, experts


def check_blocks(order: Parts, experts: Parts, zero_size: int, copies: int, context_heads: int) -> None:
    """Ranks that share a copy of the state, and ranks that exchange heads, are whole blocks of an order.

    ``copies`` of the state are kept. Raises PlanError.
    """
    if not order:
        return
    attention, expert_axes = laid(order), laid(experts)
    cp, dp = attention.get("cp", ()), attention.get("dp", ())
    expert_dp = expert_axes.get("expert_dp", ())
    share = _size(expert_dp) // copies
    if cut(joined((*cp, *dp)), zero_size) is None or (share * copies == _size(expert_dp) and cut(expert_dp, share) is None):
        raise PlanError(
            "zero_group must end where a block of cp and dp does in this order", got=zero_size,
            do="Choose another zero_group, or leave placement out.", path="plan.zero_group",
        )  # fmt: skip
    if cut(cp, context_heads) is None:
        raise PlanError(
            "context_heads must end where a block of cp does in this order", got=context_heads,
            do="Choose another, or leave placement out.", path="plan.context_heads",
        )  # fmt: skip


def _size(runs: tuple[tuple[int, int], ...]) -> int:
    found = 1
    for _, size in runs:
        found *= size
    return found


def _stride(runs: tuple[tuple[int, int], ...]) -> str:
    return " and ".join(str(stride) for stride, _ in runs) or "0"
