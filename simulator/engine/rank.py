"""A rank as a process: it walks its pipeline schedule, computes, starts and awaits communication.

A slot of the schedule is one chain of instructions, or two (a forward and a backward) side by side; chains share the
rank's lanes, so how much hides behind what is an outcome, never an assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from simulator.engine.accounts import Accounts, Waiting
from simulator.engine.clock import Clock
from simulator.engine.host import NO_HOST, HostRates
from simulator.engine.host_lanes import HostLanes
from simulator.engine.lanes import CommunicationLane, ComputeLane, Rendezvous, Ticket
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Segment
from simulator.network.contract import Folding, Network, OperationClass
from workloads.instructions import Block, Compute, HostWork, Program, RankProgram, Slot, Start, Wait, Work, WorkKind

if TYPE_CHECKING:
    from simulator.engine.performance import Performance
    from simulator.engine.rehearsal import Rehearsals

Steps = Generator[Event, Any, None]
KINDS = ("tp", "cp", "ep", "dp", "pp")
SLOT = LANES.index("slot")
MailKey = tuple[int, str, int, int, int]  # rank class, "F" or "B", stage, direction, micro-batch


@dataclass(frozen=True, slots=True)
class Contention:
    """What communication takes from compute: cores by kind (fractions), HBM bytes per payload byte, over bandwidth [B/s]."""

    cores: dict[str, float]
    memory_factor: float
    memory_bandwidth: float


class Mailbox:
    """Activations and gradients on their way between stages."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[MailKey, Event] = {}
        self.sent: dict[MailKey, int] = {}

    def event(self, key: MailKey) -> Event:
        """Fires when the message has arrived."""
        event = self._events.get(key)
        if event is None:
            event = self._events[key] = self._clock.event()
        return event

    def forget(self, key: MailKey) -> None:
        """The message was read."""
        del self._events[key], self.sent[key]

    def state(self, now: int, micro_batch: int) -> frozenset[tuple[object, ...]]:
        """Messages on their way or unread, times from ``now`` and micro-batches from ``micro_batch`` on.

        When one was sent matters as long as it has not arrived.
        """
        found: set[tuple[object, ...]] = set()
        for key in self._events.keys() | self.sent.keys():
            event, sent = self._events.get(key), self.sent.get(key)
            arrived = event is not None and event.processed
            when = "arrived" if arrived else "wanted" if sent is None else sent - now
            found.add((*key[:-1], key[-1] - micro_batch, when))
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class World:
    """What all ranks share."""

    clock: Clock
    network: Network
    folding: Folding
    program: Program
    rendezvous: Rendezvous
    mailbox: Mailbox
    recorder: Recorder
    contention: Contention
    segment: Callable[[Compute], Segment]
    on_slot: Callable[[], None]
    rehearsals: Rehearsals | None = None  # None: every slot is played
    host: HostRates = NO_HOST


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
        self.compute = ComputeLane(world.clock, self.accounts, world.recorder, self.contention)
        self.lanes = {
            kind: CommunicationLane(world.clock, world.rendezvous, self.accounts, world.recorder, kind, self._activity)
            for kind in KINDS
        }
        self.host = HostLanes(world.clock, world.host, self.accounts, world.recorder, self._draw)
        self._drawn = 0.0
        self._active = dict.fromkeys(KINDS, 0)
        self._tickets: dict[str, Ticket] = {}
        self._operations: dict[int, OperationClass] = {}
        self._ends: dict[tuple[int, int, str], tuple[Work, Work]] = like._ends if like else _ends(program)
        self._performance: Performance | None = None
        self._waits_for: tuple[str, int, int] | None = None  # in a slot, with nothing else under way: what, of which work, since
        self._leap: tuple[int, int] | None = None
        self.position = 0
        self.skipped = 0
        self.behind = 0
        self.on_slot: Callable[[Rank], None] | None = None
        self.finished = -1

    def run(self) -> Steps:
        """The step of this rank, from its first instruction to its last."""
        yield from self._execute(self.program.prologue, 0, optimizer=False)
        slots = self.program.slots
        while self.position < len(slots):
            if self.on_slot is not None:
                self.on_slot(self)
            yield from self._slot(slots[self.position])
            self.world.on_slot()
            self.position += 1
            if self._leap is not None:
                self._land(*self._leap)
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
        self._cores = sum(cores[active] for active, count in self._active.items() if count)
        self.compute.refresh()

    @property
    def is_quiet(self) -> bool:
        """Whether no collective of this rank is under way or asked for, transfers to other stages apart."""
        return self.host.is_idle and all(lane.is_idle for kind, lane in self.lanes.items() if kind != "pp")

    @property
    def turn(self) -> int:
        """Slots that it was in before this one; those not counted that it leapt over."""
        return self.position - self.skipped

    def leap(self, slots: int, micro_batches: int) -> None:
        """Go on as if the slot under way were that many slots later; of messages, all goes on under the old numbers."""
        self._leap = (slots, micro_batches)

    def _land(self, slots: int, micro_batches: int) -> None:
        self._leap = None
        self.position += slots
        self.skipped += slots
        self.behind += micro_batches
        for _ in range(slots):
            self.world.on_slot()

    def state(self, now: int, slots: int, micro_batch: int) -> tuple[object, ...] | None:
        """All that may decide how it goes on, counted from a moment, a slot and a micro-batch; None while more is under way."""
        performance = self._performance
        if performance is not None and performance.ensemble is None:
            where: tuple[object, ...] = (performance.start - now,)
        elif performance is None and self._waits_for is not None and self.is_quiet:
            what, work, since = self._waits_for
            where = (what, work, since - now)
        else:
            return None
        return self.turn - slots, where, self.lanes["pp"].state(now, micro_batch), self.accounts.state(now)

    def _slot(self, slot: Slot) -> Steps:
        """Receive, run, send. Joined works start when both inputs are there, and send when both are done.

        So the published codes do it (DualPipe's, Megatron's combined 1F1B): the two are one call.
        """
        for number, work in enumerate(slot):
            yield from self._receive(work, number)
        rehearsals = self.world.rehearsals
        performance = (yield from rehearsals.enter(self, slot, self.turn)) if rehearsals else None
        if performance is None:
            yield from self.play(slot)
        else:
            yield from self._take_part(slot, performance)
        for number, work in enumerate(slot):
            yield from self._send(work, number)

    def play(self, slot: Slot) -> Steps:
        """Run the works of a slot, instruction by instruction."""
        if len(slot) == 1:
            yield from self._work(slot[0], 0)
        else:
            yield self.world.clock.all_of(self.world.clock.process(self._work(work, chain)) for chain, work in enumerate(slot))

    def _take_part(self, slot: Slot, performance: Performance) -> Steps:
        """Wait until a slot that goes as rehearsed is over, and book what was done in it."""
        self._performance = performance
        role = yield performance.ends[self.rank_class]
        self._performance = None
        self.accounts.replay(performance.start, role.books)
        for work, (begin, end) in zip(slot, role.works, strict=True):
            self.note_work(work, performance.start + begin, performance.start + end)

    def refresh(self) -> None:
        """Payload rates of this rank changed."""
        if self._performance is None:
            self.compute.refresh()
        else:
            self._performance.refresh(self.rank_class)

    def _work(self, work: Work, chain: int) -> Steps:
        start = self.world.clock.now
        yield from self._execute(self.block(work), chain, optimizer=False)
        self.note_work(work, start, self.world.clock.now)

    def note_work(self, work: Work, start: int, end: int) -> None:
        """Record a cell of the schedule."""
        name = f"{work.kind}{{}} stage {work.stage}" + (" reverse" if work.direction else "")
        self.world.recorder.add(self.rank_class, SLOT, name, start, end, work.micro_batch - self.behind)

    def block(self, work: Work) -> Block:
        """The variant of a work's block: parameters may still arrive for the first, gradients leave at the last."""
        blocks, variant = self.program.blocks, self.program.variant
        base = (work.stage, work.direction, str(work.kind))
        first, last = self._ends[base]
        if work == first and (*base, variant("first", work.micro_batch)) in blocks:
            return blocks[*base, variant("first", work.micro_batch)]
        if work == last and (*base, variant("last", work.micro_batch)) in blocks:
            return blocks[*base, variant("last", work.micro_batch)]
        return blocks[*base, variant("", work.micro_batch)]

    def _execute(self, block: Block, chain: int, *, optimizer: bool) -> Steps:
        local: dict[str, Ticket] = {}
        for instruction in block.instructions:
            if isinstance(instruction, Compute):
                yield self.compute.submit(self.world.segment(instruction), optimizer)
            elif isinstance(instruction, Start):
                operation = self._operation(instruction)
                communication = instruction.communication
                local[instruction.token] = self.lanes[communication.kind].submit(operation, communication.name, chain)
            elif isinstance(instruction, HostWork):
                after = local.get(instruction.after) or self._tickets.get(instruction.after)
                local[instruction.token] = self.host.submit(instruction, after)
            else:
                yield from self._wait(self._ticket(instruction, local))
        self._tickets.update(local)

    def _ticket(self, instruction: Wait, local: dict[str, Ticket]) -> Ticket:
        ticket = local.pop(instruction.token, None)
        return ticket if ticket is not None else self._tickets.pop(instruction.token)

    def _operation(self, start: Start) -> OperationClass:
        operation = self._operations.get(id(start))
        if operation is None:
            operation = self.world.folding.collective(self.rank_class, start.communication)
            self._operations[id(start)] = operation
        return operation

    def _wait(self, ticket: Ticket, others: str = "straggler_wait") -> Steps:
        if ticket.done.processed:
            return
        start = self.world.clock.now
        yield ticket.done
        self._note(start, ticket.joined, ticket.arrived, ticket.kind, others)

    def _note(self, start: int, joined: int, arrived: int, kind: str, others: str) -> None:
        now = self.world.clock.now
        if now > start:
            self.accounts.waits.append(Waiting(start, now, joined, arrived, kind, others))

    def _neighbour(self, work: Work, ahead: bool) -> int | None:
        """The stage that sends to this work (or that it sends to); None at the ends and for weight gradients."""
        if work.kind is WorkKind.W:
            return None
        forward = work.kind is WorkKind.F
        stage = work.stage + (1 if forward == ahead else -1)
        return stage if 0 <= stage < len(self.world.program.rank_of[work.direction]) else None

    def _receive(self, work: Work, number: int) -> Steps:
        if self._neighbour(work, ahead=False) is None:
            return
        side = "F" if work.kind is WorkKind.F else "B"
        mailbox = self.world.mailbox
        key = (self.rank_class, side, work.stage, work.direction, work.micro_batch - self.behind)
        event = mailbox.event(key)
        if not event.processed:
            start = self.world.clock.now
            self._waits_for = ("receive", number, start)
            yield event
            self._waits_for = None
            self._note(start, start, mailbox.sent[key], "pp", "pipeline_bubble")
        mailbox.forget(key)

    def _send(self, work: Work, number: int) -> Steps:
        target = self._neighbour(work, ahead=True)
        if target is None:
            return
        side = "F" if work.kind is WorkKind.F else "B"
        pp_rank = self.world.program.rank_of[work.direction][target]
        mailbox = self.world.mailbox
        now, micro_batch = self.world.clock.now, work.micro_batch - self.behind
        if pp_rank == self.program.pp_rank:
            key = (self.rank_class, side, target, work.direction, micro_batch)
            mailbox.sent[key] = now
            mailbox.event(key).succeed()
            return
        operation = self.world.folding.send(self.rank_class, pp_rank, self.world.program.boundary_bytes)
        targets = {flow.target_class for phase in operation.phases for flow in phase}
        keys = [(goal, side, target, work.direction, micro_batch) for goal in targets]
        ticket = self.lanes["pp"].submit(operation, f"{side}{{}} to stage {target}", micro_batch=micro_batch)
        for key in keys:
            mailbox.sent[key] = now

        def deliver(_event: Event) -> None:
            for key in keys:
                mailbox.event(key).succeed()

        assert ticket.done.callbacks is not None
        ticket.done.callbacks.append(deliver)
        if not self.world.program.overlap_pp:
            self._waits_for = ("send", number, now)
            yield from self._wait(ticket, "pipeline_bubble")
            self._waits_for = None


def _ends(program: RankProgram) -> dict[tuple[int, int, str], tuple[Work, Work]]:
    """The first and the last work of each (stage, direction, kind) in a rank's schedule."""
    ends: dict[tuple[int, int, str], tuple[Work, Work]] = {}
    for slot in program.slots:
        for work in slot:
            key = (work.stage, work.direction, str(work.kind))
            ends[key] = (ends[key][0] if key in ends else work, work)
    return ends
