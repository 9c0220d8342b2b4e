"""The fluid server: all transfers under way share all links at max-min fair rates, with one pending timer.

Flows that compete are solved together and only they: each *part* (flows of one phase that share links) starts as a
competitor of nobody; if the parts that cross some link would overload it, they are solved together from then on. By Theorem 4
of docs/network.md the result is the max-min allocation of all flows: leaving out a limit that then holds anyway changes
nothing.

Time is integer picoseconds: a flow is done at the first tick at which all its bytes have arrived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

from simulator.network.contract import Cancellable, Ended, Folding, OperationClass, Timekeeper
from simulator.network.history import History
from simulator.network.shares import OVER, Plan, Shares
from simulator.network.transfers import Bundle, Contest, Part, Transfer, advance
from simulator.spec.errors import IdentityBroken

#: Ends closer than this are one end [ps]; far above rounding in durations of seconds, far below a tick.
TOGETHER = 1.0 / 64.0

NOBODY: frozenset[int] = frozenset()

OnRates = Callable[[tuple[int, ...]], None]
OnUse = Callable[[set[int]], None]


class FluidNetwork:
    """Runs operation classes of one folding on one clock.

    ``on_rates(rank_classes)`` is called after the payload rates of some rank classes have changed, ``on_use(link_classes)``
    after something began to use some links, or uses them otherwise.
    """

    def __init__(self, clock: Timekeeper, folding: Folding, on_rates: OnRates | None = None) -> None:
        self.on_rates = on_rates
        self.on_use: OnUse | None = None
        self.folding = folding
        self.history = History()
        self.shares = Shares()
        self._clock = clock
        self._serials = count()
        self._plans: dict[int, Plan] = {}
        self._bundles: dict[tuple[int, ...], tuple[Plan, list[int]] | None] = {}
        self._due: list[tuple[int, int, Part | Transfer | Bundle, int]] = []
        self._timer: Cancellable | None = None
        self._timer_at = -1
        self._running = 0
        self._alive: dict[int, dict[int, Part]] = {}  # shape -> serial -> part
        self._coupled: dict[int, set[int]] = {}  # shapes that overload a link unless solved together
        self._contests: dict[int, Contest] = {}
        self._unsettled: dict[int, Part] = {}
        self._dissolved: dict[int, Contest] = {}
        self._use: dict[int, float] = {}  # wire bytes/s on one link of a class
        self._at_rank: dict[int, dict[int, float]] = {}  # rank class -> contest -> payload bytes/s
        self._before: dict[int, float] = {}
        self._touched: set[int] = set()

    def launch(self, operation: OperationClass) -> Any:
        """Start now; returns the event that fires when the last byte of the last phase has arrived."""
        plan = self._plan(operation)
        self.history.operations[operation.key] = operation
        self._running += 1
        transfer = Transfer(operation, plan, self._clock.event())
        if plan.latency:
            heappush(self._due, (self._clock.now + plan.latency, next(self._serials), transfer, 0))
        else:
            self._next_phase(transfer)
        self._arm()
        return transfer.done

    def launch_together(self, operations: Sequence[OperationClass], ended: Ended) -> None:
        """Start several operations now; ``ended`` is told the places of those that are done, at every tick at which some are.

        Those that wait equally long and have one flow each run as one transfer: the rates are the same.
        """
        alike: dict[int, list[int]] = {}
        for place, operation in enumerate(operations):
            plan = self._plan(operation)
            if len(plan.phases) == 1 and len(operation.phases[0]) == 1:
                alike.setdefault(plan.latency, []).append(place)
            else:
                self.launch(operation).callbacks.append(lambda _event, place=place: ended([place]))
        for places in alike.values():
            self._bundle([operations[place] for place in places], places, ended)
        self._arm()

    def _bundle(self, operations: Sequence[OperationClass], places: Sequence[int], ended: Ended) -> None:
        key = tuple([operation.key for operation in operations])
        found = self._bundles.get(key)
        if found is None:
            found = self._bundles[key] = self.shares.together([self._plans[each] for each in key])
        plan, order = found
        for operation in operations:
            self.history.operations[operation.key] = operation
        self._running += len(operations)
        bundle = Bundle(operations, plan, list(order), lambda ats: ended([places[at] for at in ats]))
        heappush(self._due, (self._clock.now + plan.latency, next(self._serials), bundle, 0))

    def _plan(self, operation: OperationClass) -> Plan:
        plan = self._plans.get(operation.key)
        if plan is None:
            plan = self._plans[operation.key] = self.shares.plan(operation, self.folding.link_classes)
        return plan

    def apart(self, clock: Timekeeper) -> FluidNetwork:
        """The same links with nothing on them, on another clock; what either solves, both know."""
        other = FluidNetwork(clock, self.folding)
        other.shares, other._plans, other._coupled = self.shares, self._plans, self._coupled
        return other

    def adopt(self, other: FluidNetwork, began: int, done: Callable[[Any], Any]) -> None:
        """Take over all that is under way on another network, whose clock stood at 0 at ``began`` and is now where ours is.

        ``done`` turns what a transfer fires at its end into what it is to fire here. The other is left with its history.
        """
        now = other._clock.now
        other._dissolved = dict(other._contests)
        other._dissolve(now)
        if other._timer is not None:
            other._timer.cancel()
            other._timer = None
        moved: dict[int, Transfer] = {}
        for parts in other._alive.values():
            for part in parts.values():
                part.serial = next(self._serials)
                part.updated += began
                if isinstance(part.transfer, Transfer):
                    moved[id(part.transfer)] = part.transfer
                self._alive.setdefault(part.shape, {})[part.serial] = part
                self._unsettled[part.serial] = part
        for time, _, entry, version in other._due:
            if isinstance(entry, Transfer):
                moved[id(entry)] = entry
            heappush(self._due, (time + began, next(self._serials), entry, version))
        for transfer in moved.values():
            transfer.done = done(transfer.done)
        self._running += other._running
        other._running = 0
        self._arm()

    def state(self) -> tuple[object, ...]:
        """All that may decide how what is under way goes on, times from now on: equal states have equal futures."""
        now = self._clock.now
        parts = sorted((part for alive in self._alive.values() for part in alive.values()), key=lambda part: part.serial)
        due = sorted((time, serial, entry) for time, serial, entry, _ in self._due if not isinstance(entry, Part))
        coupled = sum(map(len, self._coupled.values()))
        return (
            *((time - now, *entry.state()) for time, _, entry in due),
            *(part.state(now) for part in parts),
            len(self._unsettled) + len(self._dissolved),
            coupled,
        )

    def memory_rate(self, rank_class: int) -> float:
        """Payload bytes per second now entering plus leaving one rank of the class, transfers between stages not counted."""
        rates = self._at_rank.get(rank_class)
        return sum(rates.values()) if rates else 0.0

    def use(self, link_class: int) -> float:
        """Wire bytes per second now on one link of the class."""
        return self._use.get(link_class, 0.0)

    @property
    def running(self) -> int:
        """Transfers under way, those included whose first byte has not left yet."""
        return self._running

    def _next_phase(self, transfer: Transfer) -> None:
        """Start the next phase that has bytes to move, or end the transfer."""
        now = self._clock.now
        while not transfer.running:
            transfer.phase += 1
            if transfer.phase == len(transfer.plan.phases):
                completed = self.history.completed
                completed[transfer.operation.key] = completed.get(transfer.operation.key, 0) + 1
                self._running -= 1
                transfer.done.succeed()
                return
            for shape, sizes in transfer.plan.phases[transfer.phase]:
                part = Part(next(self._serials), transfer, shape, list(sizes), now)
                self._alive.setdefault(shape, {})[part.serial] = part
                self._unsettled[part.serial] = part
                transfer.running += 1

    def _start(self, bundle: Bundle) -> None:
        """All the flows of a bundle set off."""
        ((shape, sizes),) = bundle.plan.phases[0]
        part = Part(next(self._serials), bundle, shape, list(sizes), self._clock.now)
        self._alive.setdefault(shape, {})[part.serial] = part
        self._unsettled[part.serial] = part

    def _arrived(self, bundle: Bundle, keep: Sequence[int]) -> None:
        """Only these flows of a bundle still run."""
        left = [bundle.running[index] for index in keep]
        gone = sorted(set(bundle.running).difference(left))
        bundle.running = left
        completed = self.history.completed
        for at in gone:
            key = bundle.operations[at].key
            completed[key] = completed.get(key, 0) + 1
        self._running -= len(gone)
        event = self._clock.event()
        event.callbacks.append(lambda _event: bundle.ended(gone))
        event.succeed()

    def _arm(self) -> None:
        """Keep one timer: now if rates are to be settled, else at the next end or start."""
        due = self._due
        while due and due[0][3] != (entry.version if isinstance(entry := due[0][2], Part) else 0):
            heappop(due)
        if self._unsettled or self._dissolved:
            target = self._clock.now
        elif due:
            target = due[0][0]
        else:
            target = -1
        if self._timer is not None:
            if self._timer_at == target:
                return
            self._timer.cancel()
            self._timer = None
        if target >= 0:
            self._timer_at = target
            self._timer = self._clock.call_at(target, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._clock.now
        due = self._due
        while due and due[0][0] <= now:
            _, _, entry, version = heappop(due)
            if isinstance(entry, Transfer):
                self._next_phase(entry)
            elif isinstance(entry, Bundle):
                self._start(entry)
            elif version == entry.version:
                self._finish(entry, now)
        if self._unsettled or self._dissolved:
            self._settle(now)
        self._arm()

    def _finish(self, part: Part, now: int) -> None:
        """Take out the flows of a part that have arrived."""
        advance(part, now)
        keep = [
            index for index, (left, speed) in enumerate(zip(part.remaining, part.speeds, strict=True)) if left > speed * TOGETHER
        ]
        if len(keep) == len(part.speeds):
            self._schedule(part, now)  # rounding: a huge transfer is a tick short of its end
            return
        contest = part.contest
        assert contest is not None
        self._dissolved[contest.serial] = contest
        part.version += 1
        alive = self._alive[part.shape]
        del alive[part.serial]
        if not alive:
            del self._alive[part.shape]
        transfer = part.transfer
        if isinstance(transfer, Bundle):
            self._arrived(transfer, keep)
        if not keep:
            if isinstance(transfer, Transfer):
                transfer.running -= 1
                if not transfer.running:
                    self._next_phase(transfer)
            return
        patterns = self.shares.shapes[part.shape]
        part.shape = self.shares.shape(tuple(patterns[index] for index in keep))
        part.remaining = [part.remaining[index] for index in keep]
        part.speeds = ()
        self._alive.setdefault(part.shape, {})[part.serial] = part
        self._unsettled[part.serial] = part

    def _settle(self, now: int) -> None:
        """Solve again whoever competes with something that began or ended."""
        self._before.clear()
        begun: list[Contest] = []
        while self._unsettled or self._dissolved:
            if self._dissolved:
                self._dissolve(now)
            latest = [self._contest(group, now) for group in self._groups(now)]
            self._couple(latest)
            begun += latest
        for contest in begun:
            if contest.serial in self._contests:
                for part, speeds in zip(contest.parts, contest.share.speeds, strict=True):
                    if part.speeds != speeds:
                        advance(part, now)
                        part.speeds = speeds
                        self._schedule(part, now)
        if self.on_rates is not None:
            at_rank = self._at_rank
            changed = tuple([key for key, rate in self._before.items() if sum(at_rank[key].values()) != rate])
            if changed:
                self.on_rates(changed)
        if self.on_use is not None and self._touched:
            touched, self._touched = self._touched, set()
            self.on_use(touched)

    def _dissolve(self, now: int) -> None:
        """End the contests that lost a part; their other parts are to be settled again."""
        for serial, contest in self._dissolved.items():
            del self._contests[serial]
            for part in contest.parts:
                if part.contest is contest:
                    part.contest = None
                    if part.serial in self._alive.get(part.shape, ()):
                        self._unsettled[part.serial] = part
            self._account(contest, -1.0)
            if now > contest.start:
                history = self.history
                history.start.append(contest.start)
                history.end.append(now)
                history.share.append(contest.share.key)
        self._dissolved.clear()

    def _groups(self, now: int) -> list[list[Part]]:
        """Unsettled parts, and all that are coupled with them, by who is coupled with whom."""
        groups = []
        alive = self._alive
        while self._unsettled:
            _, first = self._unsettled.popitem()
            group = [first]
            groups.append(group)
            if first.shape not in self._coupled:
                continue
            seen = {first.serial}
            for part in group:
                for shape in alive.keys() & self._coupled.get(part.shape, NOBODY):
                    for serial, other in alive[shape].items():
                        if serial not in seen:
                            seen.add(serial)
                            group.append(other)
                            self._unsettled.pop(serial, None)
                            if other.contest is not None:
                                self._dissolved[other.contest.serial] = other.contest
                                self._dissolve(now)
                                self._unsettled.pop(serial, None)
            group.sort(key=lambda part: (part.shape, part.serial))
        return groups

    def _contest(self, parts: list[Part], now: int) -> Contest:
        share = self.shares.share(tuple([part.shape for part in parts]))
        contest = Contest(next(self._serials), parts, share, now)
        for part in parts:
            part.contest = contest
        self._contests[contest.serial] = contest
        self._account(contest, 1.0)
        if self.on_use is not None:
            self._touched.update([link for link, _ in share.use])
        return contest

    def _account(self, contest: Contest, sign: float) -> None:
        """Add a contest to what links and ranks carry, or take it away."""
        use, at_rank, listened = self._use, self._at_rank, self.on_rates is not None
        for link, amount in contest.share.use:
            use[link] = use.get(link, 0.0) + sign * amount
        for rank_class, rate in contest.share.ranks:
            rates = at_rank.setdefault(rank_class, {})
            if listened and rank_class not in self._before:
                self._before[rank_class] = sum(rates.values())
            if sign > 0:
                rates[contest.serial] = rate
            else:
                del rates[contest.serial]

    def _couple(self, begun: list[Contest]) -> None:
        """Where contests overload a link together, couple the shapes that cross it and settle them again."""
        capacity = self.shares.capacity
        use = self._use
        over = [link for contest in begun for link, _ in contest.share.use if use[link] > capacity[link] * OVER]
        for link in sorted(set(over)):
            crossing = [
                part for contest in self._contests.values() for part in contest.parts if link in self.shares.links[part.shape]
            ]
            rivals = {contest.serial: contest for part in crossing if (contest := part.contest) is not None}
            if len(rivals) < 2:
                raise IdentityBroken(f"link class {link} carries {use[link]} B/s, its capacity is {capacity[link]} B/s")
            shapes = {part.shape for part in crossing}
            for shape in shapes:
                twice = sum(part.shape == shape for part in crossing) > 1
                self._coupled.setdefault(shape, set()).update(shapes if twice else shapes - {shape})
            self._dissolved.update(rivals)

    def _schedule(self, part: Part, now: int) -> None:
        """Note when the first of a part's flows will have arrived."""
        first = min([left / speed for left, speed in zip(part.remaining, part.speeds, strict=True)])
        part.version += 1
        time = now + max(1, math.ceil(first - TOGETHER))
        heappush(self._due, (time, next(self._serials), part, part.version))
