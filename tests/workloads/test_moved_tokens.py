"""What happens to tokens on their way into products of a group: cast before a gather, copied before a wire, padded behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import workloads
from workloads.accounting import Section, Shard, layer_sections
from workloads.accounting.precision import ELEMENT_BYTES
from workloads.groups import Groups
from workloads.instructions import Operator, Start
from workloads.memory import MemoryBudget
from workloads.plan import Plan, PlanDefaults, Training, resolve
from workloads.program import build_program

TOKENS, TP = 8192.0, 4
DENSE = workloads.load("llama3.1-70b")
SPARSE = workloads.load("mixtral-8x7b")


def _operators(section: Section) -> dict[str, Operator]:
    return {operator.name: operator for operator in (*section.forward, *section.backward_input, *section.backward_weight)}


def _dense(precision: str, *, cast_first: bool, tp: int = TP) -> dict[str, Section]:
    shard = Shard(tokens=TOKENS, sequence_length=4096.0, tp=tp, precision=precision, cast_first=cast_first)
    return layer_sections(DENSE, DENSE.layer(0), shard)


def _sparse(**changes: object) -> dict[str, Section]:
    shard = Shard(tokens=TOKENS, sequence_length=4096.0, ep=8, expert_tokens=TOKENS * 2, local_experts=1.0)
    return layer_sections(SPARSE, SPARSE.layer(0), replace(shard, **changes))  # type: ignore[arg-type]  # a test's own keywords


@pytest.mark.parametrize("cast", ["qkv_cast", "dense_up_cast", "dense_down_gradient_cast", "output_gradient_cast"])
def test_blocks_are_cast_once_by_whoever_has_the_tokens(cast: str) -> None:
    """In mxfp8 each rank casts its own tokens, rows and columns: a share of what it casts if it gathers 16 bits."""
    late = {name: one for section in _dense("mxfp8", cast_first=False).values() for name, one in _operators(section).items()}
    early = {name: one for section in _dense("mxfp8", cast_first=True).values() for name, one in _operators(section).items()}
    assert early[cast].bytes_moved == pytest.approx(late[cast].bytes_moved / TP)
    assert early["dense_down_cast"] == late["dense_down_cast"]  # of a product whose input nobody gathers


def test_one_scale_a_tensor_is_turned_round_after_the_gather() -> None:
    """In fp8 a rank casts the rows of its own tokens and makes the columns of all of them, 8 bits read and written."""
    early = _operators(_dense("fp8", cast_first=True)["dense_ffn"])["dense_up_cast"]
    element, whole = ELEMENT_BYTES["fp8"], TOKENS * DENSE.hidden
    assert early.bytes_moved == pytest.approx(whole / TP * (2 + element) + whole * 2 * element)
    assert early.launches == 2


def test_the_wire_carries_operands_and_reductions_stay_in_16_bits() -> None:
    """What is gathered shrinks to the format's width, in blocks twice for an output's gradient; what is summed does not."""
    element = ELEMENT_BYTES["mxfp8"] / 2
    dense = _dense("mxfp8", cast_first=True)
    assert (dense["attention_in"].gather_wire, dense["attention_out"].gradient_wire) == (element, 2 * element)
    assert (dense["dense_ffn"].gather_wire, dense["dense_ffn"].gradient_wire) == (element, 2 * element)
    assert _dense("fp8", cast_first=True)["dense_ffn"].gradient_wire == ELEMENT_BYTES["fp8"] / 2
    for section in (*_dense("bf16", cast_first=True).values(), *_dense("fp8", cast_first=False).values()):
        assert (section.gather_wire, section.gradient_wire) == (1.0, 1.0)


def _payloads(precision: str, defaults: PlanDefaults, detail: str | None = None) -> dict[str, float]:
    training = Training(sequence_length=4096, global_batch=8, precision=precision, precision_detail=detail)  # type: ignore[arg-type]
    plan = resolve(Plan(tp=TP, recompute="none"), training, DENSE, 8, defaults)
    program = build_program(DENSE, plan, Groups.of(plan), MemoryBudget(1e15))
    steps = [step for block in program.ranks[0].blocks.values() for step in block.instructions if isinstance(step, Start)]
    return {step.communication.name: step.communication.payload for step in steps if step.communication.kind == "tp"}


def test_a_stack_says_whether_operands_are_gathered_as_cast() -> None:
    """From the defaults of a stack to the bytes that a tensor-parallel group sends; heads and reductions stay as they are."""
    late = _payloads("fp8", PlanDefaults(operand_gather="16 bits"))
    early = _payloads("fp8", PlanDefaults())
    width = ELEMENT_BYTES["fp8"] / 2
    changed = {name: early[name] / late[name] for name in late}
    for name, share in changed.items():
        cast = "gather" in name and "head" not in name and "embedding" not in name
        assert share == pytest.approx(width if cast else 1.0), name
    assert width in [pytest.approx(share) for share in changed.values()]
    assert _payloads("bf16", PlanDefaults()) == _payloads("bf16", PlanDefaults(operand_gather="16 bits"))
    by_rows = _payloads("fp8", PlanDefaults(), "rowwise scales")
    assert by_rows == late


def test_an_all_to_all_copies_tokens_first_and_sums_after() -> None:
    """Every token is read once and written once an expert, and back: 2 (1 + k) bytes an element each way."""
    moved = TOKENS * SPARSE.hidden * (1 + 2) * 2
    sections = _sparse(copies_first=True)
    router, after = _operators(sections["router"]), _operators(sections["ffn_post"])
    for made in (
        router["dispatch_copies"],
        router["dispatch_copies_backward"],
        after["combine_sum"],
        after["combine_sum_backward"],
    ):
        assert (made.bytes_moved, made.flops) == (moved, 0.0)
    without = _sparse()
    assert "dispatch_copies" not in _operators(without["router"])
    assert sections["experts"] == without["experts"]


def test_padded_rows_are_copied_there_and_back() -> None:
    """Four passes over the experts' rows, in and out, forward and backward; 8 bits on the way in where tokens arrive so."""
    rows = TOKENS * 2 * SPARSE.hidden
    made = _operators(_sparse(pads_experts=True, precision="mxfp8")["experts"])
    names = ("expert_padding", "expert_padding_backward", "expert_unpadding", "expert_unpadding_backward")
    assert [made[name].bytes_moved for name in names] == [4 * rows] * 4
    ready = _operators(_sparse(pads_experts=True, precision="fp8", dispatch_precision="fp8")["experts"])
    assert ready["expert_padding"].bytes_moved == pytest.approx(2 * ELEMENT_BYTES["fp8"] * rows)


@pytest.mark.parametrize(("precision", "fused"), [("bf16", False), ("mxfp8", True)])
def test_experts_are_fused_below_16_bits_alone(precision: str, fused: bool) -> None:
    """Transformer Engine's kernel takes MXFP8; in 16 bits the plan says that the choice has no effect."""
    training = Training(sequence_length=4096, global_batch=8, precision=precision)  # type: ignore[arg-type]
    resolved = resolve(Plan(ep=8, expert_kernels="fused", recompute="none"), training, SPARSE, 8)
    assert resolved.fused_experts == fused
    assert any("expert_kernels fused has no effect in bf16" in warning for warning in resolved.warnings) != fused


@pytest.mark.parametrize(
    ("dispatcher", "ep", "precision", "capacity", "copies", "pads"),
    [
        ("alltoall", 8, "fp8", None, True, True),
        ("alltoall", 8, "bf16", None, True, False),
        ("alltoall", 1, "fp8", None, False, True),
        ("alltoall", 8, "fp8", 1.0, True, False),
        ("deepep", 8, "fp8", None, False, True),
        ("hybridep", 8, "fp8", None, False, False),
    ],
)
def test_who_copies_and_who_pads(
    dispatcher: str, ep: int, precision: str, capacity: float | None, copies: bool, pads: bool
) -> None:
    """All-to-all between ranks copies; below 16 bits rows are padded unless HybridEP has done so or a capacity fills them."""
    training = Training.model_validate(
        {
            "sequence_length": 4096,
            "global_batch": 8,
            "precision": precision,
            "router": {"kind": "balanced", "capacity_factor": capacity},
        }
    )
    plan = Plan.model_validate({"ep": ep, "dispatcher": dispatcher, "recompute": "none"})
    resolved = resolve(plan, training, SPARSE, 8, PlanDefaults(expert_padding="copies"))
    assert (resolved.copies_first, resolved.pads_experts) == (copies, pads)
    assert not resolve(plan, training, SPARSE, 8).pads_experts
