"""A rank as a process: it walks its pipeline schedule, computes, starts and awaits communication.

A slot of the schedule is one chain of instructions, or two (a forward and a backward) side by side; chains share the
rank's lanes, so how much hides behind what is an outcome, never an assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from simulator.engine.accounts import Accounts, Waiting
from simulator.engine.clock import Clock
from simulator.engine.host import NO_HOST, HostRates
from simulator.engine.host_lanes import HostLanes
from simulator.engine.lanes import CommunicationLane, ComputeLane, Rendezvous, Ticket
from simulator.engine.post import Letter, Post
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Segment
from simulator.network.contract import Folding, Network, OperationClass
from workloads.instructions import Block, Compute, HostWork, Program, RankProgram, Slot, Start, Wait, Work, WorkKind

if TYPE_CHECKING:
    from simulator.engine.ensemble import Role
    from simulator.engine.itinerary import Itinerary
    from simulator.engine.performance import Performance
    from simulator.engine.rehearsal import Rehearsals

Steps = Generator[Event, Any, None]
KINDS = ("tp", "cp", "ep", "dp")  # of collectives; transfers between stages are post
SLOT = LANES.index("slot")


@dataclass(frozen=True, slots=True)
class Contention:
    """What communication takes from compute: cores by kind (fractions), HBM bytes per payload byte, over bandwidth [B/s]."""

    cores: dict[str, float]
    memory_factor: float
    memory_bandwidth: float


@dataclass(frozen=True, slots=True)
class World:
    """What all ranks share."""

    clock: Clock
    network: Network
    folding: Folding
    program: Program
    rendezvous: Rendezvous
    post: Post
    recorder: Recorder
    contention: Contention
    segment: Callable[[Compute], Segment]
    on_slot: Callable[[], None]
    rehearsals: Rehearsals | None = None  # None: every slot is played
    host: HostRates = NO_HOST
    device: int = -1  # number of what computes (simulator.engine.alike)


class Rank:
    """One class of identical ranks, played by its representative."""

    def __init__(
        self, world: World, rank_class: int, program: RankProgram, accounts: Accounts | None = None, like: Rank | None = None
    ) -> None:
        """``like``: another rank of the same program, to take over what is known of it."""
        self.world = world
        self.rank_class = rank_class
        self.program = program
        self.accounts = accounts or Accounts(rank_class, world.recorder)
        self._cores = 0.0
        self.compute = ComputeLane(world.clock, self.accounts, self.contention)
        self.lanes = {
            kind: CommunicationLane(world.clock, world.rendezvous, self.accounts, world.recorder, kind, self._activity)
            for kind in KINDS
        }
        self.host = HostLanes(world.clock, world.host, self.accounts, world.recorder, self._draw)
        self._drawn = 0.0
        self._active = dict.fromkeys(KINDS, 0)
        self._tickets: dict[str, Ticket] = {}
        self._operations: dict[int, OperationClass] = like._operations if like else {}
        self.route_of_slots: Itinerary | None = None  # of all slots, once somebody has written it
        self._routes: dict[int, tuple[OperationClass, tuple[int, ...]]] = {}
        self.performance: Performance | None = None  # the slot of a team that it takes part in
        self.waits_for: tuple[str, int, int] | None = None  # in a slot, with nothing else under way: what, of which work, since
        self.letter: Letter | None = None  # what it sent last, if it has to wait for it
        self.plays = True  # whether it runs its instructions itself at the moment
        self._leap: tuple[int, int] | None = None
        self.places = [0, 0]  # of each chain of its slot, the instruction that it is at
        self.position = 0  # of the slot that it waits for, or is in
        self.skipped = 0
        self.behind = 0
        self.on_slot: Callable[[Rank], None] | None = None
        self.finished = -1

    def prologue(self) -> Steps:
        """What comes before the first slot."""
        yield from self._execute(self.program.prologue, 0, optimizer=False)

    def epilogue(self) -> Steps:
        """What comes after the last slot; then the rank is through."""
        yield from self._execute(self.program.epilogue, 0, optimizer=True)
        self.finished = self.world.clock.now

    def contention(self) -> tuple[float, float]:
        """What communication now takes: fractions of the cores and of the memory bandwidth."""
        contention = self.world.contention
        rate = self.world.network.memory_rate(self.rank_class)
        return self._cores, (rate * contention.memory_factor + self._drawn) / contention.memory_bandwidth

    def _draw(self, change: float) -> None:
        """Copies to and from the host read or write the chip's memory."""
        self._drawn += change
        self.compute.refresh()

    def _activity(self, kind: str, change: int) -> None:
        self._active[kind] += change
        cores = self.world.contention.cores
        taken = 0.0
        for active, count in self._active.items():
            if count:
                taken += cores[active]
        self._cores = taken
        self.compute.refresh()

    @property
    def is_quiet(self) -> bool:
        """Whether no collective of this rank is under way or asked for, transfers to other stages apart."""
        for lane in self.lanes.values():
            if not lane.is_idle:
                return False
        return self.host.is_idle

    def comes_quiet_to(self, turn: int) -> bool:
        """Whether it is certain that it comes to a slot with idle lanes: it is on its way there, and starts nothing before."""
        on_its_way = self.turn == turn or (self.turn == turn - 1 and self.performance is not None)
        return on_its_way and not self.plays and self.is_quiet

    @property
    def turn(self) -> int:
        """Slots that it was in before this one; those not counted that it leapt over."""
        return self.position - self.skipped

    def leap(self, slots: int, micro_batches: int) -> None:
        """Go on as if the slot under way were that many slots later; of messages, all goes on under the old numbers."""
        self._leap = (slots, micro_batches)

    def end_slot(self) -> None:
        """It is through with the slot that it was in; lands after those that it leaps over."""
        self.world.on_slot()
        self.position += 1
        if self._leap is not None:
            (slots, micro_batches), self._leap = self._leap, None
            self.position += slots
            self.skipped += slots
            self.behind += micro_batches
            for _ in range(slots):
                self.world.on_slot()

    def state(self, now: int, slots: int, micro_batch: int) -> tuple[object, ...] | None:
        """All that may decide how it goes on, counted from a moment, a slot and a micro-batch; None while more is under way."""
        performance = self.performance
        where: tuple[object, ...] | None
        if performance is not None:
            where = performance.state(self.rank_class)
            if where is None:
                return None
        elif self.waits_for is not None and self.is_quiet:
            what, work, since = self.waits_for
            where = (what, work, since - now)
        else:
            return None
        return self.turn - slots, where, self.world.post.state_of(self.rank_class, now, micro_batch), self.accounts.state(now)

    def play(self, slot: Slot) -> Steps:
        """Run the works of a slot, instruction by instruction."""
        if len(slot) == 1:
            yield from self._work(slot[0], 0)
        else:
            yield self.world.clock.all_of(self.world.clock.process(self._work(work, chain)) for chain, work in enumerate(slot))

    def leave(self, start: int, role: Role) -> None:
        """A slot of a team that it took part in from ``start`` [ps] on is over: book what was done in it."""
        self.performance = None
        self.accounts.replay(start, role.books)
        for work, (begin, end) in zip(self.program.slots[self.position], role.works, strict=True):
            self.note_work(work, start + begin, start + end)

    def _work(self, work: Work, chain: int) -> Steps:
        start = self.world.clock.now
        yield from self._execute(self.block(work), chain, optimizer=False)
        self.note_work(work, start, self.world.clock.now)

    def note_work(self, work: Work, start: int, end: int) -> None:
        """Record a cell of the schedule."""
        self.world.recorder.add(
            self.rank_class, SLOT, cell_name(work.kind, work.stage, work.direction), start, end, work.micro_batch - self.behind
        )

    def ends(self, work: Work) -> tuple[Work, Work]:
        """The first and the last work of its stage, direction and kind in the schedule."""
        return self.program.ends[work.stage, work.direction, str(work.kind)]

    def block(self, work: Work) -> Block:
        """The variant of a work's block: parameters may still arrive for the first, gradients leave at the last."""
        blocks, variant = self.program.blocks, self.program.variant
        base = (work.stage, work.direction, str(work.kind))
        first, last = self.ends(work)
        if work == first and (*base, variant("first", work.micro_batch)) in blocks:
            return blocks[*base, variant("first", work.micro_batch)]
        if work == last and (*base, variant("last", work.micro_batch)) in blocks:
            return blocks[*base, variant("last", work.micro_batch)]
        return self.plain_block(work)

    def plain_block(self, work: Work) -> Block:
        """That of a micro-batch in the middle of the schedule."""
        return self.program.blocks[work.stage, work.direction, str(work.kind), self.program.variant("", work.micro_batch)]

    def _execute(self, block: Block, chain: int, *, optimizer: bool, first: int = 0) -> Steps:
        """Run a block, from its instruction ``first`` on: what those before it began is over."""
        local: dict[str, Ticket] = {}
        places = self.places
        for places[chain], instruction in enumerate(block.instructions[first:], first):
            if isinstance(instruction, Compute):
                yield self.compute.submit(self.world.segment(instruction), optimizer)
            elif isinstance(instruction, Start):
                operation = self.operation(instruction)
                communication = instruction.communication
                local[instruction.token] = self.lanes[communication.kind].submit(operation, communication.name, chain)
            elif isinstance(instruction, HostWork):
                after = local.get(instruction.after) or self._tickets.get(instruction.after)
                local[instruction.token] = self.host.submit(instruction, after)
            else:
                yield from self._wait(self._ticket(instruction, local))
        places[chain] = len(block.instructions)
        self._tickets.update(local)

    def _ticket(self, instruction: Wait, local: dict[str, Ticket]) -> Ticket:
        ticket = local.pop(instruction.token, None)
        return ticket if ticket is not None else self._tickets.pop(instruction.token)

    def operation(self, start: Start) -> OperationClass:
        """The collective that an instruction of its program starts."""
        operation = self._operations.get(id(start))
        if operation is None:
            operation = self.world.folding.collective(self.rank_class, start.communication)
            self._operations[id(start)] = operation
        return operation

    def route(self, pp_rank: int) -> tuple[OperationClass, tuple[int, ...]]:
        """How it sends to another pipeline rank, and which rank classes get it."""
        found = self._routes.get(pp_rank)
        if found is None:
            operation = self.world.folding.send(self.rank_class, pp_rank, self.world.program.boundary_bytes)
            targets = tuple({flow.target_class for phase in operation.phases for flow in phase})
            found = self._routes[pp_rank] = operation, targets
        return found

    def _wait(self, ticket: Ticket) -> Steps:
        if ticket.done.processed:
            return
        start = self.world.clock.now
        yield ticket.done
        self.note(start, ticket.joined, ticket.arrived, ticket.kind, "straggler_wait")

    def note(self, start: int, joined: int, arrived: int, kind: str, others: str) -> None:
        """It waited from ``start`` until now: see :class:`Waiting`."""
        now = self.world.clock.now
        if now > start:
            self.accounts.waits.append(Waiting(start, now, joined, arrived, kind, others))

    def neighbour(self, work: Work, ahead: bool) -> int | None:
        """The stage that sends to this work (or that it sends to); None at the ends and for weight gradients."""
        if work.kind is WorkKind.W:
            return None
        forward = work.kind is WorkKind.F
        stage = work.stage + (1 if forward == ahead else -1)
        return stage if 0 <= stage < len(self.world.program.rank_of[work.direction]) else None


@cache
def cell_name(kind: WorkKind, stage: int, direction: int) -> str:
    """What a cell of the schedule is called."""
    return f"{kind}{{}} stage {stage}" + (" reverse" if direction else "")


def refresh(ranks: Sequence[Rank]) -> None:
    """Payload rates of these ranks changed."""
    performing: dict[Performance, list[int]] = {}
    for rank in ranks:
        if rank.performance is None:
            rank.compute.refresh()
        else:
            performing.setdefault(rank.performance, []).append(rank.rank_class)
    for performance, rank_classes in performing.items():
        performance.refresh(tuple(rank_classes))
