"""How many tokens each rank of an expert-parallel group sends and gets, layer by layer and micro-batch by micro-batch.

A group has ep *positions*; all groups of a job are alike. Position s routes ``send[s]`` of a rank's tokens to top_k experts each;
position d holds experts that take the share ``receive[d]`` of all copies. Where a token comes from and where it goes are
independent, so s sends d

    tokens x top_k x send[s] x receive[d]    copies, and a position processes tokens x top_k x sum(send) x receive[d].

Positions that see the same loads all step long are one *class*: the engine simulates one of them.

Leaves out: sources with preferences of their own; attention and dense layers of a ragged source, which compute its padding too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simulator.spec.errors import NotModelled, PlanError
from workloads import popularity
from workloads.expert_waves import WaveLoad, cut_in_waves
from workloads.instructions import Skew
from workloads.model import Model
from workloads.popularity import Floats, Ints, rounded
from workloads.router import RouterLoad
from workloads.router_table import read_table
from workloads.spare_experts import Spares, counts, home_of, hosted

MOST_CLASSES = 1024
"""Programs of different ranks that are built and simulated at most: classes of positions x pipeline ranks."""


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """One layer in one micro-batch, by position in the group.

    ``send``: routed tokens over a rank's tokens; ``receive``: share of all routed copies; ``active``: experts that get any;
    ``peak``: the busiest expert's share over the mean; ``dropped``: the share of routed copies that find no room.
    ``waves``: what each wave of experts gets, where the plan cuts them and waves are unlike each other.
    """

    send: tuple[float, ...]
    receive: tuple[float, ...]
    active: tuple[float, ...]
    peak: float
    dropped: float = 0.0
    waves: tuple[WaveLoad, ...] = ()

    @classmethod
    def of(cls, shares: Floats, homes: Ints, send: Floats, capacity_factor: float | None) -> ExpertLoad:
        """What ``shares`` [experts] of the copies mean for the ranks that hold the experts."""
        ep, experts = len(send), len(shares)
        taken = _taken(shares, np.ones(experts), capacity_factor)
        receive = np.bincount(homes, weights=taken, minlength=ep).astype(np.float64)
        active = np.bincount(homes[taken > 0.0], minlength=ep).astype(np.float64)
        return cls(
            send=tuple(send.tolist()),
            receive=rounded(receive),
            active=tuple(active.tolist()),
            peak=float(shares.max()) * experts,
            dropped=max(1.0 - float(taken.sum()), 0.0) if capacity_factor is not None else 0.0,
        )

    @classmethod
    def of_copies(cls, shares: Floats, held: Floats, send: Floats, capacity_factor: float | None) -> ExpertLoad:
        """The same where experts have copies: ``held`` [positions, experts] says by whom, and each takes an even part."""
        experts, copies = len(shares), held.sum(axis=0)
        taken = _taken(shares, copies, capacity_factor)
        return cls(
            send=tuple(send.tolist()),
            receive=rounded(held @ (taken / copies)),
            active=tuple((held @ (taken > 0.0)).tolist()),
            peak=float(shares.max()) * experts,
            dropped=max(1.0 - float(taken.sum()), 0.0) if capacity_factor is not None else 0.0,
        )

    @property
    def routed(self) -> float:
        """Tokens that choose experts, over all tokens of the group."""
        return sum(self.send) / len(self.send)

    @property
    def served(self) -> float:
        """Copies that an expert processes, over top_k x all tokens of the group."""
        return self.routed * sum(self.receive)

    @property
    def factor(self) -> float:
        """The busiest rank's copies over the mean (0 if nobody gets any)."""
        total = sum(self.receive)
        return max(self.receive) * len(self.receive) / total if total > 0.0 else 0.0

    @property
    def even(self) -> bool:
        """Whether all positions send and get the same."""
        return len(set(self.send)) == len(set(self.receive)) == len(set(self.active)) == 1

    def tokens(self, position: int, local: float, top_k: int) -> float:
        """Copies that one rank's experts process when each rank has ``local`` tokens.

        >>> load = ExpertLoad.of(popularity.even(8), np.arange(8) // 2, np.ones(4), None)
        >>> load.tokens(0, 4096.0, 2)
        8192.0
        """
        return local * top_k * self.routed * len(self.send) * self.receive[position]

    def skew(self) -> Skew | None:
        """What a dispatch must know beside its payload; None where it goes evenly to everybody."""
        return None if self.even and self.served == 1.0 else Skew(self.send, self.receive)

    def of_wave(self, wave: WaveLoad) -> ExpertLoad:
        """The load of one of its waves by itself."""
        return replace(self, receive=wave.receive, active=wave.active, waves=())

    def skew_of(self, wave: WaveLoad) -> Skew:
        """The same of one of its waves."""
        return Skew(self.send, wave.receive, whole=self.receive)


@dataclass(frozen=True)
class Loads:
    """The loads of a whole step: ``case[layer][pattern]`` is an index of ``cases``.

    Layers are those of the model, prediction blocks after them; where there is one row it holds for all. ``patterns`` tells
    the pattern of each micro-batch; empty: always the first. ``classes`` is the class of each position. ``spares``: places for
    copies of experts, where there are any.
    """

    kind: str
    cases: tuple[ExpertLoad, ...]
    case: tuple[tuple[int, ...], ...] = ((0,),)
    patterns: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    spares: Spares | None = None

    def at(self, layer: int, pattern: int) -> ExpertLoad:
        """The load of one layer under a pattern."""
        return self.cases[self.index(layer, pattern)]

    def index(self, layer: int, pattern: int) -> int:
        """Where :meth:`at` finds its load."""
        return self.case[layer if len(self.case) > 1 else 0][pattern]

    def pattern(self, micro_batch: int) -> int:
        """The pattern of a micro-batch."""
        return self.patterns[micro_batch] if self.patterns else 0

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Micro-batches of each pattern; one of the only one if they are all alike."""
        found = np.bincount(self.patterns) if self.patterns else np.ones(1, dtype=np.int64)
        return tuple(found.tolist())

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The first position of each class."""
        return tuple(self.classes.index(label) for label in range(max(self.classes) + 1))

    def share(self, load_class: int) -> float:
        """The part of a group's ranks that are of one class."""
        return self.classes.count(load_class) / len(self.classes)

    def mean(self, layers: Sequence[int], what: Callable[[ExpertLoad], float]) -> float:
        """A figure of the loads, averaged over these layers and all micro-batches."""
        total = sum(self.counts)
        found = sum(
            what(self.at(layer, pattern)) * count for layer in layers for pattern, count in enumerate(self.counts) if count
        )
        return found / (total * len(layers)) if layers else 0.0


def sparse_layers(model: Model) -> tuple[int, ...]:
    """The layers with experts, prediction blocks counted on after the model's own."""
    shapes = [*model.layer_shapes(), *[model.mtp_layer()] * model.mtp.depth]
    return tuple(index for index, shape in enumerate(shapes) if shape.moe)


def balanced(ep: int, experts: int) -> Loads:
    """Every expert gets equally many tokens.

    >>> balanced(64, 384).cases[0].tokens(0, 4096, top_k=6)
    24576.0
    """
    share = 1.0 / ep
    load = ExpertLoad((1.0,) * ep, (share,) * ep, (experts / ep,) * ep, 1.0)
    return Loads("balanced", (load,), classes=(0,) * ep)


def loads(router: RouterLoad, model: Model, ep: int, pp: int, micro_batches: int, waves: int = 1) -> Loads:
    """The loads that a router's description means for a plan that runs a rank's experts in so many waves.

    Raises PlanError for what no router can do, NotModelled where more ranks differ than are simulated.
    """
    moe = model.moe
    redundant = router.redundant_experts or 0
    alike = router.kind == "balanced" and router.capacity_factor is None and not redundant
    if moe is None or (alike and moe.experts // ep % waves == 0):
        return balanced(ep, moe.experts if moe else ep)
    homes = home_of(moe.experts, ep)
    build = _Builder(router, homes, ep, (moe.experts + redundant) // ep if redundant else 0, waves)
    if router.kind == "table":
        shares = read_table(router.file or "", model, micro_batches)
        case = tuple(build.layer(list(row), ()) for row in shares)
        found = _spread_over_layers(case, model)
        patterns = tuple(range(micro_batches)) if shares.shape[1] > 1 else ()
    else:
        order, patterns = _timed(router, homes, ep, moe.top_k, micro_batches)
        found = (build.layer(order, patterns),)
    spares = build.spares()
    made = Loads(router.kind, tuple(build.cases), found, patterns, _classes(build.cases, ep, spares), spares)
    count = len(made.positions) * pp
    if count > MOST_CLASSES:
        raise NotModelled(
            f"training.router {router.kind} makes {len(made.positions)} different ranks in each of {pp} pipeline ranks; at most"
            f" {MOST_CLASSES} programs are simulated. Let fewer ranks differ (router.ranks), or lower ep or pp."
        )
    return made


class _Builder:
    """Collects the distinct cases of a step."""

    def __init__(self, router: RouterLoad, homes: Ints, ep: int, places: int, waves: int) -> None:
        self.router = router
        self.places = places
        self.waves = waves
        self._held: list[Floats] = []
        self.homes = homes
        self.send = np.ones(ep)
        if router.kind == "ragged":
            self.send[popularity.spaced(ep, _at_most(router.ranks or max(ep // 2, 1), ep))] = router.least or 0.0
        if router.kind == "zipf" and router.placement == "dealt":
            self.homes = np.arange(len(homes), dtype=np.int64) % ep
        self.cases: list[ExpertLoad] = []
        self._known: dict[ExpertLoad, int] = {}

    def layer(self, shares: Sequence[Floats], patterns: Sequence[int]) -> tuple[int, ...]:
        """The cases of one layer, one a pattern; copies of experts are dealt out once for all of them."""
        held = None
        if self.places:
            times = np.bincount(patterns, minlength=len(shares)) if len(patterns) else np.ones(len(shares))
            mean = np.average(np.stack(list(shares)), axis=0, weights=times)
            held = hosted(mean, self.homes, len(self.send), self.places)
            self._held.append(held)
        return tuple(self._add(each, held) for each in shares)

    def spares(self) -> Spares | None:
        """The copies of all layers, averaged; None where there are no places for any."""
        if not self._held:
            return None
        found = np.mean([counts(held, self.homes) for held in self._held], axis=0)
        return Spares(self.places, len(self.homes), rounded(found[0]), rounded(found[1]))

    def _at_home(self) -> Floats:
        """Who holds what where nothing is copied."""
        return np.asarray(np.arange(len(self.send))[:, None] == self.homes, dtype=np.float64)

    def _add(self, shares: Floats, held: Floats | None) -> int:
        """The index of the case that these shares make."""
        factor = self.router.capacity_factor
        load = ExpertLoad.of(shares, self.homes, self.send, factor)
        if held is not None:
            load = ExpertLoad.of_copies(shares, held, self.send, factor)
        if self.waves > 1:
            held = held if held is not None else self._at_home()
            copies = held.sum(axis=0)
            load = replace(load, waves=cut_in_waves(held, self.homes, _taken(shares, copies, factor) / copies, self.waves))
        if load not in self._known:
            self._known[load] = len(self.cases)
            self.cases.append(load)
        return self._known[load]


def _timed(router: RouterLoad, homes: Ints, ep: int, top_k: int, micro_batches: int) -> tuple[list[Floats], tuple[int, ...]]:
    """The shares of each pattern, and the pattern of each micro-batch (none if it is always the first)."""
    factor, even = router.factor or 1.0, popularity.even(len(homes))
    match router.kind:
        case "rotating":
            hot = popularity.spaced(ep, min(_at_most(router.ranks or ep, ep), micro_batches))
            shares = [popularity.hot_ranks(homes, [position], top_k, factor) for position in hot]
            return shares, tuple(index % len(hot) for index in range(micro_batches))
        case "burst":
            every, length = router.every or 1, router.length or 1
            bursts = tuple(int(index % every < length) for index in range(micro_batches))
            if all(bursts):
                return [popularity.hot_ranks(homes, [0], top_k, factor)], ()
            return [even, popularity.hot_ranks(homes, [0], top_k, factor)], bursts
        case "zipf":
            return [popularity.zipf(len(homes), top_k, router.exponent or 0.0)], ()
        case "hot-expert":
            return [popularity.hot_expert(len(homes), top_k, factor)], ()
        case "hot-rank" | "spread":
            hot = popularity.spaced(ep, _at_most(router.ranks or 1, ep))
            return [popularity.hot_ranks(homes, hot, top_k, factor)], ()
        case "zero-load-rank":
            return [popularity.without(homes, popularity.spaced(ep, _at_most(router.ranks or 1, ep)), top_k)], ()
        case _:
            return [even], ()


def _at_most(ranks: int, ep: int) -> int:
    if ranks > ep:
        raise PlanError(
            f"an expert-parallel group has {ep} ranks", got=ranks, do=f"Use at most {ep}.", path="training.router.ranks"
        )
    return ranks


def _spread_over_layers(case: tuple[tuple[int, ...], ...], model: Model) -> tuple[tuple[int, ...], ...]:
    """One row a sparse layer becomes one row a layer; dense layers have none of their own and never ask."""
    if len(case) == 1:
        return case
    rows = dict(zip(sparse_layers(model), case, strict=True))
    return tuple(rows.get(layer, case[0]) for layer in range(model.layers + model.mtp.depth))


def _classes(cases: Sequence[ExpertLoad], ep: int, spares: Spares | None) -> tuple[int, ...]:
    """Positions with the same figures in every case share a class; classes are numbered as they first occur."""
    numbers: dict[tuple[tuple[float, ...], ...], int] = {}
    figures: list[tuple[tuple[float, ...], ...]]
    figures = [tuple(_figures(load, at) for load in cases) for at in range(ep)]
    if spares:
        figures = [(*figure, (spares.out[at], spares.into[at])) for at, figure in enumerate(figures)]
    return tuple(numbers.setdefault(seen, len(numbers)) for seen in figures)


def _figures(load: ExpertLoad, at: int) -> tuple[float, ...]:
    """All that a rank at one position sees of a load."""
    waves = (figure for wave in load.waves for figure in (wave.receive[at], wave.active[at]))
    return (load.send[at], load.receive[at], load.active[at], *waves)


def _taken(shares: Floats, copies: Floats, capacity_factor: float | None) -> Floats:
    """What experts with so many copies take of the ``shares`` they are sent."""
    return shares if capacity_factor is None else popularity.kept(shares, capacity_factor / len(shares) * copies)
