"""Waves of unequal experts: who runs what when, and that nothing is lost between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.attention_kinds import GroupedQueryAttention
from workloads.expert_load import loads
from workloads.expert_waves import cut_in_waves, wave_of
from workloads.groups import Groups
from workloads.instructions import Communication, Compute, Program, Start
from workloads.memory import MemoryBudget
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.plan import Overlap, Plan, Training, resolve
from workloads.program import build_program
from workloads.router import RouterLoad
from workloads.spare_experts import home_of, hosted

SPARSE = Model(
    name="sparse", layers=3, hidden=1024, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=8, head_dim=64),
    ffn=FeedForward(width=4096),
    moe=MixtureOfExperts(experts=16, top_k=4, width=512, shared_experts=1, first_dense=1),
)  # fmt: skip


def router(kind: str, **more: Any) -> RouterLoad:
    return RouterLoad.model_validate({"kind": kind, **more})


def program_of(asked: RouterLoad, waves: int, dispatcher: str = "alltoall") -> Program:
    training = Training(sequence_length=2048, global_batch=8, router=asked)
    plan = Plan.model_validate({"ep": 4, "dispatcher": dispatcher, "recompute": "none", "overlap": Overlap(ep_waves=waves)})
    resolved = resolve(plan, training, SPARSE, 8)
    return build_program(SPARSE, resolved, Groups.of(resolved), MemoryBudget(1e15))


def exchanges(program: Program, kind: str) -> list[list[Communication]]:
    """What every class of ranks exchanges of experts in one block."""
    blocks = [rank.blocks[0, 0, kind, ""] for rank in program.ranks]
    found = [[step.communication for step in block.instructions if isinstance(step, Start)] for block in blocks]
    return [[step for step in steps if step.kind == "ep"] for steps in found]


@st.composite
def placed(draw: st.DrawFn) -> tuple[Any, Any, Any, int]:
    """Shares of experts, homes, who holds what, and waves."""
    experts, ep = draw(st.integers(2, 16)), draw(st.integers(2, 6))
    weights = draw(st.lists(st.integers(0, 20), min_size=experts, max_size=experts).filter(any))
    shares, homes = np.array(weights) / sum(weights), home_of(experts, ep)
    held = hosted(shares, homes, ep, -(-experts // ep) + draw(st.integers(0, 3)))
    return shares, homes, held, draw(st.integers(2, 5))


@given(placed())
def test_every_expert_runs_in_one_wave_and_waves_are_as_equal_as_they_go(case: tuple[Any, Any, Any, int]) -> None:
    """Own experts first, in order; numbers of experts in two waves of a rank differ by one at most."""
    _, homes, held, waves = case
    numbers = wave_of(held, homes, waves)
    assert ((numbers >= 0) == (held > 0)).all() and numbers.max() < waves
    for position, row in enumerate(numbers):
        own = row[homes == position]
        assert (np.diff(own) >= 0).all()
        if own.size and (row[(homes != position) & (row >= 0)]).size:
            assert row[(homes != position) & (row >= 0)].min() >= own.max()
        counts = np.bincount(row[row >= 0], minlength=waves)
        assert counts.max() - counts.min() <= 1


@given(placed())
def test_waves_bring_together_what_the_whole_layer_brings(case: tuple[Any, Any, Any, int]) -> None:
    shares, homes, held, waves = case
    each = shares / held.sum(axis=0)
    found = cut_in_waves(held, homes, each, waves)
    if found:
        assert np.sum([wave.receive for wave in found], axis=0) == pytest.approx(held @ each, abs=1e-13)
        assert np.sum([wave.active for wave in found], axis=0) == pytest.approx(held @ (each > 0))
    else:  # all alike: every rank's experts are as many and as busy in any wave
        assert all(count % waves == 0 for count in (held @ (each > 0)).tolist())


def test_a_hot_expert_makes_its_wave_hot_by_hand() -> None:
    """Two ranks of two experts, the first with half of all tokens: 0.5 in its wave, 1/6 in the others'."""
    shares = np.array([0.5, 1 / 6, 1 / 6, 1 / 6])
    one, two = cut_in_waves(np.array([[1, 1, 0, 0], [0, 0, 1, 1.0]]), np.array([0, 0, 1, 1]), shares, 2)
    assert one.receive == pytest.approx((0.5, 1 / 6)) and two.receive == pytest.approx((1 / 6, 1 / 6))


@pytest.mark.parametrize("asked", [router("balanced"), router("hot-rank", factor=2.0)], ids=["balanced", "hot rank"])
def test_equal_experts_of_a_rank_make_no_unequal_waves(asked: RouterLoad) -> None:
    """Then each wave is an even part of the layer, as it always was."""
    assert all(not case.waves for case in loads(asked, SPARSE, 4, 1, 4, waves=2).cases)


def test_ranks_that_differ_in_a_wave_only_are_told_apart(tmp_path: Any) -> None:
    """The first expert of one rank is as hot as the last of another: equal in sum, unequal wave by wave."""
    tokens = np.ones((1, 1, 16))
    tokens[0, 0, 0] = tokens[0, 0, 15] = 3.0
    np.save(tmp_path / "tokens.npy", tokens)
    asked = router("table", file=str(tmp_path / "tokens.npy"))
    assert loads(asked, SPARSE, 4, 1, 1).classes == (0, 1, 1, 0)
    assert loads(asked, SPARSE, 4, 1, 1, waves=2).classes == (0, 1, 1, 2)


ASKED = {
    "hot expert": router("hot-expert", factor=3.0),
    "zipf with drops": router("zipf", exponent=0.8, capacity_factor=1.5),
    "copies of a hot rank": router("hot-rank", factor=2.0, redundant_experts=8),
    "places that stay empty": router("balanced", redundant_experts=8),
    "a wave nobody chooses": router("zero-load-rank", redundant_experts=4),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("kind", ["F", "B"])
def test_waves_of_unequal_experts_lose_nothing(name: str, kind: str) -> None:
    """FLOPs, bytes of memory, starts of kernels and exchanged bytes of every class of ranks are those of the layer in one."""
    whole, cut = program_of(ASKED[name], 1), program_of(ASKED[name], 3)
    groups = {rank.load_class: position for position, rank in reversed(list(enumerate(whole.ranks)))}
    positions = cut.load_classes

    def totals(program: Program, rank: int) -> list[float]:
        steps = program.ranks[rank].blocks[0, 0, kind, ""].instructions
        found = [op for step in steps if isinstance(step, Compute) for op in step.operators]
        return [sum(op.flops for op in found), sum(op.bytes_moved for op in found), sum(op.launches for op in found)]

    for position, label in enumerate(positions):
        before = groups[whole.load_classes[position]]
        assert totals(cut, label) == pytest.approx(totals(whole, before), rel=1e-12)

        def sent(program: Program, rank: int, at: int = position) -> float:
            def of(step: Communication) -> float:
                return step.payload * (step.skew.send[at] * sum(step.skew.receive) if step.skew else 1.0)

            return sum(of(step) for step in exchanges(program, kind)[rank])

        assert sent(cut, label) == pytest.approx(sent(whole, before), rel=1e-12)


def test_three_waves_of_four_experts_are_of_one_one_and_two() -> None:
    """A balanced router in a number of waves that does not divide the experts: payloads by the experts of each."""
    (steps,) = exchanges(program_of(router("balanced"), 3), "F")
    dispatch = [step for step in steps if step.name == "dispatch wave"][:3]
    assert [sum(step.skew.receive) for step in dispatch if step.skew] == pytest.approx([0.5, 0.25, 0.25])
