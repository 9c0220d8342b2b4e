"""Rank classes that stand at the same place of their schedule at the same moment, and go on as one.

A fault splits the ranks of a machine into many classes, but most of them go on doing the same at the same time. What
happens at one tick is one event for all to whom it happens: a cohort receives, enters a slot and sends together. It parts as
soon as something comes to some of its ranks earlier than to others, and whoever ends a slot together leaves it as a new cohort;
so it is an order of the bookkeeping, not an assumption about the ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.engine.itinerary import HERE, Cell, Sort, itinerary
from simulator.engine.post import Letter, Mail
from simulator.engine.rank import Rank, Steps, World


class Cohort:
    """Walks through the slots of a pipeline rank. ``ranks`` are at the same place, and idle."""

    __slots__ = ("ranks", "world")

    def __init__(self, world: World, ranks: Sequence[Rank]) -> None:
        self.world = world
        self.ranks = list(ranks)

    def begin(self) -> Steps:
        """The whole step of a single rank, from its prologue on."""
        (rank,) = self.ranks
        yield from rank.prologue()
        rank.plays = False
        self.walk()

    def play(self) -> Steps:
        """A single rank plays the slot that it has come to, instruction by instruction, and goes on."""
        (rank,) = self.ranks
        slot = rank.program.slots[rank.position]
        rank.plays = True
        yield from rank.play(slot)
        rank.plays = False
        self.walk(len(slot) + 1)

    def walk(self, step: int = 0, since: int = -1) -> None:
        """Go on, as far as it goes now, from a step of the slot that the ranks are in, for which some waited ``since`` [ps].

        Receive for each work, run the slot, and for each work send and, if sends stand in the way, wait until it is gone.
        Joined works start when both inputs are there, and send when both are done: so the published codes do it
        (DualPipe's, Megatron's combined 1F1B): the two are one call.
        """
        first = self.ranks[0]
        route = first.route_of_slots
        if route is None:
            route = first.route_of_slots = itinerary(first)
        cells = route.cells
        while first.position < len(route.works):
            slot = route.works[first.position]
            works = len(slot)
            if step == 0 and since < 0:
                for rank in self.ranks:
                    if rank.on_slot is not None:
                        rank.on_slot(rank)
            while step < works:
                cell, micro_batch = slot[step]
                if not self._receive(cells[cell], micro_batch, step, since):
                    return
                step, since = step + 1, -1
            if step == works:
                self._enter()
                return  # whoever leaves the slot goes on from there
            while step <= 3 * works:
                if (step - works) % 2:
                    cell, micro_batch = slot[(step - works) // 2]
                    self._send(cells[cell], micro_batch)
                elif not self._sent(step, since):
                    return
                step, since = step + 1, -1
            first, step = self.ranks[0], 0
            for rank in self.ranks:
                rank.end_slot()
        for rank in self.ranks:
            self.world.clock.process(rank.epilogue())

    def _enter(self) -> None:
        """Somebody else sees to it that the slot is run; if not, there is a single rank, and it plays."""
        first = self.ranks[0]
        rehearsals = self.world.rehearsals
        if rehearsals is None or not rehearsals.enter(self.ranks, first.program.slots[first.position]):
            self.world.clock.process(self.play())

    def _receive(self, cell: Cell, micro_batch: int, step: int, since: int) -> bool:
        """Take in what a work needs; False if it has not come to anybody yet."""
        if cell.comes is None:
            return True
        post, mail = self.world.post, self._mail(cell.comes, micro_batch)
        if len(self.ranks) == 1:
            (rank,) = self.ranks
            return self._receives(rank, mail, step, since)
        return self._those(
            lambda rank: post.has(rank.rank_class, mail),
            lambda tell: post.on_arrival([rank.rank_class for rank in self.ranks], mail, tell),
            ("receive", step, since),
            lambda rank, start: rank.note(start, start, post.read(rank.rank_class, mail), "pp", "pipeline_bubble"),
        )

    def _receives(self, rank: Rank, mail: Mail, step: int, since: int) -> bool:
        """The same of a single rank, as most are."""
        post = self.world.post
        if not post.has(rank.rank_class, mail):
            start = self.world.clock.now if since < 0 else since
            rank.waits_for = ("receive", step, start)
            post.on_arrival([rank.rank_class], mail, lambda: self.walk(step, start))
            return False
        written = post.read(rank.rank_class, mail)
        rank.waits_for = None
        if since >= 0:
            rank.note(since, since, written, "pp", "pipeline_bubble")
        return True

    def _send(self, cell: Cell, micro_batch: int) -> None:
        if cell.goes is None:
            return
        world, mail = self.world, self._mail(cell.goes, micro_batch)
        if cell.target == HERE:
            world.post.hand([rank.rank_class for rank in self.ranks], mail)
            return
        now, waits = world.clock.now, not world.program.overlap_pp
        letters = []
        for rank in self.ranks:
            operation, targets = rank.route(cell.target)
            letter = Letter(rank.rank_class, operation, mail, targets, cell.mail_name, mail[-1], now)
            letters.append(letter)
            if waits:
                rank.letter = letter
        world.post.send(letters)

    def _sent(self, step: int, since: int) -> bool:
        """Where sends are not overlapped, wait until the last one is gone; False while nobody's is."""
        for rank in self.ranks:
            if rank.letter is not None:
                break
        else:
            return True
        post = self.world.post

        def end(rank: Rank, start: int) -> None:
            letter, rank.letter = rank.letter, None
            if letter is not None:
                rank.note(start, letter.joined, letter.began, "pp", "pipeline_bubble")

        return self._those(
            lambda rank: rank.letter is None or rank.letter.gone,
            lambda tell: post.on_departure([rank.letter for rank in self.ranks if rank.letter is not None], tell),
            ("send", step, since),
            end,
        )

    def _those(
        self,
        ready: Callable[[Rank], bool],
        listen: Callable[[Callable[[], None]], None],
        place: tuple[str, int, int],
        note: Callable[[Rank, int], None],
    ) -> bool:
        """Go on with those that are ready, the others wait on as a cohort of their own; False if nobody is: all wait."""
        what, step, since = place
        since = self.world.clock.now if since < 0 else since
        ranks = self.ranks
        here = [rank for rank in ranks if ready(rank)]
        if not here:
            for rank in ranks:
                rank.waits_for = (what, step, since)
            listen(lambda: self.walk(step, since))
            return False
        if len(here) < len(self.ranks):
            late = [rank for rank in self.ranks if not ready(rank)]
            self.ranks = here
            Cohort(self.world, late).walk(step, since)
        for rank in here:
            rank.waits_for = None
            note(rank, since)
        return True

    def _mail(self, sort: Sort, micro_batch: int) -> Mail:
        """Mail of a micro-batch; of ranks that leapt over rounds, under the number of the one before them."""
        kind, stage, direction = sort
        return kind, stage, direction, micro_batch - self.ranks[0].behind
