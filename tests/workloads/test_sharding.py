"""ZeRO: what sharded state sends and holds, by its definition."""

from __future__ import annotations

import pytest

from tests.workloads.test_program import DENSE, SPARSE, built, parameters_of, sent, small
from workloads.groups import Groups
from workloads.instructions import Block, Start
from workloads.plan import Overlap, PlanDefaults


@pytest.mark.parametrize(
    "overlap", [Overlap(grad_reduce=True, param_gather=True), Overlap(grad_reduce=False, param_gather=False)]
)
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_zero_sends_the_bytes_of_its_definition_whatever_overlaps(overlap: Overlap, micro_batches: int) -> None:
    """0: sum 4 bytes a parameter; 1: cut 4, gather 2; 2: cut 4 every micro-batch; 3: also gather 2 twice every micro-batch."""
    size = parameters_of(DENSE)

    def bytes_of(zero: int) -> dict[str, float]:
        _, _, program = small(zero=zero, batch=8 * micro_batches, overlap=overlap)
        return {collective: total for (_, collective, _), total in sent(program.ranks[0]).items()}

    assert bytes_of(0) == pytest.approx({"all-reduce": 4 * size})
    assert bytes_of(1) == pytest.approx({"reduce-scatter": 4 * size, "all-gather": 2 * size})
    assert bytes_of(2) == pytest.approx({"reduce-scatter": 4 * size * micro_batches, "all-gather": 2 * size})
    assert bytes_of(3) == pytest.approx({"reduce-scatter": 4 * size * micro_batches, "all-gather": 2 * 2 * size * micro_batches})


@pytest.mark.parametrize("overlap", [Overlap(grad_reduce=True), Overlap(grad_reduce=False)])
def test_zero_2_over_stages_cuts_every_micro_batch_where_the_plan_says_so(overlap: Overlap) -> None:
    """Four micro-batches send each gradient four times; an eighth of them is held, and one layer's as they are made."""
    _, _, program = small(pp=2, ranks=16, batch=32, zero=2, cut_gradients="micro-batch", overlap=overlap)
    _, _, once = small(pp=2, ranks=16, batch=32, zero=1, overlap=overlap)
    for rank, plain in zip(program.ranks, once.ranks, strict=True):
        cut, whole = sent(rank), sent(plain)
        assert cut["dp", "reduce-scatter", "dp_cp"] == pytest.approx(4 * whole["dp", "reduce-scatter", "dp_cp"])
        assert cut["dp", "all-gather", "dp_cp"] == whole["dp", "all-gather", "dp_cp"]
        assert rank.memory.gradients == pytest.approx(plain.memory.gradients / 8)
        assert rank.memory.optimizer == plain.memory.optimizer


def test_zero_3_may_keep_gradients_whole_until_the_step_ends() -> None:
    """FSDP without synchronisation between micro-batches: gathered twice a micro-batch, reduced once."""
    size = parameters_of(DENSE)
    _, _, program = small(zero=3, batch=8 * 3, cut_gradients="step")
    assert {collective: total for (_, collective, _), total in sent(program.ranks[0]).items()} == pytest.approx(
        {"reduce-scatter": 4 * size, "all-gather": 2 * 2 * size * 3}
    )
    assert program.ranks[0].memory.gradients == pytest.approx(4 * size)


def test_zero_2_over_stages_cuts_gradients_once_a_step() -> None:
    """Cutting after every micro-batch would send them again for every one."""
    _, _, program = small(pp=2, ranks=4, batch=16, zero=2)
    _, _, once = small(pp=2, ranks=4, batch=16, zero=1)
    assert [sent(rank) for rank in program.ranks] == [sent(rank) for rank in once.ranks]


def test_a_zero_group_cuts_inside_and_sums_the_parts_over_its_replicas() -> None:
    """Groups of 2 of 8 ranks: reduce-scatter and gather over 2, all-reduce of the half over 4."""
    _, _, program = small(zero=1, zero_group=2)
    size = parameters_of(DENSE)
    assert sent(program.ranks[0]) == pytest.approx(
        {
            ("dp", "reduce-scatter", "zero"): 4 * size,
            ("dp", "all-reduce", "zero_replica"): 4 * size / 2,
            ("dp", "all-gather", "zero"): 2 * size,
        }
    )


def test_a_zero_group_keeps_as_many_copies_of_experts_as_of_all_else() -> None:
    """Groups of 8 of 16 ranks, ep 4: two copies; the 4 ranks with the same experts cut them over 2, and sum over both copies."""
    _, plan, program = small(SPARSE, ranks=16, batch=16, ep=4, zero=1, zero_group=8)
    found = sent(program.ranks[0])
    experts = 3 * 16 * 3 * 1024 * 512 / 4
    dense = parameters_of(SPARSE) - experts * 4
    assert found["dp", "reduce-scatter", "zero"] == pytest.approx(4 * dense)
    assert found["dp", "reduce-scatter", "expert_zero"] == pytest.approx(4 * experts)
    assert found["dp", "all-reduce", "zero_replica"] == pytest.approx(4 * (dense / 8 + experts / 2))
    assert found["dp", "all-gather", "expert_zero"] == pytest.approx(2 * experts)
    assert program.ranks[0].memory.optimizer == pytest.approx((dense / 8 + experts / 2) * 12)
    assert Groups.of(plan).members("expert_zero", 5).tolist() == [1, 5]


@pytest.mark.parametrize("zero", [1, 3])
@pytest.mark.parametrize(("early", "replicas"), [(True, "layer by layer"), (True, "at the end"), (False, "layer by layer")])
def test_copies_of_a_sharded_group_are_summed_behind_the_last_backward(zero: int, early: bool, replicas: str) -> None:
    """Layer by layer in the last backward blocks where gradients leave early, also if each micro-batch cuts them."""
    defaults = PlanDefaults.model_validate({"replicas": replicas})
    plan = {"zero": zero, "zero_group": 2, "recompute": "none", "overlap": Overlap(grad_reduce=early)}
    _, _, program = built(DENSE, 8, {"sequence_length": 2048, "global_batch": 32}, plan, defaults=defaults)
    rank = program.ranks[0]
    lasts = [block for (_, _, kind, variant), block in rank.blocks.items() if kind == "B" and variant == "last"]

    def summed(block: Block) -> float:
        starts = [step.communication for step in block.instructions if isinstance(step, Start)]
        return sum(made.payload for made in starts if made.group == "zero_replica")

    whole = 4 * parameters_of(DENSE) / 2
    behind = early and replicas == "layer by layer"
    assert sum(map(summed, lasts)) == pytest.approx(whole if behind else 0.0)
    assert summed(rank.epilogue) == pytest.approx(0.0 if behind else whole)
