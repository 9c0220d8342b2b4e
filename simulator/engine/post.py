"""Activations and gradients between stages: every rank sends them one after the other, beside whatever else it does.

Ranks that send at the same tick do so as one event, and what comes at the same tick is told as one: that a stage is many
classes of ranks does not make its messages cost more than those of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from simulator.engine.clock import Clock
from simulator.engine.recorder import LANES, Recorder
from simulator.network.contract import Network, OperationClass

PP = LANES.index("pp")
Mail = tuple[str, int, int, int]  # "F" or "B", stage, direction, micro-batch


@dataclass(slots=True, eq=False)
class Letter:
    """What one rank class sends to its ``targets`` in another stage.

    ``joined``: when it had been written and the one before it was gone; ``began``: when it went [ps]; ``gone``: it has arrived.
    """

    rank_class: int
    operation: OperationClass
    mail: Mail
    targets: tuple[int, ...]
    name: str  # and micro-batch, as a recorder takes them
    micro_batch: int
    joined: int
    began: int = -1
    gone: bool = False

    def state(self, now: int, micro_batch: int) -> tuple[object, ...]:
        """All that may decide about it, times from ``now`` and micro-batches from ``micro_batch`` on."""
        return self.name, self.micro_batch - micro_batch, self.joined - now, self.began - now if self.began >= 0 else None


class Arrival:
    """Something that comes for each of some ranks by itself; ``tell`` is called once, at the tick at which the first comes."""

    __slots__ = ("_clock", "_missing", "_over", "_tell", "_told")

    def __init__(self, clock: Clock, missing: int, tell: Callable[[], None]) -> None:
        self._clock = clock
        self._missing = missing
        self._tell = tell
        self._told = False
        self._over = False

    def came(self) -> None:
        """It has come for one more of them."""
        self._missing -= 1
        if not self._missing:
            self._call()
        elif not self._told:  # the others may come at this very tick
            self._told = True
            self._clock.at_tick_end(self._call)

    def _call(self) -> None:
        if not self._over:
            self._over = True
            self._tell()


class Post:
    """Sends letters, and knows what has arrived."""

    def __init__(self, clock: Clock, network: Network, recorder: Recorder) -> None:
        self._sent: dict[tuple[int, Mail], int] = {}  # by whom it is for and not read: when it was written
        self._clock = clock
        self._network = network
        self._recorder = recorder
        self._here: set[tuple[int, Mail]] = set()
        self._awaited: dict[tuple[int, Mail], Arrival] = {}
        self._to_go: dict[Letter, Arrival] = {}
        self._queues: dict[int, deque[Letter]] = {}
        self._busy: dict[int, Letter] = {}
        self._free_since: dict[int, int] = {}

    def has(self, rank_class: int, mail: Mail) -> bool:
        """Whether it has arrived."""
        return (rank_class, mail) in self._here

    def read(self, rank_class: int, mail: Mail) -> int:
        """Take out what has arrived; when it was written."""
        self._here.remove((rank_class, mail))
        return self._sent.pop((rank_class, mail))

    def state(self, now: int, micro_batch: int) -> frozenset[tuple[object, ...]]:
        """Messages on their way or unread, times from ``now`` and micro-batches from ``micro_batch`` on.

        When one was sent matters as long as it has not arrived; that somebody waits for one is his own state.
        """
        return frozenset(
            (key[0], *key[1][:-1], key[1][-1] - micro_batch, "arrived" if key in self._here else sent - now)
            for key, sent in self._sent.items()
        )

    def state_of(self, rank_class: int, now: int, micro_batch: int) -> tuple[object, ...]:
        """What a rank sends now, and will next."""
        letters = (self._busy.get(rank_class), *self._queues.get(rank_class, ()))
        return tuple(letter.state(now, micro_batch) if letter else None for letter in letters)

    def on_arrival(self, rank_classes: Sequence[int], mail: Mail, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the first of this mail has come for these ranks, none of which has it."""
        arrival = Arrival(self._clock, len(rank_classes), tell)
        for rank_class in rank_classes:
            self._awaited[rank_class, mail] = arrival

    def on_departure(self, letters: Sequence[Letter], tell: Callable[[], None]) -> None:
        """Call ``tell`` when the first of these letters is gone; none of them is."""
        arrival = Arrival(self._clock, len(letters), tell)
        for letter in letters:
            self._to_go[letter] = arrival

    def hand(self, rank_classes: Iterable[int], mail: Mail) -> None:
        """Mail that needs no way: the next stage is on the same rank."""
        for rank_class in rank_classes:
            self._sent[rank_class, mail] = self._clock.now
            self._deliver(rank_class, mail)

    def send(self, letters: Sequence[Letter]) -> None:
        """Send them, each after what its rank sent before."""
        now = self._clock.now
        idle = []
        for letter in letters:
            for target in letter.targets:
                self._sent[target, letter.mail] = now
            if letter.rank_class in self._busy:
                self._queues.setdefault(letter.rank_class, deque()).append(letter)
            else:
                self._take(letter, now)
                idle.append(letter)
        if idle:
            self._launch(idle)

    def _begin(self, rank_classes: Sequence[int]) -> None:
        """Put on its way what is next, of all ranks that send nothing now."""
        now = self._clock.now
        next_ones = []
        for rank_class in rank_classes:
            queue = self._queues.get(rank_class)
            if queue and rank_class not in self._busy:
                letter = queue.popleft()
                self._take(letter, now)
                next_ones.append(letter)
        if next_ones:
            self._launch(next_ones)

    def _take(self, letter: Letter, now: int) -> None:
        """It is what its rank sends now."""
        self._busy[letter.rank_class] = letter
        letter.joined = max(letter.joined, self._free_since.get(letter.rank_class, 0))
        letter.began = now

    def _launch(self, letters: Sequence[Letter]) -> None:
        operations = [letter.operation for letter in letters]
        self._network.launch_together(operations, lambda places: self._end([letters[place] for place in places]))

    def _end(self, letters: Sequence[Letter]) -> None:
        now = self._clock.now
        for letter in letters:
            rank_class = letter.rank_class
            self._recorder.add(rank_class, PP, letter.name, letter.began, now, letter.micro_batch)
            del self._busy[rank_class]
            self._free_since[rank_class] = now
            letter.gone = True
            for target in letter.targets:
                self._deliver(target, letter.mail)
            waiting = self._to_go.pop(letter, None)
            if waiting is not None:
                waiting.came()
        self._begin([letter.rank_class for letter in letters])

    def _deliver(self, rank_class: int, mail: Mail) -> None:
        key = (rank_class, mail)
        self._here.add(key)
        arrival = self._awaited.pop(key, None)
        if arrival is not None:
            arrival.came()
