"""How the links were used, from the history of a fluid network: bytes, busy seconds, utilisation over time.

The network notes only which share held from when to when; all that is asked of links is worked out here, afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.network.contract import LinkClass
from simulator.network.fluid import FluidNetwork
from simulator.network.history import History
from simulator.network.phase import Phase
from simulator.network.shares import OVER
from simulator.network.sheets import Carried, Layout, Track, changed
from simulator.spec.errors import IdentityBroken
from topologies.adjacency import spans
from topologies.fabric import Floats, Ints

SECONDS = 1e-12  # per tick


@dataclass(frozen=True, slots=True)
class LinkUse:
    """One link of a class. ``wire_bytes`` by kind.

    ``peak`` is the highest utilisation of raw capacity, ``saturated`` the seconds above 95%, ``first_saturated`` the first
    moment of them [s] or None. ``busiest_seconds`` is all its bytes at full raw capacity: no run that sends them is shorter.
    """

    link_class: LinkClass
    wire_bytes: dict[str, float]
    peak: float
    saturated: float
    first_saturated: float | None
    busiest_seconds: float
    usage: Usage = field(repr=False, compare=False)

    @property
    def busy(self) -> float:
        """Seconds with anything on the link."""
        return self.usage.busy(self.link_class.key)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds with a flow of each kind on the link."""
        return self.usage.covered(self.link_class.key)


class Usage:
    """The use of every link class over one run, once nothing is under way any more."""

    def __init__(self, network: FluidNetwork) -> None:
        if network.running:
            raise IdentityBroken(f"{network.running} transfers are still under way; their bytes are not counted yet")
        history, shares = network.history, network.shares
        self.link_classes = network.folding.link_classes
        self.wire_bytes = _wire_bytes(history)
        self.sent_bytes: dict[str, float] = {}
        for key, times in history.completed.items():
            operation = history.operations[key]
            self.sent_bytes[operation.kind] = self.sent_bytes.get(operation.kind, 0.0) + times * operation.bytes_sent
        self._history = history
        self._shares = shares
        self._layout = Layout(history.laid)
        self._count = len(shares.shares)
        self._own = frozenset(history.share if history.laid else ())  # in what is not laid out; asked where something is
        self._shares_on: dict[int, list[tuple[int, float]]] = {}
        for solved in shares.shares:
            for link, amount in solved.use:
                self._shares_on.setdefault(link, []).append((solved.key, amount))
        self._carried: dict[int, Carried] = {}
        self._latest: tuple[list[int], _Changes] | None = None
        # Link classes that symmetry alone tells apart are used alike, so most of what is asked was asked of another.
        self._carried_alike: dict[tuple[object, ...], Carried] = {}
        self._covered_alike: dict[tuple[int, ...], float] = {}

    @cached_property
    def _rows(self) -> tuple[Ints, Ints, Ints]:
        """When what held and when it ceased [ps], share by share, written out."""
        history = self._history
        own = tuple(np.array(column, dtype=np.int64) for column in (history.start, history.end, history.share))
        start, end, share = (np.concatenate(column) for column in zip(own, *self._layout.rows(), strict=True))
        return start, end, share

    @cached_property
    def _moments(self) -> _Moments:
        return _Moments.of(*self._rows, self._count)

    @cached_property
    def _kinds_on(self) -> dict[int, dict[str, list[int]]]:
        """The shares in which each kind is on each link class."""
        found: dict[int, dict[str, list[int]]] = {}
        for solved in self._shares.shares:
            for shape in solved.shapes:
                for kind, links in self._shares.kinds[shape].items():
                    for link in links:
                        found.setdefault(link, {}).setdefault(kind, []).append(solved.key)
        return found

    def steps(self, link_class: int) -> tuple[Ints, Floats]:
        """Utilisation of raw capacity over time: it is ``value[i]`` from ``time[i]`` [ps] until the next time."""
        return self._carried_on(link_class).steps

    def peak(self, link_class: int) -> float:
        """The highest of them."""
        return self._carried_on(link_class).peak

    def _carried_on(self, link_class: int) -> Carried:
        found = self._carried.get(link_class)
        if found is None:
            capacity, shares = self.link_classes[link_class].capacity, self._shares_on.get(link_class, [])
            alike = (capacity, *shares)
            found = self._carried_alike.get(alike)
            if found is None:
                found = self._carried_alike[alike] = self._put_together(capacity, shares)
            self._carried[link_class] = found
        return found

    def _put_together(self, capacity: float, shares: Sequence[tuple[int, float]]) -> Carried:
        if self._layout.laid and self._own.isdisjoint(share for share, _ in shares):
            parts = self._layout.parts([(share, amount / capacity) for share, amount in shares])
            return Carried.of_parts(parts, apart=self._layout.apart(parts)) if parts else Carried.nothing()
        those = [share for share, _ in shares]
        if self._latest is None or self._latest[0] != those:
            self._latest = those, self._moments.of_some(np.array(those, dtype=np.int64))
        by_share = np.zeros(self._count)
        by_share[those] = [amount for _, amount in shares]
        time, value = self._latest[1].stacked(by_share / capacity)
        return Carried.of(Track.of(*changed(time, value))) if len(time) else Carried.nothing()

    def steps_by_kind(self, link_class: int) -> tuple[Ints, dict[str, Floats]]:
        """Utilisation over time as in :meth:`steps`, split by who sends; the kinds sum to the whole at every moment."""
        start, end, share = self._rows
        amounts = {kind: amount[share] for kind, amount in self._amounts_by_kind(link_class).items()}
        rows = np.flatnonzero(sum(amounts.values(), np.zeros(len(share))) > 0.0)
        if not len(rows):
            return np.zeros(1, dtype=np.int64), {}
        capacity = self.link_classes[link_class].capacity
        time = np.empty(0, dtype=np.int64)
        values: dict[str, Floats] = {}
        for kind, amount in sorted(amounts.items()):
            time, value = _stacked(start[rows], end[rows], amount[rows] / capacity)
            value[value < 1e-12] = 0.0
            values[kind] = value
        changed = np.ones(len(time), dtype=bool)
        changed[1:] = np.any([value[1:] != value[:-1] for value in values.values()], axis=0)
        return time[changed], {kind: value[changed] for kind, value in values.items()}

    def _amounts_by_kind(self, link_class: int) -> dict[str, Floats]:
        """Wire bytes per second on one link of the class in every share, by kind."""
        found: dict[str, Floats] = {}
        shares = self._shares
        for share in {share for share, _ in self._shares_on.get(link_class, ())}:
            solved = shares.shares[share]
            for shape, speeds in zip(solved.shapes, solved.speeds, strict=True):
                for number, speed in zip(shares.shapes[shape], speeds, strict=True):
                    pattern = shares.patterns[number]
                    for link, load in zip(pattern.row[0], pattern.row[1], strict=True):
                        if link == link_class:
                            amount = found.setdefault(pattern.kind, np.zeros(self._count))
                            amount[share] += load * speed / SECONDS
        return found

    def link(self, link_class: int) -> LinkUse:
        """All that is known of one link of a class."""
        load = self._carried_on(link_class)
        wire = self.wire_bytes.get(link_class, {})
        return LinkUse(
            link_class=self.link_classes[link_class],
            wire_bytes=wire,
            peak=load.peak,
            saturated=load.high * SECONDS,
            first_saturated=None if load.first_high is None else load.first_high * SECONDS,
            busiest_seconds=sum(wire.values()) / self.link_classes[link_class].capacity,
            usage=self,
        )

    def busy(self, link_class: int) -> float:
        """Seconds with anything on a link of the class."""
        time, value = self.steps(link_class)
        return _lasting(time, value > 0.0)

    def covered(self, link_class: int) -> dict[str, float]:
        """Seconds with a flow of each kind on a link of the class."""
        return {kind: self._covered(shares) for kind, shares in self._kinds_on.get(link_class, {}).items()}

    def busiest_seconds(self) -> float:
        """The busiest link's bytes over its raw capacity: no run that completes the same operations is shorter [s]."""
        classes = self.link_classes
        return max((sum(kinds.values()) / classes[link].capacity for link, kinds in self.wire_bytes.items()), default=0.0)

    def links(self) -> tuple[LinkUse, ...]:
        """Every link class, by key."""
        keys = [link_class.key for link_class in self.link_classes]
        on = {key: [share for share, _ in self._shares_on.get(key, ())] for key in keys}
        for key in sorted(keys, key=on.__getitem__):  # those of the same shares change at the same moments
            self._carried_on(key)
        return tuple([self.link(key) for key in keys])

    def overfull(self) -> tuple[LinkClass, ...]:
        """Link classes that carried more than they can at some moment: not in a run in which all traffic met."""
        return tuple(link for link in self.link_classes if self.peak(link.key) > OVER)

    def check(self, *, met: bool = True) -> None:
        """Bytes that the rates moved = bytes of the completed operations, on each link class; no link above capacity.

        ``met``: all traffic under way shared the links.
        Ends are rounded up to whole ticks, so each flow's end may count up to a tick too much.
        Raises IdentityBroken with the figures that disagree.
        """
        history = self._history
        held = self._held_by_share()
        ends = sum(
            times * sum(len(phase) for phase in history.operations[key].phases) for key, times in history.completed.items()
        )
        for link_class in self.link_classes:
            key, capacity = link_class.key, link_class.capacity
            moved = sum(held[share] * amount for share, amount in self._shares_on.get(key, ()))
            sent = sum(self.wire_bytes.get(key, {}).values())
            if abs(moved - sent) > 1e-9 * sent + ends * capacity * SECONDS:
                raise IdentityBroken(f"link {link_class.example}: rates moved {moved} bytes, operations sent {sent}")
            peak = self.peak(key)
            if met and peak > OVER:
                raise IdentityBroken(f"link {link_class.example} ran at {peak} of its capacity")

    def _held_by_share(self) -> list[float]:
        """How long each share held in all [s]."""
        history = self._history
        start, end, share = (np.array(column, dtype=np.int64) for column in (history.start, history.end, history.share))
        found: list[float] = np.bincount(share, weights=(end - start) * SECONDS, minlength=self._count).tolist()
        for laid in self._layout.laid:
            for local, ticks in laid.sheet.held.items():
                found[laid.keys[local]] += ticks * len(laid.starts) * SECONDS
        return found

    def _covered(self, shares: Sequence[int]) -> float:
        """Seconds during which at least one of these shares held."""
        alike = tuple(shares)
        found = self._covered_alike.get(alike)
        if found is None:
            found = self._covered_alike[alike] = self._held(shares)
        return found

    def _held(self, shares: Sequence[int]) -> float:
        held = np.zeros(self._count)
        held[shares] = 1.0
        time, depth = self._moments.stacked(held)
        return float((np.diff(time) * SECONDS)[depth[:-1] > 0.5].sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """When each share began and ceased to hold, all of these moments in order; of equals beginnings come first.

    ``time`` [ps] and ``what`` by place in that order: the share that began, or, ``count`` more, the one that ceased. ``places``
    are those of share after share, from ``first`` on. So what held of some shares is put together without a sort of times.
    """

    time: Ints
    what: npt.NDArray[np.int32]
    places: Ints
    first: Ints

    @classmethod
    def of(cls, start: Ints, end: Ints, share: Ints, count: int) -> _Moments:
        """Those of a history of ``count`` shares."""
        time = np.concatenate((start, end))
        order = np.argsort(time, kind="stable")
        short = share.astype(np.int16 if count < 2**15 else np.int32)  # of 16 bits they are sorted in linear time
        held = np.concatenate((short, short))[order]
        what = held + (order >= len(start)) * np.int32(count)
        places = np.argsort(held, kind="stable").astype(np.int64)
        first = np.concatenate(([0], np.cumsum(np.bincount(held, minlength=count)))).astype(np.int64)
        return cls(time[order], what, places, first)

    def of_some(self, shares: Ints) -> _Changes:
        """The moments of these shares (ascending) alone."""
        if len(shares) == 1:
            chosen = self.places[self.first[shares[0]] : self.first[shares[0] + 1]]
        else:
            chosen, _ = spans(self.places, self.first, shares)
            chosen.sort()
        time = self.time[chosen]
        new = np.ones(len(time), dtype=bool)
        np.not_equal(time[1:], time[:-1], out=new[1:])
        return _Changes(time[new], new.cumsum() - 1, self.what[chosen])

    def stacked(self, amounts: Floats) -> tuple[Ints, Floats]:
        """``amounts`` of each share [count], of those that hold together as a step function: (time, value from then on)."""
        return self.of_some(amounts.nonzero()[0]).stacked(amounts)


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """Moments of some shares: ``time`` of each [ps]; of all that happens, ``what`` it is and at which ``moment`` (its place)."""

    time: Ints
    moment: Ints
    what: npt.NDArray[np.int32]

    def stacked(self, amounts: Floats) -> tuple[Ints, Floats]:
        """What holds together as a step function, with these ``amounts`` of all shares [count]."""
        changes = np.bincount(self.moment, weights=np.concatenate((amounts, -amounts))[self.what], minlength=len(self.time))
        return self.time, changes.cumsum()


def _wire_bytes(history: History) -> dict[int, dict[str, float]]:
    """Wire bytes that the completed operations put on one link of each class, by kind."""
    sent: dict[str, list[tuple[Phase, int]]] = {}
    for key, times in history.completed.items():
        operation = history.operations[key]
        sent.setdefault(operation.kind, []).extend((Phase.of(phase), times) for phase in operation.phases)
    found: dict[int, dict[str, float]] = {}
    for kind, phases in sent.items():
        if phases:
            links = np.concatenate([phase.links for phase, _ in phases])
            amounts = np.concatenate([np.repeat(times * phase.size, np.diff(phase.starts)) for phase, times in phases])
            on_links = np.bincount(links, weights=amounts * np.concatenate([phase.load for phase, _ in phases]))
            for link in np.unique(links).tolist():
                found.setdefault(link, {})[kind] = float(on_links[link])
    return found


def _lasting(time: Ints, which: npt.NDArray[np.bool_]) -> float:
    """Seconds from these moments to the next ones."""
    return float(((time[1:] - time[:-1]) * SECONDS)[which[:-1]].sum())


def _stacked(start: Ints, end: Ints, amount: Floats) -> tuple[Ints, Floats]:
    """Sum of intervals as a step function: (time, value from then on), the last value 0 but for rounding."""
    time, place = np.unique(np.concatenate((start, end)), return_inverse=True)
    changes = np.bincount(place, weights=np.concatenate((amount, -amount)), minlength=len(time))
    return time, np.cumsum(changes)
