"""What layers with a state share: the short convolution, the gated norm behind the scan, and kernels that a scan is made of.

A scan works on chunks of tokens. Inside a chunk it is products of small matrices, one for each head and chunk; from chunk to
chunk only the state is handed on. Its kernels are entered as batched products of that shape, so that small tiles and short sums
cost what they cost elsewhere. A model counts the recurrence alone, whatever the chunk: ``counted`` is its share of what runs.

Kernels of a scan reach less than a library's products of the same shape: by how much is the chip's ``scan``.

Leaves out: sequences that are no multiple of the chunk; time steps and decays of a token beside what its heads read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import activation_precision
from workloads.accounting.sections import Section
from workloads.accounting.weights import Linear
from workloads.instructions import Kernel, Operator, Phase
from workloads.model import Model

COMPONENT = "state_scan"


@dataclass(frozen=True, slots=True)
class ScanKernel:
    """One kernel of a scan on a rank: FLOPs, bytes, and ``groups`` products of (m, n, k)."""

    name: str
    flops: float
    bytes_moved: float
    shape: tuple[float, float, float]
    groups: float


def enter_scan(ledger: Ledger, counted: float, forward: Sequence[ScanKernel], backward: Sequence[ScanKernel]) -> None:
    """Enter the kernels of a scan in the order they run; ``counted``: FLOPs of its forward pass that a model counts."""
    passes = (
        (Phase.FORWARD, forward, counted / sum(kernel.flops for kernel in forward)),
        (Phase.BACKWARD_INPUT, backward, 2.0 * counted / sum(kernel.flops for kernel in backward)),
    )
    first, *rest = ([_operator(ledger, kernel, phase, share) for kernel in kernels] for phase, kernels, share in passes)
    ledger.enter(first[0], *rest[0])
    for operator in first[1:]:
        ledger.enter(operator)


def _operator(ledger: Ledger, kernel: ScanKernel, phase: Phase, counted: float) -> Operator:
    m, n, k = kernel.shape
    return Operator(
        kernel.name, COMPONENT, Kernel.GEMM, phase, kernel.flops, kernel.bytes_moved,
        activation_precision(ledger.shard.precision), m, n, k, kernel.groups, counted=counted,
    )  # fmt: skip


def enter_convolution(ledger: Ledger, channels: float, *, again: bool = False) -> None:
    """Enter a causal convolution of each channel with itself and its activation; backward makes the output ``again`` first."""
    moved = ledger.shard.tokens * channels * ACTIVATION
    ledger.memory("short_convolution", COMPONENT, 2 * moved, (5 if again else 3) * moved)


def gated_output(model: Model, ledger: Ledger, linear: Linear) -> Section:
    """The norm of the scan's output, times its gate, and the projection back to the hidden width."""
    elements = ledger.shard.tokens * linear.inputs / ledger.shard.tp
    # Forward reads output and gate; backward reads both and the gradient, and writes two.
    ledger.memory("gated_norm", COMPONENT, 3 * elements * ACTIVATION, 5 * elements * ACTIVATION)
    ledger.save("scan_output", elements)
    ledger.cast("state_out_cast", linear.component, elements)
    ledger.save_input("state_out_input", elements)
    ledger.linear(linear)
    return ledger.section(reduce=ledger.shard.tokens * model.hidden)
