"""What the shape of a matrix product costs: laws, and a loop over tiles by hand."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.tiles import TILE_COLUMNS, TILE_ROWS, TileCosts, shape_loss

SIZES = st.integers(1, 20000)
COSTS = st.builds(
    TileCosts,
    cores=st.integers(1, 320).map(float),
    tail=st.floats(0, 1),
    small_tile=st.floats(0, 80),
    depth=st.floats(0, 600),
)


def by_hand(m: int, n: int, k: int, groups: int, costs: TileCosts) -> float:
    """Every tile shape tried in a plain loop."""
    found = []
    for rows, columns in zip(TILE_ROWS.tolist(), TILE_COLUMNS.tolist(), strict=True):
        tiles = groups * ceil(m / rows) * ceil(n / columns)
        full, part = divmod(tiles, costs.cores)
        share = part / costs.cores
        waves = full + (share + costs.tail * (1 - share) if part else 0)
        edge = (1 + costs.small_tile * (1 / rows + 1 / columns)) / (1 + costs.small_tile * (1 / 128 + 1 / 256))
        found.append(waves * costs.cores * rows * columns * edge)
    return min(found) / (groups * m * n) * (k + costs.depth) / k


@given(m=SIZES, n=SIZES, k=SIZES, groups=st.integers(1, 64), costs=COSTS)
def test_it_is_what_a_loop_over_tiles_finds(m: int, n: int, k: int, groups: int, costs: TileCosts) -> None:
    assert float(shape_loss(m, n, k, groups, costs)) == pytest.approx(by_hand(m, n, k, groups, costs), rel=1e-9)


@given(m=SIZES, n=SIZES, k=SIZES, groups=st.integers(1, 64), costs=COSTS, ragged=st.booleans())
def test_no_shape_gains(m: int, n: int, k: int, groups: int, costs: TileCosts, ragged: bool) -> None:
    """A product never beats the one that wastes nothing."""
    assert float(shape_loss(m, n, k, groups, costs, ragged=ragged)) >= 1 - 1e-12


@given(m=SIZES, n=SIZES, k=SIZES, costs=COSTS)
def test_more_work_never_takes_less_time(m: int, n: int, k: int, costs: TileCosts) -> None:
    """Loss x m x n x k grows with each of the three."""

    def time(m: int, n: int, k: int) -> float:
        return float(shape_loss(m, n, k, 1, costs)) * m * n * k

    longest = max(time(m, n, k), 1e-30)
    assert time(m + 128, n, k) >= longest * (1 - 1e-9)
    assert time(m, n + 256, k) >= longest * (1 - 1e-9)
    assert time(m, n, k + 64) >= longest * (1 - 1e-9)


@given(m=SIZES, n=SIZES, groups=st.integers(1, 64), costs=COSTS)
def test_uneven_groups_cost_no_less_than_full_tiles(m: int, n: int, groups: int, costs: TileCosts) -> None:
    """Where rows fill their tiles exactly, uneven groups can only be worse."""
    rows = 256 * m
    even = float(shape_loss(rows, n, 64, groups, costs))
    assert float(shape_loss(rows, n, 64, groups, costs, ragged=True)) >= even * (1 - 1e-9)


def test_a_grid_of_whole_tiles_pays_for_a_whole_wave() -> None:
    """200 tiles on 132 cores take two waves if the tail is lost, and 200/132 of one if it is not."""
    lost, filled = (TileCosts(132, tail, small_tile=1e6, depth=0) for tail in (1.0, 0.0))
    assert float(shape_loss(128, 256 * 200, 4096, 1, lost)) == pytest.approx(2 * 132 / 200)
    assert float(shape_loss(128, 256 * 200, 4096, 1, filled)) == pytest.approx(1.0)


def test_arrays_of_shapes_are_their_shapes_one_by_one() -> None:
    """So that many constants can be tried on many operators at once."""
    costs = TileCosts(148, 0.3, 30, 90)
    shapes = np.array([[1, 4096, 4096, 1], [300, 700, 128, 8], [16384, 6144, 4096, 1]], dtype=float)
    together = shape_loss(*shapes.T, costs)
    assert together == pytest.approx([float(shape_loss(*shape, costs)) for shape in shapes])
