"""What stands around every sublayer: norms, residual additions, and manifold-constrained hyper-connections (mHC).

With mHC a token carries ``n`` streams of the hidden width. Before a sublayer one fp32 projection of all streams (n hidden ->
2 n + n^2) gives the weights that merge them into its input; after it the streams are mixed by a doubly stochastic n x n
matrix and the output is added to each. FLOPs counted a sublayer and token: 2 (2n + n^2) n hidden for the projection, 2 n
hidden for merging, 2 (n + n^2) hidden for mixing and adding. Norms, Sinkhorn and residual additions count none.

Bytes are those of fused kernels: the projection reads the streams, merging reads them again, mixing reads streams and output
and writes streams. Source: DeepSeek-V4 technical report, https://arxiv.org/abs/2606.19348.
"""

from __future__ import annotations

from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import is_quantised
from workloads.accounting.unfused import enter_dropout
from workloads.accounting.weights import Linear, Split, Vector, Weight
from workloads.model import LayerShape, Model

COMPONENT = "hyper_connections"


def weights(model: Model, shape: LayerShape) -> tuple[Weight, ...]:
    """Norms of a layer, and the projections of its hyper-connections."""
    norms = 1 if model.parallel_block else shape.sublayers
    found: list[Weight] = [Vector("norms", "block_norms", norms * (2 if model.sandwich_norm else 1) * norm_size(model))]
    if model.hyper_connections is not None:
        found += [mix(model, "attention_mix"), mix(model, "ffn_mix")]
    return tuple(found)


def norm_size(model: Model) -> int:
    """Parameters of one norm over the hidden width."""
    return model.hidden * (2 if model.norm_bias else 1)


def mix(model: Model, name: str) -> Linear:
    """The projection that makes a sublayer's mixing weights, with its base values and three scales."""
    hyper = model.hyper_connections
    assert hyper is not None
    return Linear(
        name,
        COMPONENT,
        model.residual_width,
        hyper.mix_outputs,
        Split.REPLICATED,
        bias=hyper.mix_outputs + 3,
        low_precision=False,
    )


def merging_flops(model: Model) -> float:
    """FLOPs a token to merge the streams into one input."""
    return 2.0 * model.residual_width


def mixing_flops(model: Model) -> float:
    """FLOPs a token to mix the streams and add a sublayer's output to each."""
    return 2.0 * (1 + model.streams) * model.residual_width


def flops_per_layer(model: Model) -> float:
    """Forward FLOPs a token of both sublayers' hyper-connections, 0 without any."""
    if model.hyper_connections is None:
        return 0.0
    return 2 * (2.0 * mix(model, "").matrix + merging_flops(model) + mixing_flops(model))


def enter_before(ledger: Ledger, model: Model, sublayer: str, *, keep_16_bits: bool = False) -> None:
    """Enter what turns the residual stream into a sublayer's normalised input, and keep what its gradient needs.

    ``keep_16_bits``: some weights read the input unquantised (a router, a compressor), so that copy stays as well.
    """
    tokens, hidden = ledger.shard.local_tokens, model.hidden
    if model.hyper_connections is None:
        ledger.save(f"{sublayer}_residual", tokens * hidden, module="residual" if sublayer == "ffn" else "")
    else:
        _enter_merge(ledger, model, sublayer)
        ledger.save(f"{sublayer}_merged", tokens * hidden, module="hyper_connection")
    ledger.module = "layernorm"
    # Backward reads the input and the gradient of the output, and adds to the gradient of the residual stream.
    ledger.memory(f"{sublayer}_norm", "block_norms", 2 * tokens * hidden * ACTIVATION, 4 * tokens * hidden * ACTIVATION)
    ledger.save_input(f"{sublayer}_input", tokens * hidden)
    if keep_16_bits and is_quantised(ledger.shard.precision):
        ledger.save(f"{sublayer}_input_16_bits", tokens * hidden)
    ledger.module = ""


def enter_after(ledger: Ledger, model: Model, sublayer: str, outputs: int = 1) -> None:
    """Enter what puts a sublayer's output back on the residual stream; ``outputs`` of them are summed."""
    tokens, hidden = ledger.shard.local_tokens, model.hidden
    ledger.module = ""
    if model.sandwich_norm:
        ledger.memory(
            f"{sublayer}_output_norm", "block_norms", 2 * tokens * hidden * ACTIVATION, 3 * tokens * hidden * ACTIVATION
        )
        ledger.save(f"{sublayer}_output", tokens * hidden)
    if ledger.shard.dropout:
        enter_dropout(ledger, f"{sublayer}_dropout", tokens * hidden)
    if model.hyper_connections is None:
        ledger.memory(f"{sublayer}_residual", "residual", (2 + outputs) * tokens * hidden * ACTIVATION, 0.0)
        return
    ledger.module = "hyper_connection"
    streams = model.residual_width
    forward = tokens * (2 * streams + outputs * hidden) * ACTIVATION
    backward = tokens * (3 * streams + 2 * outputs * hidden) * ACTIVATION
    ledger.memory(f"{sublayer}_mixing", COMPONENT, forward, backward, flops=tokens * mixing_flops(model))
    ledger.module = ""
    ledger.save(f"{sublayer}_unmixed", tokens * hidden)


def _enter_merge(ledger: Ledger, model: Model, sublayer: str) -> None:
    tokens, hidden, streams = ledger.shard.local_tokens, model.hidden, model.residual_width
    linear = mix(model, f"{sublayer}_mix")
    projection, weight = 2.0 * tokens * linear.matrix, 4.0 * linear.matrix
    ledger.module = "hyper_connection"
    # A projection this narrow reads far more than it computes; its weight gradient reads the streams once more.
    ledger.memory(
        linear.name,
        COMPONENT,
        tokens * streams * ACTIVATION + weight,
        tokens * streams * ACTIVATION + weight,
        flops=projection,
        weight_gradient=tokens * streams * ACTIVATION + 2 * weight,
        launches=2,
    )
    ledger.memory(
        f"{sublayer}_merge",
        COMPONENT,
        tokens * (streams + hidden) * ACTIVATION,
        tokens * (3 * streams + hidden) * ACTIVATION,
        flops=tokens * merging_flops(model),
    )
    ledger.save(f"{sublayer}_streams", tokens * streams)
    # Outside the module: a few fp32 weights a token, too small to be worth making again.
    ledger.save(f"{sublayer}_mixing_weights", tokens * linear.outputs, 4.0, module="")
