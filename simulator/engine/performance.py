"""A rehearsed slot under way: one event for all who end it together, until something reaches in; then it is played on.

Where links would be overfull if the slot went on as rehearsed, the rehearsal is taken up again at that very moment: a second
one is run to there on a clock of its own, what it has on its links moves to the network of the step, and both clocks go on
in step. A team that does not arrive together plays so from the first moment on, and those who come later join.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from simulator.engine.clock import Call, Clock
from simulator.engine.ensemble import Ensemble, Groups, Role, Unlike
from simulator.engine.head_start import HeadStart
from simulator.network.fluid import FluidNetwork
from workloads.instructions import Slot


class Performance:
    """One slot of a team, from ``start`` [ps] on.

    ``leave`` is told who is through, with their roles: once for all that are at the same tick; ``over``, that now all are.
    """

    __slots__ = (
        "_bridge", "_bridge_at", "_calls", "_clock", "_ending", "_inside", "_leave", "_leaving", "_network", "_over",
        "ensemble", "events", "heads", "offsets", "rank_classes", "slot", "start",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        rank_classes: tuple[int, ...],
        slot: Slot,
        leave: Callable[[Performance, Mapping[int, Role]], None],
        over: Callable[[Performance], None],
    ) -> None:
        self.start = clock.now
        self.heads: Mapping[int, HeadStart] = {}  # of those who came before it began
        self.offsets: Mapping[int, int] = {}  # of those who came later than it began
        self.slot = slot
        self.rank_classes = rank_classes
        self.ensemble: Ensemble | None = None
        self.events = 0  # of ensembles, its last one apart
        self._clock = clock
        self._network: FluidNetwork | None = None
        self._calls: list[Call] = []
        self._bridge: Call | None = None
        self._bridge_at: int | None = None
        self._ending = False  # the end of this instant is awaited
        self._inside = set(rank_classes)
        self._leaving: dict[int, Role] = {}
        self._leave = leave
        self._over = over

    def repeat(self, roles: Mapping[int, Role]) -> None:
        """Go as rehearsed."""
        if len(roles) == 1:
            (role,) = roles.values()
            self._calls.append(self._clock.call_at(self.start + role.end, lambda: self._finish(roles)))
            return
        by_end: dict[int, dict[int, Role]] = {}
        for key, role in roles.items():
            by_end.setdefault(role.end, {})[key] = role
        for end, together in by_end.items():
            self._calls.append(self._clock.call_at(self.start + end, lambda together=together: self._finish(together)))  # type: ignore[misc]

    def early(self, rank_class: int) -> int:
        """How long before the start one of them came [ps]; below zero: after it."""
        head = self.heads.get(rank_class)
        return head.early if head else -self.offsets.get(rank_class, 0)

    @property
    def offset(self) -> int:
        """Ticks since it began."""
        return self._clock.now - self.start

    def state(self, rank_class: int) -> tuple[object, ...] | None:
        """All that decides how one of its ranks goes on, blocks and links apart; None if more does than can be compared.

        A slot that is played goes on from what came of its collectives so far: nothing else reaches in.
        """
        if self.ensemble is None:
            return -self.offset, self.early(rank_class)
        heard = self.ensemble.state()
        return None if heard is None else (-self.offset, self.early(rank_class), heard)

    def play(self, ensemble: Ensemble, live: FluidNetwork) -> None:
        """Go on with an ensemble, instead of the rehearsal if there was one, from now on."""
        for call in self._calls:
            call.cancel()
        self._network = live
        ensemble.clock.advance(self.offset, hold=True)
        ensemble.move(live, self.start, self._entered)
        self._go_on(ensemble)

    def join(self, groups: Groups) -> None:
        """Some of the team come later than those who are playing."""

        def enter() -> None:
            ensemble = self.ensemble
            assert ensemble is not None
            there = set(ensemble.ends)
            ensemble.join(groups)  # once twins were told apart, each acts by itself
            self._listen(ensemble.ends.keys() - there)

        self._entered(enter)

    def _go_on(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self._listen(ensemble.actors)
        self._cross()

    def _listen(self, keys: Iterable[int]) -> None:
        """Hear from actors when they are through."""
        ensemble = self.ensemble
        assert ensemble is not None
        for key in keys:
            end = ensemble.ends.get(key)
            if end is None or key not in self._inside:
                continue
            if end.processed:
                self._leaving.update(ensemble.leave(key))
            else:
                assert end.callbacks is not None
                end.callbacks.append(lambda _event, key=key: self._leaving.update(ensemble.leave(key)))  # type: ignore[misc]

    def _entered(self, function: Callable[[], None]) -> None:
        """Call a function of the ensemble now, on its own clock."""
        assert self.ensemble is not None
        self.ensemble.clock.advance(self.offset, hold=True)
        function()
        self._cross()

    def refresh(self, rank_classes: tuple[int, ...]) -> None:
        """Payload rates of some of its ranks changed."""
        if self.ensemble is None:
            return

        def refresh() -> None:
            assert self.ensemble is not None
            self.ensemble.refresh(rank_classes)

        try:
            self._entered(refresh)
        except Unlike:
            ensemble = self.ensemble
            assert self._network is not None
            self.events += ensemble.clock.events
            self._go_on(ensemble.apart(self._network, self.start, self._entered))

    def _cross(self) -> None:
        """Let out who is through, and keep one event on the clock of the step: when something next happens in the ensemble."""
        assert self.ensemble is not None
        if self._leaving:
            leaving, self._leaving = self._leaving, {}
            self._finish(leaving)
        time = self.ensemble.clock.next_at
        if time == self.offset and self.ensemble.clock.is_ending:
            time = None
            if not self._ending:
                self._ending = True
                self._clock.at_tick_end(self._end_tick, last=True)
        if self._bridge is not None:
            if time == self._bridge_at:
                return
            self._bridge.cancel()
        self._bridge_at = time
        self._bridge = None if time is None else self._clock.call_at(self.start + time, self._step)

    def _end_tick(self) -> None:
        """The instant is over for all, so it is for the ensemble."""
        self._ending = False
        ensemble = self.ensemble
        assert ensemble is not None
        if ensemble.clock.next_at == self.offset and ensemble.clock.is_ending:
            ensemble.clock.end_tick()
        self._cross()

    def _step(self) -> None:
        self._bridge = None
        self._entered(_nothing)

    def _finish(self, roles: Mapping[int, Role]) -> None:
        self._inside.difference_update(roles)
        if not self._inside:
            self._over(self)
        self._leave(self, roles)


def _nothing() -> None:
    """Done."""
