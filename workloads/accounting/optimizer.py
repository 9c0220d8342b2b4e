"""The optimizer's step on one rank: bytes of every parameter's state, and the matrix products of Muon.

AdamW reads gradient, master weight and both moments, and writes the last three and the weight itself: 28 bytes a parameter in
fp32 states, and the weight's own size. Muon keeps one moment, and orthogonalises each matrix by Newton-Schulz steps in bf16: with
the shorter side s and the longer l, a step takes two products s x l x s (FLOPs 2 s^2 l each) and one s x s x s (2 s^3):
FLOPs = steps x (4 s^2 l + 2 s^3). What is not a matrix, the embedding and the head stay with AdamW.

Casting weights to the training precision happens here, once a step: read in 16 bits, written in rows and in columns.

Source of Muon: https://kellerjordan.github.io/posts/muon/ (five steps); DeepSeek-V4's report runs ten, of two kinds.
Leaves out: clipping by the gradient's norm (one more read of the gradients, a few bytes of all-reduce).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.spec.errors import InputError
from workloads.accounting.layer import Matrix
from workloads.accounting.precision import element_bytes, is_quantised
from workloads.instructions import Kernel, Operator, Phase


@dataclass(frozen=True, slots=True)
class StateBytes:
    """Bytes a parameter of what the optimizer reads and keeps; moments are each that size."""

    gradient: float = 4.0
    master: float = 4.0
    moment: float = 4.0
    weight: float = 2.0


MOMENTS = {"adamw": 2, "muon": 1}


def optimizer_state_bytes(kind: str, states: StateBytes = StateBytes()) -> float:
    """Bytes a parameter that stay in memory for the optimizer: master weight and moments.

    >>> optimizer_state_bytes("adamw")
    12.0
    """
    return states.master + _moments(kind) * states.moment


def optimizer_operators(
    kind: str,
    dense_parameters: float,
    expert_parameters: float,
    matrices: Sequence[Matrix] = (),
    *,
    precision: str = "bf16",
    states: StateBytes = StateBytes(),
    newton_schulz_steps: int = 5,
) -> tuple[Operator, ...]:
    """What one rank runs to update the parameters it owns.

    ``dense_parameters`` and ``expert_parameters`` are those this rank updates (its part under ZeRO). ``matrices`` are the
    whole matrices that it orthogonalises (Muon), their counts may be fractions of one; parameters outside them take AdamW.
    """
    _moments(kind)
    operators: list[Operator] = []
    orthogonalised = 0.0
    if kind == "muon":
        orthogonalised = sum(matrix.rows * matrix.columns * matrix.count for matrix in matrices)
        if orthogonalised > (dense_parameters + expert_parameters) * (1 + 1e-9):
            raise InputError(
                "matrices of a rank cannot hold more elements than it updates",
                got=f"{orthogonalised:.6g}",
                do="Give each rank its share of the matrices.",
                path="matrices",
            )
        operators += [_newton_schulz(matrix, newton_schulz_steps) for matrix in matrices if matrix.count]
        operators.append(_update("muon", orthogonalised, 1, states))
    owned = dense_parameters + expert_parameters
    rest = owned - orthogonalised
    if rest > 0:
        operators.append(_update("adamw", rest, 2, states))
    if is_quantised(precision) and owned > 0:
        moved = owned * (states.weight + 2 * element_bytes(precision))
        operators.append(Operator("weight_cast", "optimizer", Kernel.MEMORY, Phase.OPTIMIZER, 0.0, moved))
    return tuple(operators)


def newton_schulz_flops(matrix: Matrix, steps: int = 5) -> float:
    """FLOPs to orthogonalise these matrices.

    >>> newton_schulz_flops(Matrix(rows=10, columns=20), steps=1)
    10000.0
    """
    short, long = sorted((matrix.rows, matrix.columns))
    return steps * matrix.count * (4.0 * short**2 * long + 2.0 * short**3)


def _newton_schulz(matrix: Matrix, steps: int) -> Operator:
    short, long = sorted((matrix.rows, matrix.columns))
    # A step reads and writes the matrix twice (X X' and B X) and the s x s products five times.
    moved = steps * matrix.count * 2.0 * (4 * short * long + 5 * short**2)
    return Operator(
        "newton_schulz",
        "optimizer",
        Kernel.GEMM,
        Phase.OPTIMIZER,
        newton_schulz_flops(matrix, steps),
        moved,
        m=short,
        n=long,
        k=short,
        groups=matrix.count,
        launches=3 * steps,
    )


def _update(name: str, parameters: float, moments: int, states: StateBytes) -> Operator:
    each = states.gradient + 2 * (states.master + moments * states.moment) + states.weight
    return Operator(name, "optimizer", Kernel.MEMORY, Phase.OPTIMIZER, 0.0, parameters * each)


def _moments(kind: str) -> int:
    if kind not in MOMENTS:
        raise InputError("must be adamw or muon", got=kind, do="Name one.", path="training.optimizer")
    return MOMENTS[kind]
