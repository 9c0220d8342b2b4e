"""Mamba-2 (state-space duality): Nemotron-H, Nemotron 3, Granite 4, in chunks as the kernels of mamba_ssm run it.

Weights: hidden x (2 d + 2 G N + H) inwards (gate, x, B, C, a time step a head), d x hidden outwards, d = H P; the convolution
over x, B and C with its bias, three figures a head (decay, step bias, skip), a norm of d.

The recurrence S = decay S + dt x B', y = S C takes two products of P x N: 4 P N FLOPs a token and head, twice that backward. In
chunks of Q tokens the kernels run, for each token:

    forward   scores: C B', once for a group of heads                                      2 Q N G
              states: x' B of every chunk; handed on from chunk to chunk                   2 P N H
              output: C S, and scores times x                                              2 P N H + 2 Q P H
    backward  states and scores made again; gradients of states, x, B, C and of scores     10 P N H + 4 Q P H + 6 Q N G

x, B, C and outputs move in 16 bits, scores and states in 32. Sources: Dao and Gu, arXiv 2405.21060; kernels of mamba_ssm
(ops/triton/ssd_combined.py and its parts); layers of transformers (models/nemotron_h) and Megatron-Core (ssm/mamba_mixer.py),
whose fused path keeps the projection's output and makes the convolution again.

Tensor parallelism cuts groups and their heads; context parallelism by exchange of heads trades all inputs of the convolution
for those of the whole sequence and fewer heads, and outputs back (Megatron-Core ssm/mamba_context_parallel.py).
Leaves out: the half of the scores within a chunk that a kernel may skip.
"""

from __future__ import annotations

from workloads.accounting import hyper_connections
from workloads.accounting.ledger import Ledger
from workloads.accounting.scans import COMPONENT, ScanKernel, enter_convolution, enter_scan, gated_output
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight, by_name
from workloads.model import Model
from workloads.state_kinds import StateSpace

PROJECTIONS = "attention_projections"


def weights(model: Model, mixer: StateSpace) -> tuple[Weight, ...]:
    """Every weight of such a mixer."""
    width, channels = mixer.width, _channels(mixer)
    return (
        Linear("state_in", PROJECTIONS, model.hidden, width + channels + mixer.heads, Split.COLUMN),
        Vector("convolution", COMPONENT, channels * (mixer.conv_width + mixer.conv_bias), Split.COLUMN),
        Vector("decay", COMPONENT, 3 * mixer.heads, Split.COLUMN),
        Vector("gated_norm", COMPONENT, width, Split.COLUMN),
        Linear("state_out", PROJECTIONS, width, model.hidden, Split.ROW),
    )


def flops_per_token(mixer: StateSpace) -> float:
    """Forward FLOPs of the recurrence a token [FLOP]."""
    return 4.0 * mixer.width * mixer.state


def sections(model: Model, mixer: StateSpace, shard: Shard) -> dict[str, Section]:
    """attention_pre, attention_in, attention_core, attention_out of one such layer on one rank."""
    linear = by_name(weights(model, mixer))
    tokens = shard.tokens / shard.tp
    before = Ledger("attention_pre", shard)
    hyper_connections.enter_before(before, model, "attention")
    inside = Ledger("attention_in", shard)
    inside.cast("state_in_cast", PROJECTIONS, shard.tokens * model.hidden, module="layernorm", gathered=True)
    inside.linear(linear["state_in"])
    core = Ledger("attention_core", shard)
    enter_convolution(core, _channels(mixer) / shard.tp, again=True)
    core.memory("decay_gates", COMPONENT, tokens * mixer.heads * 14.0, tokens * mixer.heads * 18.0)
    enter_scan(core, tokens * flops_per_token(mixer), _forward(mixer, shard), _backward(mixer, shard))
    core.save("state_in_output", tokens * linear["state_in"].outputs)
    return {
        "attention_pre": before.section(),
        "attention_in": inside.section(gather=shard.tokens * model.hidden),
        "attention_core": core.section(heads=(tokens * linear["state_in"].outputs, tokens * mixer.width)),
        "attention_out": gated_output(model, Ledger("attention_out", shard), linear["state_out"]),
    }


def _channels(mixer: StateSpace) -> int:
    """What passes the convolution: x, B and C."""
    return mixer.width + 2 * mixer.groups * mixer.state


def _sizes(mixer: StateSpace, shard: Shard) -> tuple[float, float, float, float, float, float]:
    """Elements on this rank of x, of B (or C), of scores and of states; products side by side of heads, and of groups."""
    tokens, chunks = shard.tokens / shard.tp, shard.tokens / shard.tp / mixer.chunk
    return (
        tokens * mixer.width, tokens * mixer.groups * mixer.state, tokens * mixer.groups * mixer.chunk,
        chunks * mixer.width * mixer.state, chunks * mixer.heads, chunks * mixer.groups,
    )  # fmt: skip


def _forward(mixer: StateSpace, shard: Shard) -> tuple[ScanKernel, ...]:
    x, b, scores, states, heads, groups = _sizes(mixer, shard)
    p, n, q = float(mixer.head_dim), float(mixer.state), float(mixer.chunk)
    return (
        ScanKernel("scan_scores", 2 * q * b, 4 * b + 4 * scores, (q, q, n), groups),
        # Handed on: read in 32 bits, written in 16.
        ScanKernel("scan_states", 2 * n * x, 2 * x + 2 * b + 10 * states, (p, n, q), heads),
        ScanKernel("scan_output", 2 * n * x + 2 * q * x, 4 * x + 2 * b + 4 * scores + 2 * states, (q, p, n + q), heads),
    )


def _backward(mixer: StateSpace, shard: Shard) -> tuple[ScanKernel, ...]:
    x, b, scores, states, heads, groups = _sizes(mixer, shard)
    p, n, q = float(mixer.head_dim), float(mixer.state), float(mixer.chunk)
    return (
        ScanKernel("scan_states_again", 2 * n * x, 2 * x + 2 * b + 10 * states, (p, n, q), heads),
        ScanKernel("scan_scores_again", 2 * q * b, 4 * b + 4 * scores, (q, q, n), groups),
        ScanKernel("scan_states_backward", 2 * n * x, 2 * x + 2 * b + 14 * states, (p, n, q), heads),
        ScanKernel("scan_x_backward", 2 * n * x + 2 * q * x, 6 * x + 2 * b + 4 * scores + 4 * states, (q, p, n + q), heads),
        ScanKernel("scan_bc_backward", 4 * n * x, 4 * x + 8 * b + 6 * states, (q, n, p), heads),
        ScanKernel("scan_scores_backward", 2 * q * x, 4 * x + 4 * scores, (q, q, p), heads),
        ScanKernel("scan_products_backward", 4 * q * b, 16 * b + 8 * scores, (q, n, q), groups),
    )
