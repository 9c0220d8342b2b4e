"""How activations come and go while a work of the schedule runs, piece by piece.

A forward pass takes what each piece keeps as it comes to that piece; a whole backward pass makes a piece again, where it is
recomputed, and frees it; of a split one the part for inputs leaves what the part for weights needs. The highest level of a work
is what :func:`workloads.memory.activation_levels` counts for its slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.chain import Chain
from workloads.instructions import Operator, Work, WorkKind
from workloads.pieces import Piece

Floats = npt.NDArray[np.float64]
Seconds = Callable[[Operator], float]


@dataclass(frozen=True, slots=True)
class Span:
    """A work that ran from ``start`` to ``end`` [s]."""

    work: Work
    start: float
    end: float


def run_order(pieces: Sequence[Piece], kind: WorkKind) -> Sequence[Piece]:
    """The pieces of a stage in the order in which a work runs them."""
    return pieces if kind is WorkKind.F else tuple(reversed(pieces))


def changes(pieces: Sequence[Piece], kind: WorkKind) -> list[float]:
    """What a work holds more than before it: while each of its pieces runs, in order, and when it is over [B]."""
    levels, now = [], 0.0
    for piece in run_order(pieces, kind):
        match kind:
            case WorkKind.F:
                now += piece.saved
                levels.append(now)
            case WorkKind.B:
                levels.append(now + piece.made_again)
                now -= piece.saved
            case WorkKind.I:
                levels.append(now + piece.made_again)
                now += piece.for_weights - piece.saved
            case WorkKind.W:
                levels.append(now)
                now -= piece.for_weights
    return [*levels, now]


def shares(pieces: Sequence[Piece], kind: WorkKind, seconds: Seconds) -> Floats:
    """When each piece of a work begins, and the work ends, as shares of its time; ``seconds`` of an operator alone."""
    lengths = [_length(piece, kind, seconds) for piece in run_order(pieces, kind)]
    ends = np.cumsum(lengths)
    whole = float(ends[-1]) if len(ends) else 0.0
    if whole <= 0.0:
        return np.linspace(0.0, 1.0, len(lengths) + 1)
    return np.concatenate(([0.0], ends / whole))


def course(spans: Iterable[Span], held: Callable[[Work], tuple[Floats, Sequence[float]]]) -> tuple[Floats, Floats]:
    """Activations of a rank over its works: from each time [s] on, how many bytes.

    ``held`` gives a work's moments (shares of its time) and what it holds more from each of them on. What changes at one
    moment changes at once. Works side by side add up.
    """
    moments, steps = [np.zeros(1)], [np.zeros(1)]
    for span in spans:
        begin, levels = held(span.work)
        moments.append(span.start + begin * (span.end - span.start))
        steps.append(np.diff(levels, prepend=0.0))
    times, places = np.unique(np.concatenate(moments), return_inverse=True)
    return times, np.cumsum(np.bincount(places.ravel(), weights=np.concatenate(steps)))


def _length(piece: Piece, kind: WorkKind, seconds: Seconds) -> float:
    chain = Chain()
    if kind is WorkKind.F:
        piece.layer.forward(chain)
    else:
        piece.layer.backward(chain, inputs=kind is not WorkKind.W, weights=kind is not WorkKind.I)
    operators = (operator for step in chain.block(piece.name).instructions for operator in getattr(step, "operators", ()))
    return sum(seconds(operator) for operator in operators)
