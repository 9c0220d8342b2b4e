"""A rank class by itself: on a clock and links that nobody else uses, from a moment at which nothing of it is under way.

It is told when it comes to which blocks, plays them instruction by instruction, and says how each went. What it began and does
not wait for (the parameters of a first micro-batch, the gradients of a last one) goes on beside what it comes to next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from simulator.engine.accounts import PARTS, Accounts, SlotBooks, Waiting
from simulator.engine.clock import Clock
from simulator.engine.ensemble import Role
from simulator.engine.lanes import Rendezvous, Ticket
from simulator.engine.rank import Rank, Steps
from simulator.engine.recorder import Recorder
from simulator.network.fluid import FluidNetwork
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Block


@dataclass(slots=True)
class Pages(Accounts):
    """Books of which every slot is a page; the idle time before its first work is left to whoever knows how it began."""

    opening: tuple[int, tuple[Waiting, ...]] | None = None

    def close_idle(self, now: int) -> None:
        if self.opening is None:
            self.opening = (now, tuple(self.waits))
            self.waits.clear()
        else:
            Accounts.close_idle(self, now)

    def turn(self) -> None:
        """Begin a new page."""
        self.parts = dict.fromkeys(PARTS, 0.0)
        self.waits.clear()
        self.opening = None

    def page(self, start: int) -> SlotBooks:
        """What the page says of a slot that began at ``start`` [ps]."""
        opening = None
        if self.opening is not None:
            at, waits = self.opening
            opening = at - start, tuple(wait.shifted(-start) for wait in waits)
        parts = tuple((part, value) for part, value in self.parts.items() if value)
        return SlotBooks(opening, parts, tuple(wait.shifted(-start) for wait in self.waits), self.idle_since - start)


class Soloist(Rank):
    """One rank class by itself; its clock stands at 0 when it begins. ``opened``: tokens of what it began before, all done."""

    def __init__(self, rank: Rank, network: FluidNetwork, opened: Iterable[str] = ()) -> None:
        clock, recorder = Clock(), Recorder()
        self.network = network.anew(clock)
        self.recorder = recorder
        self._pages = Pages(rank.rank_class, recorder)
        world = replace(
            rank.world,
            clock=clock,
            network=self.network,
            rendezvous=Rendezvous(clock, self.network),
            recorder=recorder,
            rehearsals=None,
        )
        super().__init__(world, rank.rank_class, rank.program, self._pages, rank)
        self._clock = clock
        self.network.on_rates = lambda _rank_classes: self.compute.refresh()
        over = clock.event()
        over.succeed()
        clock.run()
        self._tickets.update({token: Ticket(over, "", 0) for token in opened})

    @property
    def events(self) -> int:
        """Of its clock, so far."""
        return self._clock.events

    def enter(self, at: int, blocks: Sequence[Block], *, optimizer: bool = False) -> Role:
        """Play blocks side by side from a moment on that has not passed; how it went, times from then on.

        Raises IdentityBroken if they never end.
        """
        self._clock.advance(at)
        self._pages.turn()
        spans: list[tuple[int, int]] = [(0, 0)] * len(blocks)

        def perform(chain: int, block: Block) -> Steps:
            yield from self._execute(block, chain, optimizer=optimizer)
            spans[chain] = (0, self._clock.now - at)

        ends = [self._clock.process(perform(chain, block)) for chain, block in enumerate(blocks)]
        if not self._clock.run_until(ends[0] if len(ends) == 1 else self._clock.all_of(ends)):
            raise IdentityBroken(f"rank class {self.rank_class} never comes to the end of {[block.name for block in blocks]}")
        return Role(self._clock.now - at, tuple(spans), self._pages.page(at))

    def rests_by(self, at: int | None) -> int | None:
        """When nothing of it was under way any more, if by then (None: ever) nothing is [ps since it began]."""
        clock = self._clock
        while not self.is_quiet:
            time = clock.next_at
            if time is None or (at is not None and time > at):
                return None
            clock.advance(time)
        rest = clock.now
        clock.run()  # what is left of this instant
        return rest
