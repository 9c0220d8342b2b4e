"""Where a rank's time goes: busy compute by its parts, idle compute by what it waited for last.

An idle stretch of the compute lane ends because some wait ended. Before the last participant of that operation had
arrived the rank waited for others (straggler_wait, or pipeline_bubble for a neighbour stage); after it, for the transfer
itself (exposed_tp, exposed_ep, ...). Walking back from the end of the stretch over the recorded waits covers all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.engine.clock import PICOSECONDS
from simulator.engine.recorder import LANES, Recorder
from simulator.engine.segments import Run
from simulator.spec.errors import IdentityBroken

PARTS = (
    "arithmetic",
    "memory_stall",
    "interference",
    "exposed_ep",
    "exposed_tp",
    "exposed_cp",
    "exposed_dp",
    "exposed_pp",
    "exposed_host",
    "pipeline_bubble",
    "optimizer",
    "straggler_wait",
    "overhead",
)
#: Those in which the compute lane is busy.
WORK = ("arithmetic", "memory_stall", "interference", "optimizer", "overhead")
IDLE = LANES.index("idle")
COMPUTE = LANES.index("compute")


class Waiting(NamedTuple):
    """A chain of this rank waited from ``start`` to ``end`` [ps] for an operation of ``kind``.

    Between ``joined`` (this rank was ready for it) and ``arrived`` (everybody was) it waited for ``others``.
    """

    start: int
    end: int
    joined: int
    arrived: int
    kind: str
    others: str  # straggler_wait or pipeline_bubble

    def shifted(self, by: int) -> Waiting:
        """The same wait, so many ticks later."""
        return Waiting(self.start + by, self.end + by, self.joined + by, self.arrived + by, self.kind, self.others)


@dataclass(frozen=True, slots=True)
class SlotBooks:
    """The books of one rank class over one slot, in ticks since the slot began.

    ``opening``: when its compute lane first began to work, and for what it had waited until then; None if it never did.
    ``waits`` and ``idle_since``: what it waited for since it last worked. ``parts``: time by part in between.
    """

    opening: tuple[int, tuple[Waiting, ...]] | None
    parts: tuple[tuple[str, float], ...]
    waits: tuple[Waiting, ...]
    idle_since: int


@dataclass(slots=True)
class Accounts:
    """The books of one rank class; everything in picoseconds."""

    rank_class: int
    recorder: Recorder
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    waits: list[Waiting] = field(default_factory=list)
    idle_since: int = 0
    flops: float = 0.0
    memory_bytes: float = 0.0

    def state(self, now: int) -> tuple[object, ...]:
        """What is still to be booked, times from ``now`` on."""
        return self.idle_since - now, *(wait.shifted(-now) for wait in self.waits)

    def book(self, run: Run, now: int, *, optimizer: bool = False) -> None:
        """A run on the compute lane is over."""
        segment, parts, duration = run.segment, self.parts, now - run.started
        if optimizer:
            parts["optimizer"] += duration
        else:
            parts["arithmetic"] += segment.arithmetic * PICOSECONDS
            parts["memory_stall"] += segment.stall * PICOSECONDS
            parts["overhead"] += segment.overhead * PICOSECONDS
            # The remainder is what contention added; rounding to ticks may leave it a tick below zero.
            parts["interference"] += duration - segment.total * PICOSECONDS
        self.recorder.add(self.rank_class, COMPUTE, segment.name, run.started, now)
        self.idle_since = now

    def replay(self, start: int, books: SlotBooks) -> None:
        """Book what this rank did in a slot that was rehearsed, as having begun at ``start`` [ps]."""
        self.follow(start, books)
        self.add(books, 1)

    def follow(self, start: int, books: SlotBooks) -> None:
        """The same but for the time in which it worked: what it waited for, before the slot and in it."""
        if books.opening is not None:
            at, waits = books.opening
            if waits:
                self.waits += [wait.shifted(start) for wait in waits]
            if self.waits or start + at > self.idle_since:
                self.close_idle(start + at)
            self.idle_since = start + books.idle_since
        if books.waits:
            self.waits += [wait.shifted(start) for wait in books.waits]

    def add(self, books: SlotBooks, times: int) -> None:
        """Book the time in which it worked in so many slots that went alike."""
        for part, value in books.parts:
            self.parts[part] += times * value

    def close_idle(self, now: int) -> None:
        """The compute lane starts to work (or the step ends): explain the time since it last worked."""
        if now > self.idle_since:
            self._explain(self.idle_since, now)
        self.waits.clear()

    def _explain(self, start: int, end: int) -> None:
        cursor = end
        waits = self.waits
        for wait in waits if len(waits) == 1 else sorted(waits, key=lambda wait: wait.end, reverse=True):
            if cursor <= start:
                break
            if wait.start >= cursor or wait.end < cursor:
                continue
            begin = max(start, wait.start)
            self._attribute(wait, begin, cursor)
            cursor = begin
        if cursor > start:
            raise IdentityBroken(f"rank class {self.rank_class} was idle from {start} to {cursor} ps and waited for nothing")

    def _attribute(self, wait: Waiting, start: int, end: int) -> None:
        """Split [start, end] of a wait at the moments when this rank, and everybody, was ready."""
        ready = min(max(wait.joined, start), end)
        complete = min(max(wait.arrived, ready), end)
        exposed = f"exposed_{wait.kind}"
        for part, begin, finish in (
            (exposed, start, ready),
            (wait.others, ready, complete),
            (exposed, complete, end),
        ):
            if finish > begin:
                self.parts[part] += finish - begin
                self.recorder.add(self.rank_class, IDLE, part, begin, finish)


@dataclass(frozen=True, slots=True)
class Mark:
    """The compute lane began to work after a pause: when [ps], at which instruction each chain was, what was booked by then."""

    time: int
    places: tuple[int, ...]
    parts: dict[str, float]


@dataclass(slots=True)
class SlotAccounts(Accounts):
    """Books that begin with a slot: the idle time before its first work is left to whoever knows how it began.

    ``places``: the instruction at which each chain is, kept by the rank; ``marks`` by time.
    """

    opening: tuple[int, tuple[Waiting, ...]] | None = None
    places: list[int] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)

    def close_idle(self, now: int) -> None:
        if self.opening is None:
            self.opening = (now, tuple(self.waits))
            self.waits.clear()
        elif now == self.idle_since:
            return
        else:
            Accounts.close_idle(self, now)
        self.marks[now] = Mark(now, tuple(self.places), dict(self.parts))

    def closed(self) -> SlotBooks:
        """What they say once the slot is over."""
        parts = tuple((part, value) for part, value in self.parts.items() if value)
        return SlotBooks(self.opening, parts, tuple(self.waits), self.idle_since)
