"""The fabrics and plans on which folding is held against every flow by itself, and how the two are laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from simulator.network.contract import FlowClass
from simulator.network.fold import Fold
from simulator.network.maxmin import Loads
from simulator.network.unfolded import Flows, Send
from tests.network import fabrics
from topologies.fabric import Fabric, Floats
from workloads.groups import Groups
from workloads.instructions import Communication

FABRICS: dict[str, Callable[[], Fabric]] = {
    "star 16, 3 planes": lambda: fabrics.star(16, 5.0, planes=3, efficiency=0.8),
    "star 24": lambda: fabrics.star(24, 1.0),
    "mesh 8": lambda: fabrics.mesh((8,), (1.0,), ports=4.0),
    "mesh 4x4": lambda: fabrics.mesh((4, 4), (1.0, 0.7), ports=3.0),
    "mesh 2x2x4, no ports": lambda: fabrics.mesh((2, 2, 4), (1.0, 1.3, 0.4), efficiency=0.9),
    "mesh 4x8, dimension order": lambda: fabrics.mesh((4, 8), (1.0, 1.0), spray=False),
    "torus 4x4": lambda: fabrics.torus((4, 4)),
    "torus 3x5": lambda: fabrics.torus((3, 5)),
    "torus 4x5, turned round": lambda: fabrics.torus((4, 5), symmetry="dihedral"),
    "torus 6x3, turned round": lambda: fabrics.torus((6, 3), symmetry="dihedral"),
    "clos 4x4": lambda: fabrics.clos(4, 4, 1.0, 2.0, efficiencies=(0.9, 0.8)),
    "clos 8x4, tight ports": lambda: fabrics.clos(8, 4, 2.0, 3.0, planes=3, spines=2, ports=1.7),
    "rails 4x4": lambda: fabrics.rails(4, 4, 8.0, 1.0, efficiencies=(0.8, 0.95)),
    "rails 6x4": lambda: fabrics.rails(6, 4, 8.0, 1.0, ports=6.0),
}


def plans(ranks: int) -> list[Groups]:
    """Legal plans of different kinds: dense, expert-parallel, with and without pipeline, sizes that do not divide tiers."""
    found = []
    for tp, cp, pp, etp, ep in (
        (1, 1, 1, 1, 1),
        (2, 1, 2, 1, 4),
        (1, 2, 2, 2, 2),
        (4, 1, 1, 1, 8),
        (1, 1, 4, 1, 4),
        (2, 2, 1, 4, 2),
        (3, 1, 1, 1, 3),
        (1, 3, 2, 1, 4),
        (1, 1, 1, 1, 5),
        (4, 1, 1, 1, 6),
        (4, 1, 2, 2, 3),
    ):
        if ranks % (tp * cp * pp) == 0 and (ranks // pp) % (etp * ep) == 0:
            found.append(Groups(tp, cp, ranks // (tp * cp * pp), pp, etp, ep))
    return found


def launch_all(fold: Fold, operations: Sequence[Communication | Send]) -> list[list[tuple[FlowClass, ...]]]:
    """The phases of every operation class that these operations make, for each operation."""
    found = []
    for operation in operations:
        phases: dict[int, tuple[tuple[FlowClass, ...], ...]] = {}
        for rank_class in fold.rank_classes:
            if isinstance(operation, Send):
                if rank_class.pp_rank == operation.source:
                    made = fold.send(rank_class.key, operation.target, operation.payload)
                    phases[made.key] = made.phases
            else:
                made = fold.collective(rank_class.key, operation)
                phases[made.key] = made.phases
        longest = max((len(each) for each in phases.values()), default=0)
        found.append([sum((tuple(each[index]) for each in phases.values() if index < len(each)), ()) for index in range(longest)])
    return found


def system(fold: Fold, flows: Sequence[FlowClass]) -> tuple[Loads, Floats]:
    """The folded matrix of these flow classes and the capacities of the link classes."""
    loads = Loads(
        flow=np.repeat(np.arange(len(flows)), [len(flow.links) for flow in flows]),
        link=np.concatenate([flow.links for flow in flows]),
        load=np.concatenate([flow.load for flow in flows]),
        flows=len(flows),
        links=len(fold.link_classes),
    )
    return loads, np.array([link_class.capacity for link_class in fold.link_classes])


def rates_of_each_flow(
    fold: Fold, rates: Floats, tagged: Sequence[tuple[int, FlowClass]], each: Flows, chosen: Sequence[int]
) -> Floats:
    """The folded rate of every unfolded flow, found by operation, source class, pair and size."""
    table: Mapping[tuple[int, int, int, float], float] = {
        (operation, flow.source_class, flow.path, about(flow.size)): rate
        for (operation, flow), rate in zip(tagged, rates.tolist(), strict=True)
    }
    found = []
    for flow in chosen:
        source, target = int(each.source[flow]), int(each.target[flow])
        path = fold.path(source, target)
        key = (int(each.operation[flow]), int(fold.orbits.rank_class[source]), path.number, about(float(each.size[flow])))
        found.append(table[key])
    return np.array(found)


def about(size: float) -> float:
    """A size without its last bits: the fold makes it of one byte's share, the flows of the whole payload."""
    return float(f"{size:.12g}")
