"""What a model file may say about layers that keep a state of fixed size in the place of keys and values, and where they stand.

Two mixers: the gated delta rule (Gated DeltaNet, arXiv 2412.06464, of Qwen3-Next and Qwen3.5; with a decay for each channel Kimi
Delta Attention, arXiv 2510.26692) and Mamba-2's state-space duality (arXiv 2405.21060, of Nemotron-H, Nemotron 3 and Granite 4).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec.base import Spec
from simulator.spec.errors import ModelError


class GatedDelta(Spec):
    """Linear attention by the gated delta rule: a head's state is ``key_dim`` x ``value_dim``.

    Each of ``key_heads`` serves value_heads / key_heads heads. Queries, keys and values pass a causal convolution over
    ``conv_width`` tokens. ``decay``: one factor a head, or one a key channel. ``gate_rank``: of the two projections that make the
    output's gate and a decay by channel; 0 makes the gate with the other inputs. ``chunk``: tokens of a block of the scan.
    """

    kind: Literal["gated-delta"]
    key_heads: int = Field(gt=0)
    value_heads: int = Field(gt=0)
    key_dim: int = Field(gt=0)
    value_dim: int = Field(gt=0)
    conv_width: int = Field(default=4, gt=0)
    chunk: int = Field(default=64, gt=0)
    decay: Literal["head", "channel"] = "head"
    gate_rank: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> GatedDelta:
        if self.value_heads % self.key_heads:
            raise ModelError(
                "value_heads must be a multiple of key_heads", got=f"{self.value_heads} value_heads, {self.key_heads} key_heads",
                do="Every key head serves the same number of value heads.", path="value_heads",
            )  # fmt: skip
        if (self.decay == "channel") != (self.gate_rank > 0):
            raise ModelError(
                "a decay by channel and gates of low rank are known together only (Kimi Delta Attention)",
                got=f"decay {self.decay}, gate_rank {self.gate_rank}", do="Give both or none.", path="gate_rank",
            )  # fmt: skip
        return self

    @property
    def pieces(self) -> int:
        """What tensor parallelism must divide."""
        return self.key_heads


class StateSpace(Spec):
    """Mamba-2: ``heads`` of ``head_dim``, each with a state of head_dim x ``state``; ``groups`` of heads share B and C.

    ``conv_bias``: of the causal convolution over ``conv_width`` tokens. ``chunk``: tokens of a block of the scan.
    """

    kind: Literal["state-space"]
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    state: int = Field(gt=0)
    groups: int = Field(default=1, gt=0)
    conv_width: int = Field(default=4, gt=0)
    conv_bias: bool = True
    chunk: int = Field(default=256, gt=0)

    @model_validator(mode="after")
    def _check(self) -> StateSpace:
        if self.heads % self.groups:
            raise ModelError(
                "heads must be a multiple of groups", got=f"{self.heads} heads, {self.groups} groups",
                do="Every group joins the same number of heads.", path="groups",
            )  # fmt: skip
        return self

    @property
    def width(self) -> int:
        """Of what passes the scan: all heads together."""
        return self.heads * self.head_dim

    @property
    def pieces(self) -> int:
        """What tensor parallelism must divide."""
        return self.groups


#: A letter of a pattern -> (its mixer, its FFN); "as told" leaves dense or sparse to ``moe``.
LETTERS: dict[str, tuple[Literal["state", "attention", "none"], Literal["as told", "dense", "sparse", "none"]]] = {
    "L": ("state", "as told"),
    "A": ("attention", "as told"),
    "M": ("state", "none"),
    "*": ("attention", "none"),
    "-": ("none", "dense"),
    "E": ("none", "sparse"),
}


class Hybrid(Spec):
    """Which layers mix tokens by a state, and how. ``pattern`` repeats over the layers, one letter each.

    ``L``: the mixer and an FFN, ``A``: attention and an FFN; layers of one sublayer alone as Megatron-LM and Nemotron-H write
    them, ``M``: the mixer, ``*``: attention, ``-``: a dense FFN, ``E``: experts.
    """

    mixer: Annotated[GatedDelta | StateSpace, Field(discriminator="kind")]
    pattern: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Hybrid:
        unknown = [letter for letter in self.pattern if letter not in LETTERS]
        if unknown:
            raise ModelError(
                f"a pattern is made of {' '.join(LETTERS)}", got=unknown[0], do="See supernode schema model.", path="pattern"
            )
        return self

    def letter(self, index: int) -> str:
        """The letter of layer ``index``."""
        return self.pattern[index % len(self.pattern)]
