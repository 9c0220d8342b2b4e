"""The dense FFN, and the activation between its matrices that experts share.

Gated: hidden x 2 width (gate and up as one), activation, width x hidden. Plain: hidden x width, activation, width x hidden.
Two FLOPs a weight and token; the activation counts none and moves what it reads and writes.
"""

from __future__ import annotations

from dataclasses import replace

from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import element_bytes
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Weight
from workloads.model import FeedForward, LayerShape, Model

GROUP_BIAS_FORWARD = 28.0
"""Bytes an element of adding an expert's bias as Megatron does (TEGroupedMLP._apply_bias), one group after another: bias x
probability in fp32 (4 written), its sum with the output (2 + 4 read, 4 written), groups joined (4 + 4), cast back (4 + 2)."""

GROUP_BIAS_BACKWARD = 40.0
"""The same backward: cast to fp32 (2 + 4), cast and joined for the output (4 + 2, 2 + 2), gradients of bias and of probability,
each a product (4 + 4) and its sum (4)."""


def weights(model: Model, shape: LayerShape) -> tuple[Weight, ...]:
    """The matrices of a dense layer's FFN."""
    ffn = _ffn(model)
    return pair("dense", "dense_ffn", model.hidden, ffn.width, gated=ffn.gated, bias=ffn.bias)


def pair(
    name: str, component: str, hidden: int, width: int, *, gated: bool, bias: bool = False, experts: int = 0
) -> tuple[Linear, Linear]:
    """The matrix up (gate included) and the matrix down; ``experts`` of them if any."""
    groups, widened = max(experts, 1), width * (2 if gated else 1)
    return (
        Linear(f"{name}_up", component, hidden, widened, Split.COLUMN, groups, groups * widened * bias, experts=experts > 0),
        Linear(f"{name}_down", component, width, hidden, Split.ROW, groups, groups * hidden * bias, experts=experts > 0),
    )


def section(model: Model, shard: Shard) -> Section:
    """The dense FFN of one layer on one rank."""
    up, down = pair("dense", "dense_ffn", model.hidden, _ffn(model).width, gated=_ffn(model).gated, bias=_ffn(model).bias)
    ledger = Ledger("dense_ffn", shard)
    gated = _ffn(model).gated
    enter_ffn(ledger, up, down, shard.tokens, shard.tp, activation_module="mlp/mlp_act",
        up_module="mlp" if gated else "mlp/mlp_gate", down_module="mlp/mlp_down", result_rows=shard.local_tokens,
        half_modules=("mlp/mlp_gate", "mlp/mlp_up") if gated else ())  # fmt: skip
    return ledger.section(gather=shard.tokens * model.hidden, reduce=shard.tokens * model.hidden)


def enter_ffn(
    ledger: Ledger,
    up: Linear,
    down: Linear,
    rows: float,
    cut: int,
    *,
    activation_module: str,
    up_module: str,
    down_module: str,
    result_rows: float,
    input_module: str = "layernorm",
    cast_input: bool = True,
    half_modules: tuple[str, ...] = (),
    fused: bool = False,
) -> None:
    """Enter up, activation and down over ``rows`` tokens, the width cut ``cut`` ways.

    Recompute paths: ``input_module`` drops the input, which whoever made it keeps; ``up_module`` the output of the matrix up, or
    ``half_modules`` the gate and the product beside it; ``activation_module`` the activation's output. ``down_module`` makes
    the product down again; its result, ``result_rows`` once it is summed, is kept on request only.
    ``fused``: activation and casts are epilogues of the products, and take no time of their own.
    """
    widened, width = up.outputs / cut, down.inputs / cut
    if cast_input:
        ledger.cast(f"{up.name}_cast", up.component, rows * up.inputs, module=input_module, gathered=not up.experts)
    ledger.module = up_module
    ledger.linear(up, fused=fused)
    kept = element_bytes(ledger.shard.ffn_inputs) if ledger.shard.ffn_inputs else ACTIVATION
    if half_modules:
        for half, name in zip(half_modules, ("gate", "beside_gate"), strict=True):
            ledger.save(f"{up.name}_output_{name}", rows * width, kept, module=half)
            ledger.part(replace(up, name=f"{up.name}_{name}", outputs=down.inputs), half)
    else:
        ledger.save(f"{up.name}_output", rows * widened, kept)
    by_row = down.experts and down.bias > 0 and ledger.shard.bias_by_row
    if by_row:
        _bias_rows(ledger, up.name, rows * widened)
    ledger.module = activation_module
    # Backward reads the activation's input and its output's gradient, and writes its input's gradient.
    through = 0.0 if fused else rows * ACTIVATION
    ledger.memory(
        f"{up.name}_activation", up.component, through * (widened + width), through * (2 * widened + width), launches=not fused
    )
    ledger.cast(f"{down.name}_cast", down.component, rows * width, fused=fused)
    ledger.save_input(f"{down.name}_input", rows * width)
    ledger.module = down_module
    ledger.linear(down)
    if by_row:
        _bias_rows(ledger, down.name, rows * down.outputs)
    elif down.experts and down.bias:
        elements = rows * down.outputs
        ledger.memory(
            f"{down.name}_bias", down.component, GROUP_BIAS_FORWARD * elements, GROUP_BIAS_BACKWARD * elements,
            weight_gradient=rows * widened * ACTIVATION, launches=2,
        )  # fmt: skip
    ledger.keep_on_request(f"{down.name}_output", result_rows * down.outputs)
    ledger.module = ""


def _bias_rows(ledger: Ledger, name: str, elements: float) -> None:
    """Enter biases picked by index for each row and read where they are added; their gradients are summed back by index."""
    ledger.memory(f"{name}_bias_rows", "permutation", 2 * elements * ACTIVATION, 0.0, weight_gradient=elements * ACTIVATION)


def _ffn(model: Model) -> FeedForward:
    assert model.ffn is not None, "Model refuses dense layers without ffn"
    return model.ffn
