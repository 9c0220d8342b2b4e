"""The most exact fold that fits: all defects told apart if that stays small, else as few as it takes.

1. *Fold* with every defect: exact.
2. *Constraints left out* (theorem 4): fold without the degraded links and switches, and take back the weakest of each class
   that is ever full, until none is: exact again. Degraded links that never bind cost nothing, however many they are.
3. Where those that do bind are too many, they stay relaxed: an operation whose flows have one size is exact to its last
   byte (theorem 2) and says ``makespan-only``, any other says ``approximate``.

Slow chips are told apart as long as that fits; relaxed, their whole class is as slow as the slowest. What is dead changes routes
and is always told apart: NotModelled where that alone is too much. The bounds are on classes of ranks, of pairs and of flows,
so time and memory are bounded too.

A rung is of an operation alone. Whether the limits that were left out held when operations overlapped is known after a run:
:func:`overrun`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.network.collectives.library import Libraries
from simulator.network.contract import LinkClass, Placement
from simulator.network.fold import CLASS_LIMIT, FLOW_LIMIT, FREE, Fold
from simulator.network.rungs import FULL, stopping
from simulator.network.unfolded import Send
from simulator.network.usage import Usage
from simulator.spec.errors import NotModelled
from topologies.fabric import Defect, Fabric
from workloads.instructions import Communication

#: Times that defects are taken back into the fold.
ROUNDS = 6

#: Flow classes of all operations together; half a million took 12 s of CPU to fold and 60 s or more to simulate.
TOTAL_LIMIT = 1_000_000


def best_fold(
    fabric: Fabric,
    groups: Placement,
    operations: Sequence[Communication | Send],
    *,
    libraries: Libraries = FREE,
    algorithms: Mapping[str, str] | None = None,
    ordered: Sequence[str] = (),
    class_limit: int = CLASS_LIMIT,
    flow_limit: int = FLOW_LIMIT,
    total_limit: int = TOTAL_LIMIT,
    alone: bool = False,
    loads: Sequence[int] = (),
) -> Fold:
    """A fold that has these operations, every one run by all ranks; ``fold.relaxed`` says which defects it does not tell apart.

    ``alone``: each operation has the machine to itself and no rank computes, so rung 2 comes first: it is as exact and smaller.
    Raises NotModelled where even what is dead leaves more classes than the limits allow.
    """

    def fold(relaxed: Sequence[Defect]) -> Fold:
        made = Fold(
            fabric,
            groups,
            libraries=libraries,
            algorithms=algorithms,
            ordered=ordered,
            class_limit=class_limit,
            flow_limit=flow_limit,
            relaxed=relaxed,
            loads=loads,
        )
        _ask(made, operations, total_limit)
        return made

    weak = [defect for defect in fabric.defects if defect.left > 0.0 and defect.kind != "chip"]
    slow = [defect for defect in fabric.defects if defect.left > 0.0 and defect.kind == "chip"]
    fitting = None
    for relaxed in _choices(weak, slow, alone):
        try:
            fitting = fold(relaxed)
            break
        except NotModelled:
            if len(relaxed) == len(weak) + len(slow):
                raise
    assert fitting is not None
    for _ in range(ROUNDS):
        binding = _binding(fitting)
        if not binding:
            break
        try:
            fitting = fold([defect for defect in fitting.relaxed if defect not in binding])
        except NotModelled:
            break
    return fitting


def overrun(fold: Fold, usage: Usage) -> tuple[LinkClass, ...]:
    """The relaxed link classes that were full at some time of a run: without any, all of it was exact."""
    relaxed = [link for link in fold.link_classes if link.relaxed]
    return tuple(link for link in relaxed if float(np.max(usage.steps(link.key)[1])) >= FULL)


def _choices(weak: list[Defect], slow: list[Defect], alone: bool) -> list[list[Defect]]:
    """What to relax, in the order to try it, without repetition."""
    if alone:
        return [[*weak, *slow]]
    found: list[list[Defect]] = []
    for relaxed in ([], weak, [*weak, *slow]):
        if relaxed not in found:
            found.append(relaxed)
    return found


def _ask(fold: Fold, operations: Sequence[Communication | Send], limit: int) -> None:
    """Make every operation class that the operations need. NotModelled beyond so many flow classes in all."""
    fold.route_sends((each.source, each.target) for each in operations if isinstance(each, Send))
    for operation in operations:
        for rank_class in fold.rank_classes:
            if not isinstance(operation, Send):
                fold.collective(rank_class.key, operation)
            elif rank_class.pp_rank == operation.source:
                fold.send(rank_class.key, operation.target, operation.payload)
        if fold.flow_class_count > limit:
            raise NotModelled(
                f"the defects of {fold.fabric.name} leave {len(fold.rank_classes)} classes of ranks and more than {limit} of "
                "flows, too many to simulate. Take fewer defects, nearer to each other, or a part of the machine without them."
            )


def _binding(fold: Fold) -> list[Defect]:
    """The relaxed defects that hold down a class which is full at some time of one of the operations alone.

    The weakest of a class only: without them, the class may have room for what the others leave.
    """
    if not fold.relaxed:
        return []
    full = {link for operation in fold.operations for phase in operation.phases for link in stopping(phase, fold.link_classes)}
    return [defect for defect in fold.relaxed if not full.isdisjoint(fold.held_down_by(defect))]
