"""Ranks, links and flows folded by the symmetries that a fabric and a plan share.

All ranks of a class do the same thing at the same time, so one representative sends, the fabric's own router routes only
its flows, and what they put on a link class is spread over its links. Max-min rates of the folded problem are those of
the full one (docs/network.md has the proof). ``symmetric=False`` is the same code with nothing folded: every rank,
link and flow by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.choice import ALGORITHMS, choose
from simulator.network.collectives.pattern import Exchange, LibraryCosts, Pattern
from simulator.network.contract import FlowClass, LinkClass, OperationClass, Placement, RankClass
from simulator.network.links import LinkTable
from simulator.network.orbits import Orbits
from simulator.network.placement import refine
from simulator.spec.errors import InputError, NotModelled
from topologies.fabric import Fabric, Floats, Ints
from workloads.instructions import Communication

FREE = LibraryCosts()


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """The flows of one pair class before they have a size: what they load, and how many there are."""

    links: Ints
    load: Floats
    latency: float
    per_source: int
    target_class: int


@dataclass(frozen=True, slots=True)
class _Wait:
    """The latency [s] of one exchange's slowest flow, for the ranks of one source class."""

    exchange: Exchange
    slowest: float
    ranks: int


class Fold:
    """Folding of one fabric under one plan; operations are made once and remembered.

    ``algorithms`` overrides the choice of algorithm ("all-reduce" or "all-reduce:tp" -> name in collectives.choice).
    ``ordered`` names the groups whose collectives go along a ring or by halving: their ranks may turn but not be swapped.
    """

    def __init__(
        self,
        fabric: Fabric,
        groups: Placement,
        symmetric: bool = True,
        *,
        library: LibraryCosts = FREE,
        algorithms: Mapping[str, str] | None = None,
        ordered: Sequence[str] = (),
        class_limit: int = 4096,
    ) -> None:
        self.fabric = fabric
        self.groups = groups
        self.library = library
        self.algorithms = dict(algorithms or {})
        self.domain = scale_up_domain(fabric)
        _, self.pp = groups.span("pp")
        parts = refine(
            fabric.dimensions,
            groups,
            boundaries=(self.domain,),
            ordered=ordered,
            symmetric=symmetric,
            class_limit=class_limit,
        )
        self.orbits = Orbits(fabric, parts)
        stage = fabric.ranks // self.pp
        self.rank_classes = tuple(
            RankClass(key, rank, size, rank // stage)
            for key, (rank, size) in enumerate(
                zip(self.orbits.representatives.tolist(), self.orbits.rank_class_sizes.tolist(), strict=True)
            )
        )
        self._links = LinkTable(self.orbits, self.rank_classes)
        self._paths: dict[tuple[int, bytes], _Path] = {}
        self._operations: dict[tuple[object, ...], OperationClass] = {}
        self._made: list[OperationClass] = []

    @property
    def link_classes(self) -> tuple[LinkClass, ...]:
        """The link classes met so far; operations not asked for yet may add more."""
        return tuple(self._links.classes)

    @property
    def operations(self) -> tuple[OperationClass, ...]:
        """The operation classes made so far, by key."""
        return tuple(self._made)

    @property
    def flow_class_count(self) -> int:
        """Flow classes of all the operations made so far."""
        return sum(len(phase) for operation in self._made for phase in operation.phases)

    def capacity(self, link_class: int) -> float:
        """Raw capacity of one link of the class [B/s]."""
        return self._links.classes[link_class].capacity

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        """The class of the collective that ``rank_class`` takes part in (the same object for every participant)."""
        key = (rank_class, communication)
        operation = self._operations.get(key)
        if operation is None:
            members = self._members(communication.group, self.rank_classes[rank_class].representative)
            participants = tuple(np.unique(self.orbits.rank_class[members]).tolist())
            operation = self._collective(participants, communication)
            for participant in participants:
                self._operations[participant, communication] = operation
        return operation

    def send(self, rank_class: int, target_pp_rank: int, payload: float) -> OperationClass:
        """Point to point from every rank of the class to its counterpart in another stage. Participants: the sender."""
        key = (rank_class, target_pp_rank, payload)
        operation = self._operations.get(key)
        if operation is None:
            source = self.rank_classes[rank_class]
            if not 0 <= target_pp_rank < self.pp:
                raise InputError(f"there are {self.pp} pipeline ranks", got=target_pp_rank, do="Count them from 0.")
            target = source.representative + (target_pp_rank - source.pp_rank) * (self.fabric.ranks // self.pp)
            peers = np.array([target] if target != source.representative else [], dtype=np.int64)
            pattern = Pattern(((Exchange(peers, payload),),)) if len(peers) and payload > 0 else Pattern(())
            name = f"send {source.pp_rank}->{target_pp_rank}"
            operation = self._operation(name, "pp", "send", {rank_class: pattern})
            self._operations[key] = operation
        return operation

    def _members(self, group: str, rank: int) -> Ints:
        return np.sort(np.asarray(self.groups.members(group, rank), dtype=np.int64))

    def _collective(self, participants: tuple[int, ...], communication: Communication) -> OperationClass:
        patterns: dict[int, Pattern] = {}
        algorithm = "none"
        for participant in participants:
            rank = self.rank_classes[participant].representative
            members = self._members(communication.group, rank)
            if len(members) < 2 or communication.payload <= 0:
                patterns[participant] = Pattern(())
                continue
            algorithm = choose(communication, members, self.domain, self.algorithms)
            patterns[participant] = ALGORITHMS[algorithm](members, rank, communication, self.domain)
            self._require_order(members, patterns[participant], communication)
        return self._operation(communication.name, communication.kind, algorithm, patterns)

    def _operation(self, name: str, kind: str, algorithm: str, patterns: Mapping[int, Pattern]) -> OperationClass:
        """Turn what each participating class does into flow classes."""
        length = max(len(pattern.phases) for pattern in patterns.values())
        phases: list[tuple[FlowClass, ...]] = []
        latency = self.library.launch if length else 0.0
        for index in range(length):
            flows: list[FlowClass] = []
            waits: dict[int, list[_Wait]] = {}  # by place of the exchange in its phase
            for rank_class, pattern in patterns.items():
                for place, exchange in enumerate(pattern.phases[index] if index < len(pattern.phases) else ()):
                    made, slowest = self._flows(rank_class, exchange, name)
                    flows += made
                    waits.setdefault(place, []).append(_Wait(exchange, slowest, self.rank_classes[rank_class].size))
            phases.append(tuple(flows))
            latency += sum(self._latency(entries) for entries in waits.values())
        operation = OperationClass(
            key=len(self._made),
            name=name,
            kind=kind,
            phases=tuple(phases),
            latency=latency,
            participants=tuple(patterns),
            bytes_sent=sum(flow.count * flow.size for phase in phases for flow in phase),
            algorithm=algorithm,
        )
        self._made.append(operation)
        return operation

    def _latency(self, waits: Sequence[_Wait]) -> float:
        """Latency of one exchange over all its sources [s]."""
        if any(wait.exchange.relayed for wait in waits):
            hop = sum(wait.slowest * wait.ranks for wait in waits) / sum(wait.ranks for wait in waits)
        else:
            hop = max(wait.slowest for wait in waits)
        return max(wait.exchange.steps for wait in waits) * (self.library.step + hop)

    def _flows(self, rank_class: int, exchange: Exchange, name: str) -> tuple[list[FlowClass], float]:
        """The flow classes of one exchange of one source class, and the latency of the slowest."""
        source = self.rank_classes[rank_class]
        codes = self.orbits.pair_codes(source.representative, exchange.peers)
        _, first, counts = np.unique(codes, axis=0, return_index=True, return_counts=True)
        flows = []
        slowest = 0.0
        for index, count in zip(first.tolist(), counts.tolist(), strict=True):
            peer = int(exchange.peers[index])
            path = self._path(source, peer, codes[index].tobytes())
            if path.per_source != count:
                raise NotModelled(
                    f"{name}: rank {source.representative} sends to {count} of the {path.per_source} ranks that are alike "
                    f"to it (rank {peer} is one), so its group does not follow the folded dimensions. "
                    "Fold with symmetric=False, or name the group in `ordered`."
                )
            slowest = max(slowest, path.latency)
            total = source.size * count
            flows.append(
                FlowClass(
                    links=path.links,
                    load=path.load,
                    size=exchange.payload,
                    count=total,
                    source_class=rank_class,
                    flows_per_source=count,
                    target_class=path.target_class,
                    flows_per_target=total / self.rank_classes[path.target_class].size,
                )
            )
        return flows, slowest

    def _path(self, source: RankClass, peer: int, code: bytes) -> _Path:
        """Route one representative pair and spread its load over the link classes."""
        key = (source.key, code)
        path = self._paths.get(key)
        if path is None:
            route = self.fabric.router(source.representative, peer)
            per_source = self.orbits.targets_in_class(source.representative, peer)
            ids, load = self._links.spread(route, source.size * per_source)
            target_class = int(self.orbits.rank_class[peer])
            path = self._paths[key] = _Path(ids, load, route.latency, per_source, target_class)
        return path

    def _require_order(self, members: Ints, pattern: Pattern, communication: Communication) -> None:
        """An algorithm that follows the order of ranks survives few swaps: refuse a folding that makes more of them."""
        coordinates = self.orbits.coordinates[members]
        moved = [
            part
            for column, part in enumerate(self.orbits.parts)
            if part.size > 1 and np.any(coordinates[:, column] != coordinates[0, column])
        ]
        if pattern.survives == "turns":
            fine = all(part.symmetry == "none" for part in moved[:-1]) and (moved[-1].symmetry != "full" or moved[-1].size == 2)
        else:
            fine = pattern.survives == "swaps" or all(part.symmetry == "none" or part.size == 2 for part in moved)
        if not fine:
            raise NotModelled(
                f"{communication.name}: an algorithm that follows the order of ranks needs it kept along {communication.group}. "
                f"Ask for a ring by its group (network.algorithms: {{{communication.collective}:{communication.group}: ring}}); "
                "halving-doubling needs every rank simulated by itself (symmetric=False)."
            )


def scale_up_domain(fabric: Fabric) -> int:
    """Ranks of one scale-up domain: what the tiers below the first scale-out tier join; all if there is none."""
    inside = [tier.units for tier in fabric.tiers if not tier.scale_out]
    if len(inside) == len(fabric.tiers):
        return fabric.ranks
    return max(inside, default=1)
