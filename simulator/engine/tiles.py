"""What the shape of a matrix product costs: tiles that stick out, waves that are not full, short sums.

A kernel cuts the m x n output into tiles, one a core at a time; a wave is one tile on every core. With T tiles on C cores

    waves = T / C + tail x (ceil(T / C) - T / C)
    loss  = waves x C x rows x columns x edge(rows, columns) / (groups x m x n) x (k + depth) / k

against a product in which nothing is wasted, and the kernel takes the tile shape of least loss. ``tail`` is the share of a
partial wave that is lost: 1 for one grid of whole tiles, near 0 where a library splits sums to fill it. A small tile loads
more operands for each product: edge = (1 + small_tile x (1 / rows + 1 / columns)), over that of the largest tile. ``depth``
stands for what a tile pays before its first and after its last product, in elements of k.

All functions take numbers or arrays of shapes and are pure, so that other constants can be tried at once.

Leaves out: tiles beyond 128 x 256 and pairs of cores that share operands; the order of tiles and what the cache keeps of it;
sums cut in parts when k is long and the output small, other than through ``tail``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TILE_ROWS = np.array([64.0, 64.0, 128.0, 128.0, 128.0, 256.0])
TILE_COLUMNS = np.array([64.0, 128.0, 64.0, 128.0, 256.0, 128.0])
"""Output tiles that the libraries of all vendors ship [rows, columns]."""


@dataclass(frozen=True, slots=True)
class TileCosts:
    """Constants of a library's matrix kernels on a chip: cores of one rank, and the three losses of the module's text."""

    cores: float
    tail: float  # share of a partial wave that is lost, 0 to 1
    small_tile: float  # [elements]
    depth: float  # [elements of k]


def shape_loss(
    m: ArrayLike, n: ArrayLike, k: ArrayLike, groups: ArrayLike, costs: TileCosts, *, ragged: bool = False
) -> NDArray[np.float64]:
    """Time over that of a product that wastes nothing, at least 1; for arrays of shapes, one each.

    ``groups`` products of m x n x k run as one kernel. ``ragged``: m is a mean over groups of different sizes, so
    that each sticks half a tile out on average; else every group has exactly m rows.

    >>> float(shape_loss(2048, 2048, 4096, 1, TileCosts(cores=128, tail=1, small_tile=0, depth=0)))
    1.0
    >>> float(shape_loss(128, 128, 4096, 1, TileCosts(cores=128, tail=1, small_tile=0, depth=0)))
    32.0
    """
    rows, columns, depth, products = (np.asarray(value, dtype=np.float64) for value in (m, n, k, groups))
    down = rows[..., None] / TILE_ROWS
    down = np.maximum(down + 0.5, 1.0) if ragged else np.ceil(down)
    waves = products[..., None] * down * np.ceil(columns[..., None] / TILE_COLUMNS) / costs.cores
    waves = waves + costs.tail * (np.ceil(waves) - waves)
    edge = 1.0 + costs.small_tile * (1.0 / TILE_ROWS + 1.0 / TILE_COLUMNS)
    work = waves * costs.cores * TILE_ROWS * TILE_COLUMNS * edge / edge.min()
    least = work.min(axis=-1) / (products * rows * columns)
    return np.asarray(least * (depth + costs.depth) / depth)
