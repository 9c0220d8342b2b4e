"""One collective alone on a fabric, all its groups at once: the seconds its bytes take, and the bound of its links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from simulator.engine.clock import PICOSECONDS, Clock
from simulator.network.blocks import GROUP, Blocks
from simulator.network.collectives.choice import ALGORITHMS
from simulator.network.collectives.library import Protocol
from simulator.network.collectives.pattern import Pattern
from simulator.network.contract import PORTS, LinkClass, OperationClass
from simulator.network.drain import busiest_link, drain
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.spec.errors import NotModelled
from topologies.fabric import Fabric, Ints
from workloads.instructions import Communication

UNFOLDED_LIMIT = 2048
"""Ranks up to which an algorithm that follows the order of ranks is answered rank by rank."""


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """An algorithm at work, before any library: ``wire`` is the latency of its steps, ``transfer`` that of its bytes [s]."""

    algorithm: str
    operations: tuple[OperationClass, ...]
    patterns: tuple[tuple[int, int, Pattern], ...]  # representative, ranks alike, what it does
    wire: float
    transfer: float
    least: float  # payload bytes of the busiest link over its raw capacity, phase by phase [s]
    busiest: LinkClass | None
    domain: int

    def latency(self, protocol: Protocol) -> float:
        """Launch, and wire and library at every step [s]."""
        steps = [(protocol.steps(pattern, rank, self.domain), alike, pattern) for rank, alike, pattern in self.patterns]
        if any(exchange.relayed for _, _, pattern in steps for phase in pattern.phases for exchange in phase):
            library = sum(seconds * alike for seconds, alike, _ in steps) / sum(alike for _, alike, _ in steps)
        else:
            library = max(seconds for seconds, _, _ in steps)
        return protocol.launch + library + self.wire

    def time(self, protocol: Protocol, payload: float) -> float:
        """Seconds of the whole collective under one protocol of a library."""
        return self.latency(protocol) + self.transfer * protocol.stretch(payload)


class Bench:
    """Collectives on one fabric in groups of ``blocks``; what was folded once serves all payloads."""

    def __init__(self, fabric: Fabric, blocks: Blocks) -> None:
        self.fabric = fabric
        self.blocks = blocks
        self._folds: dict[tuple[bool, bool], Fold] = {}

    @property
    def domain(self) -> int:
        """Ranks of a scale-up domain."""
        return self.fold("swaps").domain

    @property
    def members(self) -> Ints:
        """The first group."""
        return self.group(int(self.fabric.alive[0]))

    def group(self, rank: int) -> Ints:
        """The devices of a rank's group that are alive."""
        members = self.blocks.members(GROUP, rank)
        return members[~np.isin(members, list(self.fabric.dead))] if self.fabric.dead else members

    def fold(self, survives: str) -> Fold:
        """The folding that an algorithm survives: of all swaps, of turns along the group, or none."""
        key = (survives == "turns", survives in ("swaps", "turns"))
        if key not in self._folds:
            if not key[1] and self.fabric.ranks > UNFOLDED_LIMIT:
                raise NotModelled(
                    f"{self.fabric.ranks} ranks one by one are too many (up to {UNFOLDED_LIMIT}) for an algorithm in which "
                    "no two are alike. Choose rings, tree, hierarchical or direct."
                )
            ordered = (GROUP,) if key[0] else ()
            self._folds[key] = Fold(self.fabric, self.blocks, symmetric=key[1], ordered=ordered)
        return self._folds[key]

    def run(self, communication: Communication, algorithm: str) -> Alone:
        """One algorithm with one payload. The name tells its operations from those of other algorithms on one fold."""
        communication = replace(communication, name=f"{algorithm} {communication.collective}")
        members, domain = self.members, self.domain
        survives = ALGORITHMS[algorithm](members, int(members[0]), communication, domain).survives
        fold = self.fold(survives)
        fold.algorithms = {communication.collective: algorithm}
        operations = {operation.key: operation for operation in self._operations(fold, communication)}
        links = fold.link_classes
        patterns = tuple(
            (rank.representative, rank.size, self._pattern(communication, algorithm, rank.representative))
            for rank in fold.rank_classes
        )
        together = tuple(operations.values())
        phases = [sum(each, ()) for each in zip_longest(*(operation.phases for operation in together), fillvalue=())]
        merged = replace(together[0], phases=tuple(phases))
        return Alone(
            algorithm=algorithm,
            operations=together,
            patterns=patterns,
            wire=max(operation.latency for operation in together),
            transfer=_transfer(together, merged, fold),
            least=max(self._least(operation, links) for operation in together),
            busiest=busiest_link(merged, links),
            domain=domain,
        )

    def _operations(self, fold: Fold, communication: Communication) -> Iterator[OperationClass]:
        """The operation class of every orbit of groups, once for each participant."""
        for rank_class in fold.rank_classes:
            yield fold.collective(rank_class.key, communication)

    def _pattern(self, communication: Communication, algorithm: str, rank: int) -> Pattern:
        return ALGORITHMS[algorithm](self.group(rank), rank, communication, self.domain)

    def _least(self, operation: OperationClass, links: Sequence[LinkClass]) -> float:
        """Payload bytes of the busiest link over its raw capacity, phase by phase: what no efficiency can beat [s]."""
        efficiency = {tier.name: tier.efficiency for tier in self.fabric.tiers}
        efficiency[PORTS] = min(efficiency.values(), default=1.0)  # a port's load sums wire bytes of several tiers
        seconds = 0.0
        for phase in operation.phases:
            loads: dict[int, float] = {}
            for flow in phase:
                for link, load in zip(flow.links.tolist(), flow.load.tolist(), strict=True):
                    loads[link] = loads.get(link, 0.0) + load * flow.size
            seconds += max(
                (load * efficiency[links[link].tier] / links[link].capacity for link, load in loads.items()), default=0.0
            )
        return seconds


def _transfer(operations: Sequence[OperationClass], merged: OperationClass, fold: Fold) -> float:
    """Seconds until the last byte of all operations that start together, latencies left out."""
    if len(operations) == 1 or len(merged.phases) == 1:
        return sum(drain(phase, fold.link_classes)[0] for phase in merged.phases)
    clock = Clock()
    network = FluidNetwork(clock, fold)
    for operation in operations:
        network.launch(replace(operation, latency=0.0))
    clock.run()
    return clock.now / PICOSECONDS
