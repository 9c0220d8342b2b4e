"""Where the nodes of a machine lie along sub-dimensions: made once for a machine, as all faulty versions of it share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.placement import SubDimension
from simulator.spec.errors import TopologyError
from topologies.adjacency import KEPT
from topologies.fabric import Fabric, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """``columns[p]`` are the coordinates of all nodes along sub-dimension p, -1 where a node has none [parts, nodes]."""

    columns: Ints
    nested: bool  # every combination of the devices' coordinates is a rank: each part begins where the one before ends


def grid_of(fabric: Fabric, parts: Sequence[SubDimension]) -> Grid:
    """The grid of a fabric, remembered for the last few. TopologyError if devices are not numbered along their dimensions."""
    key = (id(fabric.coordinates), fabric.ranks, tuple((part.dimension, part.stride, part.size, part.unit) for part in parts))
    known = _GRIDS.get(key)
    if known is None:
        found = _grid(fabric, parts)
        while len(_GRIDS) >= KEPT:
            del _GRIDS[next(iter(_GRIDS))]
        known = _GRIDS[key] = (fabric.coordinates, found)  # holds the array, so that its id stays its own
    return known[1]


_GRIDS: dict[tuple[object, ...], tuple[Ints, Grid]] = {}


def _grid(fabric: Fabric, parts: Sequence[SubDimension]) -> Grid:
    columns = np.empty((len(parts), len(fabric.coordinates)), dtype=np.int64)
    for row, part in zip(columns, parts, strict=True):
        coordinates = fabric.coordinates[:, part.dimension]
        row[:] = np.where(coordinates < 0, -1, coordinates // part.stride % part.size)
        if part.unit and not _counts_along(row[: fabric.ranks], part):
            raise TopologyError(
                f"{fabric.name}: devices must be numbered along their dimensions, innermost first",
                do=f"Give device r the coordinate r // {part.unit} % {part.size} along {part.name}.",
            )
    columns.setflags(write=False)
    return Grid(columns, _nested(parts, fabric.ranks))


def _counts_along(coordinates: Ints, part: SubDimension) -> bool:
    """Whether device r has the coordinate r // unit % size."""
    ranks = len(coordinates)
    if ranks % (part.unit * part.size):  # the last box is not full
        return np.array_equal(coordinates, np.arange(ranks, dtype=np.int64) // part.unit % part.size)
    boxes = coordinates.reshape(-1, part.size, part.unit)
    return bool((boxes == np.arange(part.size, dtype=np.int64)[:, None]).all())


def _nested(parts: Sequence[SubDimension], ranks: int) -> bool:
    unit = 1
    for part in parts:
        if part.unit and part.size > 1:
            if part.unit != unit:
                return False
            unit *= part.size
    return unit == ranks
