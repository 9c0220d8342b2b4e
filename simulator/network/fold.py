"""Ranks, links and flows folded by the symmetries that a fabric and a plan share.

All ranks of a class do the same thing at the same time, so one representative sends, the fabric's own router routes only
its flows, and what they put on a link class is spread over its links. Max-min rates of the folded problem are those of
the full one (docs/network.md has the proof). Defects of the fabric leave fewer symmetries and more classes.
``symmetric=False`` is the same code with nothing folded: every rank, link and flow by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.network.collectives.choice import ALGORITHMS, SKEWED, choose
from simulator.network.collectives.pattern import Exchange, LibraryCosts, Pattern
from simulator.network.contract import FlowClass, LinkClass, OperationClass, Placement, RankClass
from simulator.network.links import LinkTable, NamedLink
from simulator.network.orbits import Orbits
from simulator.network.paths import Heading, Path, Paths, heading
from simulator.network.placement import refine
from simulator.network.rungs import judge
from simulator.network.unlike import tell_apart
from simulator.spec.errors import IdentityBroken, InputError, NotModelled
from topologies.fabric import Defect, Fabric, Ints
from workloads.instructions import Communication

FREE = LibraryCosts()

#: Classes of ranks that a fold makes at most.
CLASS_LIMIT = 4096

#: Classes of pairs that a fold routes at most; each takes about a kilobyte and 0.1 ms.
FLOW_LIMIT = 60_000


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

    ``loads`` is the class of load of each position of an expert-parallel group (``ep``); empty: they are all alike.

    Dead devices are left out of all groups. ``relaxed`` defects of the fabric are not told apart: every link that could be
    exchanged for a degraded one but for the defect gets no more than that has left (see :mod:`simulator.network.ladder`).
    NotModelled beyond ``class_limit`` classes of ranks or ``flow_limit`` classes of pairs.
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
        class_limit: int = CLASS_LIMIT,
        flow_limit: int = FLOW_LIMIT,
        relaxed: Sequence[Defect] = (),
        loads: Sequence[int] = (),
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
        self.relaxed = _checked(fabric, relaxed)
        active = [defect for defect in fabric.defects if defect not in self.relaxed]
        self.loads = tuple(loads)
        ep = groups.span("ep") if self.loads else (1, 1)
        self._ep = ep
        self.orbits = Orbits(fabric, parts, active, lambda found: tell_apart(found, ep, self.loads))
        self.rank_classes = self._rank_classes(class_limit if symmetric else fabric.ranks)
        self._flow_limit = flow_limit if symmetric else fabric.ranks**2
        self._links = LinkTable(self.orbits, self.rank_classes, _touched(fabric, self.relaxed))
        self._paths = Paths(self.orbits, self._links)
        self._operations: dict[tuple[object, ...], OperationClass] = {}
        self._made: list[OperationClass] = []

    def _rank_classes(self, limit: int) -> tuple[RankClass, ...]:
        orbits, fabric = self.orbits, self.fabric
        if len(orbits.representatives) > limit:
            raise NotModelled(
                f"the defects of {fabric.name} and unequal loads leave {len(orbits.representatives)} different classes of ranks, "
                f"the limit is {limit}. Relax some defects (simulator.network.ladder), or let fewer ranks differ in load."
            )
        stage = fabric.ranks // self.pp
        slowest = np.ones(len(orbits.representatives))
        if fabric.speed is not None:
            alive = fabric.alive
            np.minimum.at(slowest, orbits.rank_class[alive], fabric.speed[alive])
        return tuple(
            RankClass(key, rank, size, rank // stage, speed, self._load_class(rank))
            for key, (rank, size, speed) in enumerate(
                zip(orbits.representatives.tolist(), orbits.rank_class_sizes.tolist(), slowest.tolist(), strict=True)
            )
        )

    def _load_class(self, rank: int) -> int:
        stride, size = self._ep
        return self.loads[rank // stride % size] if self.loads else 0

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

    def link_named(self, name: str) -> NamedLink:
        """A link by its name, ``tail->head``, or ``device ports out`` (``in``). TopologyError for a name that no link has."""
        return self._links.named(name)

    def held_down_by(self, defect: Defect) -> set[int]:
        """The link classes met so far of which a link that this defect weakens is the weakest."""
        return self._links.weakest_in(_touched(self.fabric, [defect]))

    def path(self, source: int, target: int) -> Path:
        """What a flow between two ranks loads, if an operation has it."""
        return self._paths.between(source, target)

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        """The class of the collective that ``rank_class`` takes part in (the same object for every participant)."""
        key = (rank_class, communication)
        operation = self._operations.get(key)
        if operation is None:
            members = self._members(communication.group, self.rank_classes[rank_class].representative)
            participants = tuple(np.unique(self.orbits.rank_class[members]).tolist())
            self._require_told_apart(members, communication)
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

    def _require_told_apart(self, members: Ints, communication: Communication) -> None:
        """Ranks of one class are loaded alike, or one of them would stand for others that it is not like."""
        skew = communication.skew
        if skew is None or len(skew.send) != len(members):
            return  # the algorithm refuses loads of another size
        seen: dict[int, tuple[float, float]] = {}
        for rank_class, figures in zip(
            self.orbits.rank_class[members].tolist(), zip(skew.send, skew.receive, strict=True), strict=True
        ):
            if seen.setdefault(rank_class, figures) != figures:
                raise IdentityBroken(f"{communication.name}: rank class {rank_class} holds ranks of unequal loads")

    def _members(self, group: str, rank: int) -> Ints:
        """The ranks of the group of ``rank`` that are alive, ascending."""
        members = np.sort(np.asarray(self.groups.members(group, rank), dtype=np.int64))
        return members[self.orbits.rank_class[members] >= 0] if self.fabric.dead else members

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
            if communication.skew is not None and algorithm not in SKEWED:
                raise NotModelled(
                    f"{communication.name}: {algorithm} with unequal loads is not modelled. Choose {' or '.join(SKEWED)}"
                    " (network.algorithms), or a balanced router."
                )
            patterns[participant] = ALGORITHMS[algorithm](members, rank, communication, self.domain)
            self._require_order(members, patterns[participant], communication)
        return self._operation(communication.name, communication.kind, algorithm, patterns)

    def _operation(self, name: str, kind: str, algorithm: str, patterns: Mapping[int, Pattern]) -> OperationClass:
        """Turn what each participating class does into flow classes."""
        length = max(len(pattern.phases) for pattern in patterns.values())
        headings = self._headings(name, patterns)
        phases: list[tuple[FlowClass, ...]] = []
        latency = self.library.launch if length else 0.0
        for index in range(length):
            flows: list[FlowClass] = []
            waits: dict[int, list[_Wait]] = {}  # by place of the exchange in its phase
            for rank_class, pattern in patterns.items():
                for place, exchange in enumerate(pattern.phases[index] if index < len(pattern.phases) else ()):
                    made, slowest = self._flows(headings[rank_class, exchange.peers.tobytes()], exchange)
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
            rung=judge(phases, self._links.classes) if self.relaxed else "exact",
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

    def _headings(self, name: str, patterns: Mapping[int, Pattern]) -> dict[tuple[int, bytes], Heading]:
        """Where each class sends, by class and peers, and all of it routed."""
        found: dict[tuple[int, bytes], Heading] = {}
        count = len(self._paths)
        for rank_class, pattern in patterns.items():
            for phase in pattern.phases:
                for exchange in phase:
                    key = (rank_class, exchange.peers.tobytes())
                    if key in found:
                        continue
                    found[key] = heading(self.orbits, self.rank_classes[rank_class], exchange.peers)
                    count += self._paths.unmet(found[key])
                    if count > self._flow_limit:
                        raise NotModelled(
                            f"{name}: more than {self._flow_limit} classes of pairs of ranks. Relax some defects "
                            "(simulator.network.ladder), take fewer of them, or raise flow_limit."
                        )
        headings = list(found.values())
        self._paths.add(headings)
        for each in headings:
            self._require_whole(name, each)
        return found

    def _require_whole(self, name: str, each: Heading) -> None:
        """A source sends to all ranks that are alike to it, or to none of them."""
        for peer, count, code in zip(each.peers, each.counts, each.codes, strict=True):
            alike = self._paths.of(each.source, code).per_source
            if alike != count:
                raise NotModelled(
                    f"{name}: rank {each.source.representative} sends to {count} of the {alike} ranks that are alike "
                    f"to it (rank {peer} is one), so its group does not follow the folded dimensions. "
                    "Fold with symmetric=False, or name the group in `ordered`."
                )

    def _flows(self, each: Heading, exchange: Exchange) -> tuple[list[FlowClass], float]:
        """The flow classes of one exchange of one source class, and the latency of the slowest."""
        flows = []
        slowest = 0.0
        for count, code, payload in zip(each.counts, each.codes, _sizes(each, exchange), strict=True):
            path = self._paths.of(each.source, code)
            slowest = max(slowest, path.latency)
            total = each.source.size * count
            flows.append(
                FlowClass(
                    links=path.links,
                    load=path.load,
                    size=payload,
                    count=total,
                    source_class=each.source.key,
                    flows_per_source=count,
                    target_class=path.target_class,
                    flows_per_target=total / self.rank_classes[path.target_class].size,
                )
            )
        return flows, slowest

    def _require_order(self, members: Ints, pattern: Pattern, communication: Communication) -> None:
        """An algorithm that follows the order of ranks survives few swaps: refuse a folding that makes more of them."""
        if pattern.survives == "swaps":
            return
        coordinates = self.orbits.coordinates[members]
        moved = [
            part
            for column, part in enumerate(self.orbits.parts)
            if part.size > 1 and np.any(coordinates[:, column] != coordinates[0, column])
        ]
        if pattern.survives == "turns":
            fine = all(part.symmetry == "none" for part in moved[:-1]) and (moved[-1].symmetry != "full" or moved[-1].size == 2)
        else:
            pairs = pattern.survives == "flips"  # a swap of two is a flip of their bit
            fine = all(part.symmetry == "none" or (pairs and part.size == 2) for part in moved)
        if not fine:
            raise NotModelled(
                f"{communication.name}: an algorithm that follows the order of ranks needs it kept along {communication.group}. "
                f"Ask for a ring by its group (network.algorithms: {{{communication.collective}:{communication.group}: ring}}); "
                "halving-doubling and a tree with a root need every rank simulated by itself (symmetric=False)."
            )


def _sizes(each: Heading, exchange: Exchange) -> list[float]:
    """What one peer of each class gets; peers of a class all get the same."""
    if exchange.sizes is None:
        return [exchange.payload] * len(each.peers)
    by_peer = dict(zip(exchange.peers.tolist(), exchange.sizes.tolist(), strict=True))
    found = [by_peer[peer] for peer in each.peers]
    asked, folded = float(exchange.sizes.sum()), sum(size * count for size, count in zip(found, each.counts, strict=True))
    if abs(asked - folded) > 1e-9 * asked:
        raise IdentityBroken(
            f"rank {each.source.representative} sends {asked} B, its classes {folded} B: unequal peers in one class"
        )
    return found


def scale_up_domain(fabric: Fabric) -> int:
    """Ranks of one scale-up domain: what the tiers below the first scale-out tier join; all if there is none."""
    inside = [tier.units for tier in fabric.tiers if not tier.scale_out]
    if len(inside) == len(fabric.tiers):
        return fabric.ranks
    return max(inside, default=1)


def _checked(fabric: Fabric, relaxed: Sequence[Defect]) -> tuple[Defect, ...]:
    """What is dead changes routes, so only what is weak or slow can be relaxed."""
    for defect in relaxed:
        if defect not in fabric.defects or defect.left <= 0.0:
            names = "->".join(fabric.node_name(node) for node in defect.nodes)
            raise InputError("only a degraded defect of the fabric can be relaxed", got=f"{defect.kind} {names}")
    return tuple(relaxed)


def _touched(fabric: Fabric, defects: Sequence[Defect]) -> Ints:
    """The links that these defects weaken."""
    touched = np.zeros(len(fabric.tail), dtype=bool)
    for defect in defects:
        if defect.kind == "link":
            touched |= (fabric.tail == defect.nodes[0]) & (fabric.head == defect.nodes[1])
        elif defect.kind == "switch":
            touched |= (fabric.tail == defect.nodes[0]) | (fabric.head == defect.nodes[0])
    return np.flatnonzero(touched)
