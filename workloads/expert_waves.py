"""Experts in waves: which of a rank's experts run together, and what each wave brings and computes.

A rank runs its own experts in the order of their numbers and the copies that it holds after them, cut into W runs as equal as
they go: expert j of h belongs to wave j W // h. A wave's exchange brings the tokens of its experts, its products run over those,
and its outputs go home while the next wave computes. Ranks of a group that hold, or are sent, unequal amounts do so wave by wave.
Where all waves are alike, each is one W-th of the layer.

A library that sends one copy of a token to a domain sends it once for all waves: a wave is charged its experts' part of that.

Source: experts split in waves with dispatch, products and combine following each other, DeepSeek-V4's report, arXiv 2606.19348.
Leaves out: an order of experts that evens waves out; waves of part of an expert's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.popularity import Floats, Ints, rounded

#: How far apart shares of waves may lie that count as alike.
ALIKE = 1e-9


@dataclass(frozen=True, slots=True)
class WaveLoad:
    """One wave of a layer, by position in the group: share of all routed copies, and experts that get any."""

    receive: tuple[float, ...]
    active: tuple[float, ...]


def wave_of(held: Floats, homes: Ints, waves: int) -> Ints:
    """The wave of each expert that a position holds [positions, experts]; -1 where it does not.

    >>> wave_of(np.array([[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1.0]]), np.array([0, 0, 0, 0, 1, 1]), 2).tolist()
    [[0, 0, 1, 1, -1, -1], [1, -1, -1, -1, 0, 0]]
    """
    found = np.full(held.shape, -1, dtype=np.int64)
    for position, row in enumerate(held):
        experts = np.flatnonzero(row)
        order = np.concatenate([experts[homes[experts] == position], experts[homes[experts] != position]])
        found[position, order] = np.arange(len(order)) * waves // max(len(order), 1)
    return found


def cut_in_waves(held: Floats, homes: Ints, each: Floats, waves: int) -> tuple[WaveLoad, ...]:
    """What each wave brings to the positions that hold experts, ``each`` [experts] the share that one copy takes.

    Nothing where all waves bring every position the same: then each is an even part of the whole.
    """
    numbers = wave_of(held, homes, waves)
    parts = [np.where(numbers == wave, 1.0, 0.0) for wave in range(waves)]
    receive = np.stack([part @ each for part in parts])
    active = np.stack([part @ (each > 0.0) for part in parts])
    if all(np.allclose(figures, figures.mean(axis=0), rtol=ALIKE, atol=0.0) for figures in (receive, active)):
        return ()
    return tuple(WaveLoad(rounded(got), tuple(busy.tolist())) for got, busy in zip(receive, active, strict=True))
