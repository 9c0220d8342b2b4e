"""Attention as stacks ran it before fused kernels: scores written to memory, softmax and dropout as kernels of their own.

For each head and sequence of S tokens: scores = q k' (S x S x key width), softmax, dropout, weighted sum of the values
(S x value width x S); its backward four products more. The mask saves no work: products run over the whole square, of which
a model counts the causal mean (``counted``). With ``a`` heads a rank and ``b`` sequences the pass keeps 2 a b S^2 bytes of
softmax, and under dropout a mask of 1 and the dropped scores of 2 more: the 5 a s / h of Korthikanti et al., arXiv 2205.05198.

Recomputing ``core_attn`` makes all of it again from queries, keys and values. Leaves out: transposes before the products; keys
that travel round a ring and keys from several places (refused).
"""

from __future__ import annotations

from simulator.spec.errors import NotModelled
from workloads.accounting.cores import Core
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import activation_precision
from workloads.instructions import Kernel, Operator, Phase

MASK = 1.0
"""Bytes of one element of a dropout mask."""


def enter_unfused(ledger: Ledger, core: Core) -> None:
    """Enter the scores, their softmax and dropout, and the weighted sum, with what the backward pass needs of them."""
    shard = ledger.shard
    if shard.cp > shard.context_heads or len(core.spans) > 1:
        raise NotModelled(
            "unfused attention is simulated for one span of keys a token, and whole sequences (cp 1, or all-to-all of heads);"
            " set plan.attention to flash."
        )
    length = shard.sequence_length
    groups = core.heads / shard.core_cut * shard.sequences
    scores = groups * length * length
    counted = core.keys(length) / length
    _enter_product(ledger, core, "scores", groups, (length, length, core.key_dim), counted)
    softmax = 2 * scores * ACTIVATION  # read and written, scale and mask with it
    ledger.memory("softmax", core.component, softmax, softmax + scores * ACTIVATION)
    ledger.save("softmax", scores)
    if shard.dropout:
        dropped = scores * (2 * ACTIVATION + MASK)
        ledger.memory("attention_dropout", core.component, dropped, dropped)
        ledger.save("attention_dropout_mask", scores, MASK)
        ledger.save("dropped_scores", scores)
    _enter_product(ledger, core, "weighted_sum", groups, (length, core.value_dim, length), counted)


def enter_dropout(ledger: Ledger, name: str, elements: float) -> None:
    """Enter the dropout of a sublayer's output, fused with the kernel around it forward; its mask is kept."""
    ledger.memory(name, "residual", elements * MASK, elements * (2 * ACTIVATION + MASK), launches=0)
    ledger.save(f"{name}_mask", elements, MASK)


def _enter_product(
    ledger: Ledger, core: Core, name: str, groups: float, shape: tuple[float, float, float], counted: float
) -> None:
    """A batched product of (m, n, k), and the products for the gradients of both its inputs, (m, k, n) and (k, n, m)."""
    m, n, k = shape
    flops = 2.0 * groups * m * n * k
    moved = groups * (m * k + k * n + m * n) * ACTIVATION
    precision = activation_precision(ledger.shard.precision)
    forward = Operator(
        name, core.component, Kernel.GEMM, Phase.FORWARD, flops, moved, precision, m, n, k, groups, counted=counted
    )
    gradients = [
        Operator(
            f"{name}_{side}", core.component, Kernel.GEMM, Phase.BACKWARD_INPUT, flops, moved, precision, *sides, groups,
            counted=counted,
        )
        for side, sides in (("left_gradient", (m, k, n)), ("right_gradient", (k, n, m)))
    ]  # fmt: skip
    ledger.enter(forward, *gradients)
