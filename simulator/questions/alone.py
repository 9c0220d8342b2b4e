"""One collective alone on a fabric, all its groups at once: the seconds its bytes take, and the bound of its links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

import numpy as np

from simulator.engine.clock import PICOSECONDS, Clock
from simulator.network.blocks import GROUP, Blocks
from simulator.network.collectives.choice import ALGORITHMS, candidates, pattern_of
from simulator.network.collectives.dimensions import axes_of
from simulator.network.collectives.library import Libraries, Library
from simulator.network.collectives.pattern import levels
from simulator.network.contract import PORTS, LinkClass, OperationClass
from simulator.network.course import Course, between_domains, fastest
from simulator.network.drain import busiest_link, bytes_on_links, last_end
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import CLASS_LIMIT, Fold, scale_up_domain
from simulator.network.loads import LinkLoads, direct_loads
from simulator.network.phase import Phase
from simulator.spec.errors import NotModelled
from topologies.fabric import Fabric, Ints
from workloads.instructions import Communication

TO_FEW = frozenset(("ring", "dimensions", "halving-doubling", "binomial-tree"))
"""Algorithms in which a rank sends to few others, so that more classes of ranks can be told apart."""

TO_FEW_LIMIT = 10_000
"""How many: 8,960 chips of a torus, no two alike for a dead link, take six seconds, 18,432 ranks 25 and most of 3 GB."""

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
        self._folds: dict[tuple[bool, bool, bool, bool], Fold] = {}
        self._refused: set[tuple[str, str | None, bool]] = set()  # what leaves too many classes, with and without relaxing
        self._loads: LinkLoads | None = None

    @property
    def domain(self) -> int:
        """Ranks of a scale-up domain."""
        return scale_up_domain(self.fabric)

    @property
    def members(self) -> Ints:
        """The first group."""
        return self.group(int(self.fabric.alive[0]))

    @cached_property
    def _even(self) -> bool:
        """Whether every group holds the same places in each of its domains."""
        firsts = {int(self.blocks.members(GROUP, rank)[0]) for rank in self.fabric.alive.tolist()}
        groups = [self.group(first) for first in firsts]
        return all(levels(members, int(members[0]), self.domain) is not None for members in groups)

    def group(self, rank: int) -> Ints:
        """The devices of a rank's group that are alive."""
        members = self.blocks.members(GROUP, rank)
        return members[~np.isin(members, list(self.fabric.dead))] if self.fabric.dead else members

    def fold(self, survives: str, relaxed: bool = False, few: bool = False) -> Fold:
        """The folding that an algorithm survives: of all swaps, of turns along the group, or none.

        ``relaxed``: what is degraded is not told apart (:mod:`simulator.network.ladder`). ``few``: for algorithms :data:`TO_FEW`.
        """
        key = (survives == "turns", survives in ("swaps", "turns"), relaxed, few)
        if key not in self._folds:
            if not key[1] and self.fabric.ranks > UNFOLDED_LIMIT:
                raise NotModelled(
                    f"{self.fabric.ranks} ranks one by one are too many (up to {UNFOLDED_LIMIT}) for an algorithm in which "
                    "no two are alike. Choose rings, tree, hierarchical or direct."
                )
            ordered = (GROUP,) if key[0] else ()
            weak = [defect for defect in self.fabric.defects if defect.left > 0.0] if relaxed else []
            limit = TO_FEW_LIMIT if few else CLASS_LIMIT
            self._folds[key] = Fold(self.fabric, self.blocks, symmetric=key[1], ordered=ordered, relaxed=weak, class_limit=limit)
        return self._folds[key]

    def run(self, communication: Communication, library: Library, algorithm: str | None = None) -> Alone:
        """One collective under a library, by one algorithm or by what the library takes.

        Folded with what is degraded told apart; where that leaves too many classes, without; else counted link by link.
        """
        weak = any(defect.left > 0.0 for defect in self.fabric.defects)
        overrides = {communication.collective: algorithm} if algorithm else {}
        names = candidates(library, communication, self.members, self.domain, overrides, axes_of(self.fabric))
        for relaxed in (False, True) if weak else (False,):
            if (communication.collective, algorithm, relaxed) in self._refused:
                continue
            try:
                return self._run(communication, library, algorithm, names, relaxed)
            except NotModelled:
                if names != ("direct",) and relaxed == weak:
                    raise
                self._refused.add((communication.collective, algorithm, relaxed))
        return self._counted(communication, library)

    def _run(
        self, communication: Communication, library: Library, algorithm: str | None, names: tuple[str, ...], relaxed: bool
    ) -> Alone:
        """On one fold."""
        survives = "swaps"
        if algorithm is not None:
            first = int(self.members[0])
            axes = axes_of(self.fabric)
            survives = pattern_of(algorithm, self.members, first, communication, self.domain, axes).survives
        elif communication.collective == "send-recv" or (communication.collective == "broadcast" and not self._even):
            survives = "turns"  # one ring
        fold = self.fold(survives, relaxed, few=TO_FEW.issuperset(names))
        fold.libraries = Libraries(library)
        fold.algorithms = {communication.collective: algorithm} if algorithm else {}
        # The name tells it from what was asked of the same fold before, under other libraries and algorithms.
        asked = replace(communication, name=" ".join(filter(None, (library.name, algorithm, communication.collective))))
        if names == ("direct",) and self.blocks.size < self.fabric.ranks:
            fold.route_all(GROUP)
        operations = {operation.key: operation for operation in self._operations(fold, asked)}
        together = tuple(operations.values())
        phases = [Phase.joined(each) for each in zip_longest(*(operation.phases for operation in together), fillvalue=())]
        merged = replace(together[0], phases=tuple(phases))
        return Alone(
            operations=together,
            time=_time(together, merged, fold),
            latency=max(operation.latency - operation.fill for operation in together),
            least=max(self._least(operation, fold.link_classes) for operation in together),
            busiest=busiest_link(merged, fold.link_classes),
            rung=next((each.rung for each in together if each.rung != "exact"), "exact"),
        )

    def _counted(self, communication: Communication, library: Library) -> Alone:
        """A direct exchange by the bytes on each link alone (:mod:`simulator.network.loads`)."""
        if self._loads is None:
            self._loads = direct_loads(self.fabric, self.blocks, self.domain)
        loads, members, payload = self._loads, self.members, communication.payload
        pattern = ALGORITHMS["direct"](members, int(members[0]), replace(communication, payload=1.0), self.domain)
        shares = sum(phase[0].payload for phase in pattern.phases)
        steps, leaves = len(pattern.phases), bool(np.any(members // self.domain != members[0] // self.domain))
        course = Course("direct", (), loads.hop * steps, steps * (not leaves), steps * leaves)
        network = between_domains(self.fabric)
        run = fastest((course,), library, communication.collective, payload, network, lambda _: loads.need(shares))
        needed, busiest = loads.seconds(efficient=True)
        operation = OperationClass(
            key=0,
            name=communication.name,
            kind=communication.kind,
            phases=(),
            latency=run.latency,
            participants=(),
            bytes_sent=payload * shares * (len(members) - 1) * len(self.fabric.alive),
            algorithm="direct",
            rung="makespan-only",
            library=run.library,
            protocol=run.protocol,
            fill=run.fill,
        )
        return Alone(
            operations=(operation,),
            time=run.latency + needed * shares * payload,
            latency=run.latency - run.fill,
            least=loads.seconds(efficient=False)[0] * shares * payload,
            busiest=busiest,
            rung="makespan-only",
        )

    def _operations(self, fold: Fold, communication: Communication) -> Iterator[OperationClass]:
        """The operation class of every orbit of groups, once for each participant."""
        for rank_class in fold.rank_classes:
            yield fold.collective(rank_class.key, communication)

    def _least(self, operation: OperationClass, links: Sequence[LinkClass]) -> float:
        """Payload bytes of the busiest link over its raw capacity, phase by phase: what no efficiency can beat [s]."""
        efficiency = {tier.name: tier.efficiency for tier in self.fabric.tiers}
        efficiency[PORTS] = min(efficiency.values(), default=1.0)  # a port's load sums wire bytes of several tiers
        payload = np.array([efficiency[link.tier] / link.capacity for link in links])
        return sum(float(np.max(bytes_on_links(phase, len(links)) * payload, initial=0.0)) for phase in operation.phases)


def _time(operations: Sequence[OperationClass], merged: OperationClass, fold: Fold) -> float:
    """Seconds until the last byte of all operations that are asked for together."""
    if len({operation.latency for operation in operations}) == 1 and (len(operations) == 1 or len(merged.phases) == 1):
        return merged.latency + sum(last_end(phase, fold.link_classes) for phase in merged.phases)
    clock = Clock()
    network = FluidNetwork(clock, fold)
    for operation in operations:
        network.launch(operation)
    clock.run()
    return clock.now / PICOSECONDS
