"""Which layers a pipeline stage holds."""

from __future__ import annotations

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


def cut(layers: int, stages: int) -> tuple[Stage, ...]:
    """Spread the layers over the stages as evenly as they go.

    Stages that get a layer less are, in this order: the last (it has the head, and multi-token prediction), the first
    (it has the embedding), then the others from the end. So 61 layers on 16 stages are 13 stages of 4 and 3 of 3; 126
    layers on 128 stages leave the two ends without a layer, as Llama 3 and Megatron's recipes do.

    >>> [stage.count for stage in cut(61, 16)]
    [3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3]
    """
    least, more = divmod(layers, stages)
    order = [stages - 1, 0, *range(stages - 2, 0, -1)] if stages > 1 else [0]
    counts = [least + 1] * stages
    for stage in order[: stages - more]:
        counts[stage] = least
    found, first = [], 0
    for index, count in enumerate(counts):
        found.append(Stage(index, first, count, index == 0, index == stages - 1))
        first += count
    return tuple(found)


def fewest_layers_allowed(stages: int) -> int:
    """Every stage but the two ends needs a layer; the ends have the embedding and the head to do."""
    return max(stages - 2, 1)
