"""Redundant experts: who holds which copy, what it takes off the busiest rank, what it costs in memory and on the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import PlanError
from simulator.spec.files import make
from workloads.attention_kinds import GroupedQueryAttention
from workloads.expert_load import loads
from workloads.groups import Groups
from workloads.instructions import Communication, Program, Start
from workloads.memory import MemoryBudget
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.plan import Plan, Training, resolve
from workloads.program import build_program
from workloads.router import RouterLoad
from workloads.spare_experts import counts, home_of, hosted

SPARSE = Model(
    name="sparse", layers=4, hidden=1024, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=8, head_dim=64),
    ffn=FeedForward(width=4096),
    moe=MixtureOfExperts(experts=16, top_k=4, width=512, shared_experts=1, first_dense=1),
)  # fmt: skip
EXPERT = 3 * 1024 * 512
"""Parameters of one expert."""


def router(kind: str = "hot-rank", **more: Any) -> RouterLoad:
    return RouterLoad.model_validate({"kind": kind, **more})


def program_of(redundant: int | None, ep: int = 4, ranks: int = 8, factor: float = 2.0, **plan: Any) -> Program:
    asked = router(factor=factor, redundant_experts=redundant)
    training = Training(sequence_length=2048, global_batch=16, router=asked)
    resolved = resolve(Plan(**{"ep": ep, "recompute": "none"} | plan), training, SPARSE, ranks)
    return build_program(SPARSE, resolved, Groups.of(resolved), MemoryBudget(1e15))


def epilogue(program: Program) -> dict[str, Communication]:
    steps = program.ranks[0].epilogue.instructions
    return {step.communication.name: step.communication for step in steps if isinstance(step, Start)}


@st.composite
def groups(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:  # type: ignore[type-arg]
    """Shares of experts, ranks of a group, and places of each."""
    experts, ep = draw(st.integers(2, 16)), draw(st.integers(2, 6))
    weights = draw(st.lists(st.integers(0, 20), min_size=experts, max_size=experts).filter(any))
    return np.array(weights) / sum(weights), ep, -(-experts // ep) + draw(st.integers(0, 3))


@given(groups())
def test_copies_take_load_off_the_busiest_rank_and_lose_none(case: tuple[Any, int, int]) -> None:
    """Every expert at home once and nowhere twice, no more than there are places, all tokens served, none busier than one was."""
    shares, ep, places = case
    homes = home_of(len(shares), ep)
    held = hosted(shares, homes, ep, places)
    assert (held[homes, np.arange(len(shares))] == 1.0).all() and set(np.unique(held)) <= {0.0, 1.0}
    assert held.sum(axis=1).max() <= places
    load = held @ (shares / held.sum(axis=0))
    assert load.sum() == pytest.approx(1.0)
    assert load.max() <= np.bincount(homes, weights=shares, minlength=ep).max() * (1 + 1e-9)
    out, into = counts(held, homes)
    assert out.sum() == into.sum() == held.sum() - len(shares)


def test_a_hot_expert_is_spread_over_ranks_by_hand() -> None:
    """Four ranks of one expert, the first with 0.7: all four share it in the end, and the first takes half of the second's."""
    shares = np.array([0.7, 0.1, 0.1, 0.1])
    held = hosted(shares, np.arange(4), 4, 2)
    assert held[:, 0].tolist() == [1.0] * 4
    assert held @ (shares / held.sum(axis=0)) == pytest.approx([0.175 + 0.05, 0.175 + 0.05, 0.275, 0.275])


def test_a_balanced_router_leaves_all_places_empty() -> None:
    found = loads(router("balanced", redundant_experts=8), SPARSE, 4, 1, 4)
    assert found.spares is not None and found.spares.copies == 0.0 and found.spares.skew() is None
    assert len(found.positions) == 1 and found.cases[0].factor == 1.0


@pytest.mark.parametrize("redundant", [8, 16, 24])
def test_more_places_bring_a_hot_rank_nearer_the_mean(redundant: int) -> None:
    """One rank of four with twice the mean: its four experts in 2, 4 or 6 places on the others."""
    before = loads(router(factor=2.0), SPARSE, 4, 1, 4).cases[0]
    after = loads(router(factor=2.0, redundant_experts=redundant), SPARSE, 4, 1, 4).cases[0]
    assert before.factor == pytest.approx(2.0) and 1.0 <= after.factor < 1.4
    assert after.served == pytest.approx(before.served)


def test_copies_are_dealt_out_once_for_a_load_that_changes() -> None:
    """A hot rank that rotates is hot everywhere on average: nothing is copied. A burst on one rank is."""
    assert loads(router("rotating", factor=2.0, redundant_experts=8), SPARSE, 4, 1, 8).spares.copies == 0.0  # type: ignore[union-attr]
    burst = loads(router("burst", factor=2.0, every=2, redundant_experts=8), SPARSE, 4, 1, 8)
    assert burst.spares is not None and burst.spares.copies > 0
    assert burst.cases[1].factor < 2.0  # of a burst; between bursts the copies stay where they are


def test_a_table_of_layers_has_copies_of_each_layer(tmp_path: Path) -> None:
    """Another hot expert in every sparse layer: copies are of that one, and the exchange is sized by their mean."""
    tokens = np.ones((3, 1, 16))
    for layer in range(3):
        tokens[layer, 0, 4 * layer] = 4.0
    np.save(tmp_path / "tokens.npy", tokens)
    found = loads(router("table", file=str(tmp_path / "tokens.npy"), redundant_experts=4), SPARSE, 4, 1, 4)
    plain = loads(router("table", file=str(tmp_path / "tokens.npy")), SPARSE, 4, 1, 4)
    assert found.spares is not None
    assert max(found.at(1, 0).factor, found.at(2, 0).factor) < plain.at(1, 0).factor
    assert sum(found.spares.into) == pytest.approx(found.spares.copies) and found.spares.into[3] == 0.0


def test_what_travels_home_is_what_the_copies_hold() -> None:
    """From each rank its copies' gradients, to each home those of its experts, a rank's share after ZeRO; and weights back."""
    program = program_of(8)
    sent = epilogue(program)
    home, back = sent["spare expert gradients"], sent["spare expert weights"]
    asked = loads(router(factor=2.0, redundant_experts=8), SPARSE, 4, 1, 4)
    assert asked.spares is not None and home.skew is not None
    # Three sparse layers, fp32 gradients over the two ranks that hold the same experts.
    assert home.payload == pytest.approx(3 * EXPERT * 4.0 / 2) and back.payload == pytest.approx(3 * EXPERT * 2.0 / 2)
    pairs = np.outer(home.skew.send, home.skew.receive)
    np.fill_diagonal(pairs, 0.0)
    for found, held in ((pairs.sum(axis=1), asked.spares.out), (pairs.sum(axis=0), asked.spares.into)):
        assert found == pytest.approx(held, rel=1e-3) and (found >= np.array(held) * (1 - 1e-9)).all()
    assert (home.collective, back.collective, home.group, home.kind) == ("dispatch", "combine", "ep", "dp")
    assert "spare expert gradients" not in epilogue(program_of(None))


def test_places_are_paid_for_in_memory_and_copies_are_updated_at_home() -> None:
    """Half as many places again: half as many weights and gradients of experts again, and no more optimizer state."""
    plain, spare = program_of(None).ranks[0].memory, program_of(8).ranks[0].memory
    more = 3 * (16 // 4) * EXPERT / 2
    assert spare.weights - plain.weights == pytest.approx(2.0 * more)
    assert spare.gradients - plain.gradients == pytest.approx(4.0 * more)
    assert spare.optimizer == pytest.approx(plain.optimizer)


def test_ep_need_not_divide_the_experts_where_places_make_up_the_difference() -> None:
    """16 experts on 6 ranks: 18 places, three each, of which two ranks have one to spare."""
    found = loads(router("balanced", redundant_experts=2), SPARSE, 6, 1, 4)
    assert found.spares is not None and found.spares.places == 3
    assert found.cases[0].factor <= 3 / 16 * 6 + 1e-9 and found.cases[0].served == pytest.approx(1.0)
    with pytest.raises(PlanError, match="ep must divide the 16 experts"):
        resolve(Plan(ep=6), Training(sequence_length=2048, global_batch=12), SPARSE, 12)
    resolve(
        Plan(ep=6), Training(sequence_length=2048, global_batch=12, router=router("balanced", redundant_experts=2)), SPARSE, 12
    )


def test_a_step_with_copies_is_faster_and_says_how_many_there_are() -> None:
    def step(redundant: int | None) -> Result:
        asked = {
            "cluster": {"system": "h800-8", "chips": 16},
            "model": {"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0},
            "training": {
                "sequence_length": 4096, "global_batch": 128,
                "router": {"kind": "hot-rank", "factor": 3.0, "redundant_experts": redundant},
            },
            "plan": {"ep": 16},
        }  # fmt: skip
        return simulate(make(asked, Scenario))

    plain, spare = step(None), step(32)
    assert plain.router is not None and spare.router is not None
    assert plain.router.expert_copies == 0.0 < spare.router.expert_copies <= 32
    assert spare.router.rank_factor < 1.5 < plain.router.rank_factor
    assert spare.step_time_s < plain.step_time_s
    assert spare.breakdown_s.straggler_wait < plain.breakdown_s.straggler_wait / 2
    assert spare.network.sent_bytes["dp"] > plain.network.sent_bytes["dp"]


@pytest.mark.parametrize(
    ("redundant", "ep", "message"),
    [
        (3, 4, "training.router.redundant_experts: ep = 4 must divide the 16 experts and the places for copies together (got 3)."
               " Use 4."),
        (8, 1, "training.router.redundant_experts: copies of experts lie on other ranks, and ep = 1 has none (got 8). Leave it"
               " out."),
        (64, 4, "training.router.redundant_experts: 16 experts have at most 48 copies on the other ranks (got 64). Lower it."),
    ],
)  # fmt: skip
def test_places_that_cannot_be_are_refused(redundant: int, ep: int, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        program_of(redundant, ep)
    assert str(refused.value) == message


def test_copies_run_in_waves_and_a_wave_holds_a_place_at_least() -> None:
    """Places, not experts, are what waves are of: six where each rank has four experts and two spare."""
    waves = program_of(8, overlap={"ep": True, "ep_waves": 6})
    sent = [step.communication for step in waves.ranks[0].blocks[0, 0, "F", ""].instructions if isinstance(step, Start)]
    assert sum(step.name == "dispatch wave" for step in sent) == 6 * 3
    with pytest.raises(PlanError, match="a wave holds at least one of the 6 places of a rank"):
        program_of(8, overlap={"ep": True, "ep_waves": 7})
