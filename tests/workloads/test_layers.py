"""Layers as instructions: experts in waves."""

from __future__ import annotations

import pytest

import workloads
from workloads.attention_kinds import GroupedQueryAttention
from workloads.groups import Groups
from workloads.instructions import Block, Communication, Compute, Start
from workloads.memory import MemoryBudget
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.pieces import Pieces, Recompute
from workloads.plan import Overlap, Plan, Training, resolve
from workloads.program import build_program

SPARSE = Model(
    name="sparse", layers=4, hidden=1024, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=8, head_dim=64),
    ffn=FeedForward(width=4096),
    moe=MixtureOfExperts(experts=16, top_k=4, width=512, shared_experts=1, first_dense=1),
)  # fmt: skip


def backward_or_forward(kind: str, waves: int) -> Block:
    """The block of the whole model on one rank of 8, its experts over 4 of them."""
    overlap = Overlap(ep=True, ep_waves=waves)
    plan = resolve(Plan(ep=4, overlap=overlap), Training(sequence_length=2048, global_batch=8), SPARSE, 8)
    return build_program(SPARSE, plan, Groups.of(plan), MemoryBudget(1e15)).ranks[0].blocks[0, 0, kind, ""]


def exchanges(block: Block) -> list[Communication]:
    return [step.communication for step in block.instructions if isinstance(step, Start)]


@pytest.mark.parametrize("kind", ["F", "B"])
def test_waves_cut_a_layer_s_exchange_and_products_and_lose_nothing(kind: str) -> None:
    """Four waves: four times the exchanges of a quarter each; FLOPs, bytes and kernel starts as they were."""
    blocks = [backward_or_forward(kind, waves) for waves in (1, 4)]
    one, four = ([step for step in exchanges(block) if step.kind == "ep"] for block in blocks)
    assert len(four) == 4 * len(one)
    assert sum(step.payload for step in four) == pytest.approx(sum(step.payload for step in one))

    def totals(block: Block) -> list[float]:
        found = [op for step in block.instructions if isinstance(step, Compute) for op in step.operators]
        return [sum(op.flops for op in found), sum(op.bytes_moved for op in found), sum(op.launches for op in found)]

    assert totals(blocks[1]) == pytest.approx(totals(blocks[0]), rel=1e-12)
    shapes = [
        {(op.m, op.n, op.k) for step in block.instructions if isinstance(step, Compute) for op in step.operators if op.m}
        for block in blocks
    ]
    assert shapes[0] == shapes[1]


def test_waves_hide_what_deepseek_v4_s_balance_says() -> None:
    """6 h d FLOPs a token and expert against 3 h bytes (FP8 out, BF16 back): 2 d = 6,144 FLOP a byte for the large one.

    On the wire a byte has a scale for every 32, which leaves 3 / (3 + 1/32) of that.
    """
    model = workloads.load("deepseek-v4-pro")
    training = Training(sequence_length=4096, global_batch=128, precision="fp8")
    plan = resolve(Plan(ep=64, dispatcher="deepep"), training, model, 64)
    (piece, *_) = [piece for piece in Pieces(model, plan, Groups.of(plan), Recompute()).stages[0] if piece.layer.moe]
    flops = sum(operator.flops for operator in piece.layer.sections["experts"].forward)
    sent = [piece.layer.traffic.dispatch(), piece.layer.traffic.combine()]
    assert flops / sum(step.payload for step in sent if step) == pytest.approx(6144 * 3 / (3 + 1 / 32))
