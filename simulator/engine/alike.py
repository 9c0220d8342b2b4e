"""What a rank did by itself in a slot, kept for whoever does the same: on other links, or in another step.

A rank that meets nobody in a slot sends and computes there as its blocks say, as its chip can and as its links let it. Pipeline
ranks of the same layers run the same blocks, and their collectives load links of their own, as a rule in the same way; and a step
with another batch or another order of the same blocks runs them again. If chip, blocks and links are alike (the same flows, in
the same order, on links of the same capacities that meet in the same places), everything that decides the course of the slot
is the same but for the names of links and operations, and so is the course: it is rehearsed once.

A rehearsal that is to be kept is played on a network that knows nothing else, so it is the same to the last bit whatever
was simulated before.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from simulator.engine.chip import Device
from simulator.engine.ensemble import Role
from simulator.engine.recorder import Recorder
from simulator.network.contract import LinkClass, OperationClass
from simulator.network.history import History
from simulator.network.shares import Shares
from simulator.network.sheets import Sheet
from workloads.instructions import Instruction

if TYPE_CHECKING:
    from simulator.engine.stretches import Tree

Likeness = tuple[object, ...]
Place = tuple[int, int, int]  # of a flow: number of its operation, phase, place in the phase

MOST = 512
"""Slots that are kept in a process; each takes up to some tens of kilobytes."""

SCRIPTS = 1024
"""Blocks that are told apart at the same time."""

MOST_FLOWS = 1000
"""Flow classes of a slot up to which it is kept: what it is kept by must stay small beside what it saves."""

DEVICES = 32
"""Chips, under a stack and at a speed, that are told apart at the same time."""


def likeness(operations: Sequence[OperationClass], rank_class: int, link_classes: Sequence[LinkClass]) -> Likeness | None:
    """All that decides how these operations of one rank class go, links numbered as they are met.

    Equal for two rank classes: their operations, one for one, take the same time alone and beside each other. None if others
    are in them, or they are of more than MOST_FLOWS flow classes.
    """
    if sum(len(phase) for operation in operations for phase in operation.phases) > MOST_FLOWS:
        return None
    numbers: dict[int, int] = {}
    found: list[object] = []
    for operation in operations:
        if operation.participants != (rank_class,):
            return None
        phases: list[object] = []
        for phase in operation.phases:
            flows: list[object] = []
            for flow in phase:
                if flow.source_class != rank_class or flow.target_class != rank_class:
                    return None
                links = tuple([numbers.setdefault(link, len(numbers)) for link in flow.links.tolist()])
                ends = flow.flows_per_source, flow.flows_per_target
                flows.append((links, tuple(flow.load.tolist()), flow.size, flow.weight, flow.rate_cap, ends))
            phases.append(tuple(flows))
        found.append((operation.kind, operation.latency, tuple(phases)))
    return *found, tuple([link_classes[link].capacity for link in numbers])


@dataclass(frozen=True, slots=True)
class Keepsake:
    """One rank class through one slot: its role and spans, and what the network did, in terms of its operations one by one.

    ``shares`` are those of the ``sheet``, by their numbers there: the flows that competed, by shape.
    """

    role: Role
    recorder: Recorder
    sheet: Sheet
    shares: tuple[tuple[tuple[Place, ...], ...], ...]
    completed: tuple[tuple[int, int], ...]  # number of an operation, how often

    @classmethod
    def of(
        cls, role: Role, recorder: Recorder, history: History, shares: Shares, operations: Sequence[OperationClass]
    ) -> Keepsake:
        """What is left of a rehearsal on a network of its own."""
        places: dict[int, Place] = {}
        for number, operation in enumerate(operations):
            if operation.key not in history.completed:
                continue
            for index, phase in enumerate(operation.phases):
                for place in range(len(phase)):
                    places.setdefault(shares.pattern_at(phase, place, operation.kind), (number, index, place))
        used = sorted(set(history.share))
        numbers = {key: number for number, key in enumerate(used)}
        shapes = [[shares.shapes[shape] for shape in shares.shares[key].shapes] for key in used]
        at = {operation.key: number for number, operation in enumerate(operations)}
        return cls(
            role=role,
            recorder=recorder,
            sheet=Sheet(history.start, history.end, array("q", [numbers[key] for key in history.share])),
            shares=tuple(tuple(tuple(places[each] for each in shape) for shape in competing) for competing in shapes),
            completed=tuple((at[key], times) for key, times in history.completed.items()),
        )

    def history(self, shares: Shares, operations: Sequence[OperationClass]) -> History:
        """What the network does for a rank whose operations are these, alike to those of the rehearsal one for one."""
        keys, sheet = self.keys(shares, operations), self.sheet
        done = self.done(operations)
        return History(
            start=sheet.start,
            end=sheet.end,
            share=array("q", [keys[number] for number in sheet.share]),
            completed={operation.key: times for operation, times in done},
            operations={operation.key: operation for operation, _ in done},
        )

    def keys(self, shares: Shares, operations: Sequence[OperationClass]) -> list[int]:
        """Its shares, of such a rank."""
        known: dict[Place, int] = {}  # most flows are in many of the shapes

        def pattern(place: Place) -> int:
            found = known.get(place)
            if found is None:
                operation = operations[place[0]]
                found = known[place] = shares.pattern_at(operation.phases[place[1]], place[2], operation.kind)
            return found

        found = []
        for competing in self.shares:
            shapes = [shares.shape(tuple(sorted([pattern(place) for place in shape]))) for shape in competing]
            found.append(shares.share(tuple(sorted(shapes))).key)
        return found

    def done(self, operations: Sequence[OperationClass]) -> list[tuple[OperationClass, int]]:
        """What of them is completed, how often."""
        return [(operations[number], times) for number, times in self.completed]


class Keepsakes:
    """The last ``most`` slots that were asked for, by all that decides them, and as many trees of stretches; of one process."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._kept: OrderedDict[tuple[object, ...], Keepsake] = OrderedDict()
        self._trees: OrderedDict[tuple[object, ...], Tree] = OrderedDict()
        self._scripts: OrderedDict[tuple[Instruction, ...], int] = OrderedDict()
        self._same: dict[int, tuple[tuple[Instruction, ...], int]] = {}  # scripts by identity, held so that it stays theirs
        self._devices: deque[tuple[Device, int]] = deque(maxlen=DEVICES)
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._kept) + len(self._trees)

    def device(self, device: Device) -> int:
        """A number that equal devices share. One that was long not seen gets another: what was kept under the old one is lost."""
        for known, number in self._devices:
            if known == device:
                return number
        number = next(self._numbers)
        self._devices.append((device, number))
        return number

    def script(self, instructions: tuple[Instruction, ...]) -> int:
        """A number that equal instructions share, as long as they are remembered; the one that is known longest goes first.

        Not the one that was longest not asked for: to note who asks takes as long as to find it, most of a millisecond a block.
        """
        same = self._same.get(id(instructions))
        if same is not None:
            return same[1]
        number = self._scripts.get(instructions)
        if number is None:
            number = self._scripts[instructions] = next(self._numbers)
            if len(self._scripts) > SCRIPTS:
                self._scripts.popitem(last=False)
                self._same.clear()  # of the one that went, too
        elif len(self._same) >= SCRIPTS:
            self._same.clear()
        self._same[id(instructions)] = instructions, number
        return number

    def find(self, key: tuple[object, ...]) -> Keepsake | None:
        """What is kept under it."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: tuple[object, ...], keepsake: Keepsake) -> None:
        """Remember it; the one that was longest not asked for goes."""
        self._kept[key] = keepsake
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    def tree(self, key: tuple[object, ...], new: Callable[[], Tree]) -> Tree:
        """The stretches that are kept under it, if only none yet."""
        found = self._trees.get(key)
        if found is None:
            found = self._trees[key] = new()
            if len(self._trees) > self.most:
                self._trees.popitem(last=False)
        else:
            self._trees.move_to_end(key)
        return found

    def forget(self) -> None:
        """Begin anew."""
        self._kept.clear()
        self._trees.clear()
        self._scripts.clear()
        self._same.clear()
        self._devices.clear()


KEPT = Keepsakes()
"""Those of this process."""
