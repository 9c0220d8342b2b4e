"""A pipeline rank that goes through its schedule by itself, as far as its mail has come.

It books and records what :class:`simulator.engine.cohort.Cohort` would: receive for each work, run the slot, send for each work
and, where sends stand in the way, wait until it is gone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.engine.accounts import Waiting
from simulator.engine.acts import Act, Meeting
from simulator.engine.alike import KEPT
from simulator.engine.ensemble import Role
from simulator.engine.itinerary import HERE, NONE, Itinerary, Scene
from simulator.engine.rank import SLOT, Rank
from simulator.engine.recorder import LANES
from simulator.engine.soloist import Soloist
from simulator.engine.stretches import Key, Seen, Stretch, Tree
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.lone import Course
from simulator.spec.errors import IdentityBroken

PP = LANES.index("pp")

OPTIMIZER = -1
"""Begins the key of a scene that is booked as the optimizer's."""


class Entangled(Exception):
    """Something under way would feel what goes on elsewhere: a rank can't be followed by itself."""


@dataclass(slots=True, eq=False)
class Gathering:
    """Ranks that have come to a meeting, and when [ps]."""

    operation: OperationClass
    came: dict[int, int] = field(default_factory=dict)
    waiting: list[Traveller] = field(default_factory=list)

    @property
    def begins(self) -> int | None:
        """When everybody is there; None while somebody is missing."""
        return max(self.came.values()) if len(self.came) == len(self.operation.participants) else None


@dataclass(slots=True, eq=False)
class Mailbox:
    """What ranks know of each other. Mail of the whole step by its number: when it came and when it was written [ps].

    ``awaited``: who waits for which; ``gatherings`` by operation and how often a rank has come to it. ``lasts``: how long a
    meeting does [ps].
    """

    lasts: Callable[[OperationClass], int]
    came: dict[int, tuple[int, int]] = field(default_factory=dict)
    awaited: dict[int, Traveller] = field(default_factory=dict)
    gatherings: dict[tuple[int, int], Gathering] = field(default_factory=dict)
    ready: list[Traveller] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nobody waits for anything."""
        return not self.awaited and all(gathering.begins is not None for gathering in self.gatherings.values())

    def deliver(self, mail: int, came: int, written: int) -> None:
        """It comes, or will."""
        self.came[mail] = (came, written)
        waiting = self.awaited.pop(mail, None)
        if waiting is not None:
            self.ready.append(waiting)


@dataclass(slots=True, eq=False)
class Way:
    """How a rank sends to another stage. ``lasts``: from the moment on at which a letter begins until it is gone [ps].

    ``began``: when its letters did [ps]; ``works``: of which each is, by its place among all.
    """

    operation: OperationClass
    course: Course
    lasts: int
    began: list[int] = field(default_factory=list)
    works: list[int] = field(default_factory=list)


class Traveller:
    """A rank class on its way. ``ways`` by the pipeline rank that it sends to.

    ``tree``: the stretches of all that are like it; ``over`` those that it went through, and when each began [ps]. ``began``:
    when its slots did [ps], and ``roles`` how they went. ``played`` counts what the tree did not know, ``events`` those of it.
    ``crowded``: pipeline ranks to which mail can't go beside what a prologue has left under way; ``shut``: whether mail can't
    come beside that.
    """

    def __init__(
        self,
        rank: Rank,
        route: Itinerary,
        acts: tuple[Sequence[Act], Sequence[Act]],
        operations: Sequence[OperationClass],
        network: FluidNetwork,
    ) -> None:
        """``acts``: before the first slot and after the last."""
        self.rank = rank
        self.route = route
        self.operations = operations
        self.ways: dict[int, Way] = {}
        self.crowded: set[int] = set()
        self.shut = False
        self.over: dict[Seen, list[int]] = {}
        self.began: list[int] = []
        self.roles: list[Role] = []
        self.played = 0
        self.events = 0
        self._acts = deque(acts[0]), deque(acts[1])
        self.tree = Tree()
        self._network = network
        self._keys: dict[int, Key] = {}
        self._now = 0  # when it came to where it is
        self._position = 0
        self._read = 0  # of all works, those whose mail it has
        self._overlaps = rank.world.program.overlap_pp
        self._free = 0  # when its last letter is gone
        self._met: Counter[int] = Counter()
        self._opened: set[str] = set()  # tokens of all that it began
        self._stretch: Stretch | None = None  # what may still be under way
        self._quiet: dict[int, tuple[Role, list[int]]] = {}  # scenes that it came to with nothing under way, and left so

    @property
    def acts(self) -> tuple[list[Scene], list[Scene]]:
        """What it does by itself before its first slot, and after its last."""
        before, after = ([act for act in acts if isinstance(act, Scene)] for acts in self._acts)
        return before, after

    @property
    def first_meeting(self) -> list[Meeting]:
        """What the step begins with, if that is a meeting."""
        return [act for act in list(self._acts[0])[:1] if isinstance(act, Meeting)]

    def departures(self) -> Iterator[tuple[Scene, Way]]:
        """Scenes that leave something under way, and how mail leaves as they end."""
        route = self.route
        leaving = [place for place, scene in enumerate(route.scenes) if scene.leaves]
        slots = np.flatnonzero(np.isin(np.array(route.scene, dtype=np.int64), leaving)).tolist() if leaving else []
        works = [(route.scene[slot], at) for slot in slots for at in range(route.firsts[slot], route.firsts[slot + 1])]
        found = {(scene, route.cells[cell].target) for scene, cell in ((scene, route.outline.cell[at]) for scene, at in works)}
        for scene, target in sorted(found):
            if target != HERE:
                yield route.scenes[scene], self.ways[target]

    @property
    def last_way(self) -> Way | None:
        """How mail leaves as its last slot ends; None if none does."""
        first, end = self.route.firsts[-2:] if self.route.scene else (0, 0)
        targets = [self.route.cells[cell].target for cell in self.route.outline.cell[first:end].tolist()]
        return next((self.ways[target] for target in targets if target != HERE), None)

    def go(self, box: Mailbox) -> None:
        """As far as it can: to the end of the step, or to something that has not come. Entangled if that can't be told."""
        if not (self._perform(self._acts[0], box) and self._walk(box) and self._perform(self._acts[1], box, optimizer=True)):
            return
        self.rank.finished = self._now
        if self._stretch is not None:
            self._stretch.end()
            self._close(self._stretch)
            self._stretch = None

    def _walk(self, box: Mailbox) -> bool:
        """Through the slots; False if mail is missing."""
        route, accounts, came, quiet = self.route, self.rank.accounts, box.came, self._quiet
        scene, firsts, needs, mails = route.scene, route.firsts, route.needs, route.mails
        began, roles, now, at = self.began, self.roles, self._now, self._read
        for place in range(self._position, len(scene)):
            first, end = firsts[place], firsts[place + 1]
            while at < end:
                need = needs[at]
                if need != NONE:
                    found = came.get(need)
                    if found is None:
                        self._now, self._position, self._read = now, place, at
                        box.awaited[need] = self
                        return False
                    if self.shut and self._stretch is not None and not self._stretch.rests(now, ()):
                        raise Entangled
                    if found[0] > now:
                        accounts.waits.append(Waiting(now, found[0], now, found[1], "pp", "pipeline_bubble"))
                        now = found[0]
                at += 1
            known = quiet.get(scene[place]) if self._stretch is None else None
            if known is not None:
                role = known[0]
                known[1].append(now)
            else:
                role = self._role(scene[place], now)
            accounts.follow(now, role.books)
            began.append(now)
            roles.append(role)
            now += role.end
            while first < end:
                if mails[first] != NONE:
                    now = self._send(box, now, first)
                first += 1
        self._now, self._position, self._read = now, len(scene), at
        return True

    def _send(self, box: Mailbox, now: int, at: int) -> int:
        """Write a letter for the work at a place among all; when the rank goes on."""
        target, mail = self.route.targets[at], self.route.mails[at]
        if target == HERE:
            box.deliver(mail, now, now)
            return now
        if self._stretch is not None and target in self.crowded and not self._stretch.rests(now, ()):
            raise Entangled
        way = self.ways[target]
        began = now if now > self._free else self._free
        gone = self._free = began + way.lasts
        way.began.append(began)
        way.works.append(at)
        box.deliver(mail, gone, now)
        if self._overlaps or gone == now:
            return now
        self.rank.accounts.waits.append(Waiting(now, gone, began, began, "pp", "pipeline_bubble"))
        return gone

    def _role(self, place: int, now: int) -> Role:
        """How it goes through a scene that it comes to now."""
        scene, stretch = self.route.scenes[place], self._stretch
        numbers = self._keys.get(place)
        if numbers is None:
            numbers = self._keys[place] = _numbers(scene)
        if stretch is not None and self._rests(stretch, now, stretch.key(numbers, scene)):
            stretch = None
        known = self._quiet.get(place) if stretch is None else None
        if known is not None:
            known[1].append(now)
            return known[0]
        role = self._enter(scene, numbers, now, optimizer=False)
        entered = self._stretch
        if stretch is None and entered is not None and not scene.leaves and entered.at.rests == role.end:
            self._close(entered)
            self._quiet[place] = role, self.over[entered.at]
            self._stretch = None
        return role

    def _enter(self, scene: Scene, numbers: Key, now: int, *, optimizer: bool) -> Role:
        missing = [token for token in scene.awaits if token not in self._opened]
        if missing:
            raise IdentityBroken(f"{[block.name for block in scene.blocks]} wait for {missing}, which nobody began")
        stretch = self._stretch
        if stretch is None:
            opened = frozenset(self._opened)
            stretch = Stretch(self.tree, now, lambda: Soloist(self.rank, self._network, opened), self.operations)
            self._stretch = stretch
        role = stretch.enter(now, stretch.key(numbers, scene), scene.blocks, optimizer=optimizer)
        for token in scene.leaves:
            stretch.opened[token] = stretch.left
            stretch.left += 1
            self._opened.add(token)
        return role

    def _rests(self, stretch: Stretch, now: int, key: Key) -> bool:
        """Whether nothing of a stretch is under way any more; then it is over."""
        if not stretch.rests(now, key):
            return False
        self._close(stretch)
        self._stretch = None
        return True

    def _perform(self, acts: deque[Act], box: Mailbox, *, optimizer: bool = False) -> bool:
        """What comes before the first slot or after the last; False if others have not come to a meeting."""
        while acts:
            act = acts[0]
            if isinstance(act, Meeting):
                if not self._meets(act, box):
                    return False
            else:
                numbers = (OPTIMIZER, *_numbers(act)) if optimizer else _numbers(act)
                if self._stretch is not None:
                    self._rests(self._stretch, self._now, self._stretch.key(numbers, act))
                role = self._enter(act, numbers, self._now, optimizer=optimizer)
                self.rank.accounts.replay(self._now, role.books)
                self._now += role.end
            acts.popleft()
        return True

    def _meets(self, act: Meeting, box: Mailbox) -> bool:
        """Come to a meeting, or go on after it; False while others are missing."""
        rank_class, operation, now = self.rank.rank_class, act.operation, self._now
        if self._stretch is not None and not self._rests(self._stretch, now, ()):
            raise Entangled
        gathering = box.gatherings.setdefault((operation.key, self._met[operation.key]), Gathering(operation))
        gathering.came.setdefault(rank_class, now)
        begins = gathering.begins
        if begins is None:
            gathering.waiting.append(self)
            return False
        box.ready += gathering.waiting
        gathering.waiting.clear()
        self._met[operation.key] += 1
        end = begins + box.lasts(operation)
        kind = act.communication.kind
        self.rank.world.recorder.add(rank_class, LANES.index(kind), act.communication.name, begins, end)
        if end > now:
            self.rank.accounts.waits.append(Waiting(now, end, now, begins, kind, "straggler_wait"))
        self._now = end
        return True

    def _close(self, stretch: Stretch) -> None:
        """Nothing of a stretch is under way any more."""
        self.over.setdefault(stretch.at, []).append(stretch.start)
        self.played += stretch.played
        self.events += stretch.events

    def write(self) -> None:
        """Book the time in which it worked in its slots, and write down when it ran its works and sent its letters."""
        rank_class, recorder, cells = self.rank.rank_class, self.rank.world.recorder, self.route.cells
        numbers: dict[int, int] = {}  # of roles, by identity
        number = np.array([numbers.setdefault(id(role), len(numbers)) for role in self.roles], dtype=np.int64)
        different = list({id(role): role for role in self.roles}.values())
        for role, times in zip(different, np.bincount(number).tolist(), strict=True):
            self.rank.accounts.add(role.books, times)
        # Letters first: most are gone before the slot is over that begins as they do.
        names, outline = [cell.mail_name for cell in cells], self.route.outline
        for way in self.ways.values():
            work, start = np.array(way.works, dtype=np.int64), np.array(way.began, dtype=np.int64)
            recorder.write(rank_class, PP, names, (outline.cell[work], outline.batch[work], start, start + way.lasts))
        began = np.array(self.began, dtype=np.int64)
        names = [cell.name for cell in cells]
        for chain in range(int(outline.lengths.max(initial=0))):
            slot, cell, batch = self.route.columns(chain)
            works = np.array([role.works[chain] if len(role.works) > chain else (0, 0) for role in different], dtype=np.int64)
            begin, end = works[number[slot]].T
            recorder.write(rank_class, SLOT, names, (cell, batch, began[slot] + begin, began[slot] + end))


def _numbers(scene: Scene) -> Key:
    return tuple([KEPT.script(script) for script in scene.scripts])
