"""One layer on one rank as instructions: forward, backward, and the communication that stands between its sections.

Tensor parallelism with sequence parallelism gathers a section's input and reduce-scatters its output; without it, only
sums (all-reduce). The backward pass mirrors this, and gathers the input once more for the weight gradient. That gather
runs beside the input gradient, and reducing the input gradient beside the weight gradient, as Megatron-LM and Transformer
Engine do unless tensor-parallel overlap is refused outright (``overlap: {tp: false}``); ``overlap: {tp: true}`` also runs the
others beside their matrix multiplications.

Experts: router, dispatch, permute, grouped GEMMs, unpermute, combine. With ``overlap: {ep: true}`` the shared expert runs
during the dispatch (and during its mirror in the backward pass), and expert weight gradients while input gradients travel
home; what a joined forward and backward hide from each other comes from the lanes.

Leaves out: the first and last chunk of a pipelined GEMM, which nothing hides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from workloads.accounting.sections import Section
from workloads.chain import Chain
from workloads.instructions import Operator, Phase
from workloads.traffic import Traffic

ATTENTION = ("attention_pre", "attention_in", "attention_core", "attention_out")
ROUTED = ("router", "permute", "experts", "unpermute")


class Layer:
    """A run of sections under a plan. ``recomputed``: modules recomputed in the backward pass, or everything."""

    def __init__(
        self, sections: Mapping[str, Section], traffic: Traffic, recomputed: Collection[str] = (), *, full: bool = False
    ) -> None:
        self.sections = dict(sections)
        self.traffic = traffic
        self.overlap = traffic.plan.overlap
        self.recomputed = frozenset(recomputed)
        self.full = full

    @property
    def moe(self) -> bool:
        return "experts" in self.sections

    def forward(self, chain: Chain) -> None:
        """The layer's forward pass."""
        self._forward(chain, self._forward_operators)

    def backward(self, chain: Chain, *, inputs: bool = True, weights: bool = True) -> None:
        """The layer's backward pass: gradients of its inputs, of its weights, or of both."""
        if inputs and self.full:
            self._forward(chain, self._recomputed_operators)
        if not inputs:
            for section in reversed(self.sections.values()):
                self._weights(chain, section)
            return
        if self.moe:
            self._backward_moe(chain, weights=weights)
        for name in reversed([name for name in self.sections if not self.moe or name in ATTENTION]):
            self._backward(chain, self.sections[name], weights=weights)

    def _forward_operators(self, section: Section) -> tuple[Operator, ...]:
        return section.forward

    def _recomputed_operators(self, section: Section) -> tuple[Operator, ...]:
        return tuple(replace(operator, phase=Phase.RECOMPUTE) for operator in section.forward)

    def _forward(self, chain: Chain, operators: Operators) -> None:
        for name, section in self.sections.items():
            if name == "router":
                self._forward_moe(chain, operators)
            elif name not in (*ROUTED, "shared_expert"):
                self._plain(chain, section, operators(section))

    def _forward_moe(self, chain: Chain, operators: Operators) -> None:
        """Router to combine; the shared expert during the dispatch, or before it."""
        sections, traffic = self.sections, self.traffic
        shared = sections.get("shared_expert")
        chain.run(operators(sections["router"]))
        if shared and not self.overlap.ep:
            self._plain(chain, shared, operators(shared))
        sent = chain.start(traffic.dispatch())
        if shared and self.overlap.ep:
            self._plain(chain, shared, operators(shared))
        chain.wait(sent)
        chain.exchange(traffic.expert_gather())
        chain.run(operators(sections["permute"]))
        chain.run(operators(sections["experts"]))
        chain.run(operators(sections["unpermute"]))
        chain.exchange(traffic.expert_reduce(), traffic.combine())

    def _plain(self, chain: Chain, section: Section, operators: tuple[Operator, ...]) -> None:
        """A section between its tensor- or context-parallel exchanges."""
        traffic, overlap = self.traffic, self.overlap
        if section.context_bytes:
            chain.run_beside(operators, [traffic.context(section, "all-gather")], overlap=overlap.cp)
            return
        gather, reduce = traffic.gather(section, "input"), traffic.reduce(section)
        if overlap.tp:
            chain.run_beside(operators, [gather, reduce], overlap=True)
            return
        chain.exchange(gather)
        chain.run(operators)
        chain.exchange(reduce)

    def _backward(self, chain: Chain, section: Section, *, weights: bool) -> None:
        self._recompute(chain, section)
        if section.context_bytes:
            self._backward_context(chain, section)
        else:
            traffic, overlap = self.traffic, self.overlap
            again = chain.start(traffic.gather(section, "repeated")) if weights and overlap.tp_gradients else ()
            chain.run_beside(section.backward_input, [traffic.gather_gradient(section)], overlap=overlap.tp)
            chain.wait(again)
            reduced = chain.start(traffic.reduce_gradient(section))
            if not overlap.tp_gradients:
                chain.wait(reduced)
                reduced = ()
            if weights:
                self._weights(chain, section, gathered=bool(again))
            chain.wait(reduced)
            return
        if weights:
            self._weights(chain, section)

    def _backward_context(self, chain: Chain, section: Section) -> None:
        """Keys and values come again, their gradients go home."""
        again, home = self.traffic.context(section, "all-gather"), self.traffic.context(section, "reduce-scatter")
        if self.overlap.cp:
            chain.run_beside(section.backward_input, [again, home], overlap=True)
            return
        chain.exchange(again)
        chain.run(section.backward_input)
        chain.exchange(home)

    def _weights(self, chain: Chain, section: Section, *, gathered: bool = False) -> None:
        """Gradients of a section's weights; its input was scattered, so it is gathered again."""
        if not section.backward_weight:
            return
        if not gathered:
            chain.exchange(self.traffic.gather(section, "repeated"))
        chain.run(section.backward_weight)

    def _backward_moe(self, chain: Chain, *, weights: bool) -> None:
        """Mirror of the routed path: output gradients to the experts, input gradients home."""
        sections, traffic, overlap = self.sections, self.traffic, self.overlap.ep
        self._backward(chain, sections["ffn_post"], weights=weights)
        if "moe" in self.recomputed and not self.full:
            self._forward_moe(chain, self._recomputed_operators)
        sent = chain.start(traffic.dispatch("gradient"))
        if not overlap:
            chain.wait(sent)
        shared = sections.get("shared_expert")
        if shared:
            self._backward(chain, shared, weights=weights)
        if overlap:
            chain.wait(sent)
        chain.exchange(traffic.expert_gather())
        for name in ("unpermute", "experts"):
            self._recompute(chain, sections[name])
            chain.run(sections[name].backward_input)
        if weights and not overlap:
            chain.run(sections["experts"].backward_weight)
        chain.run(sections["permute"].backward_input)
        chain.exchange(traffic.expert_reduce())
        sent = chain.start(traffic.combine("gradient"))
        if weights and overlap:
            chain.run(sections["experts"].backward_weight)
        chain.wait(sent)
        for name in ("router", "ffn_pre"):
            self._backward(chain, sections[name], weights=weights)

    def _recompute(self, chain: Chain, section: Section) -> None:
        """What selective recomputation runs again just before a section's backward pass.

        A whole dense FFN gathers its input again; the routed path as a whole is recomputed by ``_backward_moe``.
        """
        if self.full or not self.recomputed:
            return
        routed = section.name in (*ROUTED, "shared_expert")
        if routed and "moe" in self.recomputed:
            return
        operators = section.recompute(self.recomputed)
        whole = bool(operators) and len(operators) == len(section.forward)
        if whole:
            chain.exchange(self.traffic.gather(section, "recomputed"))
        chain.run(operators)


Operators = Callable[[Section], tuple[Operator, ...]]
