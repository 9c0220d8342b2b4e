"""The weights of a layer as data: every matrix and vector once, and how tensor parallelism cuts it.

Parameters, FLOPs and operators all derive from these lists, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Split(StrEnum):
    """How a tensor-parallel group holds a weight.

    COLUMN cuts outputs, ROW cuts inputs (and leaves a sum to reduce), GROUPS cuts whole blocks; REPLICATED keeps the weight
    whole on every rank, which then applies it to its sequence-parallel share of the tokens.
    """

    COLUMN = "column"
    ROW = "row"
    GROUPS = "groups"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True)
class Linear:
    """``groups`` independent matrices of ``inputs`` x ``outputs``, and a bias of ``bias`` elements.

    ``low_precision``: it runs in the training precision; else in 16 bits. ``experts``: held by expert-parallel ranks.
    """

    name: str
    component: str
    inputs: int
    outputs: int
    split: Split
    groups: int = 1
    bias: int = 0
    low_precision: bool = True
    experts: bool = False

    @property
    def matrix(self) -> int:
        """Elements of the matrices; a token's forward pass takes two FLOPs for each."""
        return self.groups * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        return self.matrix + self.bias


@dataclass(frozen=True, slots=True)
class Vector:
    """Weights that no matrix multiplication uses: norms, sinks, scales, positions. Whole on every rank unless split."""

    name: str
    component: str
    parameters: int
    split: Split = Split.REPLICATED


Weight = Linear | Vector


def linears(weights: Iterable[Weight], component: str | None = None) -> tuple[Linear, ...]:
    """The matrices among these weights, of one component if asked."""
    return tuple(w for w in weights if isinstance(w, Linear) and component in (None, w.component))


def by_name(weights: Iterable[Weight]) -> dict[str, Linear]:
    """The matrices among these weights by their names."""
    return {w.name: w for w in weights if isinstance(w, Linear)}
