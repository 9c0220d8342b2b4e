"""What a rank class that meets nobody did from one moment at which nothing of it was under way to the next.

Such a stretch hangs on nothing but what decides its operators and its collectives, and on when it came to which blocks: so all
that were seen make a tree, in which every step is a time and a scene. Most stretches are one slot whose blocks wait for all that
they start. Others begin with the parameters that are sent for before the first slot, or with gradients that leave beside the
slots that follow; they are as long as anything of it is under way. A tree is kept for whoever is alike, in this step or in
another (:mod:`simulator.engine.alike`). Tokens are known by their order, so stages that call them otherwise are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulator.engine.alike import Keepsake
from simulator.engine.ensemble import Role
from simulator.engine.itinerary import Scene
from simulator.engine.soloist import Soloist
from simulator.network.contract import OperationClass
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Block

Key = tuple[int, ...]  # of a scene: numbers of its scripts (simulator.engine.alike), and what it waits for of the same stretch
Step = tuple[int, Key]  # ticks since the stretch began, what it came to

MOST = 4096
"""Steps that one tree holds; beyond that it is begun anew."""


@dataclass(slots=True, eq=False)
class Seen:
    """A place in the tree: ``role`` of the last step. ``rests``: from when on nothing is under way if no step follows before.

    ``whole``: everything up to there, once that is known. ``following``: what came next before that.
    """

    role: Role | None = None
    rests: int | None = None
    whole: Keepsake | None = None
    following: dict[Step, Seen] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Tree:
    """All stretches of ranks that are alike. ``steps`` counts its places."""

    root: Seen = field(default_factory=Seen)
    steps: int = 0

    def trimmed(self) -> Tree:
        """Itself, or empty if it has become too large."""
        if self.steps > MOST:
            self.root, self.steps = Seen(), 0
        return self


class Stretch:
    """One stretch under way, followed through the tree; what the tree does not know is played. ``start`` [ps].

    ``begin`` makes a soloist that stands at its beginning. ``operations``: all of the rank class.
    """

    __slots__ = ("_begin", "_operations", "_path", "_solo", "_tree", "at", "left", "opened", "played", "start")

    def __init__(self, tree: Tree, start: int, begin: Callable[[], Soloist], operations: Sequence[OperationClass]) -> None:
        self.start = start
        self.at = tree.root
        self.played = 0  # steps that were not known
        self.opened: dict[str, int] = {}  # tokens of what it began, numbered in that order
        self.left = 0
        self._tree = tree
        self._begin = begin
        self._operations = operations
        self._path: list[tuple[int, Sequence[Block], bool]] = []
        self._solo: Soloist | None = None

    @property
    def steps(self) -> int:
        """Blocks that it came to."""
        return len(self._path)

    @property
    def events(self) -> int:
        """Of its clock, if something was played."""
        return self._solo.events if self._solo else 0

    def key(self, numbers: Key, scene: Scene) -> Key:
        """What decides how a scene goes from here: its scripts, and where it waits for something of this stretch."""
        if not scene.awaits or not self.opened:
            return numbers
        opened = self.opened
        return *numbers, *(at for *place, token in scene.pauses if token in opened for at in (*place, opened[token]))

    def enter(self, now: int, scene: Key, blocks: Sequence[Block], *, optimizer: bool = False) -> Role:
        """It comes to blocks; how they go."""
        at = now - self.start
        found = self.at.following.get((at, scene))
        if found is None:
            role = self._soloist().enter(at, blocks, optimizer=optimizer)
            found = self.at.following[at, scene] = Seen(role)
            self._tree.steps += 1
            self.played += 1
            self._path.append((at, blocks, optimizer))
            self.at = found
            self._comes_to_rest(at + role.end)
        else:
            self._path.append((at, blocks, optimizer))
            self.at = found
        assert found.role is not None
        return found.role

    def rests(self, now: int, scene: Key) -> bool:
        """Whether nothing of it is under way any more as it comes to this scene."""
        found, at = self.at, now - self.start
        if found.rests is not None:
            return at >= found.rests
        return (at, scene) not in found.following and self._comes_to_rest(at)

    def end(self) -> None:
        """Nothing follows: let it come to rest. Raises IdentityBroken if it never does."""
        if self.at.rests is None and not self._comes_to_rest(None):
            raise IdentityBroken(f"something that {[block.name for block in self._path[-1][1]]} began never ends")

    def _comes_to_rest(self, at: int | None) -> bool:
        solo = self._soloist()
        rest = solo.rests_by(at)
        if rest is None:
            return False
        found = self.at
        found.rests = rest
        assert found.role is not None
        network = solo.network
        found.whole = Keepsake.of(found.role, solo.recorder, network.history, network.shares, self._operations)
        return True

    def _soloist(self) -> Soloist:
        """Somebody who stands where it is."""
        solo = self._solo
        if solo is None:
            solo = self._solo = self._begin()
            for at, blocks, optimizer in self._path:
                solo.enter(at, blocks, optimizer=optimizer)
        return solo
