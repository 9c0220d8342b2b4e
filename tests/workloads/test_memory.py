"""What a rank holds, by hand for a small dense model, and what schedules and ZeRO do to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.accounting import total_parameters
from workloads.attention_kinds import GroupedQueryAttention
from workloads.groups import Groups
from workloads.instructions import StageMemory, Work, WorkKind
from workloads.memory import MemoryBudget, StageActivations, activation_levels
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.outline import Outline
from workloads.pieces import Pieces, Recompute
from workloads.plan import Plan, Training, resolve
from workloads.program import build_program
from workloads.resolved import ResolvedPlan
from workloads.schedules import dualpipe, one_f_one_b, zb_h1

HIDDEN, HEADS, TOKENS, VOCAB = 1024, 16, 2048, 32000
DENSE = Model(
    name="dense", layers=8, hidden=HIDDEN, vocab=VOCAB,
    attention=GroupedQueryAttention(kind="gqa", heads=HEADS, kv_heads=HEADS, head_dim=64),
    ffn=FeedForward(width=4 * HIDDEN, gated=False, activation="gelu"),
)  # fmt: skip
SPARSE = Model(
    name="sparse", layers=8, hidden=HIDDEN, vocab=VOCAB,
    attention=GroupedQueryAttention(kind="gqa", heads=HEADS, kv_heads=HEADS, head_dim=64),
    moe=MixtureOfExperts(experts=16, top_k=4, width=512),
)  # fmt: skip
LAYER = 32 * TOKENS * HIDDEN + 4 * TOKENS * HEADS
"""The 34 s b h of Korthikanti et al. 2022 less two bytes of dropout masks, and a log-sum-exp in place of 5 a s^2 b."""
HEAD = 2 * 2 * TOKENS * HIDDEN + (4 + 2) * TOKENS * VOCAB
"""The final norm's input, the head's, the softmax in fp32, and while the loss is taken the logits in 16 bits."""


def resolved(
    model: Model = DENSE, ranks: int = 8, batch: int = 64, training: dict[str, Any] | None = None, **plan: Any
) -> tuple[ResolvedPlan, Groups]:
    settings = {"sequence_length": TOKENS, "global_batch": batch} | (training or {})
    found = resolve(Plan(**({"recompute": "none"} | plan)), Training(**settings), model, ranks)
    return found, Groups.of(found)


def held(model: Model = DENSE, **settings: Any) -> list[StageMemory]:
    plan, groups = resolved(model, **settings)
    return [rank.memory for rank in build_program(model, plan, groups, MemoryBudget(1e18)).ranks]


def test_activations_of_one_stage_are_those_of_the_published_formula() -> None:
    (rank,) = held(ranks=1, batch=4)
    assert rank.activations == 8 * LAYER + HEAD and rank.micro_batches_in_flight == 1


@pytest.mark.parametrize("tp", [2, 4])
def test_sequence_parallelism_divides_all_activations_and_tensor_parallelism_alone_only_some(tp: int) -> None:
    """Korthikanti et al. 2022, tables 2 and 3: s b h (10 + 24/t) against s b h 34/t, each less two bytes of dropout masks."""
    (cut,) = held(ranks=tp, batch=1, tp=tp)
    (whole,) = held(ranks=tp, batch=1, tp=tp, sequence_parallel=False)
    softmax, scores = (4 + 2) * TOKENS * VOCAB / tp, 4 * TOKENS * HEADS / tp
    assert cut.activations == 8 * (32 * TOKENS * HIDDEN / tp + scores) + 4 * TOKENS * HIDDEN / tp + softmax
    assert whole.activations == 8 * ((8 + 24 / tp) * TOKENS * HIDDEN + scores) + 4 * TOKENS * HIDDEN + softmax


def test_one_f_one_b_holds_a_micro_batch_for_every_stage_ahead() -> None:
    """Rank r of 4 holds 4 - r micro-batches of its two layers."""
    ranks = held(ranks=4, pp=4, batch=16)
    assert [rank.activations for rank in ranks] == [2 * LAYER * (4 - r) + (HEAD if r == 3 else 0) for r in range(4)]


def test_full_recompute_keeps_inputs_and_one_layer_in_the_making() -> None:
    """On the rank of the head the loss is the heavier moment: a layer is made again after the softmax is given back."""
    first, last = held(ranks=2, pp=2, batch=4, recompute="full")
    inputs = 2 * TOKENS * HIDDEN
    assert first.activations == 2 * 4 * inputs + (LAYER - inputs)
    assert last.activations == 4 * inputs + HEAD
    assert LAYER - inputs < HEAD


def test_a_layer_made_again_may_outweigh_the_loss() -> None:
    small = DENSE.model_copy(update={"vocab": 512})
    (rank,) = held(small, ranks=1, batch=4, recompute="full")
    inputs = 2 * TOKENS * HIDDEN
    assert rank.activations == 8 * inputs + LAYER - inputs


def test_interleaving_costs_activations_as_published() -> None:
    """1 + (pp - 1)/(pp v) times those of 1F1B on the first rank (Korthikanti et al. 2022, section 4.2.3)."""
    plain, chunked = held(ranks=4, pp=4, batch=16)[0], held(ranks=4, pp=4, vpp=2, batch=16)[0]
    assert chunked.activations / plain.activations == pytest.approx(1 + 3 / 8)


def test_state_of_parameters_by_hand() -> None:
    """bf16 weights, fp32 gradients, fp32 master and two moments; ZeRO-1 cuts the last by 8, 2 gradients too, 3 all."""
    size = total_parameters(DENSE)
    for zero, weights, gradients, optimizer in ((0, 2, 4, 12), (1, 2, 4, 1.5), (2, 2, 0.5, 1.5), (3, 0.25, 0.5, 1.5)):
        (rank,) = held(zero=zero, batch=8)
        assert rank.weights == pytest.approx(weights * size)
        assert rank.gradients == pytest.approx(gradients * size)
        assert rank.optimizer == pytest.approx(optimizer * size)


@pytest.mark.parametrize("copies", [1, 8])
def test_fp8_adds_two_copies_of_every_layer_s_weights(copies: int) -> None:
    """Table, head and the norm before it stay in 16 bits, whole or cut by ZeRO-3."""
    (rank,) = held(training={"precision": "mxfp8"}, batch=8, zero=3 if copies > 1 else 1)
    ends = 2 * VOCAB * HIDDEN + HIDDEN
    layers = total_parameters(DENSE) - ends
    assert rank.weights == pytest.approx(((2 + 2 * (1 + 1 / 32)) * layers + 2 * ends) / copies)


def test_muon_keeps_one_moment_of_matrices_and_two_of_the_rest() -> None:
    (rank,) = held(zero=0, batch=8, training={"optimizer": "muon"})
    matrices = 8 * 12 * HIDDEN**2
    assert rank.optimizer == pytest.approx(8 * matrices + 12 * (total_parameters(DENSE) - matrices))


def test_experts_divide_by_expert_parallelism_and_their_state_by_the_ranks_that_hold_them() -> None:
    experts = 8 * 16 * 3 * HIDDEN * 512
    rest = total_parameters(SPARSE) - experts
    (rank,) = held(SPARSE, ep=4, batch=8)
    assert rank.weights == pytest.approx(2 * (rest + experts / 4))
    assert rank.optimizer == pytest.approx(12 * (rest / 8 + experts / 4 / 2))
    assert rank.buffers == pytest.approx(2 * 2 * TOKENS * 4 * HIDDEN)


def test_dualpipe_doubles_weights_and_gradients_but_not_the_optimizer() -> None:
    """Over all ranks: two copies of the model, one of its state; pp + 1 micro-batches of a stage on every rank."""
    plain, both = held(ranks=4, pp=4, batch=16), held(ranks=4, pp=4, batch=16, schedule="dualpipe")
    for part, times in (("weights", 2), ("gradients", 2), ("optimizer", 1)):
        total = sum(getattr(rank, part) for rank in plain)
        assert sum(getattr(rank, part) for rank in both) == pytest.approx(times * total)
    assert {rank.micro_batches_in_flight for rank in both} == {5}
    assert both[1].activations == 5 * 2 * LAYER


def test_zero_3_holds_the_parameters_of_two_layers_at_a_time() -> None:
    (rank,) = held(zero=3, batch=8)
    largest = VOCAB * HIDDEN + HIDDEN  # head and final norm
    assert rank.buffers == pytest.approx(largest * (2 * 2 + 4))


FOR_WEIGHTS = 32 * TOKENS * HIDDEN
"""What the weight gradients of a layer need: inputs 2 + 2 + 2 + 8, gradients of outputs 6 + 2 + 8 + 2 of s b h (table 1 of Qi et
al. 2023, arXiv 2401.10241)."""
HEAD_FOR_WEIGHTS = 2 * TOKENS * (HIDDEN + VOCAB)


def test_zb_h1_holds_what_its_weight_gradients_still_need() -> None:
    """Rank r of 4: 4 - r micro-batches as forwards left them, and r more of which only the weights' part is left to run."""
    ranks = held(ranks=4, pp=4, batch=16, schedule="zb-h1")
    waiting = [2 * FOR_WEIGHTS * r + (HEAD_FOR_WEIGHTS * r if r == 3 else 0) for r in range(4)]
    assert [rank.activations for rank in ranks] == [2 * LAYER * (4 - r) + waiting[r] + (HEAD if r == 3 else 0) for r in range(4)]
    assert {rank.micro_batches_in_flight for rank in ranks} == {4}


def test_a_split_backward_keeps_what_recomputation_made_until_the_weights_part_has_run() -> None:
    """Full recomputation. Rank 2 of 4 holds two micro-batches' operands and another's inputs when it makes the first layer of a
    fourth again, whose second layer has left its operands. Rank 3 holds most when it begins with a fourth, whose softmax is
    larger than what the head leaves.
    """
    ranks = held(ranks=4, pp=4, batch=16, schedule="zb-h1", recompute="full")
    inputs = 2 * TOKENS * HIDDEN
    assert ranks[2].activations == 2 * 2 * FOR_WEIGHTS + 2 * inputs + FOR_WEIGHTS + LAYER
    assert ranks[3].activations == 3 * (2 * FOR_WEIGHTS + HEAD_FOR_WEIGHTS) + HEAD + 2 * inputs


@pytest.mark.parametrize("tp", [2, 4])
def test_gathered_inputs_are_not_kept_for_the_weights(tp: int) -> None:
    """Sequence parallelism keeps 1/t of the two gathered inputs; gradients of the two reduced outputs are whole."""
    (rank,) = held(ranks=tp, batch=4, tp=tp, schedule="zb-h1")
    assert rank.micro_batches_in_flight == 1
    pieces = Pieces(DENSE, *resolved(ranks=tp, batch=4, tp=tp), Recompute()).stages[0]
    assert pieces[1].for_weights == TOKENS * HIDDEN * (2 / tp + 2 / tp + 2 / tp + 8 / tp + 6 / tp + 2 + 8 / tp + 2)


def test_zb_v_holds_on_every_rank_what_the_first_of_one_f_one_b_holds() -> None:
    """8 stages of a layer on 4 ranks against 4 of two; where weights' parts wait, their operands are what is held."""
    plain, folded = held(ranks=4, pp=4, batch=32), held(ranks=4, pp=4, batch=32, schedule="zb-v")
    for rank in folded[1:]:
        assert FOR_WEIGHTS * 8 <= rank.activations <= plain[0].activations == 8 * LAYER
    assert {rank.micro_batches_in_flight for rank in folded} == {8}


@given(st.lists(st.floats(1, 10), min_size=2, max_size=2), st.lists(st.floats(0, 20), min_size=2, max_size=2))
def test_activations_are_all_given_back(saved: list[float], left: list[float]) -> None:
    """However a schedule splits its backwards, a step added to its end finds nothing held; and it never held less than one F."""
    for order in (zb_h1(2, 5), dualpipe(2, 6), one_f_one_b(2, 4)):
        for rank, slots in enumerate(order):
            stages = [StageActivations(kept, waiting) for kept, waiting in zip(saved, left, strict=True)]
            longer = Outline.of([*slots, (Work(WorkKind.F, rank, 99),)])
            levels = activation_levels(longer, lambda work, stages=stages: stages[work.stage])
            assert levels[-1] == pytest.approx(saved[rank])
            assert min(levels) >= -1e-9
