"""Which ranks work together: plan axes laid on rank numbers.

Attention side: tp, cp, dp, pp, innermost first. Expert side, over the same ranks: etp, ep, expert_dp, pp. An order
(:mod:`workloads.axes`) lays them in another way. Every group is a list of runs of the rank number, most of them one *span*: its
members are ``base + stride * i`` for i in 0 .. size-1, so one pair (stride, size) describes all the groups of that name at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workloads.axes import Ints, Parts, Runs, Span, cut, joined, laid, offset, offsets, position, size_of

if TYPE_CHECKING:
    from workloads.resolved import ResolvedPlan

#: Groups that pair pipeline ranks and are no span: the two holders of a stage under DualPipe, and the first and the
#: last stage, which share tied embeddings.
PIPELINE_PAIRS = ("pp_mirror", "pp_ends")


@dataclass(frozen=True)
class Groups:
    """The axes of a plan on ``ranks`` rank numbers.

    ``zero_size`` is the number of ranks that share one copy of the optimizer state of the dense parameters; the dp x cp
    ranks hold dp cp / zero_size copies. ``context_heads`` of the cp ranks exchange heads. ``order`` and ``expert_order`` are the
    parts of the axes of either side, innermost first; empty: as the module says.

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
    context_heads: int = 1
    order: Parts = ()
    expert_order: Parts = ()

    def __post_init__(self) -> None:
        if self.zero_size == 0:
            object.__setattr__(self, "zero_size", self.dp * self.cp)
        undivided = (self.tp * self.cp * self.dp) % (self.etp * self.ep) or (self.dp * self.cp) % self.zero_size
        if undivided or self.cp % self.context_heads:
            raise ValueError(f"groups that do not divide each other: {self}")
        if self.runs["pp"] != self._experts["pp"]:
            raise ValueError(f"stages of attention that are not those of experts: {self}")

    @classmethod
    def of(cls, plan: ResolvedPlan) -> Groups:
        """The axes of a resolved plan."""
        return cls(
            plan.tp, plan.cp, plan.dp, plan.pp, plan.etp, plan.ep, plan.zero_size, plan.context_heads, plan.order,
            plan.expert_order,
        )  # fmt: skip

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
        """Sizes of the attention side's axes."""
        return {"tp": self.tp, "cp": self.cp, "dp": self.dp, "pp": self.pp}

    @property
    def expert_axes(self) -> dict[str, int]:
        """Sizes of the expert side's axes."""
        return {"etp": self.etp, "ep": self.ep, "expert_dp": self.expert_dp, "pp": self.pp}

    @cached_property
    def _attention(self) -> dict[str, Runs]:
        """The runs of the attention side's axes."""
        return dict.fromkeys(self.attention_axes, ()) | laid(self.order or tuple(self.attention_axes.items()))

    @cached_property
    def _experts(self) -> dict[str, Runs]:
        """The runs of the expert side's axes."""
        return dict.fromkeys(self.expert_axes, ()) | laid(self.expert_order or tuple(self.expert_axes.items()))

    @cached_property
    def runs(self) -> dict[str, Runs]:
        """The runs of every group that is made of whole axes, or of a block of some."""
        sides = self._attention | self._experts
        tp, cp, dp, pp = (self._attention[axis] for axis in ("tp", "cp", "dp", "pp"))
        dp_cp = joined((*cp, *dp))
        shared, replicas = _parts(dp_cp, self.zero_size)
        heads, ring = _parts(cp, self.context_heads)
        found = sides | {
            "tp_cp": joined((*tp, *cp)),
            "cp_heads": heads,
            "cp_ring": ring,
            "dp_cp": dp_cp,
            "zero": shared,
            "zero_replica": replicas,
            "etp_ep": joined((*sides["etp"], *sides["ep"])),
            "pp": pp,
            "stage": joined((*tp, *dp_cp)),
            "world": joined([(1, self.ranks)]),
        }
        # Experts keep as many copies of their state as all else, each over its share of the ranks that hold the same ones.
        copies = self.dp * self.cp // self.zero_size
        if self.expert_dp % copies == 0:
            found["expert_zero"] = _parts(sides["expert_dp"], self.expert_dp // copies)[0]
        return found

    def span(self, group: str) -> Span:
        """(stride, size) of a group that is one span [ranks]; ValueError for one of several runs."""
        runs = self.runs[group]
        if len(runs) > 1:
            raise ValueError(f"{group} is no span but the runs {runs}")
        return runs[0] if runs else (1, 1)

    def runs_of(self, group: str) -> Runs:
        """The runs of a group, innermost first; KeyError for a pair of pipeline ranks, which has none."""
        return self.runs[group]

    def size(self, group: str) -> int:
        """Members of one group of that name."""
        if group in PIPELINE_PAIRS:
            return min(2, self.pp)
        return size_of(self.runs[group])

    def members(self, group: str, rank: int) -> Ints:
        """The ranks of ``rank``'s group, in the order of the axis, which is ascending [ranks].

        A group of PIPELINE_PAIRS has one member where the pair is one rank, and (pp_ends) for a rank on neither end.
        """
        if group in PIPELINE_PAIRS:
            return self._pair(group, rank)
        runs = self.runs[group]
        return rank - offset(runs, int(position(runs, rank))) + offsets(runs)

    def pp_rank(self, rank: int) -> int:
        """The pipeline rank (position along pp) of a rank."""
        return int(position(self.runs["pp"], rank))

    def coordinates(self, rank: int | Ints) -> dict[str, int | Ints]:
        """Position of a rank along every axis of both sides."""
        return {axis: position(runs, rank) for axis, runs in (self._attention | self._experts).items()}

    def rank(self, **coordinates: int) -> int:
        """The rank at these coordinates of one side: (tp, cp, dp, pp) or (etp, ep, expert_dp, pp); 0 where left out."""
        sizes, runs = self.attention_axes, self._attention
        if not coordinates.keys() <= sizes.keys():
            sizes, runs = self.expert_axes, self._experts
        if unknown := coordinates.keys() - sizes.keys():
            raise KeyError(f"no axis {', '.join(sorted(unknown))} beside the others; known: {', '.join(sizes)}")
        for axis, place in coordinates.items():
            if not 0 <= place < sizes[axis]:
                raise IndexError(f"{axis} has {sizes[axis]} positions (got {place})")
        return sum(offset(runs[axis], place) for axis, place in coordinates.items())

    def boundaries(self) -> tuple[int, ...]:
        """Every rank-number stride at which a group begins or ends, ascending: 1 .. ranks.

        These are the cumulative products whose common refinement with the fabric's dimensions folds the machine.
        """
        edges = {edge for runs in self.runs.values() for stride, size in runs for edge in (stride, stride * size)}
        return tuple(sorted(edges | {1, self.ranks}))

    def _pair(self, group: str, rank: int) -> Ints:
        own = self.pp_rank(rank)
        other = self.pp - 1 - own
        if own == other or (group == "pp_ends" and own not in (0, self.pp - 1)):
            return np.array([rank], dtype=np.int64)
        return self.members("pp", rank)[sorted((own, other))]


def _parts(runs: Runs, size: int) -> tuple[Runs, Runs]:
    """The innermost ``size`` members and what counts such parts; ValueError where that is no block."""
    found = cut(runs, size)
    if found is None:
        raise ValueError(f"{size} ranks are no block of the runs {runs}")
    return found
