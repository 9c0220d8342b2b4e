"""What goes to the host: bytes by hand, and what stays on the chip."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.spec.errors import NotModelled, PlanError
from tests.workloads.test_memory import DENSE, HIDDEN, LAYER, TOKENS, held, resolved
from workloads.checkpoint_names import INPUTS, NAMES
from workloads.host_update import HostBytes
from workloads.instructions import HostLane, HostWork, RankProgram
from workloads.memory import MemoryBudget
from workloads.pieces import Pieces, Recompute
from workloads.program import build_program

INPUT = 2 * TOKENS * HIDDEN


def program(**settings: Any) -> tuple[RankProgram, ...]:
    plan, groups = resolved(DENSE, **settings)
    return build_program(DENSE, plan, groups, MemoryBudget(1e18)).ranks


def moved(rank: RankProgram, lane: HostLane) -> float:
    """Bytes of one lane over the step."""
    blocks = [(rank.prologue, 1), (rank.epilogue, 1), *rank.executed()]
    steps = [(step, count) for block, count in blocks for step in block.instructions if isinstance(step, HostWork)]
    # What a stage's last micro-batch does beside its plain block: gradients leave.
    last = [step for (*_, variant), block in rank.blocks.items() if variant == "last" for step in block.instructions]
    steps += [(step, 1) for step in last if isinstance(step, HostWork) and step.token.startswith("host gradients")]
    return sum(step.amount * count for step, count in steps if step.lane is lane)


def test_inputs_of_layers_leave_and_come_back_once_a_micro_batch() -> None:
    """Eight layers, four micro-batches; on the chip stays what is on its way and what is in use."""
    (rank,) = program(ranks=1, batch=4, recompute="full", offload=["decoder_layer_input"])
    (kept,) = program(ranks=1, batch=4, recompute="full")
    for lane in (HostLane.TO, HostLane.FROM):
        assert moved(rank, lane) == 4 * 8 * INPUT
    assert rank.memory.host == 8 * INPUT
    assert kept.memory.activations - rank.memory.activations == 8 * INPUT
    assert rank.memory.buffers - kept.memory.buffers == 2 * INPUT


def test_everything_of_the_first_layers_leaves_and_the_others_stay() -> None:
    (kept,) = held(ranks=1, batch=1)
    for offload in (["activations of 3 layers"], {"activations": ["activations"], "layers": 3}):
        (rank,) = held(ranks=1, batch=1, offload=offload)
        assert rank.host == pytest.approx(3 * LAYER)
        assert kept.activations - rank.activations == pytest.approx(3 * LAYER)


def test_in_a_pipeline_the_host_holds_what_is_in_flight() -> None:
    ranks = held(ranks=4, pp=4, batch=16, offload=["qkv_proj"])
    each = 2 * 3 * INPUT
    assert [rank.host for rank in ranks] == [each * (4 - r) for r in range(4)]


def test_every_name_of_both_frameworks_stands_for_a_tensor_that_some_layer_keeps() -> None:
    plan, groups = resolved(ranks=1, batch=1)
    sections = [s for piece in Pieces(DENSE, plan, groups, Recompute()).stages[0] for s in piece.layer.sections.values()]
    kept = {tensor.name for section in sections for tensor in section.saved}
    for name in ("decoder_layer_input", "query_proj", "key_proj", "value_proj", "qkv_proj", "context", "out_proj", "mlpwi_0"):
        assert kept & set(NAMES[name].tensors), name
    for name in ("attn_norm", "qkv_linear", "core_attn", "attn_proj", "mlp_norm"):
        assert kept & set(INPUTS[name]), name


@pytest.mark.parametrize(("fraction", "master"), [(1.0, False), (1.0, True), (0.25, True)])
def test_a_fraction_of_the_state_leaves_the_chip_for_the_host(fraction: float, master: bool) -> None:
    (kept,) = held(ranks=1, batch=1)
    (rank,) = held(ranks=1, batch=1, offload={"optimizer": fraction, "master": master})
    away = 12 if master else 8
    assert rank.host == pytest.approx(kept.optimizer * fraction * away / 12)
    assert rank.optimizer == pytest.approx(kept.optimizer - rank.host)
    assert rank.activations == kept.activations


@pytest.mark.parametrize("overlap", [True, False])
def test_gradients_go_down_and_parameters_come_up_once_a_step(overlap: bool) -> None:
    """ZeRO-1 over 4 ranks: a quarter of the parameters each; half of them to the host, 4 bytes down, 2 bytes up."""
    (rank,) = program(ranks=4, batch=8, offload={"optimizer": 0.5, "master": True, "overlap": overlap})
    owned = rank.memory.gradients / 4 / 4
    assert moved(rank, HostLane.TO) == pytest.approx(owned / 2 * 4)
    assert moved(rank, HostLane.FROM) == pytest.approx(owned / 2 * 2)
    assert moved(rank, HostLane.UPDATE) == pytest.approx(owned / 2 * (4 + 2 * 12 + 2))


def test_the_chip_updates_what_the_host_does_not() -> None:
    (all_here,), (half,) = program(ranks=1, batch=1), program(ranks=1, batch=1, offload={"optimizer": 0.5})

    def update(rank: RankProgram) -> float:
        return sum(op.bytes_moved for step in rank.epilogue.instructions for op in getattr(step, "operators", ()))

    assert update(half) == pytest.approx(update(all_here) / 2)


def test_with_master_weights_below_only_16_bits_come_up() -> None:
    up = [HostBytes.of(resolved(ranks=1, batch=1, offload={"optimizer": 1.0, "master": m})[0]).up for m in (True, False)]
    assert up == [2.0, 4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"offload": ["decoder_layer_inputs"]}, "Did you mean decoder_layer_input"),
        ({"offload": {"layers": 3}}, "Name offload.activations"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolved(ranks=1, batch=1, **arguments)


def test_updates_that_are_no_single_pass_are_not_given_to_the_host() -> None:
    with pytest.raises(NotModelled, match="muon"):
        resolved(ranks=1, batch=1, training={"optimizer": "muon"}, offload=["optimizer"])
