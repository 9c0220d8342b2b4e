"""What a communication library adds to the wire, and how it chooses.

A *protocol* is one way of moving bytes in an algorithm: the low-latency ones of NCCL flag every word and pay for it in
bandwidth, the simple one hands over whole chunks and pays for it at every step. For one operation with payload S

    time = launch + sum over steps (wire latency + step) + stretch(S) x seconds that the flows need at full link efficiency,
    stretch(S) = (1 + ramp / (S + ramp)) / share.

``share`` is the part of the links' efficient bandwidth that the protocol keeps; ``ramp`` is the payload at which half of
what a small operation lacks (few channels open, pipeline not full) has been made up: a small one runs at half speed, a
large one loses the fixed time of ``ramp`` bytes. Beside other traffic what the library loses, (stretch - 1) x seconds of the
busiest link, stays a time: it passes before the first byte, and the links carry no more than what is sent.

Leaves out: channel counts, chunk sizes and thread counts one by one; what they do is in these few figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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


Family = Literal["rings", "levels", "dimensions", "one-copy-per-domain"]
"""Which algorithms a library has; ``choice.candidates`` says what each means."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library by name on one chip, and the protocols of each of its algorithms (under :data:`ANY`: of all others).

    ``reach``: share of the scale-up links' efficient bandwidth that it reaches on this chip. ``switches_add``: the
    switches of a domain reduce for it. ``networks``: what a step over a scale-out tier of this name costs more [s].
    """

    name: str
    protocols: Mapping[str, tuple[Protocol, ...]]
    family: Family = "levels"
    reach: float = 1.0
    switches_add: bool = False
    networks: Mapping[str, float] = field(default_factory=dict)

    def of(self, algorithm: str, collective: str = "") -> tuple[Protocol, ...]:
        """The protocols that an algorithm may run a collective under; a collective's own go first."""
        return self.protocols.get(collective) or self.protocols.get(algorithm) or self.protocols[ANY]

    @classmethod
    def plain(cls, name: str = "wire", launch: float = 0.0, step: float = 0.0) -> Library:
        """One that adds a launch to each operation and the same to each step [s], and nothing to the bytes."""
        return cls(name, {ANY: (Protocol("", launch, step, step),)})


@dataclass(frozen=True, slots=True)
class Libraries:
    """The libraries of a job: ``usual`` runs what no other one does.

    ``named`` are those that a stack names, by collective; ``kernels`` those that run a dispatch or combine which sends one
    copy per domain (``Communication.deduplicate``).
    """

    usual: Library
    named: Mapping[str, Library] = field(default_factory=dict)
    kernels: Mapping[str, Library] = field(default_factory=dict)

    def of(self, collective: str, deduplicate: bool = False) -> Library:
        """The library that runs a collective."""
        found = self.named.get(collective)
        if found is None and deduplicate:
            found = self.kernels.get(collective)
        return found or self.usual

    @property
    def names(self) -> tuple[str, ...]:
        """The libraries that may run something, each once."""
        every = (self.usual, *self.named.values(), *self.kernels.values())
        return tuple(dict.fromkeys(library.name for library in every))
