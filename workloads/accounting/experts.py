"""A mixture of experts: router, routed experts, shared experts.

Router: hidden x experts in 16 bits, two FLOPs a weight. Routed experts: three matrices (two if plain) of the expert width
each, run as one grouped product over the rank's experts; a token takes top_k of them. Shared experts are one dense FFN of
their joint width, cut by tensor parallelism.

Dispatched tokens are put in expert order as they arrive (permute), outputs go back to arrival order (unpermute). An all-to-all
copies a token for each of its experts before the wire and sums their outputs after it (Megatron-Core's
MoEAlltoAllTokenDispatcher); DeepEP and HybridEP do both on the way. With a quantised dispatch the cast happens once a token
before the wire. What arrives in the precision of the products is used as it is, and the columns for the weight gradient are made
from it; any other is brought back to 16 bits as it is permuted, and cast like all else.

Kernels below 16 bits ask for so many rows of each expert; where nothing pads them on the way, they are copied into padded rows
and their outputs back (Megatron-Core, TEGroupedMLP.quantization_padding).

Leaves out: the rows that padding adds.
"""

from __future__ import annotations

from workloads.accounting import dense
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import element_bytes, is_quantised, same_width
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight
from workloads.model import LayerShape, MixtureOfExperts, Model


def weights(model: Model, shape: LayerShape) -> tuple[Weight, ...]:
    """Router, routed experts and shared experts of a sparse layer."""
    moe = _moe(model)
    found: list[Weight] = [_router(model)]
    if moe.router.bias and not shape.hash_routed:
        found.append(Vector("router_bias", "router", moe.experts))
    found += _routed(model)
    if moe.shared_experts:
        found += _shared(model)
    return tuple(found)


def routed_matrices(model: Model) -> float:
    """Weights of the matrices of all routed experts of one layer, biases apart."""
    return float(sum(linear.matrix for linear in _routed(model)))


def sections(model: Model, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """router, permute, experts, unpermute, and shared_expert of one layer on one rank."""
    moe = _moe(model)
    found = {"router": _router_section(model, shard)}
    if moe.shared_experts:
        up, down = _shared(model)
        ledger = Ledger("shared_expert", shard)
        dense.enter_ffn(
            ledger, up, down, shard.tokens, shard.tp,
            activation_module="moe/shared_experts/moe_act", up_module="moe/shared_experts/shared_up",
            down_module="moe/shared_experts/shared_down", result_rows=shard.local_tokens,
        )  # fmt: skip
        whole = shard.tokens * model.hidden
        found["shared_expert"] = ledger.section(gather=whole, reduce=whole)
    copies = shard.expert_tokens * model.hidden
    arriving = element_bytes(shard.dispatch_precision or "bf16")
    permuted = arriving if _arrives_ready(shard) else ACTIVATION
    for name, forward in (("permute", arriving + permuted), ("unpermute", 2 * ACTIVATION)):
        ledger = Ledger(name, shard, module=f"moe/moe_{name}")
        ledger.memory(name, "permutation", copies * forward, 2 * copies * ACTIVATION)
        found[name] = ledger.section()
    found["experts"] = _expert_section(model, shard)
    return found


def _router_section(model: Model, shard: Shard) -> Section:
    moe, tokens = _moe(model), shard.local_tokens
    ledger = Ledger("router", shard, module="moe/moe_router")
    ledger.linear(_router(model))
    scores = tokens * moe.experts * 4.0
    ledger.memory("expert_choice", "router", 3 * scores, 3 * scores, launches=2)
    ledger.save("router_scores", tokens * moe.experts, 4.0)
    if shard.dispatch_precision and is_quantised(shard.dispatch_precision):
        wire = element_bytes(shard.dispatch_precision)
        ledger.memory("dispatch_cast", "permutation", tokens * model.hidden * (ACTIVATION + wire), 0.0)
    if shard.copies_first:
        ledger.module = "moe/moe_permute"
        sent = element_bytes(shard.dispatch_precision or "bf16")
        ledger.memory(
            "dispatch_copies", "permutation", copied_elements(model, shard) * sent, copied_elements(model, shard) * ACTIVATION
        )
    return ledger.section()


def copied_elements(model: Model, shard: Shard) -> float:
    """Elements read and written as this rank's tokens are copied for their experts, or as the experts' outputs are summed."""
    return shard.local_tokens * model.hidden * (1 + _moe(model).top_k)


def _expert_section(model: Model, shard: Shard) -> Section:
    up, down = _routed(model)
    rows = shard.expert_tokens
    ledger = Ledger("experts", shard, module="moe/moe_permute")
    ready = _arrives_ready(shard)
    if ready:
        ledger.memory("expert_up_columns", up.component, 2 * rows * up.inputs * element_bytes(shard.dispatch_precision), 0.0)
    padding = 2 * rows * up.inputs * (element_bytes(shard.dispatch_precision) if ready else ACTIVATION) * shard.pads_experts
    if padding:
        ledger.memory("expert_padding", "permutation", padding, 2 * rows * up.inputs * ACTIVATION)
    ledger.save_input("expert_input", rows * up.inputs)
    dense.enter_ffn(
        ledger,
        up,
        down,
        rows,
        shard.etp,
        activation_module="moe/moe_act",
        up_module="moe/moe_up",
        down_module="moe/moe_down",
        result_rows=rows / shard.etp,
        input_module="moe/moe_permute",
        cast_input=not ready,
        fused=shard.fused_experts,
    )
    if padding:
        back = 2 * rows * down.outputs * ACTIVATION
        ledger.module = "moe/moe_unpermute"
        ledger.memory("expert_unpadding", "permutation", back, back)
    return ledger.section()


def _arrives_ready(shard: Shard) -> bool:
    """Whether tokens come over the wire in the precision that the products take."""
    sent = shard.dispatch_precision
    return bool(sent) and is_quantised(sent) and same_width(sent, shard.precision)


def _router(model: Model) -> Linear:
    return Linear("router", "router", model.hidden, _moe(model).experts, Split.REPLICATED, low_precision=False)


def _routed(model: Model) -> tuple[Linear, Linear]:
    moe = _moe(model)
    return dense.pair("expert", "routed_experts", model.hidden, moe.width, gated=moe.gated, bias=moe.bias, experts=moe.experts)


def _shared(model: Model) -> tuple[Linear, Linear]:
    moe = _moe(model)
    return dense.pair("shared", "shared_expert", model.hidden, moe.shared_total_width, gated=moe.gated, bias=moe.bias)


def _moe(model: Model) -> MixtureOfExperts:
    assert model.moe is not None, "only sparse layers ask for experts"
    return model.moe
