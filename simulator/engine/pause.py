"""Moments of a rehearsed slot from which it can be played on, instead of from its beginning.

A slot that has to be played after all is mostly near its end by then, and what it did until then is known. Ranks in the middle
of a slot cannot be copied, but there are moments at which there is nothing to copy: nobody has asked for anything that is not
over, and all who act begin to compute, after a wait. What they do from there hangs on where in their block they are, and on
nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.engine.accounts import Mark, Waiting
from simulator.engine.course import Began, Course
from simulator.engine.ensemble import Groups
from simulator.engine.rank import Rank
from simulator.engine.recorder import Recorder
from simulator.network.history import History
from workloads.instructions import HostWork, Instruction, Slot, Start, Wait

if TYPE_CHECKING:
    from simulator.engine.repertoire import Rehearsal


@dataclass(frozen=True, slots=True)
class Pause:
    """Such a moment, ``time`` [ps since the slot began], and all that was noted until then.

    Of those who act: ``marks`` and ``openings``, as in :class:`simulator.engine.accounts.SlotBooks`.
    """

    time: int
    groups: Groups
    marks: Mapping[int, Mark]
    openings: Mapping[int, tuple[int, tuple[Waiting, ...]]]
    course: Course
    recorder: Recorder
    history: History


def last_pause(rehearsal: Rehearsal, slot: Slot, ranks: Mapping[int, Rank], before: int) -> Pause | None:
    """The last one before a moment; None if there is none, and in slots of two works, whose chains share the lanes."""
    if len(slot) > 1 or not all(rehearsal.marks.get(key) for key in rehearsal.groups):
        return None
    if not rehearsal.pauses:
        rehearsal.pauses.update(dict.fromkeys((0, *_moments(rehearsal, slot, ranks))))
    time = max(time for time in rehearsal.pauses if time < before or not time)
    found = rehearsal.pauses[time]
    if found is None and time:
        found = rehearsal.pauses[time] = _pause(rehearsal, time)
    return found


def _moments(rehearsal: Rehearsal, slot: Slot, ranks: Mapping[int, Rank]) -> list[int]:
    """When they are."""
    (work,) = slot
    common = set.intersection(*(set(rehearsal.marks[key]) for key in rehearsal.groups))
    begins = {time for time, what in rehearsal.course.moments if isinstance(what, Began)}
    blocks = {key: ranks[key].block(work).instructions for key in rehearsal.groups}
    return [
        time
        for time in sorted(common - begins)
        if time and all(is_over(blocks[key][: rehearsal.marks[key][time].places[0]]) for key in blocks)
    ]


def is_over(done: Sequence[Instruction]) -> bool:
    """Whether all that these instructions began was waited for.

    >>> is_over([Wait("x")]), is_over([])
    (True, True)
    """
    pending: set[str] = set()
    for step in done:
        if isinstance(step, Start | HostWork):
            pending.add(step.token)
        elif isinstance(step, Wait):
            pending.discard(step.token)
    return not pending


def _pause(rehearsal: Rehearsal, time: int) -> Pause:
    openings = {}
    for key in rehearsal.groups:
        opening = rehearsal.roles[key].books.opening
        assert opening is not None  # there is a mark of it
        openings[key] = opening
    moments = [(at, what) for at, what in rehearsal.course.moments if at <= time]
    begun = [what.operation for _, what in moments if isinstance(what, Began)]
    return Pause(
        time=time,
        groups=rehearsal.groups,
        marks={key: rehearsal.marks[key][time] for key in rehearsal.groups},
        openings=openings,
        course=Course(moments, len(begun)),
        recorder=rehearsal.recorder.until(time, rehearsal.groups),
        history=_until(rehearsal.history, time, begun),
    )


def _until(history: History, time: int, begun: Collection[int]) -> History:
    """What a network did before a moment at which nothing was under way, and these operations were over."""
    rows = [place for place, end in enumerate(history.end) if end <= time]
    completed: dict[int, int] = {}
    for key in begun:
        completed[key] = completed.get(key, 0) + 1
    return History(
        start=array("q", [history.start[place] for place in rows]),
        end=array("q", [history.end[place] for place in rows]),
        share=array("q", [history.share[place] for place in rows]),
        completed=completed,
        operations={key: history.operations[key] for key in completed},
    )
