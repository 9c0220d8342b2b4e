"""Where the axes of a plan lie on rank numbers: runs of equal strides, and the order that a plan writes.

An axis (or a group of several) is a list of *runs* (stride, size), innermost first: a member at position p of it stands
``sum of digit_i x stride_i`` from the first one, the digits of p in the mixed radix of the sizes. Axes that lie side by side are
one run; a group whose axes have another between them has several.

An order is that of Megatron-LM (``order`` of its parallel state), innermost first: ``tp-cp-ep-dp-pp``. The attention side reads
tp, cp, dp and pp in it; the expert side ep and pp, tp as the ranks that cut an expert, dp as those that hold the same experts.
``dp:8`` is a block of an axis, the rest of which comes later: ``tp-dp:8-pp-dp``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from simulator.spec.errors import PlanError

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]  # stride, size [ranks]
Runs = tuple[Span, ...]
Parts = tuple[tuple[str, int], ...]  # axis, size; innermost first

#: Axes that an order may name.
NAMES = ("tp", "cp", "ep", "dp", "pp")


def joined(spans: Iterable[Span]) -> Runs:
    """Runs in ascending strides; those that go on where one ends are one, those of one member none.

    >>> joined([(8, 4), (2, 4), (64, 1)]), joined([(1, 2), (8, 2)])
    (((2, 16),), ((1, 2), (8, 2)))
    """
    found: list[Span] = []
    for stride, size in sorted(span for span in spans if span[1] > 1):
        if found and found[-1][0] * found[-1][1] == stride:
            found[-1] = (found[-1][0], found[-1][1] * size)
        else:
            found.append((stride, size))
    return tuple(found)


def size_of(runs: Runs) -> int:
    """Members of one group."""
    return math.prod(size for _, size in runs)


def position(runs: Runs, rank: int | Ints) -> int | Ints:
    """Where a rank stands in its group.

    >>> position(((1, 2), (8, 4)), 17)
    5
    """
    found, weight = rank * 0, 1
    for stride, size in runs:
        found = found + rank // stride % size * weight
        weight *= size
    return found


def offset(runs: Runs, place: int) -> int:
    """How far the member at a position is from the first one [ranks].

    >>> offset(((1, 2), (8, 4)), 5)
    17
    """
    found = 0
    for stride, size in runs:
        found += place % size * stride
        place //= size
    return found


def offsets(runs: Runs) -> Ints:
    """The same for all positions, in order [ranks]."""
    found = np.zeros(1, dtype=np.int64)
    for stride, size in runs:
        found = (found[None, :] + stride * np.arange(size, dtype=np.int64)[:, None]).reshape(-1)
    return found


def cut(runs: Runs, size: int) -> tuple[Runs, Runs] | None:
    """The innermost ``size`` members, and what counts such parts; None where that is no block of the runs.

    >>> cut(((1, 4), (8, 4)), 8)
    (((1, 4), (8, 2)), ((16, 2),))
    """
    inner: list[Span] = []
    outer: list[Span] = []
    left = size
    for stride, length in runs:
        if left % length == 0:
            inner.append((stride, length))
            left //= length
            continue
        if length % left:
            return None
        inner.append((stride, left))
        outer.append((stride * left, length // left))
        left = 1
    return (joined(inner), joined(outer)) if left == 1 else None


def laid(parts: Parts) -> dict[str, Runs]:
    """The runs of every axis when its parts fill rank numbers in this order."""
    spans: dict[str, list[Span]] = {}
    stride = 1
    for axis, size in parts:
        spans.setdefault(axis, []).append((stride, size))
        stride *= size
    return {axis: joined(found) for axis, found in spans.items()}


def read_order(text: str, sizes: Mapping[str, int], path: str) -> Parts:
    """The parts that an order names, for axes of these sizes; an axis of one rank may be left out.

    >>> read_order("tp-dp:4-pp-dp", {"tp": 2, "cp": 1, "dp": 8, "pp": 3}, "plan.placement")
    (('tp', 2), ('dp', 4), ('pp', 3), ('dp', 2))
    """
    words = [word.strip().partition(":") for word in text.split("-")]
    for axis, _, block in words:
        if axis not in NAMES or (block and not (block.isdecimal() and int(block) > 0)):
            raise PlanError(
                "an order names tp, cp, ep, dp and pp, innermost first, joined by -, and dp:8 for a block of dp",
                got=text, do="Write tp-cp-ep-dp-pp, say.", path=path,
            )  # fmt: skip
    parts = [(axis, int(block) if block else 0) for axis, _, block in words if axis in sizes]
    _check_complete(parts, sizes, text, path)
    return tuple((axis, size or _rest(axis, parts, sizes)) for axis, size in parts)


def _check_complete(parts: Sequence[tuple[str, int]], sizes: Mapping[str, int], text: str, path: str) -> None:
    """Every axis that has more than one rank must be named, at most once without a size; its blocks make it up."""
    for axis, size in sizes.items():
        blocks = [block for name, block in parts if name == axis]
        if not blocks and size > 1:
            raise PlanError(f"the order leaves out {axis}, which has {size} ranks", got=text, do=f"Name {axis}.", path=path)
        if blocks.count(0) > 1:
            raise PlanError(
                f"the order names {axis} twice, and says of neither how much of it", got=text,
                do=f"Write {axis}:2, say, for all but one of them.", path=path,
            )  # fmt: skip
        made = math.prod(block for block in blocks if block)
        if blocks and (size % made or (0 not in blocks and made != size)):
            raise PlanError(
                f"the blocks of {axis} must {'divide' if 0 in blocks else 'make up'} its {size} ranks", got=text,
                do="Change their sizes.", path=path,
            )  # fmt: skip


def _rest(axis: str, parts: Sequence[tuple[str, int]], sizes: Mapping[str, int]) -> int:
    """What the blocks that have a size leave of an axis."""
    return sizes[axis] // math.prod(block for name, block in parts if name == axis and block)
