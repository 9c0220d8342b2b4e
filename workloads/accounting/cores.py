"""The part of attention that grows with the sequence: how many keys a token attends, and what that costs.

Token ``t`` (counted from 1) attends itself and what came before. Compressed entries exist once all their tokens have passed,
so ``floor(t / ratio)`` of them are visible. Averages are exact sums over t = 1 .. sequence length.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeySpan:
    """Keys one token may attend: one per ``ratio`` tokens, at most ``limit`` of them (0: no limit).

    With ``ratio`` 1 the limit is a sliding window or a top-k; ``chunked``: the limit is a chunk and counting restarts in each.
    """

    ratio: int = 1
    limit: int = 0
    chunked: bool = False

    def average(self, sequence_length: float) -> float:
        """Keys attended, averaged over the tokens of a sequence: the causal mean.

        >>> KeySpan().average(4), KeySpan(limit=2).average(4), KeySpan(ratio=2).average(4)
        (2.5, 1.75, 1.0)
        """
        length = int(sequence_length)
        if self.chunked and 0 < self.limit < length:
            whole, rest = divmod(length, self.limit)
            return (whole * self.limit * (self.limit + 1) + rest * (rest + 1)) / 2 / length
        entries = length // self.ratio
        if self.limit == 0 or entries <= self.limit:
            return (self.ratio * entries * (entries - 1) / 2 + entries * (length - self.ratio * entries + 1)) / length
        growing = self.ratio * self.limit * (self.limit - 1) / 2
        return (growing + self.limit * (length - self.ratio * self.limit + 1)) / length

    def last(self, sequence_length: float) -> float:
        """Keys attended by the last token of a sequence."""
        length = int(sequence_length)
        if self.chunked and self.limit:
            return float((length - 1) % self.limit + 1)
        entries = length // self.ratio
        return float(min(entries, self.limit) if self.limit else entries)


@dataclass(frozen=True, slots=True)
class Core:
    """Scores and weighted sums of one attention variant.

    ``flops = 2 x heads x (key_dim + value_dim) x keys`` a token; ``value_dim`` 0 is an indexer, which only scores.
    """

    component: str
    heads: int
    key_dim: int
    value_dim: int
    spans: tuple[KeySpan, ...]

    @property
    def gathers(self) -> bool:
        """Whether a token's keys are collected from several places (compressed entries beside a window), not under one mask."""
        return any(span.ratio > 1 for span in self.spans)

    @property
    def window(self) -> int:
        """Tokens of a window that slides along the diagonal, the only keys of the kernel; 0 for any other mask."""
        span = self.spans[0]
        return span.limit if len(self.spans) == 1 and span.ratio == 1 and not span.chunked else 0

    def keys(self, sequence_length: float, *, last: bool = False) -> float:
        """Keys attended by a token on average, or by the last one."""
        return sum(span.last(sequence_length) if last else span.average(sequence_length) for span in self.spans)

    def flops(self, sequence_length: float, *, last: bool = False) -> float:
        """Forward FLOPs a token [FLOP]."""
        return 2.0 * self.heads * (self.key_dim + self.value_dim) * self.keys(sequence_length, last=last)
