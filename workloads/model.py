"""A transformer as data: what its file says, and which of its layers are alike.

A :class:`Model` is frozen; :meth:`Model.layer` names the shape of each layer, so that equal layers are counted and priced
once. Parameters, FLOPs and bytes are in :mod:`workloads.accounting`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec.base import Spec
from simulator.spec.errors import ModelError
from simulator.spec.sources import Source
from workloads.attention_kinds import Attention, CompressedAttention, GroupedQueryAttention, LatentAttention
from workloads.state_kinds import LETTERS, GatedDelta, Hybrid

MOST_LAYERS = 10_000
"""More layers than this, or prediction blocks, are a slip of the pen: the deepest published models have a few hundred."""

AttentionKind = Literal["gqa", "mla", "csa", "hca", "swa", "delta", "ssm", "none"]


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What distinguishes one layer of a model from another; equal shapes have equal operators and parameters.

    ``window``: tokens a grouped-query layer sees, 0 for all. ``indexer``: whether the layer selects keys itself, reuses
    another layer's selection, or attends densely. ``mtp``: the layer of a multi-token-prediction block. ``ffn``: whether it has
    an FFN, dense or sparse; ``attention`` is none where it has nothing else.
    """

    attention: AttentionKind
    window: int = 0
    indexer: Literal["none", "own", "shared"] = "none"
    moe: bool = False
    hash_routed: bool = False
    mtp: bool = False
    ffn: bool = True

    @property
    def sublayers(self) -> int:
        """Sublayers with a norm and a residual addition each."""
        return int(self.attention != "none") + int(self.ffn)

    @property
    def dense(self) -> bool:
        """Whether its FFN is one for all tokens."""
        return self.ffn and not self.moe


class FeedForward(Spec):
    """A dense FFN: up (and gate) to ``width``, activation, down. ``gated`` has three matrices, plain two."""

    width: int = Field(gt=0)
    gated: bool = True
    bias: bool = False
    activation: Literal["swiglu", "geglu", "gelu", "relu", "squared-relu"] = "swiglu"

    @model_validator(mode="after")
    def _check(self) -> FeedForward:
        _check_activation(self.gated, self.activation, "activation")
        return self


class Router(Spec):
    """How tokens choose experts. ``groups`` > 1: only the ``top_groups`` best groups of experts may serve a token.

    ``bias``: a bias per expert is stored with the weights (added to the score, or used only to choose); hash-routed layers
    have none, they choose by token id.
    """

    score: Literal["softmax", "sigmoid", "sqrt-softplus"] = "softmax"
    bias: bool = False
    groups: int = Field(default=1, gt=0)
    top_groups: int = Field(default=1, gt=0)
    hash_layers: int = Field(default=0, ge=0)
    balance: str = ""


class MixtureOfExperts(Spec):
    """Routed experts of ``width``, ``top_k`` a token, and shared experts every token passes.

    The first ``first_dense`` layers are dense, and of the others every ``interval``-th is sparse (the last of each
    interval). ``shared_width`` is the width of all shared experts together; left out, shared_experts x width.
    """

    experts: int = Field(gt=1)
    top_k: int = Field(gt=0)
    width: int = Field(gt=0)
    gated: bool = True
    bias: bool = False
    activation: Literal["swiglu", "geglu", "gelu", "relu", "squared-relu"] = "swiglu"
    shared_experts: int = Field(default=0, ge=0)
    shared_width: int | None = Field(default=None, gt=0)
    first_dense: int = Field(default=0, ge=0)
    interval: int = Field(default=1, gt=0)
    router: Router = Router()

    @model_validator(mode="after")
    def _check(self) -> MixtureOfExperts:
        _check_activation(self.gated, self.activation, "activation")
        if self.top_k > self.experts:
            raise ModelError(
                "top_k cannot exceed experts", got=f"{self.top_k} of {self.experts}", do="Lower top_k.", path="top_k"
            )
        if self.experts % self.router.groups:
            raise ModelError(
                "experts must be a multiple of router.groups",
                got=f"{self.experts} experts, {self.router.groups} groups",
                do="Groups of experts are equal.",
                path="router.groups",
            )
        if self.router.top_groups > self.router.groups:
            raise ModelError(
                "top_groups cannot exceed groups",
                got=f"{self.router.top_groups} of {self.router.groups}",
                do="Lower top_groups.",
                path="router.top_groups",
            )
        if self.top_k > self.router.top_groups * self.experts // self.router.groups:
            raise ModelError(
                "top_k experts must fit in the top_groups groups a token may use",
                got=self.top_k,
                do="Raise top_groups or lower top_k.",
                path="top_k",
            )
        if self.shared_width is not None and self.shared_experts == 0:
            raise ModelError(
                "shared_width needs shared_experts",
                got=self.shared_width,
                do="Give shared_experts or leave shared_width out.",
                path="shared_width",
            )
        return self

    @property
    def shared_total_width(self) -> int:
        """Width of all shared experts together, 0 without any."""
        return self.shared_experts * self.width if self.shared_width is None else self.shared_width


class HyperConnections(Spec):
    """Manifold-constrained hyper-connections: ``streams`` residual streams, mixed around every sublayer.

    Per sublayer one projection of all streams gives ``streams`` input weights, ``streams`` output weights and a
    ``streams`` x ``streams`` mixing matrix made doubly stochastic by Sinkhorn iterations.
    """

    streams: int = Field(default=4, gt=1)
    sinkhorn_iterations: int = Field(default=20, gt=0)

    @property
    def mix_outputs(self) -> int:
        return 2 * self.streams + self.streams**2


class MultiTokenPrediction(Spec):
    """Blocks after the last layer that predict further tokens, sharing embedding and head with the model.

    ``attention``: the block attends as the model's last layer does, or by sliding window alone (compressed models).
    """

    depth: int = Field(default=0, ge=0, le=MOST_LAYERS)
    attention: Literal["last", "swa"] = "last"


class Stated(Spec):
    """Sizes as the model's publisher writes them, for people; totals are computed."""

    total: str
    active: str | None = None


class Model(Spec):
    """One transformer.

    ``vocab`` is padded as trained. ``hybrid``: layers that keep a state in the place of keys and values, and which those are.
    ``parallel_block``: attention and FFN share one input and one norm. ``sandwich_norm``: each
    sublayer's output is normalised as well. ``source`` names keys of ``sources``; ``confidence`` is how sure its shape is.
    """

    name: str = Field(min_length=1)
    layers: int = Field(gt=0, le=MOST_LAYERS)
    hidden: int = Field(gt=0)
    vocab: int = Field(gt=0)
    tied_embeddings: bool = False
    learned_positions: int = Field(default=0, ge=0)
    embedding_norm: bool = False
    norm_bias: bool = False
    sandwich_norm: bool = False
    parallel_block: bool = False
    attention: Annotated[Attention, Field(discriminator="kind")]
    hybrid: Hybrid | None = None
    ffn: FeedForward | None = None
    moe: MixtureOfExperts | None = None
    hyper_connections: HyperConnections | None = None
    mtp: MultiTokenPrediction = MultiTokenPrediction()
    stated: Stated | None = None
    source: tuple[str, ...] = ()
    confidence: Literal["high", "medium", "low"] | None = None
    notes: tuple[str, ...] = ()
    sources: dict[str, Source] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Model:
        shapes = self.layer_shapes()
        if self.moe is None and any(shape.moe for shape in shapes):
            raise ModelError("layers of experts need moe", do="Give moe, or leave E out of the pattern.", path="hybrid.pattern")
        if self.hybrid is not None:
            self._check_hybrid(shapes)
        if self.ffn is None and any(shape.dense for shape in shapes):
            raise ModelError(
                "a model with dense layers needs ffn",
                do="Give ffn with its width, or make every layer sparse with moe.",
                path="ffn",
            )
        if self.parallel_block and (self.hyper_connections is not None or self.moe is not None):
            raise ModelError(
                "parallel_block is modelled for plain residual, dense models only",
                got=True,
                do="Leave parallel_block out.",
                path="parallel_block",
            )
        if self.mtp.attention == "swa" and not isinstance(self.attention, CompressedAttention):
            raise ModelError(
                "mtp.attention swa belongs to compressed attention",
                got=self.attention.kind,
                do="Write last.",
                path="mtp.attention",
            )
        unknown = [key for key in self.source if key not in self.sources]
        if unknown:
            raise ModelError("source must name a key of sources", got=unknown[0], do="Add it to sources.", path="source")
        return self

    def _check_hybrid(self, shapes: tuple[LayerShape, ...]) -> None:
        if self.hyper_connections is not None or self.parallel_block or self.attention.kind == "compressed":
            raise ModelError(
                "layers with a state are modelled beside grouped-query or latent attention, with plain residuals",
                do="Leave hybrid, or hyper_connections and parallel_block, out.", path="hybrid",
            )  # fmt: skip
        if self.mtp.depth and not (shapes[-1].ffn and shapes[-1].attention == self.attention.kind):
            raise ModelError(
                "a prediction block is built like the last layer, which must have attention and an FFN",
                got=self.hybrid.letter(self.layers - 1) if self.hybrid else None, do="Set mtp.depth to 0.", path="mtp.depth",
            )  # fmt: skip

    def _is_moe(self, index: int) -> bool:
        moe = self.moe
        return moe is not None and index >= moe.first_dense and index % moe.interval == moe.interval - 1

    def layer(self, index: int) -> LayerShape:
        """The shape of layer ``index``, counted from 0 at the input."""
        if not 0 <= index < self.layers:
            raise ModelError(f"layer must be 0 to {self.layers - 1}", got=index, do="Ask for a layer the model has.")
        if self.hybrid is not None:
            return self._hybrid_shape(self.hybrid, index)
        moe = self._is_moe(index)
        hashed = moe and self.moe is not None and index < self.moe.router.hash_layers
        return self._shape(index, moe=moe, hash_routed=hashed, mtp=False)

    def _hybrid_shape(self, hybrid: Hybrid, index: int) -> LayerShape:
        mixer, ffn = LETTERS[hybrid.letter(index)]
        moe = self._is_moe(index) if ffn == "as told" else ffn == "sparse"
        if mixer == "attention":
            return replace(self._shape(index, moe=moe, hash_routed=False, mtp=False), ffn=ffn != "none")
        kind: AttentionKind = "none"
        if mixer == "state":
            kind = "delta" if isinstance(hybrid.mixer, GatedDelta) else "ssm"
        return LayerShape(kind, moe=moe, ffn=ffn != "none")

    def mtp_layer(self) -> LayerShape:
        """The shape of the transformer layer inside a multi-token-prediction block."""
        shape = self._shape(self.layers - 1, moe=self.moe is not None, hash_routed=False, mtp=True)
        if self.mtp.attention == "swa":
            return LayerShape("swa", moe=shape.moe, mtp=True)
        return shape

    def _shape(self, index: int, *, moe: bool, hash_routed: bool, mtp: bool) -> LayerShape:
        kind: AttentionKind
        window, indexer = 0, None
        match self.attention:
            case GroupedQueryAttention():
                kind, window = "gqa", self.attention.layer_window(index)
            case LatentAttention():
                kind = "mla"
                indexer = self.attention.indexer.layer_kind(index) if self.attention.indexer else None
            case CompressedAttention():
                kind = self.attention.layer_kind(index)
                indexer = "own" if kind == "csa" else None
        return LayerShape(kind, window, indexer or "none", moe, hash_routed, mtp)

    def layer_shapes(self) -> tuple[LayerShape, ...]:
        """Shapes of all layers, input to output, without multi-token prediction."""
        return tuple(self.layer(index) for index in range(self.layers))

    @property
    def has_experts(self) -> bool:
        """Whether any layer (or prediction block) is a mixture of experts."""
        return any(shape.moe for shape in self.layer_shapes()) or (self.mtp.depth > 0 and self.moe is not None)

    @property
    def streams(self) -> int:
        """Residual streams between layers, 1 without hyper-connections."""
        return self.hyper_connections.streams if self.hyper_connections else 1

    @property
    def residual_width(self) -> int:
        """Elements a token carries from layer to layer, and from stage to stage: hidden x streams."""
        return self.hidden * self.streams


def _check_activation(gated: bool, activation: str, path: str) -> None:
    if gated != (activation in ("swiglu", "geglu")):
        raise ModelError(
            "a gated FFN uses swiglu or geglu, a plain one gelu, relu or squared-relu",
            got=f"{activation}, gated {str(gated).lower()}",
            do="Change activation or gated.",
            path=path,
        )
