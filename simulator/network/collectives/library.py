"""What a communication library adds to the wire, and which algorithms it has.

A *protocol* is one way of moving bytes in an algorithm: the low-latency ones of NCCL flag every word and pay for it in
bandwidth, the simple one hands over whole chunks and pays for it at every step. For one operation with payload S

    time = launch + sum over steps (wire latency + step) + stretch(S) x seconds that the flows need at full link efficiency,
    stretch(S) = (1 + ramp / (S + ramp)) / share.

``share`` is the part of the links' efficient bandwidth that the protocol keeps; ``ramp`` is the payload at which half of
what a small operation lacks (few channels open, pipeline not full) has been made up: a small one runs at half speed, a
large one loses the fixed time of ``ramp`` bytes.

Leaves out: channel counts, chunk sizes and thread counts one by one; what they do is in these few figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.pattern import Pattern

ANY = "any"
"""The key of the protocols of every algorithm that a library says nothing of."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way of moving bytes. Times in seconds, ``ramp`` in bytes, ``share`` from 0 to 1."""

    name: str
    launch: float = 0.0
    inside: float = 0.0  # added at each step within a scale-up domain
    outside: float = 0.0  # added at each step between domains
    share: float = 1.0
    ramp: float = 0.0

    def stretch(self, payload: float) -> float:
        """How much longer than at full link efficiency the bytes of a payload take.

        >>> Protocol("simple", share=0.8, ramp=1e6).stretch(1e6)
        1.875
        """
        return (1.0 + (self.ramp / (payload + self.ramp) if self.ramp else 0.0)) / self.share

    def steps(self, pattern: Pattern, rank: int, domain: int) -> float:
        """What the library adds at the steps of one rank's pattern [s]."""
        seconds = 0.0
        for phase in pattern.phases:
            for exchange in phase:
                leaves = bool(np.any(exchange.peers // domain != rank // domain))
                seconds += exchange.steps * (self.outside if leaves else self.inside)
        return seconds


@dataclass(frozen=True, slots=True)
class Library:
    """A library by name, and the protocols of each of its algorithms (under :data:`ANY`: of all others)."""

    name: str
    protocols: Mapping[str, tuple[Protocol, ...]]

    def of(self, algorithm: str) -> tuple[Protocol, ...]:
        """The protocols that an algorithm may run under."""
        return self.protocols.get(algorithm) or self.protocols[ANY]
