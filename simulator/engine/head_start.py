"""Ranks that come to a slot before the last of their team, until they do the same as those who come last.

A slot goes as it does when all begin together, counted from the moment at which the last one comes, as long as whoever came
earlier is never the one that a collective waits for. That is looked at, not assumed: somebody of each sort of ranks for which a
collective waited in the rehearsal has to come with the last, and the early one goes through the slot by itself, beside the course
that collectives took there, and has to be ready for each before it begins. It is followed until its compute lane begins to work
after a pause at the tick at which that of its *twin* does (one who began with the last in the rehearsal, of the same speed and in
the same collectives), with its chains at the same instructions: from there on nothing tells the two apart, and what the twin
does is what it does.

Left to a rehearsal of just this (:meth:`simulator.engine.repertoire.Repertoire.staggered`): slots in which collectives wait for
who came early, in which an early one falls behind (two chains share a compute lane, and their order on it may differ), and in
which it does something at the very tick of a begin or an end, where the order within the tick would be a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.engine.accounts import Mark, SlotBooks, Waiting
from simulator.engine.course import Course
from simulator.engine.ensemble import Role
from simulator.engine.follower import Follower, OutOfStep
from simulator.engine.rank import Rank
from simulator.engine.recorder import Recorder
from workloads.instructions import Slot

#: Later than any moment of a slot [ps].
NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class HeadStart:
    """What a rank did that came ``early`` [ps] before the last of its team, until it did what its twin does.

    ``merged``: when that was; ``opening``: as in :class:`SlotBooks`; ``ends``: of the works that it had ended by then, None for
    others; all in ps since the last one came. ``more``: time by part, beyond what the twin booked until then. ``recorder``: its
    spans since it came, under the rank class that was followed. ``whole``: what it did in the slot, if it never merged.
    """

    early: int
    merged: int
    opening: tuple[int, tuple[Waiting, ...]]
    ends: tuple[int | None, ...]
    more: tuple[tuple[str, float], ...]
    recorder: Recorder
    whole: Role | None = None

    def before(self, role: Role) -> Role:
        """What it did in the whole slot, where its twin did this."""
        if self.whole is not None:
            return self.whole
        parts = dict(role.books.parts)
        for part, value in self.more:
            parts[part] = parts.get(part, 0.0) + value
        books = SlotBooks(self.opening, tuple(parts.items()), role.books.waits, role.books.idle_since)
        works = ((-self.early, end if own is None else own) for (_, end), own in zip(role.works, self.ends, strict=True))
        return Role(role.end, tuple(works), books)


def follow(
    rank: Rank, slot: Slot, early: int, course: Course, twin: int, marks: Mapping[int, Mark]
) -> tuple[HeadStart | None, int]:
    """A rank that begins a slot ``early``, beside the ``course`` of those who begin with the last; and how much it heard.

    ``marks``: those of its ``twin``, by time. None if its way through the slot can't be told so.
    """
    follower, heard = Follower(rank, slot), 0
    began = follower.books.marks
    for time, what in course.told(twin):
        at, heard = time + early, heard + 1
        if isinstance(what, float):
            if not follower.goes_at(at, what):
                return None, heard
        else:
            if not follower.comes_to(at):
                return None, heard
            try:
                follower.hear(what)
            except OutOfStep:
                return None, heard
        if at in began and time in marks and began[at].places == marks[time].places:
            return _until(follower, early, began[at], marks[time]), heard
    follower.finish()
    return _alone(follower, early), heard


def _alone(follower: Follower, early: int) -> HeadStart | None:
    """What one did that never came to do the same as its twin; None if it did not come to the end, or never computed."""
    if follower.finished < 0 or follower.books.opening is None:
        return None
    role, recorder = follower.role(), follower.recorder
    books = role.books
    at, waits = follower.books.opening
    opening = at - early, tuple(wait.shifted(-early) for wait in waits)
    left = tuple(wait.shifted(-early) for wait in books.waits)
    works = tuple((start - early, end - early) for start, end in role.works)
    whole = Role(role.end - early, works, SlotBooks(opening, books.parts, left, books.idle_since - early))
    return HeadStart(early, NEVER, opening, (), (), recorder, whole)


def _until(follower: Follower, early: int, mark: Mark, twin: Mark) -> HeadStart:
    """What an one did until a mark."""
    opening = follower.books.opening
    assert opening is not None
    at, waits = opening
    return HeadStart(
        early=early,
        merged=twin.time,
        opening=(at - early, tuple(wait.shifted(-early) for wait in waits)),
        ends=tuple(None if end is None else end - early for end in follower.ended()),
        more=tuple((part, value - twin.parts[part]) for part, value in mark.parts.items() if value != twin.parts[part]),
        recorder=follower.recorder,
    )
