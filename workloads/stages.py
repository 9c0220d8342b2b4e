"""Which layers a pipeline stage holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A contiguous run of layers [first, first + count); the first stage also embeds, the last also holds the head."""

    index: int
    first: int
    count: int
    embedding: bool
    head: bool

    @property
    def layers(self) -> range:
        return range(self.first, self.first + self.count)


def cut(layers: int, stages: int, last_extra: float = 0.0, layout: Sequence[int] | None = None) -> tuple[Stage, ...]:
    """Spread the layers over the stages; a ``layout`` says how many each has.

    Layers that divide evenly are spread evenly, as every stack does unasked. Otherwise the heaviest stage is made as light
    as whole layers allow: the last stage also has the head and multi-token prediction to do, worth ``last_extra`` layers of
    FLOPs, and gets fewer layers for it; of the others the first (it embeds) and then those at the end get one less. So 61 layers
    of DeepSeek-V3, whose head and prediction block weigh 3.9, are 15 stages of 4 and one of 1 on 16 stages, 7 of 8 and one
    of 5 on 8, the layouts that Megatron-Bridge ships; 126 layers of Llama-3.1-405B on 16 leave 7 at both ends.

    >>> [stage.count for stage in cut(126, 16, 0.66)]
    [7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7]
    """
    last = layers // stages
    if layers % stages and layout is None:
        last = min(range(last, -1, -1), key=lambda count: _heaviest(layers, stages, count, last_extra))
    counts = list(layout) if layout is not None else [*_spread(layers - last, stages - 1), last]
    found, first = [], 0
    for index, count in enumerate(counts):
        found.append(Stage(index, first, count, index == 0, index == stages - 1))
        first += count
    return tuple(found)


def _heaviest(layers: int, stages: int, last: int, last_extra: float) -> float:
    """Load of the heaviest stage, in layers, when the last one gets ``last`` of them."""
    return max(-(-(layers - last) // (stages - 1)), last + last_extra)


def _spread(layers: int, stages: int) -> list[int]:
    """Evenly; a layer less for the first stage, then from the end."""
    if stages == 0:
        return []
    least, more = divmod(layers, stages)
    counts = [least + 1] * stages
    for stage in [0, *range(stages - 1, 0, -1)][: stages - more]:
        counts[stage] = least
    return counts


def fewest_layers_allowed(stages: int) -> int:
    """Every stage but the two ends needs a layer; the ends have the embedding and the head to do."""
    return max(stages - 2, 1)
