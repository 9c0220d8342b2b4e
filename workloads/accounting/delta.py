"""The gated delta rule (Gated DeltaNet of Qwen3-Next and Qwen3.5, Kimi Delta Attention), in chunks.

Weights: hidden x (2 key_heads K + 2 value_heads V + 2 value_heads) inwards (queries, keys, values, output gate, update and
decay of a head), value_heads V x hidden outwards, the convolution over queries, keys and values, a decay and a step bias a head,
a norm of V. With a decay by channel gate and decay come through projections of rank ``gate_rank``, with a bias a channel.

The recurrence S = decay (S - beta k (k' S)) + beta k v', o = q' S takes three products of K x V: 6 K V FLOPs a token and head,
twice that backward. In chunks of C tokens the kernels of flash-linear-attention run, for each token and head:

    forward   within: k k', the inverse of a triangle, its products with keys and values   C (4 K + 2 V) + C^2 / 3
              states: w S, k' u, from chunk to chunk                                       4 K V
              output: q S, q k', times the new values                                      2 K V + C (2 K + 2 V)
    backward  states: made again, and their gradients from the last chunk to the first     10 K V
              output: gradients of queries, keys, values and weights                       6 K V + C (6 K + 4 V)
              within: w and u made again, then through the inverse                         C (12 K + 6 V) + 4 C^2

with every kernel reading its inputs and writing its outputs once, 16 bits each, states once a chunk. Only heads and sequences
run side by side in ``states``. Sources: Yang et al., arXiv 2412.06464 and 2406.06484; kernels of flash-linear-attention
(fla/ops/gated_delta_rule/chunk.py, fla/ops/common); layers of transformers (models/qwen3_next) and Kimi-Linear.

Tensor parallelism cuts heads; the low-rank inputs are whole on every rank, as latent projections are. Context parallelism by
exchange of heads trades the inputs of the convolution for those of the whole sequence and fewer heads, and the scan's outputs
back (Megatron-Core ssm/gated_delta_net.py). Key heads are repeated for their value heads before the scan.
Leaves out: the secondary chunks in which a decay by channel is multiplied out.
"""

from __future__ import annotations

from workloads.accounting import hyper_connections
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.scans import COMPONENT, ScanKernel, enter_convolution, enter_scan, gated_output
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight, by_name
from workloads.model import Model
from workloads.state_kinds import GatedDelta

PROJECTIONS = "attention_projections"


def weights(model: Model, mixer: GatedDelta) -> tuple[Weight, ...]:
    """Every weight of such a mixer."""
    keys, values = mixer.key_heads * mixer.key_dim, mixer.value_heads * mixer.value_dim
    per_head = mixer.value_heads * (1 if mixer.decay == "channel" else 2)
    gate = 0 if mixer.gate_rank else values
    decays = mixer.value_heads * (mixer.key_dim if mixer.decay == "channel" else 1)
    found: list[Weight] = [Linear("state_in", PROJECTIONS, model.hidden, 2 * keys + values + gate + per_head, Split.COLUMN)]
    if mixer.gate_rank:
        for name, outputs in (("decay", decays), ("gate", values)):
            found.append(Linear(f"{name}_down", PROJECTIONS, model.hidden, mixer.gate_rank, Split.REPLICATED))
            found.append(Linear(f"{name}_up", PROJECTIONS, mixer.gate_rank, outputs, Split.COLUMN))
    return (
        *found,
        Vector("convolution", COMPONENT, (2 * keys + values) * mixer.conv_width, Split.COLUMN),
        Vector("decay", COMPONENT, mixer.value_heads + decays, Split.COLUMN),
        Vector("gated_norm", COMPONENT, mixer.value_dim),
        Linear("state_out", PROJECTIONS, values, model.hidden, Split.ROW),
    )


def flops_per_token(mixer: GatedDelta) -> float:
    """Forward FLOPs of the recurrence a token [FLOP]."""
    return 6.0 * mixer.value_heads * mixer.key_dim * mixer.value_dim


def sections(model: Model, mixer: GatedDelta, shard: Shard) -> dict[str, Section]:
    """attention_pre, attention_in, attention_core, attention_out of one such layer on one rank."""
    linear = by_name(weights(model, mixer))
    before = Ledger("attention_pre", shard)
    hyper_connections.enter_before(before, model, "attention")
    inside = Ledger("attention_in", shard)
    inside.cast("state_in_cast", PROJECTIONS, shard.tokens * model.hidden, module="layernorm", gathered=True)
    if mixer.gate_rank:
        for at, name in enumerate(("decay_down", "gate_down")):
            before.linear(linear[name], reads_the_same=at > 0)
        before.save("low_rank_gates", shard.local_tokens * 2 * mixer.gate_rank)
        inside.linear(linear["decay_up"])
        inside.linear(linear["gate_up"])
    inside.linear(linear["state_in"])
    core = Ledger("attention_core", shard)
    _enter_before_scan(core, mixer)
    heads, chunks = shard.tokens * mixer.value_heads / shard.tp, shard.tokens / mixer.chunk
    enter_scan(
        core, heads * 6.0 * mixer.key_dim * mixer.value_dim,
        _forward(mixer, heads, chunks, shard), _backward(mixer, heads, chunks, shard),
    )  # fmt: skip
    _save(core, mixer, heads)
    return {
        "attention_pre": before.section(),
        "attention_in": inside.section(gather=shard.tokens * (model.hidden + 2 * mixer.gate_rank)),
        "attention_core": core.section(heads=_exchanged(mixer, shard)),
        "attention_out": gated_output(model, Ledger("attention_out", shard), linear["state_out"]),
    }


def _enter_before_scan(ledger: Ledger, mixer: GatedDelta) -> None:
    """Convolution, key heads repeated and normalised, update and decay in fp32, the decay summed up within a chunk."""
    shard = ledger.shard
    heads = shard.tokens * mixer.value_heads / shard.tp
    own, repeated = 2 * shard.tokens * mixer.key_heads / shard.tp * mixer.key_dim, 2 * heads * mixer.key_dim
    enter_convolution(ledger, (2 * mixer.key_heads * mixer.key_dim + mixer.value_heads * mixer.value_dim) / shard.tp)
    if mixer.value_heads > mixer.key_heads:
        ledger.memory("repeated_heads", COMPONENT, (own + repeated) * ACTIVATION, (own + repeated) * ACTIVATION)
    ledger.memory("query_key_norm", COMPONENT, 2 * repeated * ACTIVATION, 3 * repeated * ACTIVATION)
    decays = heads * (mixer.key_dim if mixer.decay == "channel" else 1)
    ledger.memory("decay_gates", COMPONENT, 6 * (heads + decays) + 8 * decays, 10 * (heads + decays) + 8 * decays, launches=2)


def _save(ledger: Ledger, mixer: GatedDelta, heads: float) -> None:
    """What the backward pass needs: inputs of the convolution and of the scan, the inverse of every chunk, the output's gate."""
    shard = ledger.shard
    keys, values = 2 * mixer.key_heads * mixer.key_dim, mixer.value_heads * mixer.value_dim
    ledger.save("convolution_input", shard.tokens * (keys + values) / shard.tp)
    ledger.save("scan_input", heads * (2 * mixer.key_dim + mixer.value_dim))
    ledger.save("decay_gates", heads * (1 + (mixer.key_dim if mixer.decay == "channel" else 1)), 4.0)
    ledger.save("chunk_inverse", heads * mixer.chunk)
    ledger.save("output_gate", heads * mixer.value_dim)


def _forward(mixer: GatedDelta, heads: float, chunks: float, shard: Shard) -> tuple[ScanKernel, ...]:
    k, v, c = mixer.key_dim, mixer.value_dim, mixer.chunk
    products = chunks * mixer.value_heads / shard.tp
    state = k * v / c  # elements of a state, a token
    return (
        ScanKernel(
            "scan_within", heads * (c * (4 * k + 2 * v) + c * c / 3), heads * (6 * k + 4 * v + 12 * c), (c, k + v, c), products
        ),
        ScanKernel("scan_states", heads * 4 * k * v, heads * (4 * k + 4 * v + 2 * state), *_in_turn(mixer, shard)),
        ScanKernel(
            "scan_output", heads * (2 * k * v + c * (2 * k + 2 * v)), heads * (4 * k + 4 * v + 2 * state), (c, v, k + c), products
        ),
    )


def _backward(mixer: GatedDelta, heads: float, chunks: float, shard: Shard) -> tuple[ScanKernel, ...]:
    k, v, c = mixer.key_dim, mixer.value_dim, mixer.chunk
    products = chunks * mixer.value_heads / shard.tp
    state = k * v / c
    return (
        ScanKernel("scan_states_backward", heads * 10 * k * v, heads * (10 * k + 10 * v + 4 * state), *_in_turn(mixer, shard)),
        ScanKernel(
            "scan_output_backward", heads * (6 * k * v + c * (6 * k + 4 * v)), heads * (14 * k + 10 * v + 4 * state),
            (c, k, v + c), products,
        ),
        ScanKernel(
            "scan_within_backward", heads * (c * (12 * k + 6 * v) + 4 * c * c), heads * (16 * k + 10 * v + 4 * c), (c, k + v, c),
            products,
        ),
    )  # fmt: skip


def _in_turn(mixer: GatedDelta, shard: Shard) -> tuple[tuple[float, float, float], float]:
    """Chunks of a sequence one after the other: as many products side by side as there are heads and sequences."""
    shape = (float(mixer.key_dim), float(mixer.value_dim), shard.core_tokens / max(shard.sequences, 1e-30))
    return shape, mixer.value_heads / shard.core_cut * shard.sequences


def _exchanged(mixer: GatedDelta, shard: Shard) -> tuple[float, float]:
    """Elements that ranks of one sequence trade for those of fewer heads: what is projected (but low-rank gates), and outputs."""
    keys, values = 2 * mixer.key_heads * mixer.key_dim, mixer.value_heads * mixer.value_dim
    by_channel = mixer.decay == "channel"
    decays = mixer.value_heads * (mixer.key_dim if by_channel else 1)
    sent = keys + values * (1 if by_channel else 2) + mixer.value_heads + decays
    return shard.tokens * sent / shard.tp, shard.tokens * values / shard.tp
