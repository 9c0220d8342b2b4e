"""Every training precision changes what it should: the rate of its products, casts, tokens on the wire, copies of weights."""

from __future__ import annotations

import pytest

import topologies
import workloads
from simulator.assumptions import Assumptions
from simulator.engine.chip import Device, precision_key
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from workloads.accounting.precision import ELEMENT_BYTES
from workloads.groups import Groups
from workloads.instructions import Compute, Operator, Phase, Program, Start
from workloads.memory import MemoryBudget
from workloads.plan import Plan, Training, resolve
from workloads.program import build_program

PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "mxfp4", "nvfp4")
QUANTISED = PRECISIONS[2:]
MODEL = workloads.load({"preset": "mixtral-8x7b", "layers": 4})
CHIP = topologies.load("gb200-nvl72").chip
DEVICE = Device.of(CHIP, Assumptions.load("default").of_chip(CHIP.name)[0])


def _program(precision: str, dispatcher: str = "deepep", detail: str | None = None, wire: str | None = None) -> Program:
    training = Training(
        sequence_length=4096,
        global_batch=16,
        precision=precision,
        precision_detail=detail,
        optimizer="adamw",  # type: ignore[arg-type]
    )
    asked = {"ep": 8, "zero": 1, "recompute": "none", "dispatcher": dispatcher, "dispatch_precision": wire}
    plan = resolve(Plan.model_validate(asked), training, MODEL, 8)
    return build_program(MODEL, plan, Groups.of(plan), MemoryBudget(1e15))


def _operators(program: Program) -> list[Operator]:
    blocks = [*program.ranks[0].blocks.values(), program.ranks[0].epilogue]
    return [op for block in blocks for step in block.instructions if isinstance(step, Compute) for op in step.operators]


def _sent(program: Program, collective: str) -> float:
    blocks = program.ranks[0].blocks.values()
    steps = [step.communication for block in blocks for step in block.instructions if isinstance(step, Start)]
    return next(made.payload for made in steps if made.collective == collective)


@pytest.mark.parametrize("precision", QUANTISED)
def test_linear_layers_run_at_the_peak_of_the_precision(precision: str) -> None:
    """Products of projections and experts are priced at its peak and efficiency; routers, heads and attention stay at 16 bits."""
    runs = {(op.name, op.precision) for op in _operators(_program(precision)) if op.kernel.value in ("gemm", "grouped_gemm")}
    assert {p for _, p in runs} == {precision, "bf16"}
    assert {p for name, p in runs if name.startswith("expert_")} == {precision}
    assert {p for name, p in runs if name.startswith("router")} == {"bf16"}
    assert DEVICE.rate(precision) > 1.2 * DEVICE.rate("bf16")
    assert DEVICE.rate(precision) <= CHIP.peak(precision)


@pytest.mark.parametrize("precision", QUANTISED)
def test_activations_and_gradients_are_cast_and_weights_once_a_step(precision: str) -> None:
    """16-bit training casts nothing; a quantised one casts inputs forward, gradients backward, weights after the update."""
    casts = [op for op in _operators(_program(precision)) if op.name.endswith("cast")]
    assert {op.phase for op in casts} == {Phase.FORWARD, Phase.BACKWARD_INPUT, Phase.OPTIMIZER}
    assert all(op.bytes_moved > 0 for op in casts)
    assert not [op for op in _operators(_program("bf16")) if op.name.endswith("cast")]
    assert not [op for op in _operators(_program("fp16")) if op.name.endswith("cast")]


@pytest.mark.parametrize(
    ("precision", "expected"), [("bf16", 2.0), ("fp16", 2.0), ("fp8", 1.03125), ("mxfp8", 1.03125), ("nvfp4", 2.0)]
)
def test_tokens_leave_in_the_dispatch_precision_and_return_in_16_bits(precision: str, expected: float) -> None:
    """DeepEP sends eight-bit jobs' tokens in FP8 with a scale every 128; four-bit jobs' and the way back are 16 bits."""
    elements = 4096 * 2 * 4096  # tokens of a micro-batch x top 2 x hidden
    program = _program(precision)
    assert _sent(program, "dispatch") == pytest.approx(elements * expected)
    assert _sent(program, "combine") == pytest.approx(elements * 2)
    assert _sent(_program(precision, "alltoall"), "dispatch") == pytest.approx(elements * 2)


@pytest.mark.parametrize("wire", ["bf16", "fp8", "mxfp8", "mxfp4", "nvfp4"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_plan_may_send_tokens_in_any_precision(precision: str, wire: str) -> None:
    """Each way its bytes; what arrives in another precision than the products' is 16 bits again before it is cast for them."""
    sent, copies = 4096 * 2 * 4096, 4096 * 2 * 4096  # elements that a rank sends, and that its experts get
    program = _program(precision, "alltoall", wire=wire)
    assert _sent(program, "dispatch") == sent * ELEMENT_BYTES[wire] and _sent(program, "combine") == sent * 2
    ready = precision == wire or {precision, wire} == {"fp8", "mxfp8"} or wire == "bf16"
    forward = {op.name: op for op in _operators(program) if op.phase is Phase.FORWARD}
    assert forward["permute"].bytes_moved == copies * (ELEMENT_BYTES[wire] + (ELEMENT_BYTES[wire] if ready else 2.0))
    assert ("dispatch_cast" in forward) == (wire != "bf16")
    assert ("expert_up_cast" in forward) == (precision in QUANTISED and not (ready and wire != "bf16"))
    assert ("expert_up_columns" in forward) == (ready and wire != "bf16")


def test_four_bit_tokens_make_an_exposed_dispatch_shorter() -> None:
    """Half of FP8's bytes and little more than a quarter of 16-bit ones."""
    assert (
        ELEMENT_BYTES["nvfp4"] / ELEMENT_BYTES["bf16"] == 0.28125 and ELEMENT_BYTES["mxfp4"] / ELEMENT_BYTES["bf16"] == 0.265625
    )
    seconds = {}
    for wire in ("bf16", "fp8", "nvfp4"):
        asked = {
            "cluster": {"system": "dgx-b200", "chips": 16},
            "model": {"preset": "mixtral-8x7b", "layers": 4},
            "training": {"sequence_length": 4096, "global_batch": 16, "precision": "nvfp4"},
            "plan": {"ep": 8, "placement": {"experts": "dp-ep-pp"}, "dispatch_precision": wire},
        }
        result = simulate(make(asked, Scenario))
        seconds[wire] = (result.step_time_s, result.network.sent_bytes["ep"])
    assert seconds["nvfp4"][0] < seconds["fp8"][0] < seconds["bf16"][0]
    # Per micro-batch and layer as many elements go out as come home, forward and backward alike.
    assert seconds["nvfp4"][1] / seconds["bf16"][1] == pytest.approx((0.5625 + 2.0) / 4.0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_memory_holds_master_weights_moments_and_quantised_copies(precision: str) -> None:
    """AdamW keeps 12 bytes a parameter in every precision; weights 2, and two copies in the training precision."""
    memory, sixteen = _program(precision).ranks[0].memory, _program("bf16").ranks[0].memory
    assert memory.optimizer == sixteen.optimizer
    extra = 2 * ELEMENT_BYTES[precision] if precision in QUANTISED else 0.0
    tables = 2 * 2 * MODEL.vocab * MODEL.hidden + 2 * MODEL.hidden  # embedding, head and final norm have no copies
    assert memory.weights == pytest.approx(tables + (sixteen.weights - tables) * (2 + extra) / 2)
    assert (memory.activations < sixteen.activations) == (precision in QUANTISED)


def test_pure_bf16_keeps_no_master_weights() -> None:
    """2 bytes each for both moments and the gradient, no fp32 anywhere."""
    pure, usual = _program("bf16", detail="pure bf16").ranks[0].memory, _program("bf16").ranks[0].memory
    assert pure.optimizer == pytest.approx(usual.optimizer / 3)
    assert pure.gradients == pytest.approx(usual.gradients / 2)


def test_every_precision_has_its_row_of_the_peak_table() -> None:
    """mxfp8 runs at FP8's, both four-bit formats at FP4's; FP4 is above FP8 is above BF16."""
    assert [precision_key(p) for p in PRECISIONS] == ["bf16", "bf16", "fp8", "fp8", "fp4", "fp4"]
    assert CHIP.peak("nvfp4") > CHIP.peak("mxfp8") > CHIP.peak("fp16") == CHIP.peak("bf16")


def test_scales_by_row_cast_every_operand_twice() -> None:
    """One pass for rows, two for columns (the largest value, then the cast): three reads for one, as many bytes written."""
    plain, rowwise = (
        {op.name: op for op in _operators(_program("fp8", "alltoall", detail)) if op.name.endswith("_cast") and op.launches}
        for detail in (None, "rowwise")
    )
    for name, cast in plain.items():
        if name == "weight_cast":
            continue
        size = ELEMENT_BYTES["fp8"]
        assert rowwise[name].bytes_moved == pytest.approx(cast.bytes_moved * (6 + 2 * size) / (2 + 2 * size))
        assert rowwise[name].launches == 2


def test_scales_by_row_say_nothing_of_sixteen_bits() -> None:
    """Nothing is cast in bf16, whatever the detail says."""
    assert _operators(_program("bf16", detail="rowwise")) == _operators(_program("bf16"))
