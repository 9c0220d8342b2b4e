"""Linear equations whose unknowns have bounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def bounded(left: Array, right: Array, low: Array, high: Array) -> Array:
    """``left`` x = ``right`` as far as bounds let: what passes one is held there, and the others answer to that."""
    x, free = np.zeros(len(right)), np.ones(len(right), dtype=bool)
    while free.any():
        x[free] = np.linalg.solve(left[np.ix_(free, free)], right[free] - left[np.ix_(free, ~free)] @ x[~free])
        past = free & ((x < low) | (x > high))
        x = np.clip(x, low, high)
        if not past.any():
            break
        free &= ~past
    return x
