"""One algorithm at work on one class of groups, before it has bytes and a library; and how a library picks among several.

Flows are proportional to the payload, so what was routed for one byte serves every size: a choice costs a few
multiplications, and an operation of another size only new sizes of flows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.network.collectives.library import Library, Protocol
from simulator.network.collectives.pattern import Exchange
from simulator.network.phase import Phase
from topologies.fabric import Fabric

Phases = tuple[Phase, ...]

#: Times closer than this are one time: the first of equals is taken, whatever the order of a sum.
EQUAL = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """``phases`` for a payload of one byte; ``wire`` is the latency of all steps' routes [s].

    ``inside`` and ``outside`` count the steps within a scale-up domain and between domains.
    """

    algorithm: str
    phases: Phases
    wire: float
    inside: int
    outside: int

    def sized(self, payload: float) -> Phases:
        """The flows of a payload [B]."""
        return tuple(phase.sized(payload) for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Need:
    """What the busiest link needs for a course, phase after phase [s per byte of payload]; ``leaves``: it is a scale-out one."""

    seconds: float
    leaves: bool


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A course under one protocol of a library: ``latency`` before the first byte [s], ``fill`` of it lost to bandwidth [s]."""

    course: Course
    library: str
    protocol: str
    latency: float
    fill: float


def fastest(
    courses: Sequence[Course], library: Library, collective: str, payload: float, network: str, need: Callable[[Course], Need]
) -> Run:
    """The quickest of all courses and protocols, the first of equals; ``need`` is asked only if it decides anything.

    ``network`` is the scale-out tier between domains.
    """
    best, least = None, 0.0
    for course in courses:
        protocols = library.of(course.algorithm, collective)
        plain = len(courses) == len(protocols) == 1 and library.reach == 1.0 and protocols[0].stretch(payload) == 1.0
        wanted = Need(0.0, leaves=False) if plain else need(course)
        for protocol in protocols:
            run = _run(course, wanted, library, protocol, payload, network)
            time = run.latency + wanted.seconds * payload
            if best is None or time < least * (1.0 - EQUAL):
                best, least = run, time
    assert best is not None
    return best


def between_domains(fabric: Fabric) -> str:
    """The name of the innermost scale-out tier; empty if there is none."""
    return next((tier.name for tier in fabric.tiers if tier.scale_out), "")


def _run(course: Course, need: Need, library: Library, protocol: Protocol, payload: float, network: str) -> Run:
    reach = 1.0 if need.leaves else library.reach
    fill = need.seconds * payload * (protocol.stretch(payload) / reach - 1.0)
    outside = protocol.outside + library.networks.get(network, 0.0)
    steps = max(0.0, course.wire + course.inside * protocol.inside + course.outside * outside)
    return Run(course, library.name, protocol.name, protocol.launch + steps + fill, fill)


@dataclass(frozen=True, slots=True)
class Wait:
    """The latency [s] of one exchange's slowest flow, for the ranks of one source class; ``leaves``: their domain."""

    exchange: Exchange
    slowest: float
    ranks: int
    leaves: bool


def hop(waits: Sequence[Wait]) -> float:
    """Latency of one step of an exchange over all its sources [s]."""
    if any(wait.exchange.relayed for wait in waits):
        return sum(wait.slowest * wait.ranks for wait in waits) / sum(wait.ranks for wait in waits)
    return max(wait.slowest for wait in waits)
