"""Groups of one collective alone: blocks of neighbouring ranks, or ranks a stride apart, all blocks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.spec.errors import InputError
from topologies.fabric import Ints
from workloads.axes import Runs

GROUP = "group"


@dataclass(frozen=True, slots=True)
class Blocks:
    """All ``ranks`` in groups of ``size``, the members of one group ``stride`` ranks apart. A placement of one axis.

    >>> Blocks(16, 4, 2).members("group", 9).tolist()
    [9, 11, 13, 15]
    """

    ranks: int
    size: int
    stride: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1:
            raise InputError("group size and stride are at least 1", got=f"{self.size}, {self.stride}", path="group_size")
        if self.ranks % (self.size * self.stride):
            raise InputError(
                f"groups of {self.size} ranks at stride {self.stride} must divide the {self.ranks} ranks",
                got=f"{self.ranks} / {self.size * self.stride}",
                do="Choose sizes that divide the number of ranks.",
                path="group_size",
            )

    def members(self, group: str, rank: int) -> Ints:
        """The ranks of the group of ``rank``, ascending; other axes have one rank."""
        if group != GROUP:
            return np.array([rank], dtype=np.int64)
        block = self.size * self.stride
        first = rank // block * block + rank % self.stride
        return np.arange(first, first + block, self.stride, dtype=np.int64)

    def runs_of(self, group: str) -> Runs:
        """(stride, size) of the axis; every other axis has one rank and no run."""
        return ((self.stride, self.size),) if group == GROUP and self.size > 1 else ()

    def boundaries(self) -> Sequence[int]:
        """Strides of the rank number at which the axis begins and ends."""
        return (self.stride, self.size * self.stride)
