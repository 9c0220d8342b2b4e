"""A rank that goes through a slot by itself, beside the course that collectives took among the others of its team.

It computes one segment after the other; collectives begin and end when it is told. Between two moments of the course nothing can
happen to it but that a computation ends, so it takes neither events nor processes. What it does is what
:class:`simulator.engine.rank.Rank` does in the same place, and the tests hold one against the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from simulator.engine.accounts import SlotAccounts, Waiting
from simulator.engine.course import Began, Ended
from simulator.engine.ensemble import Role
from simulator.engine.rank import KINDS, Rank
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Run, Segment
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Compute, HostWork, Instruction, Slot, Start


class OutOfStep(Exception):
    """A rank cannot go by a course: it is not ready when a collective begins."""


@dataclass(slots=True)
class _Asked:
    """A collective that it asked for: ``over`` at its end; times as those of :class:`simulator.engine.lanes.Ticket`."""

    kind: str
    name: str
    joined: int
    arrived: int = -1
    over: bool = False


@dataclass(slots=True)
class _Chain:
    """One work of the slot. ``waits_for``: what keeps it from going on, ``since`` when; None while it computes."""

    instructions: tuple[Instruction, ...]
    place: int = 0
    tokens: dict[str, _Asked] = field(default_factory=dict)
    waits_for: _Asked | None = None
    since: int = 0
    end: int | None = None


@dataclass(slots=True)
class _Lane:
    """A communication lane: what each chain asked for on it, in order, and what runs."""

    asked: tuple[deque[_Asked], ...]
    running: _Asked | None = None
    free_since: int = 0


class Follower:
    """Plays the slot that ``rank`` is in, from time 0 on [ps], with what it is told of collectives and of its payload rate."""

    def __init__(self, rank: Rank, slot: Slot) -> None:
        self.recorder = Recorder()
        self.books = SlotAccounts(rank.rank_class, self.recorder)
        self.books.places = [0, 0]
        self._rank = rank
        self._taking = rank.world.contention
        self._now = 0
        self._run: Run | None = None
        self._runs_for = 0  # which chain
        self._queue: deque[tuple[Segment, int]] = deque()  # to be computed after it, and for which chain
        self._chains = [_Chain(rank.block(work).instructions) for work in slot]
        self._lanes = {kind: _Lane(tuple(deque() for _ in slot)) for kind in KINDS}
        self._active = dict.fromkeys(KINDS, 0)
        self._asked: dict[tuple[int, int], deque[_Asked]] = {}  # by operation and chain
        self._under_way: dict[int, _Asked] = {}
        self._taken = (0.0, 0.0)  # by communication, of cores and of memory bandwidth
        for chain in range(len(slot)):
            self._go_on(chain)

    @property
    def finished(self) -> int:
        """When it was through with the slot; -1: it is not."""
        ends = [chain.end for chain in self._chains]
        return -1 if None in ends else max(end for end in ends if end is not None)

    def ended(self) -> tuple[int | None, ...]:
        """When each work ended; None if it has not yet."""
        return tuple(chain.end for chain in self._chains)

    def role(self) -> Role:
        """What it did, once it is through."""
        return Role(self.finished, tuple((0, chain.end or 0) for chain in self._chains), self.books.closed())

    def comes_to(self, time: int) -> bool:
        """Let all happen before a moment, and say whether nothing does at it."""
        run = self._run
        while run is not None and run.end < time:
            self._finish(run)
            run = self._run
        self._now = time
        return run is None or run.end > time

    def goes_at(self, time: int, rate: float) -> bool:
        """Let all happen before a moment, from which on its payload rate is another [B/s]; whether nothing else does at it."""
        run = self._run
        while run is not None and run.end < time:
            self._finish(run)
            run = self._run
        self._now = time
        taking = self._taking
        taken = self._taken = self._taken[0], rate * taking.memory_factor / taking.memory_bandwidth
        if run is None:
            return True
        if run.end == time:
            return False
        run.turn(time, taken)
        if run.end <= time:
            self._catch_up()
        return True

    def hear(self, what: Began | Ended) -> None:
        """It happens now. Raises OutOfStep if this rank had not asked for what begins, or its lane is not free."""
        if isinstance(what, Began):
            self._begin(what)
        else:
            self._end(self._under_way.pop(what.number))
        self._catch_up()

    def _catch_up(self) -> None:
        """What it computes may take no time at all."""
        while (run := self._run) is not None and run.end <= self._now:
            self._finish(run)

    def finish(self) -> None:
        """All is told: go on to the end."""
        while self._run is not None:
            self._finish(self._run)

    def _compute(self, segment: Segment, chain: int) -> None:
        """Next on the compute lane, now that it is free."""
        self.books.close_idle(self._now)
        self._run, self._runs_for = Run(segment, self._now, self._taken), chain

    def _finish(self, run: Run) -> None:
        """What it computes is over."""
        chain = self._runs_for
        self._now = max(self._now, run.end)
        self.books.book(run, self._now)
        self._run = None
        if self._queue:
            self._compute(*self._queue.popleft())
        self._go_on(chain, further=True)

    def _go_on(self, number: int, *, further: bool = False) -> None:
        """Run a chain until it computes or waits; ``further``: what it is at is over."""
        chain, places = self._chains[number], self.books.places
        instructions, place = chain.instructions, chain.place + further
        while place < len(instructions):
            instruction = instructions[place]
            if isinstance(instruction, Compute):
                chain.place = places[number] = place
                segment = self._rank.world.segment(instruction)
                if self._run is None:
                    self._compute(segment, number)
                else:
                    self._queue.append((segment, number))
                return
            if isinstance(instruction, Start):
                chain.tokens[instruction.token] = self._ask(instruction, number)
            elif isinstance(instruction, HostWork):
                raise IdentityBroken("a rank by itself copies nothing to its host")
            else:
                asked = chain.tokens.pop(instruction.token)
                if not asked.over:
                    chain.place = places[number] = place
                    chain.waits_for, chain.since = asked, self._now
                    return
            place += 1
        chain.place = places[number] = place
        chain.end = self._now

    def _ask(self, start: Start, chain: int) -> _Asked:
        communication = start.communication
        asked = _Asked(communication.kind, communication.name, self._now)
        self._lanes[communication.kind].asked[chain].append(asked)
        self._asked.setdefault((self._rank.operation(start).key, chain), deque()).append(asked)
        return asked

    def _begin(self, what: Began) -> None:
        queue = self._asked.get((what.operation, what.chain))
        if not queue:
            raise OutOfStep
        asked = queue.popleft()
        lane = self._lanes[asked.kind]
        if lane.running is not None or lane.asked[what.chain][0] is not asked:
            raise OutOfStep
        lane.asked[what.chain].popleft()
        lane.running = self._under_way[what.number] = asked
        asked.joined = max(asked.joined, lane.free_since)
        asked.arrived = self._now
        self._activity(asked.kind, +1)

    def _end(self, asked: _Asked) -> None:
        now = self._now
        self._activity(asked.kind, -1)
        self.recorder.add(self.books.rank_class, LANES.index(asked.kind), asked.name, asked.arrived, now)
        lane = self._lanes[asked.kind]
        lane.running, lane.free_since = None, now
        asked.over = True
        for number, chain in enumerate(self._chains):
            if chain.waits_for is asked:
                chain.waits_for = None
                if now > chain.since:
                    wait = Waiting(chain.since, now, asked.joined, asked.arrived, asked.kind, "straggler_wait")
                    self.books.waits.append(wait)
                self._go_on(number, further=True)

    def _activity(self, kind: str, change: int) -> None:
        self._active[kind] += change
        cores, active_now = self._taking.cores, 0.0
        for active, count in self._active.items():
            if count:
                active_now += cores[active]
        self._taken = active_now, self._taken[1]
        if self._run is not None:
            self._run.turn(self._now, self._taken)
