"""A step without a common clock: every slot is one event, for nobody meets anybody but by mail over links that are never full.

Where no rank class has anybody but itself in the collectives of its slots, stages know of each other by what they send only.
What a rank does between two messages is then the same at any time (:mod:`simulator.engine.stretches`), and so is how long mail is
on its way. So each pipeline rank goes through its schedule for as long as what it needs has come, one addition a slot, and is
written down as it would have been (:mod:`simulator.engine.traveller`).

That is the step if no link is overfull at any moment of it: the first moment at which it could go otherwise would be one at which
a link is (theorem 4 of docs/network.md). If one is, there is no such step, and the clock has to tell.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import count, islice

from simulator.engine.accounts import SlotBooks
from simulator.engine.acts import Act, acts
from simulator.engine.alike import KEPT, Keepsake, likeness
from simulator.engine.clock import Clock, picoseconds
from simulator.engine.ensemble import Role
from simulator.engine.itinerary import HERE, Scene, itinerary
from simulator.engine.rank import Rank, World
from simulator.engine.recorder import Recorder
from simulator.engine.stretches import Tree
from simulator.engine.traveller import Entangled, Mailbox, Traveller, Way
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.sheets import Sheet
from simulator.network.usage import Usage
from workloads.instructions import Communication, Start


class Macro:
    """A step of these ranks, by class; ``slots`` counts those of all of them."""

    def __init__(self, world: World, network: FluidNetwork, ranks: Mapping[int, Rank]) -> None:
        self._world = world
        self._network = network
        self._travellers: list[Traveller] = []
        self._meetings: dict[int, Keepsake] = {}  # by operation
        self._uses: dict[tuple[int, Communication], dict[int, float]] = {}
        self._lanes = count()
        self.slots = 0
        self._ranks = ranks

    @property
    def events(self) -> int:
        """One a slot, and those of what had to be played."""
        return self.slots + sum(traveller.events for traveller in self._travellers)

    @property
    def repeated(self) -> int:
        """Slots that did not have to be played."""
        return max(0, self.slots - sum(traveller.played for traveller in self._travellers))

    def run(self) -> Usage | None:
        """Go through the step and write it down, down to the use of links; None if it can't be told so."""
        if not self._meets_by_mail_only() or not self._mail_has_room():
            return None
        for traveller in self._travellers:
            traveller.tree = self._tree(traveller)
        box = Mailbox(self._lasts)
        box.ready += reversed(self._travellers)
        try:
            while box.ready:
                box.ready.pop().go(box)
        except Entangled:
            return None
        if not box.is_done:
            return None  # a deadlock, which the clock tells of
        self._write_mail(box)
        self._write_stretches()
        usage = Usage(self._network)
        return None if usage.overfull() else usage

    def _meets_by_mail_only(self) -> bool:
        """Every pipeline rank one class that has all of its collectives to itself in every slot; mail one flow to one class."""
        folding = self._world.folding
        of_stage = {rank_class.pp_rank: rank_class.key for rank_class in folding.rank_classes}
        if len(of_stage) < len(folding.rank_classes):
            return False
        for key, rank in self._ranks.items():
            route = itinerary(rank)
            operation_of = partial(folding.collective, key)
            ends = [acts(block, operation_of, key) for block in (rank.program.prologue, rank.program.epilogue)]
            if ends[0] is None or ends[1] is None:
                return False
            operations = [operation_of(asked) for asked in _asked((*ends[0], *route.scenes, *ends[1]))]
            if not all(_is_alone(operation, key) for operation in operations):
                return False
            traveller = Traveller(rank, route, (ends[0], ends[1]), operations, self._network)
            for target in sorted({cell.target for cell in route.cells} - {HERE}):
                operation, targets = rank.route(target)
                course = self._network.course(operation)
                if course is None or targets != (of_stage[target],):
                    return False
                traveller.ways[target] = Way(operation, course, course.plan.latency + course.ticks)
            self._travellers.append(traveller)
            self.slots += len(route.scene)
        return True

    def _mail_has_room(self) -> bool:
        """Whether mail may find its links free; notes where it has no room beside what a prologue leaves under way.

        Found out before anything is played. What is not found out here passes for no answer: all links are looked at in the end.
        """
        of_stage = {traveller.rank.program.pp_rank: traveller for traveller in self._travellers}
        if self._crowd([act.operation for traveller in self._travellers for act in traveller.first_meeting]):
            return False  # they all begin at once
        for traveller in self._travellers:
            # What leaves as a slot ends meets what the slot began last, what leaves at the end what comes after it.
            meets = [(way, asked) for scene, way in traveller.departures() for asked in _left_by(scene)[-1:]]
            if traveller.last_way is not None:
                meets += [(traveller.last_way, asked) for asked in islice(_asked(traveller.acts[1]), 1)]
            if any(self._crosses(way, traveller, asked) and self._overlaps(way, traveller, asked) for way, asked in meets):
                return False
            for target, way in traveller.ways.items():
                if any(self._crosses(way, traveller, asked) for scene in traveller.acts[0] for asked in _left_by(scene)):
                    traveller.crowded.add(target)
                there = of_stage[target]
                if any(self._crosses(way, there, asked) for scene in there.acts[0] for asked in _left_by(scene)):
                    there.shut = True
        return True

    def _crowd(self, operations: Iterable[OperationClass]) -> bool:
        """Whether collectives of all these overfill a link if they go together."""
        use: dict[int, float] = {}
        for operation in {operation.key: operation for operation in operations}.values():
            for link, amount in self._network.alone(operation).items():
                use[link] = use.get(link, 0.0) + amount
        limits = self._network.shares.limits
        return any(amount > limits[link] for link, amount in use.items())

    def _crosses(self, way: Way, traveller: Traveller, asked: Communication) -> bool:
        """Whether mail and a collective of a rank overfill a link together."""
        key = traveller.rank.rank_class, asked
        use = self._uses.get(key)
        if use is None:
            use = self._uses[key] = self._network.alone(self._world.folding.collective(*key))
        limits = self._network.shares.limits
        return any(amount + use.get(link, 0.0) > limits[link] for link, amount in way.course.legs[0].share.use)

    def _overlaps(self, way: Way, traveller: Traveller, asked: Communication) -> bool:
        """Whether mail is still on its way when the bytes of a collective leave that was asked for as it was sent."""
        operation = self._world.folding.collective(traveller.rank.rank_class, asked)
        return way.course.plan.latency + way.course.ticks > picoseconds(operation.latency)

    def _lasts(self, operation: OperationClass) -> int:
        """How long a meeting lasts [ps]; what it does on the links is kept."""
        found = self._meetings.get(operation.key)
        if found is None:
            clock = Clock()
            network = self._network.anew(clock)
            ended: list[int] = []
            network.launch(operation).callbacks.append(lambda _event: ended.append(clock.now))
            clock.run()
            (end,) = ended
            role = Role(end, (), SlotBooks(None, (), (), 0))
            kept = Keepsake.of(role, Recorder(), network.history, network.shares, [operation])
            found = self._meetings[operation.key] = kept
        return found.role.end

    def _tree(self, traveller: Traveller) -> Tree:
        """The stretches of all that are like this rank class."""
        alike = likeness(traveller.operations, traveller.rank.rank_class, self._world.folding.link_classes)
        return Tree() if alike is None else KEPT.tree((traveller.rank.world.device, alike), Tree).trimmed()

    def _write_mail(self, box: Mailbox) -> None:
        """What mail and meetings did on the links."""
        found, shares = self._network.history, self._network.shares
        for traveller in self._travellers:
            for way in traveller.ways.values():
                course = way.course
                letter = Sheet(array("q", [course.plan.latency]), array("q", [way.lasts]), array("q", [0]))
                found.lay(letter, [course.legs[0].share.key], way.began, [(way.operation, 1)], next(self._lanes))
        shares.know(self._world.folding.link_classes)
        for gathering in box.gatherings.values():
            assert gathering.begins is not None
            kept, met = self._meetings[gathering.operation.key], [gathering.operation]
            found.lay(kept.sheet, kept.keys(shares, met), [gathering.begins], kept.done(met), next(self._lanes))

    def _write_stretches(self) -> None:
        """What ranks did by themselves, on their lanes and on the links."""
        shares, history, recorder = self._network.shares, self._network.history, self._world.recorder
        for traveller in self._travellers:
            traveller.write()
            lane = next(self._lanes)
            for seen, starts in traveller.over.items():
                whole = seen.whole
                assert whole is not None
                history.lay(whole.sheet, whole.keys(shares, traveller.operations), starts, whole.done(traveller.operations), lane)
                recorder.repeat(whole.recorder, starts, traveller.rank.rank_class)


def _asked(parts: Iterable[Act]) -> Iterator[Communication]:
    """The collectives that a rank comes to by itself, each once, in the order of its program."""
    found: dict[Communication, None] = {}
    for part in parts:
        if isinstance(part, Scene):
            found.update({communication: None for block in part.blocks for communication in block.communications})
    yield from found


def _left_by(scene: Scene) -> list[Communication]:
    """The collectives that a scene leaves under way."""
    steps = (step for block in scene.blocks for step in block.instructions)
    return [step.communication for step in steps if isinstance(step, Start) and step.token in scene.leaves]


def _is_alone(operation: OperationClass, rank_class: int) -> bool:
    """Whether nobody else is in a collective."""
    flows = (flow for phase in operation.phases for flow in phase)
    return operation.participants == (rank_class,) and all(
        flow.source_class == rank_class and flow.target_class == rank_class for flow in flows
    )
