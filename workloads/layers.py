"""One layer on one rank as instructions: forward, backward, and the communication that stands between its sections.

Tensor parallelism with sequence parallelism gathers a section's input and reduce-scatters its output; without it, only
sums (all-reduce). The backward pass mirrors this, and gathers the input once more for the weight gradient. That gather
runs beside the input gradient, and reducing the input gradient beside the weight gradient, as Megatron-LM and Transformer
Engine do unless tensor-parallel overlap is refused outright (``overlap: {tp: false}``); ``overlap: {tp: true}`` also runs the
others beside their matrix multiplications.

Experts: router, dispatch, permute, grouped GEMMs, unpermute, combine. With ``overlap: {ep: true}`` the shared expert runs
during the dispatch (and during its mirror in the backward pass), and expert weight gradients while input gradients travel
home; what a joined forward and backward hide from each other comes from the lanes. With ``overlap: {ep_waves: w}`` the experts of
a rank run in w waves: all waves' tokens are sent for at once, each wave's products run when its tokens are there, and its outputs
travel while the next one computes. With D, G, C the times of dispatch, products and combine alone, and d, g, c a w-th of them, a
layer takes max(D + C, d + G + c, d + g + C, D + g + c) (the pipeline of DeepSeek-V4's report, arXiv 2606.19348, on one lane).

Leaves out: the first and last chunk of a pipelined GEMM, which nothing hides; that a fused kernel starts its waves' exchanges
without the library (every wave pays the launch).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from simulator.spec.errors import NotModelled
from workloads.accounting.sections import Section
from workloads.chain import Chain
from workloads.instructions import Kernel, Operator, Phase
from workloads.traffic import Traffic
from workloads.waves import OF_WAVES, Wave, even_waves

ATTENTION = ("attention_pre", "attention_in", "attention_core", "attention_out")
ROUTED = ("router", "permute", "experts", "unpermute")


class Layer:
    """A run of sections under a plan. ``recomputed``: modules recomputed in the backward pass, or everything (``full``).

    ``at_once``: they are made again in forward order before it begins, not each before its own. ``waves``: of its experts, where
    they are unlike each other.
    """

    def __init__(
        self,
        sections: Mapping[str, Section],
        traffic: Traffic,
        recomputed: Collection[str] = (),
        *,
        full: bool = False,
        at_once: bool = False,
        waves: tuple[Wave, ...] = (),
    ) -> None:
        self.sections = dict(sections)
        self.traffic = traffic
        self.overlap = traffic.plan.overlap
        self.recomputed = frozenset(recomputed)
        self.full = full
        self.at_once = at_once
        count = self.overlap.ep_waves if self.moe else 1
        self.waves = waves or (even_waves(self.sections, traffic, count) if count > 1 else ())

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
        if inputs and self.at_once:
            self._remake(chain)
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
        if self.waves:
            sent = [chain.start(wave.dispatch()) for wave in self.waves]
            if shared and self.overlap.ep:
                self._plain(chain, shared, operators(shared))
            self._run_waves(chain, sent, operators)
            return
        tokens = chain.start(traffic.dispatch())
        if shared and self.overlap.ep:
            self._plain(chain, shared, operators(shared))
        chain.wait(tokens)
        chain.exchange(traffic.expert_gather())
        chain.run(operator for name in OF_WAVES for operator in operators(sections[name]))
        chain.exchange(traffic.expert_reduce(), traffic.combine())

    def _run_waves(self, chain: Chain, sent: list[tuple[str, ...]], operators: Operators) -> None:
        """Compute each wave when its tokens are there and send its outputs off; wait until all are home."""
        home: list[str] = []
        for wave, tokens in zip(self.waves, sent, strict=True):
            chain.wait(tokens)
            chain.run(operator for name in OF_WAVES for operator in operators(wave.sections[name]))
            home += chain.start(wave.combine())
        chain.wait(home)

    def _plain(self, chain: Chain, section: Section, operators: tuple[Operator, ...]) -> None:
        """A section between its tensor- or context-parallel exchanges."""
        traffic, overlap = self.traffic, self.overlap
        if section.context_bytes or section.heads_in:
            self._forward_context(chain, section, operators)
            return
        gather, reduce = traffic.gather(section, "input"), traffic.reduce(section)
        if overlap.tp:
            chain.run_pipelined(operators, gather, reduce)
            return
        chain.exchange(gather)
        chain.run(operators)
        chain.exchange(reduce)

    def _backward(self, chain: Chain, section: Section, *, weights: bool) -> None:
        self._recompute(chain, section)
        if section.context_bytes or section.heads_in:
            self._backward_context(chain, section)
        else:
            traffic, overlap = self.traffic, self.overlap
            again = chain.start(traffic.gather(section, "repeated")) if weights and overlap.tp_gradients else ()
            if overlap.tp:
                chain.run_pipelined(section.backward_input, traffic.gather_gradient(section))
            else:
                chain.run_beside(section.backward_input, [traffic.gather_gradient(section)], overlap=False)
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

    def _forward_context(self, chain: Chain, section: Section, operators: tuple[Operator, ...]) -> None:
        """Heads are traded for tokens before the core and back after it; keys and values come while it runs, or before."""
        traffic = self.traffic
        chain.exchange(traffic.heads(section, inward=True))
        chain.run_beside(operators, [traffic.context(section, "all-gather")], overlap=self.overlap.cp)
        chain.exchange(traffic.heads(section, inward=False))

    def _backward_context(self, chain: Chain, section: Section) -> None:
        """Keys and values come again, their gradients go home; gradients of heads that were exchanged go the other way."""
        traffic = self.traffic
        again, home = traffic.context(section, "all-gather"), traffic.context(section, "reduce-scatter")
        chain.exchange(traffic.heads(section, inward=False))
        if self.overlap.cp:
            chain.run_beside(section.backward_input, [again, home], overlap=True)
        else:
            chain.exchange(again)
            chain.run(section.backward_input)
            chain.exchange(home)
        chain.exchange(traffic.heads(section, inward=True))

    def _weights(self, chain: Chain, section: Section, *, gathered: bool = False) -> None:
        """Gradients of a section's weights; its input was scattered, so it is gathered again."""
        if not section.backward_weight:
            return
        if not gathered:
            chain.exchange(self.traffic.gather(section, "repeated"))
        chain.run(section.backward_weight)

    def _backward_moe(self, chain: Chain, *, weights: bool) -> None:
        """Mirror of the routed path: output gradients to the experts, input gradients home."""
        sections = self.sections
        self._backward(chain, sections["ffn_post"], weights=weights)
        if "moe" in self.recomputed and not self.full and not self.at_once:
            self._forward_moe(chain, self._recomputed_operators)
        if self.waves:
            self._backward_waves(chain, weights=weights)
        else:
            self._backward_routed(chain, weights=weights)
        for name in ("router", "ffn_pre"):
            self._backward(chain, sections[name], weights=weights)

    def _backward_routed(self, chain: Chain, *, weights: bool) -> None:
        sections, traffic, overlap = self.sections, self.traffic, self.overlap.ep
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

    def _backward_waves(self, chain: Chain, *, weights: bool) -> None:
        """Output gradients arrive and input gradients leave in waves; weight gradients run in their wave, after its own leave."""
        sections = self.sections
        sent = [chain.start(wave.dispatch("gradient")) for wave in self.waves]
        shared = sections.get("shared_expert")
        if shared:
            self._backward(chain, shared, weights=weights)
        for name in ("unpermute", "experts"):
            self._recompute(chain, sections[name])
        home: list[str] = []
        for wave, tokens in zip(self.waves, sent, strict=True):
            chain.wait(tokens)
            chain.run(operator for name in reversed(OF_WAVES) for operator in wave.sections[name].backward_input)
            home += chain.start(wave.combine("gradient"))
            if weights:
                chain.run(wave.sections["experts"].backward_weight)
        chain.wait(home)

    def _remake(self, chain: Chain) -> None:
        """What a policy drops, made again in forward order with the exchanges that it takes."""
        for name, section in self.sections.items():
            if name == "router":
                self._remake_routed(chain)
            elif name not in ROUTED:
                self._remake_plain(chain, section)

    def _remake_plain(self, chain: Chain, section: Section) -> None:
        """A section's input is gathered again if a product reads it, its output summed again if the last product runs."""
        operators = section.recompute(self.recomputed)
        if not operators:
            return
        if section.heads_in or section.heads_out:
            raise NotModelled("policies of recomputation by name are not simulated with an exchange of heads (context_exchange).")
        if section.context_bytes:
            chain.run_beside(operators, [self.traffic.context(section, "all-gather")], overlap=self.overlap.cp)
            return
        last = section.forward[-1].name
        if any(operator.kernel is Kernel.GEMM and operator.name != last for operator in operators):
            chain.exchange(self.traffic.gather(section, "recomputed"))
        chain.run(operators)
        if any(operator.name == last for operator in operators):
            chain.exchange(self.traffic.reduce(section))

    def _remake_routed(self, chain: Chain) -> None:
        """Tokens go out again for what their experts made; results come back only if those are made again too."""
        sections, traffic = self.sections, self.traffic
        chain.run(sections["router"].recompute(self.recomputed))
        routed = [operator for name in ROUTED[1:] for operator in sections[name].recompute(self.recomputed)]
        if not routed:
            return
        chain.exchange(traffic.dispatch(), traffic.expert_gather())
        chain.run(routed)
        if sections["unpermute"].recompute(self.recomputed):
            chain.exchange(traffic.expert_reduce(), traffic.combine())

    def _recompute(self, chain: Chain, section: Section) -> None:
        """What selective recomputation runs again just before a section's backward pass.

        A whole dense FFN gathers its input again, an attention core the keys and values of other ranks (which its backward then
        needs once more); the routed path as a whole is recomputed by ``_backward_moe``.
        """
        if self.full or self.at_once or not self.recomputed:
            return
        routed = section.name in (*ROUTED, "shared_expert")
        if routed and "moe" in self.recomputed:
            return
        operators = section.recompute(self.recomputed)
        whole = bool(operators) and len(operators) == len(section.forward)
        if whole and (section.context_bytes or section.heads_in):
            self._forward_context(chain, section, operators)
            return
        if whole:
            chain.exchange(self.traffic.gather(section, "recomputed"))
        chain.run(operators)


Operators = Callable[[Section], tuple[Operator, ...]]
