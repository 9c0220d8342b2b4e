"""One collective alone on a fabric, all its groups at once: the seconds its bytes take, and the bound of its links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from simulator.engine.clock import PICOSECONDS, Clock
from simulator.network.blocks import GROUP, Blocks
from simulator.network.collectives.choice import ALGORITHMS
from simulator.network.collectives.library import Libraries, Library
from simulator.network.contract import PORTS, LinkClass, OperationClass
from simulator.network.drain import busiest_link, isolated_time
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.spec.errors import NotModelled
from topologies.fabric import Fabric, Ints
from workloads.instructions import Communication

UNFOLDED_LIMIT = 2048
"""Ranks up to which an algorithm that follows the order of ranks is answered rank by rank."""


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """A collective as its library runs it, nobody else on the links.

    ``latency`` is the part of the time that bytes have no part in [s]; ``least``: payload bytes of the busiest link over its raw
    capacity, phase by phase [s].
    """

    operations: tuple[OperationClass, ...]
    time: float
    latency: float
    least: float
    busiest: LinkClass | None
    rung: str


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

    def run(self, communication: Communication, library: Library, algorithm: str | None = None) -> Alone:
        """One collective under a library, by one algorithm or by what the library takes."""
        survives = "swaps"
        if algorithm is not None:
            first = int(self.members[0])
            survives = ALGORITHMS[algorithm](self.members, first, communication, self.domain).survives
        elif communication.collective == "send-recv":
            survives = "turns"
        fold = self.fold(survives)
        fold.libraries = Libraries(library)
        fold.algorithms = {communication.collective: algorithm} if algorithm else {}
        # The name tells it from what was asked of the same fold before, under other libraries and algorithms.
        asked = replace(communication, name=f"{library.name} {algorithm or ''} {communication.collective}")
        operations = {operation.key: operation for operation in self._operations(fold, asked)}
        together = tuple(operations.values())
        phases = [sum(each, ()) for each in zip_longest(*(operation.phases for operation in together), fillvalue=())]
        merged = replace(together[0], phases=tuple(phases))
        return Alone(
            operations=together,
            time=_time(together, merged, fold),
            latency=max(operation.latency - operation.fill for operation in together),
            least=max(self._least(operation, fold.link_classes) for operation in together),
            busiest=busiest_link(merged, fold.link_classes),
            rung=next((each.rung for each in together if each.rung != "exact"), "exact"),
        )

    def _operations(self, fold: Fold, communication: Communication) -> Iterator[OperationClass]:
        """The operation class of every orbit of groups, once for each participant."""
        for rank_class in fold.rank_classes:
            yield fold.collective(rank_class.key, communication)

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


def _time(operations: Sequence[OperationClass], merged: OperationClass, fold: Fold) -> float:
    """Seconds until the last byte of all operations that are asked for together."""
    if len({operation.latency for operation in operations}) == 1 and (len(operations) == 1 or len(merged.phases) == 1):
        return isolated_time(merged, fold.link_classes)
    clock = Clock()
    network = FluidNetwork(clock, fold)
    for operation in operations:
        network.launch(operation)
    clock.run()
    return clock.now / PICOSECONDS
