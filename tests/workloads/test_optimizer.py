"""The optimizer's bytes and Muon's matrix products."""

from __future__ import annotations

import pytest

from simulator.spec.errors import InputError
from workloads.accounting import Matrix, StateBytes, newton_schulz_flops, optimizer_operators, optimizer_state_bytes
from workloads.instructions import Kernel


def test_adamw_moves_thirty_bytes_a_parameter() -> None:
    """Gradient, master and two moments are read (16), the last three and a bf16 weight written (14)."""
    (update,) = optimizer_operators("adamw", 1e9, 2e9)
    assert update.bytes_moved == 3e9 * 30
    assert update.kernel is Kernel.MEMORY


def test_smaller_states_move_fewer_bytes() -> None:
    """bf16 moments save two bytes, read and written, each."""
    (update,) = optimizer_operators("adamw", 1e9, 0.0, states=StateBytes(moment=2.0))
    assert update.bytes_moved == 1e9 * 22
    assert optimizer_state_bytes("adamw", StateBytes(moment=2.0)) == 8
    assert optimizer_state_bytes("muon") == 8


def test_quantised_weights_are_cast_once_a_step() -> None:
    """fp8 training adds one pass over the weights."""
    names = [operator.name for operator in optimizer_operators("adamw", 1e6, 0.0, precision="mxfp8")]
    assert names == ["adamw", "weight_cast"]


def test_newton_schulz_by_hand() -> None:
    """Five steps on a square matrix of side s take 30 s^3, however it is turned."""
    assert newton_schulz_flops(Matrix(100, 100)) == 30 * 100**3
    assert newton_schulz_flops(Matrix(100, 300, 2.0)) == newton_schulz_flops(Matrix(300, 100, 2.0))


def test_muon_leaves_the_rest_to_adamw() -> None:
    """What is in no matrix takes AdamW; products carry all the FLOPs."""
    operators = optimizer_operators("muon", 1_000_000, 0.0, [Matrix(500, 1000)])
    assert [operator.name for operator in operators] == ["newton_schulz", "muon", "adamw"]
    assert operators[1].bytes_moved == 500_000 * 22
    assert operators[2].bytes_moved == 500_000 * 30
    assert sum(operator.flops for operator in operators) == newton_schulz_flops(Matrix(500, 1000))


def test_impossible_requests_are_refused() -> None:
    """An unknown optimizer, and more matrices than parameters."""
    with pytest.raises(InputError, match="must be adamw or muon"):
        optimizer_operators("sgd", 1.0, 1.0)
    with pytest.raises(InputError, match="cannot hold more elements"):
        optimizer_operators("muon", 10.0, 0.0, [Matrix(10, 10)])
