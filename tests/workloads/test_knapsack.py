"""Whole matrices dealt out to ranks: never less than an even share, never more than one matrix above it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workloads
from workloads.accounting import layer_matrices
from workloads.accounting.knapsack import deal, elements, padding
from workloads.accounting.layer import Matrix

MATRICES = st.lists(
    st.builds(Matrix, st.integers(1, 64).map(float), st.integers(1, 64).map(float), st.integers(1, 6).map(float)),
    min_size=1,
    max_size=8,
)


def _size(matrices: list[Matrix]) -> float:
    return elements(matrices, experts=False)


@given(MATRICES, st.integers(1, 12))
def test_the_busiest_rank_is_between_the_average_and_one_matrix_more(matrices: list[Matrix], ranks: int) -> None:
    """At least an even share, at least the largest matrix; at most an even share and the largest matrix."""
    busiest, even = _size(deal(matrices, ranks)), _size(matrices) / ranks
    largest = max(matrix.rows * matrix.columns for matrix in matrices)
    assert busiest >= max(even, largest) - 1e-9
    assert busiest <= even + largest + 1e-9


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_it_is_within_a_third_of_the_best_there_is(sizes: list[int], ranks: int) -> None:
    """Largest first is at most 4/3 - 1/(3 ranks) of the optimum (Graham 1969), found here by trying every assignment."""
    best = min(
        max(sum(size for size, rank in zip(sizes, chosen, strict=True) if rank == own) for own in range(ranks))
        for chosen in itertools.product(range(ranks), repeat=len(sizes))
    )
    busiest = _size(deal([Matrix(float(size), 1.0) for size in sizes], ranks))
    assert best <= busiest <= best * (4 / 3 - 1 / (3 * ranks)) + 1e-9


def test_one_rank_holds_everything() -> None:
    """Nothing is dealt out."""
    matrices = [Matrix(8.0, 4.0, 3.0), Matrix(2.0, 2.0)]
    assert _size(deal(matrices, 1)) == _size(matrices) == 100


def test_the_experts_of_v4_pro_need_less_than_ten_percent_of_padding() -> None:
    """Its report: below 10%; 6 experts of 8 layers (two stages of a rank) over 8 ranks that hold the same."""
    model = workloads.load("deepseek-v4-pro")
    experts = [matrix for matrix in layer_matrices(model, model.layer(10)) if matrix.experts]
    held = [Matrix(m.rows, m.columns, 8 * m.count / 64, m.experts) for m in experts]
    assert 0 <= padding(held, 8) < 0.10


def test_more_ranks_than_matrices_leave_one_matrix_on_the_busiest() -> None:
    """Cutting finer than whole matrices saves nothing."""
    matrices = [Matrix(8.0, 4.0), Matrix(4.0, 4.0)]
    assert _size(deal(matrices, 2)) == _size(deal(matrices, 100)) == 32
    with pytest.raises(IndexError):
        deal(matrices, 0)
