"""Writing a section: each entry adds what the forward pass runs, what the backward pass runs for it, and what stays.

A matrix multiplication y = x W of m rows is followed in the backward pass by dx = dy W' (backward_input) and
dW = x' dy (backward_weight), each with the FLOPs of the forward one, so backward is twice forward. Bytes are those of both
inputs and the output, each once; weight gradients accumulate in fp32, read and written.

In a quantised precision every distinct input is cast once in the forward pass, and every output gradient once in the
backward pass: read in 16 bits, written twice (rows for one product, columns for the weight gradient). Weights are cast after the
optimizer's step, not here.

Where a tensor-parallel group gathers an operand as it is cast (``Shard.cast_first``), each rank casts its own tokens. A format
with one scale a tensor is gathered by rows, and turned round for the weight gradient; one of blocks in both layouts
(Transformer Engine, pytorch/module/layernorm_linear.py and linear.py).

Leaves out: casts fused into the operator before them; reuse of weights that stay in cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from workloads.accounting.cores import Core
from workloads.accounting.precision import activation_precision, element_bytes, is_quantised, score_precision
from workloads.accounting.sections import SavedTensor, Section, Shard
from workloads.accounting.weights import Linear, Split
from workloads.instructions import Kernel, Operator, Phase

ACTIVATION = 2.0
"""Bytes of an activation element between operators: 16 bits in every training precision."""

ROUTED = "routed_experts"
"""The component of the routed experts' own products."""

WEIGHT_GRADIENT = 4.0
"""Bytes of a weight gradient's element: accumulated in fp32."""


@dataclass(slots=True)
class Ledger:
    """A section being written. ``module`` is the recompute path of what is entered next."""

    name: str
    shard: Shard
    module: str = ""
    _forward: list[Operator] = field(default_factory=list, init=False)
    _backward_input: list[Operator] = field(default_factory=list, init=False)
    _backward_weight: list[Operator] = field(default_factory=list, init=False)
    _modules: list[str] = field(default_factory=list, init=False)
    _saved: list[SavedTensor] = field(default_factory=list, init=False)
    _on_request: list[SavedTensor] = field(default_factory=list, init=False)
    _parts: list[tuple[str, Operator]] = field(default_factory=list, init=False)
    _weight_operands: float = field(default=0.0, init=False)
    _gather_wire: float = field(default=1.0, init=False)
    _gradient_wire: float = field(default=1.0, init=False)

    def linear(self, linear: Linear, *, reads_the_same: bool = False, fused: bool = False) -> None:
        """Enter a matrix multiplication on this rank's part of its weight and of the tokens.

        ``reads_the_same``: its input is that of the product entered before, and is kept once for both.
        ``fused``: its output's gradient arrives cast.
        """
        rows, groups, inputs, outputs = local_shape(linear, self.shard)
        precision = self.shard.precision if linear.low_precision else activation_precision(self.shard.precision)
        size = element_bytes(precision)
        weight, read, written = groups * inputs * outputs, rows * inputs, rows * outputs
        if not linear.experts:  # a batched product: every group sees every row
            read, written = read * groups, written * groups
        total = (rows if linear.experts else rows * groups) * 2.0 * inputs * outputs
        gathered = linear.split is Split.COLUMN and not linear.experts and self.shard.sequence_parallel
        kept = 0.0 if reads_the_same else read / self.shard.tp if gathered else read
        self._weight_operands += size * (kept + written)
        kernel = Kernel.GROUPED_GEMM if linear.experts else Kernel.GEMM
        m = rows / groups if linear.experts and groups else rows
        base = Operator(linear.name, linear.component, kernel, Phase.FORWARD, total, 0.0, precision, groups=groups)
        self._enter(replace(base, bytes_moved=size * (read + weight) + ACTIVATION * written, m=m, n=outputs, k=inputs))
        self._backward_input.append(
            replace(
                base,
                name=linear.name + "_dgrad",
                phase=Phase.BACKWARD_INPUT,
                m=m,
                n=inputs,
                k=outputs,
                bytes_moved=size * (written + weight) + ACTIVATION * read,
            )
        )
        if is_quantised(precision):  # entered after the product because the list is turned round: the cast runs first
            cast_first = self.shard.cast_first and not linear.experts
            if cast_first and linear.split is Split.COLUMN:
                self._gather_wire = size / ACTIVATION
            gathered = cast_first and linear.split is Split.ROW
            if gathered:
                self._gradient_wire = size / ACTIVATION * (1 if _one_scale(precision) else 2)
            name = linear.name + "_gradient_cast"
            self._cast(name, linear.component, written, Phase.BACKWARD_INPUT, fused=fused, gathered=gathered)
        self._backward_weight.append(
            replace(
                base,
                name=linear.name + "_wgrad",
                phase=Phase.BACKWARD_WEIGHT,
                m=inputs,
                n=outputs,
                k=m,
                bytes_moved=size * (read + written) + 2 * WEIGHT_GRADIENT * weight,
            )
        )

    def part(self, linear: Linear, module: str) -> None:
        """Enter what recomputing ``module`` runs of a matrix multiplication entered whole: some of its outputs."""
        rows, groups, inputs, outputs = local_shape(linear, self.shard)
        size = element_bytes(self.shard.precision)
        moved = size * (rows * inputs + groups * inputs * outputs) + ACTIVATION * rows * outputs
        operator = Operator(
            linear.name, linear.component, Kernel.GEMM, Phase.FORWARD, rows * groups * 2.0 * inputs * outputs, moved,
            self.shard.precision, rows, outputs, inputs, groups,
        )  # fmt: skip
        self._parts.append((module, operator))

    def cast(
        self,
        name: str,
        component: str,
        elements: float,
        module: str | None = None,
        *,
        fused: bool = False,
        gathered: bool = False,
    ) -> None:
        """Enter the cast of a matrix multiplication's input, if the precision needs one.

        ``fused``: whatever makes the input casts it. ``gathered``: a tensor-parallel group gathers the input under sequence
        parallelism; ``elements`` are those of the whole.
        Its ``module`` is that of the saved copy it makes, where that differs from the ledger's.
        """
        if is_quantised(self.shard.precision):
            self._cast(name, component, elements, Phase.FORWARD, fused=fused, gathered=gathered)
            self._modules[-1] = self.module if module is None else module

    def core(self, name: str, core: Core, heads: float, queries: float, *, keys: float, keys_seen: float) -> None:
        """Enter the attention kernel: ``queries`` tokens of this rank against ``keys`` keys each.

        ``keys_seen``: distinct keys and values this rank reads, in elements. FLOPs are the model's: backward is twice forward,
        though a flash kernel executes 2.5 times (it computes the scores again); the chip's operator time knows.
        """
        shard = self.shard
        scores_only = core.value_dim == 0
        kernel = "fp8" if shard.attention == "flash-fp8" else activation_precision(shard.precision)
        precision = score_precision(shard.precision) if scores_only else kernel
        size = element_bytes(precision)
        flops = 2.0 * queries * heads * (core.key_dim + core.value_dim) * keys
        query, output = queries * heads * core.key_dim * size, queries * heads * core.value_dim * ACTIVATION
        if scores_only:
            output = queries * keys * 4.0  # one fp32 score a key, summed over heads
        sequences = max(shard.sequences, 1e-30)
        width = core.key_dim if scores_only else (core.key_dim + core.value_dim) / 2
        operator = Operator(
            name,
            core.component,
            Kernel.ATTENTION,
            Phase.FORWARD,
            flops,
            query + output + keys_seen * size,
            precision,
            m=queries / sequences,
            n=keys,
            k=width,
            groups=heads * sequences,
            causal=scores_only or not core.gathers,
            window=core.window,
        )
        self._enter(operator)
        self._backward_input.append(
            replace(
                operator,
                name=name + "_backward",
                phase=Phase.BACKWARD_INPUT,
                flops=2 * flops,
                launches=3,
                bytes_moved=2 * query + 2 * output + 2 * keys_seen * size,
            )
        )

    def memory(
        self,
        name: str,
        component: str,
        forward: float,
        backward: float,
        *,
        flops: float = 0.0,
        weight_gradient: float = 0.0,
        launches: int = 1,
    ) -> None:
        """Enter an operator bound by memory: bytes of its forward and backward pass, FLOPs if the model counts any.

        ``weight_gradient``: bytes of a separate pass for the gradient of its weights, with the forward pass's FLOPs.
        """
        operator = Operator(
            name,
            component,
            Kernel.MEMORY,
            Phase.FORWARD,
            flops,
            forward,
            activation_precision(self.shard.precision),
            launches=launches,
        )
        self._enter(operator)
        share = 1.0 if weight_gradient else 2.0
        if backward:
            self._backward_input.append(
                replace(operator, name=name + "_backward", phase=Phase.BACKWARD_INPUT, flops=share * flops, bytes_moved=backward)
            )
        if weight_gradient:
            self._backward_weight.append(
                replace(operator, name=name + "_wgrad", phase=Phase.BACKWARD_WEIGHT, flops=flops, bytes_moved=weight_gradient)
            )

    def enter(self, forward: Operator, *backward: Operator) -> None:
        """Enter an operator as it stands, and those of its backward pass in the order they run."""
        self._enter(forward)
        self._backward_input.extend(reversed(backward))

    def save(self, name: str, elements: float, size: float = ACTIVATION, module: str | None = None) -> None:
        """Keep a tensor for the backward pass."""
        self._saved.append(SavedTensor(name, elements * size, self.module if module is None else module))

    def keep_on_request(self, name: str, elements: float) -> None:
        """Name a result that the backward pass does not read: it is kept only where a plan asks for it."""
        self._on_request.append(SavedTensor(name, elements * ACTIVATION, self.module))

    def save_input(self, name: str, elements: float, module: str | None = None) -> None:
        """Keep a matrix multiplication's input: its quantised copy where there is one."""
        self.save(name, elements, element_bytes(self.shard.precision), module)

    def section(
        self, *, gather: float = 0.0, reduce: float = 0.0, context: float = 0.0, heads: tuple[float, float] = (0.0, 0.0)
    ) -> Section:
        """The finished section; ``gather``, ``reduce``, ``context`` and ``heads`` are its exchanges in 16-bit elements."""
        tensor_parallel = ACTIVATION if self.shard.tp > 1 else 0.0
        rings = self.shard.cp > self.shard.context_heads
        exchanged = ACTIVATION if self.shard.context_heads > 1 else 0.0
        return Section(
            self.name,
            tuple(self._forward),
            tuple(reversed(self._backward_input)),
            tuple(reversed(self._backward_weight)),
            tuple(self._saved),
            tuple(self._modules),
            tuple(self._parts),
            gather_bytes=gather * tensor_parallel,
            reduce_bytes=reduce * tensor_parallel,
            gather_wire=self._gather_wire,
            gradient_wire=self._gradient_wire,
            context_bytes=context * ACTIVATION if rings else 0.0,
            heads_in=heads[0] * exchanged,
            heads_out=heads[1] * exchanged,
            weight_operands=self._weight_operands,
            on_request=tuple(self._on_request),
        )

    def _enter(self, operator: Operator) -> None:
        self._forward.append(operator)
        self._modules.append(self.module)

    def _cast(
        self, name: str, component: str, elements: float, phase: Phase, *, fused: bool = False, gathered: bool = False
    ) -> None:
        # One pass writes both layouts; with scales of their own it takes one each, and columns are read once more to find theirs.
        reads, passes = (3, 2) if self.shard.rowwise else (1, 1)
        fused = fused or (self.shard.fused_casts and component != ROUTED)  # a kernel of its own keeps to its operands
        size = element_bytes(self.shard.precision)
        moved = 0.0 if fused else elements * (reads * ACTIVATION + 2 * size)
        if gathered and self.shard.cast_first and not fused:
            moved /= self.shard.tp
            if _one_scale(self.shard.precision):
                moved = elements * ((ACTIVATION + size) / self.shard.tp + 2 * size)
                passes += 1
        operator = Operator(name, component, Kernel.MEMORY, phase, 0.0, moved, launches=0 if fused else passes)
        if phase is Phase.FORWARD:
            self._enter(operator)
        else:
            self._backward_input.append(operator)


def _one_scale(precision: str) -> bool:
    """Whether a tensor's scale is found apart from its layout, so that its columns are its rows turned round."""
    return precision == "fp8"


def local_shape(linear: Linear, shard: Shard) -> tuple[float, float, float, float]:
    """(rows, groups, inputs, outputs) of a matrix multiplication on one rank; rows are over all groups of experts."""
    if linear.experts:
        cut = shard.etp
        rows, groups = shard.expert_tokens, shard.local_experts
    else:
        cut = shard.tp
        rows = shard.local_tokens if linear.split is Split.REPLICATED else shard.tokens
        groups = linear.groups / cut if linear.split is Split.GROUPS else float(linear.groups)
    inputs = linear.inputs / cut if linear.split is Split.ROW else float(linear.inputs)
    outputs = linear.outputs / cut if linear.split is Split.COLUMN else float(linear.outputs)
    return rows, groups, inputs, outputs
