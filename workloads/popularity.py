"""Which share of a layer's token copies each expert is sent: one plain function a kind of imbalance.

A share is of the copies of one expert-parallel group in one micro-batch; the shares of all experts sum to 1. A token chooses
``top_k`` different experts, so no expert's share exceeds 1 / top_k: the expert that every token chooses has that.
``homes`` [experts] is the rank (position in its group) that holds an expert.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simulator.spec.errors import PlanError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDING = 1e-12


def even(experts: int) -> Floats:
    """Every expert as often as any other."""
    return np.full(experts, 1.0 / experts)


def zipf(experts: int, top_k: int, exponent: float) -> Floats:
    """Expert r (from 1) in proportion to r ** -exponent, as far as no token chooses one twice.

    What an expert would get beyond one copy of every token goes to the others in proportion.

    >>> zipf(4, 1, 1.0).round(2).tolist(), zipf(4, 2, 2.0).round(3).tolist()
    ([0.48, 0.24, 0.16, 0.12], [0.5, 0.295, 0.131, 0.074])
    """
    weights = np.arange(1, experts + 1, dtype=np.float64) ** -exponent
    return capped(weights / weights.sum(), 1.0 / top_k)


def capped(shares: Floats, most: float) -> Floats:
    """No share above ``most``; the excess goes to the others in proportion to theirs, round after round."""
    found = shares.copy()
    full = np.zeros(len(found), dtype=bool)
    while bool(np.any(found > most * (1.0 + ROUNDING))):
        full |= found >= most
        rest = found[~full]
        if not rest.sum() > 0.0:  # nobody else was chosen at all: what is left over goes to them evenly
            found[~full] = (1.0 - most * np.count_nonzero(full)) / max(len(rest), 1)
        else:
            found[~full] = rest * ((1.0 - most * np.count_nonzero(full)) / rest.sum())
        found[full] = most
    return found


def hot_expert(experts: int, top_k: int, factor: float) -> Floats:
    """The first expert gets ``factor`` times the mean, the others share the rest.

    >>> hot_expert(4, 2, 2.0).tolist()
    [0.5, 0.16666666666666666, 0.16666666666666666, 0.16666666666666666]
    """
    limit = experts / top_k
    if factor > limit:
        raise PlanError(
            f"a hot expert gets at most one copy of every token, {limit:g} times the mean of {experts} experts at top_k {top_k}",
            got=factor, do=f"Lower factor to {limit:g}.", path="training.router.factor",
        )  # fmt: skip
    found = np.full(experts, (1.0 - factor / experts) / (experts - 1))
    found[0] = factor / experts
    return found


def hot_ranks(homes: Ints, hot: Sequence[int], top_k: int, factor: float) -> Floats:
    """The experts of each rank in ``hot`` get ``factor`` times the mean, those of the other ranks share the rest.

    >>> hot_ranks(np.array([0, 0, 1, 1, 2, 2, 3, 3]), [0], 2, 2.0).tolist()
    [0.25, 0.25, 0.08333333333333333, 0.08333333333333333, 0.08333333333333333, 0.08333333333333333, 0.08333333333333333, \
0.08333333333333333]
    """
    experts = len(homes)
    chosen = np.isin(homes, list(hot))
    count = int(np.count_nonzero(chosen))
    limit = min(experts / top_k, experts / count)
    if factor > limit * (1.0 + ROUNDING):
        raise PlanError(
            f"{len(hot)} hot of {int(homes.max()) + 1} ranks get at most {limit:g} times the mean each: there are no more"
            f" tokens, and each chooses {top_k} different experts",
            got=factor, do=f"Lower factor to {limit:g}.", path="training.router.factor",
        )  # fmt: skip
    left = max(1.0 - factor * count / experts, 0.0)
    cold = experts - count
    if cold == 0:
        return even(experts)
    return np.where(chosen, factor / experts, left / cold)


def without(homes: Ints, idle: Sequence[int], top_k: int) -> Floats:
    """The experts of the ranks in ``idle`` get nothing, all others the same."""
    busy = ~np.isin(homes, list(idle))
    count = int(np.count_nonzero(busy))
    if count < top_k:
        raise PlanError(
            f"{len(idle)} ranks without load leave {count} experts, and a token chooses {top_k}",
            got=len(idle), do="Lower ranks.", path="training.router.ranks",
        )  # fmt: skip
    return np.where(busy, 1.0 / count, 0.0)


def kept(shares: Floats, capacity: Floats) -> Floats:
    """What experts of a capacity take of what they are sent; the rest is dropped."""
    return np.minimum(shares, capacity)


def spaced(size: int, count: int) -> list[int]:
    """``count`` of ``size`` positions, as far apart as they go.

    >>> spaced(64, 4)
    [0, 16, 32, 48]
    """
    return [index * size // count for index in range(count)]


def rounded(shares: Floats) -> tuple[float, ...]:
    """Shares that only the order of a sum tells apart are one: equal ranks must be equal to the bit."""
    return tuple(float(f"{share:.14e}") for share in shares.tolist())
