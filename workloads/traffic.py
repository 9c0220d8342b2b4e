"""What one rank sends for one layer: payloads, groups and collectives of a plan.

Payloads follow the conventions of :class:`workloads.instructions.Communication`; a group of one rank sends nothing and
gives None.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads.accounting.precision import element_bytes
from workloads.accounting.sections import LayerParameters, Section, Shard
from workloads.groups import Groups
from workloads.instructions import Communication, Skew
from workloads.model import Model
from workloads.resolved import ResolvedPlan

TOKEN_BYTES = 2.0
"""Activations between stages, tokens in dispatch buffers, and weights that nothing quantises are bf16 [B]."""

COMBINE_BYTES = 2.0
"""Tokens return from the experts in bf16, whatever they went out in (DeepSeek-V3 report, arXiv 2412.19437, 3.3.2) [B]."""


@dataclass(frozen=True, slots=True)
class ShardParameters:
    """Parameters that one rank holds of a layer, the embedding or the head, by how they are replicated; spare places count.

    ``dense`` repeat over dp x cp, ``experts`` over expert_dp; ``replicated`` is the part of ``dense`` that is also whole on
    every tp rank.
    """

    dense: float = 0.0
    experts: float = 0.0
    replicated: float = 0.0

    def __add__(self, other: ShardParameters) -> ShardParameters:
        return ShardParameters(self.dense + other.dense, self.experts + other.experts, self.replicated + other.replicated)

    @classmethod
    def of(cls, parameters: LayerParameters, plan: ResolvedPlan) -> ShardParameters:
        """One rank's share of these parameters."""
        dense = parameters.sharded / plan.tp + parameters.replicated
        places = plan.loads.spares.share if plan.loads.spares else 1.0
        return cls(dense, parameters.experts / (plan.ep * plan.etp) * places, parameters.replicated)

    def times(self, share: float) -> ShardParameters:
        """A share of them."""
        return ShardParameters(self.dense * share, self.experts * share, self.replicated * share)

    @property
    def total(self) -> float:
        return self.dense + self.experts


class Traffic:
    """Makes the communications of one plan on one model, for any layer."""

    def __init__(self, model: Model, plan: ResolvedPlan, groups: Groups, shard: Shard, skew: Skew | None = None) -> None:
        self.model = model
        self.plan = plan
        self.groups = groups
        self.shard = shard
        self.skew = skew

    def gather(self, section: Section, what: str) -> Communication | None:
        """Before a tensor-parallel section: bring the sequence shards together; nothing without sequence parallelism."""
        if not self.plan.sequence_parallel:
            return None
        return self._make(f"{section.name} {what} gather", "tp", "all-gather", "tp", section.gather_bytes * section.gather_wire)

    def reduce(self, section: Section) -> Communication | None:
        """After a tensor-parallel section: sum the partial outputs."""
        collective = "reduce-scatter" if self.plan.sequence_parallel else "all-reduce"
        return self._make(f"{section.name} output {collective}", "tp", collective, "tp", section.reduce_bytes)

    def gather_gradient(self, section: Section) -> Communication | None:
        """The mirror of ``reduce``: output gradients are whole before the section's backward."""
        if not self.plan.sequence_parallel:
            return None
        return self._make(
            f"{section.name} gradient gather", "tp", "all-gather", "tp", section.reduce_bytes * section.gradient_wire
        )

    def reduce_gradient(self, section: Section) -> Communication | None:
        """The mirror of ``gather``: sum the partial input gradients."""
        collective = "reduce-scatter" if self.plan.sequence_parallel else "all-reduce"
        return self._make(f"{section.name} gradient {collective}", "tp", collective, "tp", section.gather_bytes)

    @property
    def boundary_bytes(self) -> float:
        """What a rank of a stage has for the next one after a micro-batch: all residual streams of its tokens [B]."""
        return self.shard.local_tokens * self.model.residual_width * TOKEN_BYTES

    @property
    def sent_bytes(self) -> float:
        """What of it this rank sends itself, and not another rank of its tp group [B]."""
        return self.boundary_bytes / (self.plan.tp if self.plan.gathers_boundary else 1)

    def gather_boundary(self) -> Communication | None:
        """What came from another stage in parts, one to each tp rank, made whole again."""
        if not self.plan.gathers_boundary:
            return None
        return self._make("stage boundary gather", "tp", "all-gather", "tp", self.boundary_bytes)

    def context(self, section: Section, collective: str) -> Communication | None:
        """Keys and values (all-gather), or their gradients (reduce-scatter), of all ranks that share a sequence."""
        return self._make(f"{section.name} keys {collective}", "cp", collective, self.ring, section.context_bytes)

    def heads(self, section: Section, *, inward: bool) -> Communication | None:
        """All heads of a rank's tokens for all tokens of some heads (``inward``), and back, among ranks of one sequence.

        Of the payload S a rank sends S (n - 1) / n: for queries, keys and values and the outputs of N tokens on n ranks and h
        elements a head row 4 N h / n elements in all, as Jacobs et al. count them (DeepSpeed Ulysses, arXiv 2309.14509, 3.2).
        """
        size = section.heads_in if inward else section.heads_out
        return self._make(f"{section.name} heads {'in' if inward else 'out'}", "cp", "all-to-all", "cp_heads", size)

    @property
    def ring(self) -> str:
        """The group that exchanges keys and values: all ranks of a sequence, or those that hold the same heads of it."""
        return "cp" if self.plan.context_heads == 1 else "cp_ring"

    def dispatch(self, what: str = "") -> Communication | None:
        """Tokens to the ranks of their experts; with ``what`` = gradient, output gradients along the same way."""
        size = element_bytes(self.plan.dispatch_precision)
        return self._expert(f"{what} dispatch".strip(), "dispatch", size)

    def combine(self, what: str = "") -> Communication | None:
        """Expert outputs (or, for gradient, input gradients) back to the ranks of their tokens."""
        return self._expert(f"{what} combine".strip(), "combine", COMBINE_BYTES)

    def expert_gather(self) -> Communication | None:
        """Tokens of all ranks that share an expert's slices, before the grouped GEMM."""
        size = element_bytes(self.plan.dispatch_precision)
        return self._make("expert gather", "ep", "all-gather", "etp", self._expert_elements() * size)

    def expert_reduce(self) -> Communication | None:
        """Partial expert outputs summed over the ranks that share its slices."""
        return self._make("expert reduce-scatter", "ep", "reduce-scatter", "etp", self._expert_elements() * COMBINE_BYTES)

    def reduce_gradients(self, parameters: ShardParameters, what: str) -> tuple[Communication, ...]:
        """Gradients of these parameters over the ranks that hold them too: summed (ZeRO-0), or summed and cut."""
        state = self.plan.state
        dense, experts = parameters.dense * state.gradient_reduce, parameters.experts * state.expert_gradient_reduce
        if self.plan.zero == 0:
            made = (
                self._make(f"{what} gradients", "dp", "all-reduce", "dp_cp", dense),
                self._make(f"{what} expert gradients", "dp", "all-reduce", self.expert_shards, experts),
            )
        else:
            made = (
                self._make(f"{what} gradients", "dp", "reduce-scatter", self.dense_shards, dense),
                self._make(f"{what} expert gradients", "dp", "reduce-scatter", self.expert_shards, experts),
            )
        return tuple(communication for communication in made if communication)

    def reduce_replicas(self, parameters: ShardParameters, what: str) -> tuple[Communication, ...]:
        """Where several groups each hold a whole copy of the state: sum the cut gradients over them."""
        if self.plan.zero == 0:
            return ()
        state = self.plan.state
        size = parameters.dense * state.gradient_reduce / self.plan.zero_size
        if self.expert_shards != "expert_dp":
            size += parameters.experts * state.expert_gradient_reduce / self.expert_copies
        made = self._make(f"{what} gradients of replicas", "dp", "all-reduce", "zero_replica", size)
        return (made,) if made else ()

    def gather_parameters(self, parameters: ShardParameters, what: str, *, quantised: bool = True) -> tuple[Communication, ...]:
        """Parameters brought together from their shards; those that no product takes ``quantised`` in 16 bits."""
        size = self.plan.state.parameter_gather if quantised else TOKEN_BYTES
        made = (
            self._make(f"{what} parameters", "dp", "all-gather", self.dense_shards, parameters.dense * size),
            self._make(f"{what} expert parameters", "dp", "all-gather", self.expert_shards, parameters.experts * size),
        )
        return tuple(communication for communication in made if communication)

    def reduce_replicated(self, parameters: ShardParameters) -> Communication | None:
        """Gradients of weights that sequence parallelism leaves whole on every tp rank, each of which saw its tokens."""
        if not self.plan.sequence_parallel:
            return None
        size = parameters.replicated * self.plan.state.gradients
        return self._make("replicated gradients", "tp", "all-reduce", "tp", size)

    def mirror(self, parameters: ShardParameters, collective: str, size: float) -> Communication | None:
        """Between the two ranks that hold the same stages under DualPipe, of what ZeRO leaves each of them."""
        elements = parameters.dense / self.dense_copies + parameters.experts / self.expert_copies
        return self._make(f"mirror {collective}", "dp", collective, "pp_mirror", elements * size)

    def spare_gradients(self, parameters: ShardParameters) -> Communication | None:
        """What this rank is left with of the gradients of copied experts, to their homes, which update them."""
        return self._between_copies("spare expert gradients", "dispatch", parameters, self.plan.state.expert_gradient_reduce)

    def spare_weights(self, parameters: ShardParameters) -> Communication | None:
        """The updated weights of copied experts back from their homes."""
        return self._between_copies("spare expert weights", "combine", parameters, self.plan.state.parameter_gather)

    def _between_copies(self, name: str, collective: str, parameters: ShardParameters, size: float) -> Communication | None:
        spares = self.plan.loads.spares
        skew = spares.skew() if spares else None
        if spares is None or skew is None:
            return None
        mirrored = 2 if self.plan.directions == 2 and self.plan.zero > 0 else 1
        payload = parameters.experts / spares.places * size / (self.expert_copies * mirrored)
        made = self._make(name, "dp", collective, "ep", payload, skew=skew)
        return replace(made, deduplicate=False) if made else None

    def tied_embedding(self, elements: float) -> Communication | None:
        """Gradient of an embedding that is also the head, between the first and the last stage."""
        return self._make("tied embedding", "dp", "all-reduce", "pp_ends", elements * self.plan.state.gradients)

    @property
    def dense_shards(self) -> str:
        """The group over which ZeRO cuts what all ranks of a stage hold."""
        return "dp_cp" if self.plan.zero_size == self.groups.size("dp_cp") else "zero"

    @property
    def expert_shards(self) -> str:
        """The group over which ZeRO cuts routed experts; without expert parallelism they are like the rest.

        Where the state is kept in several copies (``zero_group``), so is the experts'.
        """
        if self.plan.zero == 0 or self.dense_shards != "zero":
            return "expert_dp"
        return "zero" if self.plan.ep == self.plan.etp == self.plan.tp == 1 else "expert_zero"

    @property
    def dense_copies(self) -> int:
        """Ranks that share one copy of the dense state (1 without ZeRO)."""
        return self.plan.zero_size

    @property
    def expert_copies(self) -> int:
        """Ranks that share one copy of the experts' state (1 without ZeRO)."""
        return self.groups.size(self.expert_shards) if self.plan.zero else 1

    def _expert_elements(self) -> float:
        return self.shard.expert_tokens * self.model.hidden

    def _expert(self, name: str, collective: str, size: float) -> Communication | None:
        moe = self.model.moe
        assert moe is not None
        if self.skew is not None and not any(self.skew.receive):
            return None  # a wave of experts that nobody chooses
        payload = self.shard.local_tokens * moe.top_k * self.model.hidden * size
        limit = moe.router.top_groups if moe.router.groups > 1 else 0
        return self._make(name, "ep", collective, "ep", payload, moe.top_k, limit, self.skew)

    def _make(
        self,
        name: str,
        kind: str,
        collective: str,
        group: str,
        payload: float,
        top_k: int = 0,
        max_domains: int = 0,
        skew: Skew | None = None,
    ) -> Communication | None:
        if self.groups.size(group) < 2 or payload <= 0:
            return None
        deduplicate = self.plan.deduplicate and collective in ("dispatch", "combine")
        return Communication(name, kind, collective, group, payload, top_k, max_domains, deduplicate, skew)
