"""Who competes with whom on the links, at which rates, and what links and ranks carry because of it.

Flows that compete are solved together and only they: each *part* (flows of one phase that share links) starts as a
competitor of nobody; if the parts that cross some link would overload it, they are solved together from then on. By Theorem 4
of docs/network.md the result is the max-min allocation of all flows: leaving out a limit that then holds anyway changes
nothing. A part that nothing slows competes with nobody (:mod:`simulator.network.undisturbed`), and a flow by itself that nothing
slows is not even a part (:mod:`simulator.network.lone`).
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from heapq import heappush
from itertools import count
from typing import cast

import numpy as np

from simulator.network.history import History
from simulator.network.lone import Lone
from simulator.network.shares import Share, Shares
from simulator.network.transfers import Bundle, Contest, Part, Transfer, advance, first_end, same
from simulator.network.undisturbed import Leg, Undisturbed
from simulator.spec.errors import IdentityBroken
from topologies.fabric import Floats, Ints

NOBODY: frozenset[int] = frozenset()

#: An array of floats that is read and written one by one: several times as quick as by way of numpy.
Figures = MutableSequence[float]

OnRates = Callable[[tuple[int, ...]], None]
OnUse = Callable[[Ints], None]


class Arena:
    """Parts under way, and the contests that they form.

    ``on_rates(rank_classes)`` is called after the payload rates of some rank classes have changed, ``on_use(link_classes)``
    after something began to use some links, or uses them otherwise.
    """

    def __init__(self, on_rates: OnRates | None = None) -> None:
        self.on_rates = on_rates
        self.on_use: OnUse | None = None
        self.history = History()
        self.shares = Shares()
        self._serials = count()
        self._due: list[tuple[int, int, Part | Transfer | Bundle | Lone | Undisturbed, int]] = []
        self._alive: dict[int, dict[int, Part]] = {}  # shape -> serial -> part
        self._coupled: dict[int, set[int]] = {}  # shapes that overload a link unless solved together
        self._contests: dict[int, Contest] = {}
        self._unsettled: dict[int, Part] = {}
        self._dissolved: dict[int, Contest] = {}
        self._lone: dict[int, Lone] = {}  # that have set off, by serial
        self._undisturbed: dict[int, Undisturbed] = {}  # under way, by serial
        self._use: Floats = np.empty(0)  # wire bytes/s on one link of a class
        self._use_of: Figures = _figures(self._use)  # the very same, and what is too much, link by link
        self._limit_of: Figures = _figures(self._use)
        self._at_rank: dict[
            int, dict[int, float]
        ] = {}  # rank class -> serial of a contest or an undisturbed part -> payload bytes/s
        self._rate: dict[int, float] = {}  # rank class -> payload bytes/s
        self._before: dict[int, float] = {}
        self._touched: list[Ints] = []

    def _settle(self, now: int) -> None:
        """Solve again whoever competes with something that began or ended."""
        begun: list[Contest] = []
        while self._unsettled or self._dissolved:
            if self._dissolved:
                self._dissolve(now)
            if self._unsettled:
                latest = [self._contest(group, now) for group in self._groups(now)]
                self._couple(latest)
                begun += latest
        for contest in begun:
            if contest.serial in self._contests:
                for part, speeds in zip(contest.parts, contest.share.speeds, strict=True):
                    if not same(part.speeds, speeds):
                        advance(part, now)
                        part.speeds = speeds
                        self._schedule(part, now)

    def _tell(self) -> None:
        """Say what came of all that happened at this instant."""
        if self._before:
            changed = self._changed()
            if changed and self.on_rates is not None:
                self.on_rates(changed)
        self._tell_use()

    def _changed(self) -> tuple[int, ...]:
        """The rank classes whose payload rates are others than before."""
        at_rank, rate_of = self._at_rank, self._rate
        changed = []
        touched, self._before = self._before, {}
        for rank_class, before in touched.items():
            rate = sum(at_rank[rank_class].values())
            if rate != before:
                rate_of[rank_class] = rate
                changed.append(rank_class)
        return tuple(changed)

    def _tell_use(self) -> None:
        if self._touched and self.on_use is not None:
            touched, self._touched = self._touched, []
            self.on_use(np.concatenate(touched) if len(touched) > 1 else touched[0])

    def _sets_off(self, lone: Lone, now: int) -> bool:
        """Let flows run by themselves, if no link of theirs is overfull then."""
        self._reach()
        share = lone.leg.share
        if self._overfull(share):
            return False
        self._carry(share.links, share.amounts, share.few, 1.0)
        if self.on_use is not None:
            self._touched.append(share.links)
        lone.serial = next(self._serials)
        self._lone[lone.serial] = lone
        self._run_leg(lone, now)
        return True

    def _run_leg(self, lone: Lone, now: int) -> None:
        lone.start = now
        heappush(self._due, (now + lone.leg.ticks, next(self._serials), lone, lone.version))

    def _lands(self, lone: Lone, now: int) -> tuple[int, ...]:
        """Some of the flows that run by themselves have arrived: their places."""
        leg, history = lone.leg, self.history
        self._carry(leg.links, leg.amounts, leg.few, -1.0)
        self._held(leg.share, lone.start, now)
        for place in leg.gone:
            key = lone.operations[place].key
            history.completed[key] = history.completed.get(key, 0) + 1
        if len(leg.gone) == len(leg.places):
            del self._lone[lone.serial]
        else:
            lone.number += 1
            self._run_leg(lone, now)
        return leg.gone

    def _takes_up(self, one: Undisturbed, leg: Leg, now: int) -> bool:
        """Let a part run a leg undisturbed, if no link is overfull then; what it had on the links before is off them."""
        share = leg.share
        if leg.more is not None:
            self._reach()
            if self._overfull(share):
                return False
            if self.on_use is not None:
                self._touched.append(leg.more)
        self._carry(share.links, share.amounts, share.few, 1.0)
        if one.serial < 0:
            one.serial = next(self._serials)
            self._undisturbed[one.serial] = one
        self._bear(one.serial, share, 1.0)
        one.leg, one.start = leg, now
        heappush(self._due, (now + leg.ticks, next(self._serials), one, one.version))
        return True

    def _lays_down(self, one: Undisturbed, now: int) -> None:
        """Take what an undisturbed part carries off the links."""
        share = one.leg.share
        self._carry(share.links, share.amounts, share.few, -1.0)
        self._bear(one.serial, share, -1.0)
        self._held(share, one.start, now)

    def _enter(self, part: Part) -> None:
        """A part is under way, at rates that are to be found."""
        self._alive.setdefault(part.shape, {})[part.serial] = part
        self._unsettled[part.serial] = part

    def _join_lone(self, link: int) -> None:
        """What ran by itself over a link are parts from now on: it is overfull."""
        for one in [one for one in self._undisturbed.values() if link in self.shares.links[one.leg.shape]]:
            del self._undisturbed[one.serial]
            one.version += 1  # its end is that of the part from now on
            part = one.rival(next(self._serials))
            assert part.contest is not None
            self._contests[one.serial] = part.contest
            self._alive.setdefault(part.shape, {})[part.serial] = part
            heappush(self._due, (one.start + one.leg.ticks, next(self._serials), part, part.version))
        for lone in [lone for lone in self._lone.values() if link in self.shares.links[lone.leg.shape]]:
            del self._lone[lone.serial]
            lone.version += 1  # its end is that of the part from now on
            part = lone.part(next(self._serials))
            assert part.contest is not None
            self._contests[part.contest.serial] = part.contest
            self._alive.setdefault(part.shape, {})[part.serial] = part
            heappush(self._due, (lone.start + lone.leg.ticks, next(self._serials), part, part.version))

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
            self._held(contest.share, contest.start, now)
        self._dissolved.clear()

    def _held(self, share: Share, start: int, end: int) -> None:
        """Note that these were the rates for so long."""
        if end > start:
            history = self.history
            history.start.append(start)
            history.end.append(end)
            history.share.append(share.key)

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
            self._touched.append(share.links)
        return contest

    def _reach(self) -> None:
        """Keep account of all links that are known by now."""
        missing = len(self.shares.limits) - len(self._use)
        if missing:
            self._use = np.concatenate((self._use, np.zeros(missing)))
            self._use_of, self._limit_of = _figures(self._use), _figures(self.shares.limits)

    def _carry(self, links: Ints, amounts: Floats, few: Sequence[tuple[int, float]] | None, sign: float) -> None:
        """Let links carry more, or less."""
        if few is None:
            self._use[links] += sign * amounts
            return
        use = self._use_of
        for link, amount in few:
            use[link] += sign * amount

    def _overfull(self, share: Share) -> bool:
        """Whether a link would be, if this came on top of what is there."""
        if share.few is None:
            return bool(np.count_nonzero(self._use[share.links] + share.amounts > self.shares.limits[share.links]))
        use, limits = self._use_of, self._limit_of
        return bool([link for link, amount in share.few if use[link] + amount > limits[link]])

    def _account(self, contest: Contest, sign: float) -> None:
        """Add a contest to what links and ranks carry, or take it away."""
        self._reach()
        share = contest.share
        self._carry(share.links, share.amounts, share.few, sign)
        self._bear(contest.serial, share, sign)

    def _bear(self, serial: int, share: Share, sign: float) -> None:
        """Let ranks send and receive more, or less."""
        at_rank, before, rate_of = self._at_rank, self._before, self._rate
        for rank_class, rate in share.ranks:
            if rank_class not in before:
                before[rank_class] = rate_of.get(rank_class, 0.0)
            if sign < 0.0:
                del at_rank[rank_class][serial]
            elif rank_class in at_rank:
                at_rank[rank_class][serial] = rate
            else:
                at_rank[rank_class] = {serial: rate}

    def _couple(self, begun: list[Contest]) -> None:
        """Where contests overload a link together, couple the shapes that cross it and settle them again."""
        use, limits = self._use, self.shares.limits
        over: set[int] = set()
        for latest in begun:
            share = latest.share
            if share.few is not None:
                over.update([link for link, _ in share.few if self._use_of[link] > self._limit_of[link]])
                continue
            full = use[share.links] > limits[share.links]
            if np.count_nonzero(full):
                over.update(share.links[full].tolist())
        for link in sorted(over):
            self._join_lone(link)
            crossing = [
                part for contest in self._contests.values() for part in contest.parts if link in self.shares.links[part.shape]
            ]
            rivals = {contest.serial: contest for part in crossing if (contest := part.contest) is not None}
            if len(rivals) < 2:
                raise IdentityBroken(
                    f"link class {link} carries {use[link]} B/s, its capacity is {self.shares.capacity[link]} B/s"
                )
            shapes = {part.shape for part in crossing}
            for shape in shapes:
                twice = sum(part.shape == shape for part in crossing) > 1
                self._coupled.setdefault(shape, set()).update(shapes if twice else shapes - {shape})
            self._dissolved.update(rivals)

    def _schedule(self, part: Part, now: int) -> None:
        """Note when the first of a part's flows will have arrived."""
        part.version += 1
        heappush(self._due, (now + first_end(part.remaining, part.speeds), next(self._serials), part, part.version))


def _figures(column: Floats) -> Figures:
    """A view of a column."""
    return cast(Figures, column.data)
