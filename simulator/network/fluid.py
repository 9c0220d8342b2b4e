"""The fluid server: all transfers under way share all links at max-min fair rates, with one pending timer.

Who competes with whom, and at which rates, is settled in :mod:`simulator.network.arena`; here operations are launched, go
through their phases and end.

Time is integer picoseconds: a flow is done at the first tick at which all its bytes have arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from simulator.network.arena import Arena, OnRates
from simulator.network.contract import Cancellable, Ended, Folding, OperationClass, Timekeeper
from simulator.network.lone import Course, Lone
from simulator.network.shares import Column, Plan
from simulator.network.transfers import Bundle, Part, Transfer, advance, chosen, under_way
from simulator.network.undisturbed import Legs, Undisturbed
from topologies.fabric import Floats, Ints


class FluidNetwork(Arena):
    """Runs operation classes of one folding on one clock."""

    def __init__(self, clock: Timekeeper, folding: Folding, on_rates: OnRates | None = None) -> None:
        super().__init__(on_rates)
        self.folding = folding
        self._clock = clock
        self._plans: dict[int, Plan] = {}
        self._courses: dict[tuple[int, ...], Course | None] = {}
        self._legs: dict[tuple[int, int, int], Legs] = {}  # of a part of a phase of an operation
        self._setting_out: list[tuple[Transfer, int]] = []  # parts whose first byte leaves now, by their place in the phase
        self._bundles: dict[tuple[int, ...], tuple[Plan, list[int]]] = {}
        self._timer: Cancellable | None = None
        self._timer_at = -1
        self._ended: list[Callable[[], None]] = []  # to be called once all of this instant is settled
        self._running = 0

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
        if len(operations) == 1:
            (operation,) = operations
            course = self.course(operation)
            if course is not None:
                self.history.operations[operation.key] = operation
                self._running += 1
                first = self._clock.now + course.plan.latency
                heappush(self._due, (first, next(self._serials), Lone(operations, course, ended), 0))
                self._arm()
                return
        alike: dict[int, list[int]] = {}
        for place, operation in enumerate(operations):
            plan = self._plan(operation)
            if len(plan.phases) == 1 and len(operation.phases[0]) == 1:
                alike.setdefault(plan.latency, []).append(place)
            else:
                self.launch(operation).callbacks.append(lambda _event, place=place: ended([place]))
        for places in alike.values():
            self._send_off([operations[place] for place in places], places, ended)
        self._arm()

    def course(self, operation: OperationClass) -> Course | None:
        """What it does by itself; None unless it is one flow."""
        plan = self._plan(operation)
        return self._course((operation.key,)) if len(plan.phases) == 1 and len(operation.phases[0]) == 1 else None

    def alone(self, operation: OperationClass) -> dict[int, float]:
        """The most that it puts on one link of each class while nothing else is under way [wire bytes/s]."""
        most: dict[int, float] = {}
        for phase in self._plan(operation).phases:
            use: dict[int, float] = {}
            for shape, _ in phase:
                for link, amount in self.shares.share((shape,)).use:
                    use[link] = use.get(link, 0.0) + amount
            most.update({link: max(amount, most.get(link, 0.0)) for link, amount in use.items()})
        return most

    def _course(self, key: tuple[int, ...]) -> Course | None:
        """What operations of one flow each do that start together; None if they slow each other."""
        if key not in self._bundles:
            plan, order = self.shares.together([self._plans[each] for each in key])
            self._bundles[key] = plan, order
            self._courses[key] = Course.of(plan, order, self.shares)
        return self._courses[key]

    def _send_off(self, operations: Sequence[OperationClass], places: Sequence[int], ended: Ended) -> None:
        """Launch single flows of one latency: by themselves if they can be."""
        key = tuple([operation.key for operation in operations])
        course = self._course(key)
        for operation in operations:
            self.history.operations[operation.key] = operation
        self._running += len(operations)

        def told(ats: Sequence[int]) -> None:
            ended([places[at] for at in ats])

        if course is not None:
            entry: Lone | Bundle = Lone(operations, course, told)
            latency = course.plan.latency
        else:
            plan, order = self._bundles[key]
            entry, latency = Bundle(operations, plan, list(order), told), plan.latency
        heappush(self._due, (self._clock.now + latency, next(self._serials), entry, 0))

    def _plan(self, operation: OperationClass) -> Plan:
        plan = self._plans.get(operation.key)
        if plan is None:
            plan = self._plans[operation.key] = self.shares.plan(operation, self.folding.link_classes)
        return plan

    def apart(self, clock: Timekeeper) -> FluidNetwork:
        """The same links with nothing on them, on another clock; what either solves, both know."""
        other = FluidNetwork(clock, self.folding)
        other.shares, other._plans, other._coupled, other._legs = self.shares, self._plans, self._coupled, self._legs
        return other

    def anew(self, clock: Timekeeper) -> FluidNetwork:
        """The same links with nothing on them and nothing solved yet, on another clock."""
        return FluidNetwork(clock, self.folding)

    def adopt(self, other: FluidNetwork, began: int, done: Callable[[Any], Any]) -> None:
        """Take over all that is under way on another network, whose clock stood at 0 at ``began`` and is now where ours is.

        ``done`` turns what a transfer fires at its end into what it is to fire here. The other is left with its history.
        """
        now = other._clock.now
        other._dissolved = dict(other._contests)
        other._dissolve(now)
        other._changed()
        if other._timer is not None:
            other._timer.cancel()
            other._timer = None
        moved: dict[int, Transfer] = {}
        other._stand_up(now)
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

    def _stand_up(self, now: int) -> None:
        """Make parts of all that runs undisturbed, with nothing on the links."""
        for one in self._undisturbed.values():
            self._lays_down(one, now)
            one.version += 1
            part = one.part(next(self._serials))
            self._alive.setdefault(part.shape, {})[part.serial] = part
            heappush(self._due, (one.start + one.leg.ticks, next(self._serials), part, part.version))
        self._undisturbed.clear()
        for transfer, place in self._setting_out:
            self._part(transfer, place, now)
        self._setting_out.clear()

    def state(self) -> tuple[object, ...]:
        """All that may decide how what is under way goes on, times from now on: equal states have equal futures."""
        now = self._clock.now
        parts = sorted((part for alive in self._alive.values() for part in alive.values()), key=lambda part: part.serial)
        due = sorted(
            (time, serial, entry)
            for time, serial, entry, version in self._due
            if not isinstance(entry, Part) and version == entry.version
        )
        coupled = sum(map(len, self._coupled.values()))
        return (
            *((time - now, *entry.state()) for time, _, entry in due),
            *(part.state(now) for part in parts),
            len(self._unsettled) + len(self._dissolved) + len(self._setting_out),
            coupled,
        )

    @property
    def rates(self) -> Mapping[int, float]:
        """Of all rank classes that have or had any, :meth:`memory_rate` at every moment."""
        return self._rate

    def memory_rate(self, rank_class: int) -> float:
        """Payload bytes per second now entering plus leaving one rank of the class, transfers between stages not counted."""
        return self._rate.get(rank_class, 0.0)

    def use(self, link_class: int) -> float:
        """Wire bytes per second now on one link of the class."""
        return float(self._use[link_class]) if link_class < len(self._use) else 0.0

    def room(self, links: Ints) -> Floats:
        """Wire bytes per second that one link of each of these classes could carry beside what it does now."""
        self._reach()
        left: Floats = self.shares.limits[links] - self._use[links]
        return left

    def at_rates(self) -> Iterator[tuple[Transfer | Bundle, int, Column]]:
        """All parts under way, with the shape and the rates [B/ps] of their flows; single flows of their own apart."""
        for alive in self._alive.values():
            for part in alive.values():
                yield part.transfer, part.shape, part.speeds
        for one in self._undisturbed.values():
            yield one.transfer, one.leg.shape, one.leg.share.speeds[0]

    @property
    def running(self) -> int:
        """Transfers under way, those included whose first byte has not left yet."""
        return self._running

    def _next_phase(self, transfer: Transfer) -> None:
        """Start the next phase that has bytes to move, or end the transfer."""
        while not transfer.running:
            transfer.phase += 1
            if transfer.phase == len(transfer.plan.phases):
                completed = self.history.completed
                completed[transfer.operation.key] = completed.get(transfer.operation.key, 0) + 1
                self._running -= 1
                transfer.done.succeed()
                return
            transfer.running = len(transfer.plan.phases[transfer.phase])
            self._setting_out += [(transfer, place) for place in range(transfer.running)]

    def _set_out(self, now: int) -> None:
        """First bytes of collectives leave, now that all who were through at this instant are off the links."""
        leaving, self._setting_out = self._setting_out, []
        for transfer, place in leaving:
            key = transfer.operation.key, transfer.phase, place
            legs = self._legs.get(key)
            if legs is None:
                legs = self._legs[key] = Legs(self.shares, *transfer.plan.phases[transfer.phase][place])
            if not self._takes_up(Undisturbed(transfer, legs, legs.first), legs.first, now):
                self._part(transfer, place, now)
        if self._unsettled:
            self._settle(now)

    def _part(self, transfer: Transfer, place: int, now: int) -> None:
        """Part of a collective leaves, and others may slow it."""
        shape, sizes = transfer.plan.phases[transfer.phase][place]
        self._enter(Part(next(self._serials), transfer, shape, sizes, now))

    def _turn(self, one: Undisturbed, now: int) -> None:
        """Some flows of an undisturbed part have arrived."""
        self._lays_down(one, now)
        leg = one.legs.after(one.number)
        if leg is not None:
            one.number += 1
            if self._takes_up(one, leg, now):
                return
            self._enter(Part(next(self._serials), one.transfer, leg.shape, leg.sizes, now))
        del self._undisturbed[one.serial]
        if leg is None:
            self._through(one.transfer)

    def _through(self, transfer: Transfer) -> None:
        """A part of it has arrived."""
        transfer.running -= 1
        if not transfer.running:
            self._next_phase(transfer)

    def _start(self, bundle: Bundle) -> None:
        """All the flows of a bundle set off."""
        ((shape, sizes),) = bundle.plan.phases[0]
        self._enter(Part(next(self._serials), bundle, shape, sizes, self._clock.now))

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
        self._ended.append(lambda: bundle.ended(gone))

    def _arm(self) -> None:
        """Keep one timer: now if rates are to be settled, else at the next end or start."""
        due = self._due
        while due and due[0][3] != due[0][2].version:
            heappop(due)
        if self._unsettled or self._dissolved or self._setting_out:
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
        starting: list[Lone] = []
        while due and due[0][0] <= now:
            _, _, entry, version = heappop(due)
            if version != entry.version:
                continue
            if isinstance(entry, Lone):
                if entry.start < 0:
                    starting.append(entry)
                else:
                    self._land(entry, now)
            elif isinstance(entry, Undisturbed):
                self._turn(entry, now)
            elif isinstance(entry, Transfer):
                self._next_phase(entry)
            elif isinstance(entry, Bundle):
                self._start(entry)
            else:
                self._finish(entry, now)
        if self._unsettled or self._dissolved:
            self._settle(now)
        if self._setting_out:
            self._set_out(now)
        self._tell()
        if starting:
            self._set_off(starting, now)
        self._arm()
        if self._ended:
            ended, self._ended = self._ended, []
            for call in ended:
                call()

    def _land(self, lone: Lone, now: int) -> None:
        gone = list(self._lands(lone, now))
        self._running -= len(gone)
        self._ended.append(lambda: lone.ended(gone))

    def _set_off(self, starting: Sequence[Lone], now: int) -> None:
        """First bytes of single flows leave, now that all who were through at this instant are gone."""
        for lone in starting:
            if not self._sets_off(lone, now):
                self._start(lone.bundle())
        if self._unsettled:
            self._settle(now)
        self._tell()

    def _finish(self, part: Part, now: int) -> None:
        """Take out the flows of a part that have arrived."""
        advance(part, now)
        keep = under_way(part.remaining, part.speeds)
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
                self._through(transfer)
            return
        part.shape = self.shares.left(part.shape, keep)
        part.remaining = chosen(part.remaining, keep)
        part.speeds = ()
        self._enter(part)
