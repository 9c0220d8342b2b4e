"""Which ranks work together: plan axes laid on rank numbers, innermost first.

Attention side: tp, cp, dp, pp. Expert side, over the same ranks: etp, ep, expert_dp, pp. Every group of consecutive
axes is a *span* of the rank number: its members are ``base + stride * i`` for i in 0 .. size-1, so one pair
(stride, size) describes all the groups of that name at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from workloads.resolved import ResolvedPlan

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]  # stride, size [ranks]

#: Groups that pair pipeline ranks and are no span: the two holders of a stage under DualPipe, and the first and the
#: last stage, which share tied embeddings.
PIPELINE_PAIRS = ("pp_mirror", "pp_ends")


@dataclass(frozen=True, slots=True)
class Groups:
    """The axes of a plan on ``ranks`` rank numbers.

    ``zero_size`` is the number of ranks that share one copy of the optimizer state of the dense parameters; the dp x cp
    ranks hold dp cp / zero_size copies.

    >>> groups = Groups(tp=2, cp=1, dp=8, pp=2, etp=1, ep=4)
    >>> groups.span("dp"), groups.span("expert_dp"), groups.members("ep", 13).tolist()
    ((2, 8), (4, 4), [12, 13, 14, 15])
    """

    tp: int
    cp: int
    dp: int
    pp: int
    etp: int = 1
    ep: int = 1
    zero_size: int = 0

    def __post_init__(self) -> None:
        if self.zero_size == 0:
            object.__setattr__(self, "zero_size", self.dp * self.cp)
        if (self.tp * self.cp * self.dp) % (self.etp * self.ep) or (self.dp * self.cp) % self.zero_size:
            raise ValueError(f"groups that do not divide each other: {self}")

    @classmethod
    def of(cls, plan: ResolvedPlan) -> Groups:
        """The axes of a resolved plan."""
        return cls(plan.tp, plan.cp, plan.dp, plan.pp, plan.etp, plan.ep, plan.zero_size)

    @property
    def ranks(self) -> int:
        return self.tp * self.cp * self.dp * self.pp

    @property
    def ranks_per_stage(self) -> int:
        return self.tp * self.cp * self.dp

    @property
    def expert_dp(self) -> int:
        """Ranks that hold the same routed experts, within one pipeline stage."""
        return self.ranks_per_stage // (self.etp * self.ep)

    @property
    def attention_axes(self) -> dict[str, int]:
        """Sizes of the attention side's axes, innermost first."""
        return {"tp": self.tp, "cp": self.cp, "dp": self.dp, "pp": self.pp}

    @property
    def expert_axes(self) -> dict[str, int]:
        """Sizes of the expert side's axes, innermost first."""
        return {"etp": self.etp, "ep": self.ep, "expert_dp": self.expert_dp, "pp": self.pp}

    @property
    def spans(self) -> dict[str, Span]:
        """(stride, size) of every group that is a span of the rank number."""
        tp, cp, etp = self.tp, self.cp, self.etp
        copies = cp * self.dp // self.zero_size
        # Experts keep as many copies of their state as all else, each over its share of the ranks that hold the same ones.
        shared = {} if self.expert_dp % copies else {"expert_zero": (etp * self.ep, self.expert_dp // copies)}
        return shared | {
            "tp": (1, tp),
            "cp": (tp, cp),
            "tp_cp": (1, tp * cp),
            "dp": (tp * cp, self.dp),
            "dp_cp": (tp, cp * self.dp),
            "zero": (tp, self.zero_size),
            "zero_replica": (tp * self.zero_size, copies),
            "etp": (1, etp),
            "ep": (etp, self.ep),
            "etp_ep": (1, etp * self.ep),
            "expert_dp": (etp * self.ep, self.expert_dp),
            "pp": (self.ranks_per_stage, self.pp),
            "stage": (1, self.ranks_per_stage),
            "world": (1, self.ranks),
        }

    def span(self, group: str) -> Span:
        """(stride, size) of a group [ranks]; KeyError for a pair of pipeline ranks, which is no span."""
        return self.spans[group]

    def size(self, group: str) -> int:
        """Members of one group of that name."""
        if group in PIPELINE_PAIRS:
            return min(2, self.pp)
        return self.spans[group][1]

    def members(self, group: str, rank: int) -> Ints:
        """The ranks of ``rank``'s group, in the order of the axis [ranks].

        A group of PIPELINE_PAIRS has one member where the pair is one rank, and (pp_ends) for a rank on neither end.
        """
        if group in PIPELINE_PAIRS:
            return self._pair(group, rank)
        stride, size = self.spans[group]
        base = rank - rank // stride % size * stride
        return base + stride * np.arange(size, dtype=np.int64)

    def pp_rank(self, rank: int) -> int:
        """The pipeline rank (position along pp) of a rank."""
        return rank // self.ranks_per_stage

    def coordinates(self, rank: int | Ints) -> dict[str, int | Ints]:
        """Position of a rank along every axis of both sides."""
        found: dict[str, int | Ints] = {}
        for axes in (self.attention_axes, self.expert_axes):
            stride = 1
            for axis, size in axes.items():
                found[axis] = rank // stride % size
                stride *= size
        return found

    def rank(self, **coordinates: int) -> int:
        """The rank at these coordinates of one side: (tp, cp, dp, pp) or (etp, ep, expert_dp, pp); 0 where left out."""
        axes = self.attention_axes
        if not coordinates.keys() <= axes.keys():
            axes = self.expert_axes
        if unknown := coordinates.keys() - axes.keys():
            raise KeyError(f"no axis {', '.join(sorted(unknown))} beside the others; known: {', '.join(axes)}")
        number, stride = 0, 1
        for axis, size in axes.items():
            position = coordinates.get(axis, 0)
            if not 0 <= position < size:
                raise IndexError(f"{axis} has {size} positions (got {position})")
            number += position * stride
            stride *= size
        return number

    def boundaries(self) -> tuple[int, ...]:
        """Every rank-number stride at which an axis of either side begins or ends, ascending: 1 .. ranks.

        These are the cumulative products whose common refinement with the fabric's dimensions folds the machine.
        """
        found = {1, self.ranks, self.tp * self.zero_size}
        for axes in (self.attention_axes, self.expert_axes):
            sizes = list(axes.values())
            found.update(prod(sizes[:count]) for count in range(len(sizes) + 1))
        return tuple(sorted(found))

    def _pair(self, group: str, rank: int) -> Ints:
        own = self.pp_rank(rank)
        other = self.pp - 1 - own
        if own == other or (group == "pp_ends" and own not in (0, self.pp - 1)):
            return np.array([rank], dtype=np.int64)
        within = rank % self.ranks_per_stage
        return np.array([within + self.ranks_per_stage * p for p in sorted((own, other))], dtype=np.int64)
