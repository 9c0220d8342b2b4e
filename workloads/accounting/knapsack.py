"""Whole matrices dealt out to ranks, as Muon needs them: orthogonalising takes a matrix in one piece.

The largest remaining matrix goes to the rank that holds the fewest elements so far. What the busiest rank holds beyond the
average is padding: every rank's share of the state is as large as the largest one. With fewer matrices than ranks the busiest
rank has one matrix, and the others wait for it (or compute the same).

Source: DeepSeek-V4 technical report, arXiv 2606.19348 (whole matrices assigned by a knapsack, padding below 10%).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from functools import lru_cache

from workloads.accounting.layer import Matrix

Shape = tuple[float, float, bool]  # rows, columns, experts


def deal(matrices: Sequence[Matrix], ranks: int) -> list[Matrix]:
    """What the busiest of ``ranks`` ranks holds, matrices of one shape together.

    >>> [matrix.count for matrix in deal([Matrix(4, 4, 5)], ranks=2)]
    [3.0]
    """
    shapes: dict[Shape, float] = {}
    for matrix in matrices:
        shape = (matrix.rows, matrix.columns, matrix.experts)
        shapes[shape] = shapes.get(shape, 0.0) + matrix.count
    hand = _busiest(tuple(sorted(shapes.items())), ranks)
    return [Matrix(rows, columns, float(count), experts) for (rows, columns, experts), count in hand]


@lru_cache(maxsize=256)
def _busiest(shapes: tuple[tuple[Shape, float], ...], ranks: int) -> tuple[tuple[Shape, int], ...]:
    """Stages of one kind hold the same matrices, so most of what is asked was asked before."""
    loads = [(0.0, rank) for rank in range(ranks)]
    hands: dict[int, dict[Shape, int]] = {}
    for shape, count in sorted(shapes, key=lambda item: -item[0][0] * item[0][1]):
        for _ in range(round(count)):
            load, rank = loads[0]
            hand = hands.setdefault(rank, {})
            hand[shape] = hand.get(shape, 0) + 1
            heapq.heapreplace(loads, (load + shape[0] * shape[1], rank))
    return tuple(hands.get(max(loads)[1], {}).items())


def elements(matrices: Iterable[Matrix], experts: bool) -> float:
    """Elements of the matrices that belong to experts, or of the others."""
    return sum(matrix.rows * matrix.columns * matrix.count for matrix in matrices if matrix.experts is experts)


def padding(matrices: Sequence[Matrix], ranks: int) -> float:
    """What the busiest rank holds over the average, less one.

    >>> padding([Matrix(4, 4, 5)], ranks=2)
    0.19999999999999996
    """
    held = sum(matrix.rows * matrix.columns * matrix.count for matrix in matrices)
    busiest = sum(matrix.rows * matrix.columns * matrix.count for matrix in deal(matrices, ranks))
    return busiest * ranks / held - 1 if held else 0.0
