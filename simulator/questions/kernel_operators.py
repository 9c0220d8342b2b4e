"""What a measured kernel executed, as operators: a matrix product, a grouped one, attention, a pass over memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from simulator.spec.errors import NotModelled
from workloads.accounting.precision import element_bytes
from workloads.instructions import Kernel, Operator, Phase

if TYPE_CHECKING:
    from simulator.questions.kernel_rows import Row

SIXTEEN = 2.0
ACCUMULATED = 4.0
LARGE = 1e9
"""Bytes of a bandwidth that is printed without a size: published ones are those of large tensors."""

TOKENS, WIDTH = 16384.0, 2048.0
"""Tokens in all and heads x head dimension of the FlashAttention figures, for rows that do not say."""

PASSES = {"cross-entropy": SIXTEEN, "fp32": 8.0, "swiglu": 3.0, "cast": 3.0, "quant": 3.0, "": 4.0}
"""Bytes an element that a pass reads and writes, by a word of its name; a 16-bit input and output if no word fits."""

OPERATIONS = {"fwd": Phase.FORWARD, "dgrad": Phase.BACKWARD_INPUT, "wgrad": Phase.BACKWARD_WEIGHT}


@dataclass(frozen=True, slots=True)
class Work:
    """Operators run one after the other; ``even``: groups have equal rows; ``operands``: bytes of their distinct inputs [B]."""

    operators: tuple[Operator, ...]
    flops: float  # as the row's TFLOP/s counts them
    even: bool = True
    operands: float = 0.0

    @property
    def bytes(self) -> float:
        return sum(operator.bytes_moved for operator in self.operators)


def precision_of(text: str) -> str:
    """The precision that a row's word means: ``fp8-block128`` is fp8, ``mxfp8+quant`` mxfp8.

    >>> precision_of("fp8-block128 wgrad fp32 acc"), precision_of("mxfp8+quant"), precision_of("fp16")
    ('fp8', 'mxfp8', 'fp16')
    """
    found = re.match(r"(bf16|fp16|mxfp8|fp8|mxfp4|nvfp4)", text)
    if not found:
        raise NotModelled(f"no precision of ours is {text or 'left out'}.")
    return found[0]


def matrix_product(row: Row) -> Work:
    """One product, a training layer's twelve, or one with the casts of its inputs timed."""
    precision = precision_of(row.prec)
    if "x12" in row.kernel:
        return _layer(row, precision)
    phase = Phase.BACKWARD_WEIGHT if "wgrad" in f"{row.kernel} {row.prec}" else Phase.FORWARD
    product = _product(row.number("M"), row.number("N"), row.number("K"), precision, phase)
    operands = element_bytes(precision) * (product.m + product.n) * product.k
    if "+quant" not in row.prec:
        return Work((product,), product.flops, operands=operands)
    casts = tuple(_pass(sides * product.k * (SIXTEEN + 2 * element_bytes(precision))) for sides in (product.m, product.n))
    return Work((*casts, product), product.flops)


def grouped_product(row: Row) -> Work:
    """Equal groups of rows (m per group), or of depth (k per group, the weight gradient)."""
    if "Mega" in row.kernel:
        raise NotModelled("dispatch and combine are inside the time; this is about kernels of one chip.")
    precision, groups = precision_of(row.prec), row.number("groups")
    even = "jagged" not in row.lib
    if row.k_per_group is not None:
        product = _product(row.number("M"), row.number("N"), row.k_per_group, precision, Phase.BACKWARD_WEIGHT, groups)
        return Work((product,), product.flops, even)
    rows = row.number("m_per_group")
    if row.hidden and row.ffn:
        return _experts(rows, row.hidden, row.ffn, groups, precision)
    forward = _product(rows, row.number("N"), row.number("K"), precision, OPERATIONS[row.op], groups)
    if "fwd+bwd" in row.kernel:
        return _there_and_back(forward, even)
    return Work((forward,), forward.flops, even)


def attention(row: Row) -> Work:
    """A fused kernel forward, backward, or both."""
    width, sequence = _head(row), row.number("seq")
    sequences = row.B or TOKENS / sequence
    heads = row.H or WIDTH / width
    share = 0.5 if row.causal else 1.0
    forward = Operator(
        "attention",
        "attention",
        Kernel.ATTENTION,
        Phase.FORWARD,
        4.0 * sequence**2 * width * heads * sequences * share,
        4 * SIXTEEN * sequences * sequence * heads * width,
        precision_of(row.prec),
        m=sequence,
        n=sequence * share,
        k=width,
        groups=heads * sequences,
        causal=row.causal,
    )
    both = 2.0 * forward.flops  # the model counts four products of the five that run
    backward = replace(forward, phase=Phase.BACKWARD_INPUT, flops=both, bytes_moved=2 * forward.bytes_moved, launches=3)
    if "fwd+bwd" in row.kernel:
        return Work((forward, backward), 3.5 * forward.flops)
    if "bwd" in row.kernel:
        return Work((backward,), 2.5 * forward.flops)
    if "fwd" in row.kernel:
        return Work((forward,), forward.flops)
    raise NotModelled(f"{row.kernel} is neither a forward nor a backward pass of training.")


def memory_pass(row: Row) -> Work:
    """One pass over a tensor whose bytes are printed (rate and time), follow from its shape, or are many."""
    if any(word in row.kernel for word in ("rearrange", "GEMM", "MoE", "MLA", "dual cast", "any ")):
        raise NotModelled(f"{row.kernel} is no single pass over memory.")
    if row.us is not None and row.gbps is not None:
        return Work((_pass(row.number("gbps") * 1e9 * row.number("us") * 1e-6),), 0.0)
    elements = _elements(row.shape)
    each = next(size for word, size in PASSES.items() if word in row.kernel.lower())
    return Work((_pass(elements * each if elements else LARGE),), 0.0)


FAMILIES: dict[str, Callable[[Row], Work]] = {
    "gemm": matrix_product,
    "grouped_gemm": grouped_product,
    "attention": attention,
    "memory_bound": memory_pass,
}


def _product(m: float, n: float, k: float, precision: str, phase: Phase, groups: float = 1.0) -> Operator:
    """M x k by k x n, or ``groups`` of them; a weight gradient is written in fp32."""
    written = ACCUMULATED if phase is Phase.BACKWARD_WEIGHT else SIXTEEN
    moved = groups * (element_bytes(precision) * (m + n) * k + written * m * n)
    kernel = Kernel.GROUPED_GEMM if groups > 1 else Kernel.GEMM
    return Operator("product", "gemm", kernel, phase, 2.0 * groups * m * n * k, moved, precision, m=m, n=n, k=k, groups=groups)


def _pass(moved: float) -> Operator:
    return Operator("pass", "memory", Kernel.MEMORY, Phase.FORWARD, 0.0, moved)


def _there_and_back(forward: Operator, even: bool) -> Work:
    """A product with both of its gradients."""
    turned = replace(forward, n=forward.k, k=forward.n, phase=Phase.BACKWARD_INPUT)
    written = (ACCUMULATED - element_bytes(forward.precision)) * forward.groups * forward.n * forward.k
    weight = replace(
        forward,
        m=forward.k,
        k=forward.m,
        phase=Phase.BACKWARD_WEIGHT,
        bytes_moved=forward.bytes_moved + written,
    )
    return Work((forward, turned, weight), 3 * forward.flops, even)


def _layer(row: Row, precision: str) -> Work:
    """The four products of a dense layer (width h, FFN f) over M tokens, each with both gradients."""
    sizes = re.search(r"h(\d+) ffn(\d+)", row.kernel)
    if not sizes:
        raise NotModelled("a run of products names its sizes: h4096 ffn16384.")
    hidden, wide = (float(size) for size in sizes.groups())
    tokens = row.number("M")
    shapes = ((3 * hidden, hidden), (hidden, hidden), (wide, hidden), (hidden, wide))
    parts = [_there_and_back(_product(tokens, n, k, precision, Phase.FORWARD), even=True) for n, k in shapes]
    return Work(tuple(operator for part in parts for operator in part.operators), sum(part.flops for part in parts))


def _experts(rows: float, hidden: float, ffn: float, groups: float, precision: str) -> Work:
    """Experts forward: tokens put in order, gate and up, activation, down."""
    tokens = rows * groups
    up = _product(rows, 2 * ffn, hidden, precision, Phase.FORWARD, groups)
    down = _product(rows, hidden, ffn, precision, Phase.FORWARD, groups)
    permuted, activated = 2 * SIXTEEN * tokens * hidden, 3 * SIXTEEN * tokens * ffn
    return Work((_pass(permuted), up, _pass(activated), down), up.flops + down.flops)


def _head(row: Row) -> float:
    """Head dimension; of two (scores and values), their mean: both products take FLOPs in proportion."""
    if row.head_dim is None:
        raise NotModelled("the row prints no head_dim.")
    parts: Sequence[str] = str(row.head_dim).split("/")
    return sum(float(part) for part in parts) / len(parts)


def _elements(shape: str) -> float:
    """Elements of "32Kx1K" or "8x2048x7168"; 0 where a shape is not written so."""
    if not re.fullmatch(r"\d+K?(x\d+K?)+", shape):
        return 0.0
    return float(prod(int(part.rstrip("K")) * (1024 if part.endswith("K") else 1) for part in shape.split("x")))
