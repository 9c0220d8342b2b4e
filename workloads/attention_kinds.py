"""What a model file may say about attention: grouped-query, latent (MLA), or compressed (CSA, HCA, sliding window).

Each kind answers one question for :meth:`workloads.model.Model.layer`: which variant of it layer ``i`` runs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.spec.base import Spec
from simulator.spec.errors import ModelError


class FullLayers(Spec):
    """Head shape of the layers that see the whole sequence, where it differs from the windowed ones (Gemma 4).

    ``shared_kv``: keys and values come from one projection.
    """

    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    shared_kv: bool = False


class GroupedQueryAttention(Spec):
    """Multi-head (kv_heads = heads), grouped-query or multi-query (kv_heads = 1) attention.

    ``output_gate``: the query projection makes a gate for the output as well.
    ``window_pattern`` repeats over the layers and says which of them see only ``window`` tokens: the last ones
    (``local: sliding``), or those of their own chunk (``chunked``). ``qk_norm`` normalises each head, or the full width.
    """

    kind: Literal["gqa"]
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    rope: bool = True
    sink: bool = False
    output_gate: bool = False
    window: int = Field(default=0, ge=0)
    window_pattern: tuple[Literal["local", "full"], ...] = ("local",)
    local: Literal["sliding", "chunked"] = "sliding"
    full_layers: FullLayers | None = None

    @model_validator(mode="after")
    def _check(self) -> GroupedQueryAttention:
        for kv_heads in (self.kv_heads, self.full_layers.kv_heads if self.full_layers else 1):
            if self.heads % kv_heads:
                raise ModelError(
                    "heads must be a multiple of kv_heads",
                    got=f"{self.heads} heads, {kv_heads} kv_heads",
                    do="Every key-value head serves the same number of query heads.",
                    path="kv_heads",
                )
        if not self.window_pattern:
            raise ModelError(
                "window_pattern must name at least one layer", got=[], do="Write [local] or leave it out.", path="window_pattern"
            )
        return self

    def layer_window(self, index: int) -> int:
        """Tokens layer ``index`` sees, 0 for all."""
        local = self.window_pattern[index % len(self.window_pattern)] == "local"
        return self.window if local else 0

    def head_shape(self, window: int) -> tuple[int, int, bool]:
        """(kv_heads, head_dim, shared_kv) of a layer with this window."""
        if self.full_layers is not None and window == 0:
            return self.full_layers.kv_heads, self.full_layers.head_dim, self.full_layers.shared_kv
        return self.kv_heads, self.head_dim, False


class IndexerPattern(Spec):
    """Which layers compute their own selection and which reuse that of the last one that did."""

    first: tuple[Literal["own", "shared"], ...] = ()
    repeat: tuple[Literal["own", "shared"], ...] = Field(default=("own",), min_length=1)


class Indexer(Spec):
    """The lightning indexer: cheap heads score every key, the ``top_k`` best are attended.

    ``key_norm``: its keys pass a normalisation with a weight and a bias.
    """

    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    top_k: int = Field(gt=0)
    key_norm: bool = True
    pattern: IndexerPattern = IndexerPattern()

    def layer_kind(self, index: int) -> Literal["own", "shared"]:
        first, repeat = self.pattern.first, self.pattern.repeat
        return first[index] if index < len(first) else repeat[(index - len(first)) % len(repeat)]


class LatentAttention(Spec):
    """Multi-head latent attention (DeepSeek-V2): queries and keys-values pass through low-rank latents.

    ``q_lora_rank`` 0 projects queries directly. Training attends uncompressed heads: keys ``qk_nope_dim + qk_rope_dim``
    wide, values ``v_head_dim``.
    """

    kind: Literal["mla"]
    heads: int = Field(gt=0)
    q_lora_rank: int = Field(default=0, ge=0)
    kv_lora_rank: int = Field(gt=0)
    qk_nope_dim: int = Field(gt=0)
    qk_rope_dim: int = Field(gt=0)
    v_head_dim: int = Field(gt=0)
    indexer: Indexer | None = None

    @model_validator(mode="after")
    def _check(self) -> LatentAttention:
        if self.indexer is not None and self.q_lora_rank == 0:
            raise ModelError(
                "an indexer reads the query latent, so q_lora_rank must be above 0",
                got=0,
                do="Give q_lora_rank or leave the indexer out.",
                path="q_lora_rank",
            )
        return self

    @property
    def key_dim(self) -> int:
        return self.qk_nope_dim + self.qk_rope_dim


CompressedKind = Literal["csa", "hca", "swa"]


class CompressedPattern(Spec):
    """Kinds of the first layers, then kinds that repeat to the last layer."""

    first: tuple[CompressedKind, ...] = ()
    repeat: tuple[CompressedKind, ...] = Field(min_length=1)


class CompressedAttention(Spec):
    """DeepSeek-V4's attention: one key-value head of ``head_dim``, used as key and value, compressed along the sequence.

    Each query sees the last ``window`` tokens and, in CSA layers, the ``indexer.top_k`` best of the entries made from
    every ``csa_ratio`` tokens (overlapping); in HCA layers all entries made from every ``hca_ratio`` tokens; SWA layers see the
    window alone. The output projection is low-rank in ``output_groups`` groups of heads.
    """

    kind: Literal["compressed"]
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    rope_dim: int = Field(gt=0)
    q_lora_rank: int = Field(gt=0)
    output_groups: int = Field(gt=0)
    output_rank: int = Field(gt=0)
    window: int = Field(gt=0)
    csa_ratio: int = Field(default=4, gt=1)
    hca_ratio: int = Field(default=128, gt=1)
    indexer: Indexer
    pattern: CompressedPattern

    @model_validator(mode="after")
    def _check(self) -> CompressedAttention:
        if self.heads % self.output_groups:
            raise ModelError(
                "heads must be a multiple of output_groups",
                got=f"{self.heads} heads, {self.output_groups} groups",
                do="Every output group joins the same number of heads.",
                path="output_groups",
            )
        if self.rope_dim > self.head_dim:
            raise ModelError(
                "rope_dim is a part of head_dim", got=f"{self.rope_dim} of {self.head_dim}", do="Lower rope_dim.", path="rope_dim"
            )
        return self

    def layer_kind(self, index: int) -> CompressedKind:
        first, repeat = self.pattern.first, self.pattern.repeat
        return first[index] if index < len(first) else repeat[(index - len(first)) % len(repeat)]


Attention = GroupedQueryAttention | LatentAttention | CompressedAttention
