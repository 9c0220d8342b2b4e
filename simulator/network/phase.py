"""The flow classes of one phase as columns, and one by one where they are asked for.

A fold of a faulty machine has thousands of flow classes, and most questions about them are sums over links. So a phase keeps
arrays, and makes :class:`FlowClass` objects only for those who go through it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from simulator.network.contract import FlowClass
from simulator.network.maxmin import Loads
from simulator.network.numbering import marked
from topologies.adjacency import spans
from topologies.fabric import Floats, Ints


class Phase(Sequence[FlowClass]):
    """Columns of ``n`` flow classes, as in :class:`FlowClass`: those of class i load ``links[starts[i]:starts[i + 1]]``.

    All other columns have one entry a class [n]; ``flows`` says how many it has, those of ``ranks`` are source class, flows per
    source, target class and flows per target. Nothing is changed after it is made.
    """

    __slots__ = ("_on_links", "_rows", "flows", "links", "load", "path", "ranks", "rate_cap", "size", "starts", "weight")

    def __init__(
        self,
        starts: Ints,
        links: Ints,
        load: Floats,
        size: Floats,
        flows: Ints,
        ranks: tuple[Ints, Floats, Ints, Floats],
        weight: Floats | None = None,
        rate_cap: Floats | None = None,
        path: Ints | None = None,
    ) -> None:
        self.starts, self.links, self.load = starts, links, load
        self.size, self.flows = size, flows
        self.ranks = ranks
        self.weight = np.ones(len(size)) if weight is None else weight
        self.rate_cap = np.full(len(size), math.inf) if rate_cap is None else rate_cap
        self.path = np.full(len(size), -1, dtype=np.int64) if path is None else path
        self._rows: tuple[FlowClass, ...] | None = None
        self._on_links: Floats | None = None

    @classmethod
    def of(cls, flows: Sequence[FlowClass]) -> Phase:
        """These in columns; a phase is that already."""
        if isinstance(flows, Phase):
            return flows
        lengths = [0, *(len(flow.links) for flow in flows)]
        made = cls(
            np.cumsum(lengths, dtype=np.int64),
            np.concatenate([np.empty(0, dtype=np.int64), *(flow.links for flow in flows)]),
            np.concatenate([np.empty(0), *(flow.load for flow in flows)]),
            np.array([flow.size for flow in flows], dtype=np.float64),
            np.array([flow.count for flow in flows], dtype=np.int64),
            (
                np.array([flow.source_class for flow in flows], dtype=np.int64),
                np.array([flow.flows_per_source for flow in flows], dtype=np.float64),
                np.array([flow.target_class for flow in flows], dtype=np.int64),
                np.array([flow.flows_per_target for flow in flows], dtype=np.float64),
            ),
            np.array([flow.weight for flow in flows], dtype=np.float64),
            np.array([flow.rate_cap for flow in flows], dtype=np.float64),
            np.array([flow.path for flow in flows], dtype=np.int64),
        )
        made._rows = tuple(flows)
        return made

    @classmethod
    def joined(cls, phases: Sequence[Sequence[FlowClass]]) -> Phase:
        """The flows of several, one after the other."""
        parts = [cls.of(phase) for phase in phases if len(phase)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.of(())
        lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(np.diff(part.starts) for part in parts)])
        first, per_source, second, per_target = (
            np.concatenate(column) for column in zip(*(part.ranks for part in parts), strict=True)
        )
        return cls(
            np.cumsum(lengths),
            np.concatenate([part.links for part in parts]),
            np.concatenate([part.load for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.flows for part in parts]),
            (first, per_source, second, per_target),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.rate_cap for part in parts]),
            np.concatenate([part.path for part in parts]),
        )

    def sized(self, payload: float) -> Phase:
        """The same flows, ``payload`` times as large."""
        return Phase(
            self.starts, self.links, self.load, self.size * payload, self.flows, self.ranks, self.weight, self.rate_cap, self.path
        )

    def as_one(self) -> Phase:
        """The same flows, which together compete as one from every rank: each has its part of a weight of 1.

        By themselves they run as before, for all have the same weight.
        """
        if not len(self.size):
            return self
        source, per_source = self.ranks[0], self.ranks[1]
        most = float(np.bincount(source, weights=per_source).max())
        weight = self.weight / max(most, 1.0)
        return Phase(self.starts, self.links, self.load, self.size, self.flows, self.ranks, weight, self.rate_cap, self.path)

    @property
    def owner(self) -> Ints:
        """The flow class that each entry of ``links`` and ``load`` is of."""
        return np.repeat(np.arange(len(self.size), dtype=np.int64), np.diff(self.starts))

    @property
    def bytes_sent(self) -> float:
        """Payload of all flows of all classes [B]."""
        return float(sum((self.flows * self.size).tolist()))

    def system(self, chosen: Ints) -> tuple[Loads, Ints]:
        """The loads of some flow classes on the link classes that they use, both renumbered in order; and these link classes."""
        lengths, links, load = np.diff(self.starts), self.links, self.load
        if len(chosen) < len(lengths):  # else, as they are ascending, they are all
            lengths = lengths[chosen]
            entries, _ = spans(np.arange(len(links), dtype=np.int64), self.starts, chosen)
            links, load = links[entries], load[entries]
        used, place = marked(links, int(links.max(initial=-1)) + 1)
        flow = np.repeat(np.arange(len(chosen), dtype=np.int64), lengths)
        return Loads(flow, place, load, len(chosen), len(used)), used

    def on_links(self, links: int) -> Floats:
        """Wire bytes on one link of each class [links]."""
        if self._on_links is None or len(self._on_links) != links:
            amounts = self.load * np.repeat(self.size, np.diff(self.starts))
            self._on_links = np.bincount(self.links, weights=amounts, minlength=links).astype(np.float64)
            self._on_links.setflags(write=False)
        return self._on_links

    def rows(self) -> tuple[FlowClass, ...]:
        """Every flow class by itself; made once."""
        if self._rows is None:
            columns = (self.size, self.flows, *self.ranks, self.weight, self.rate_cap, self.path)
            edges = self.starts.tolist()
            self._rows = tuple(
                FlowClass(self.links[start:end], self.load[start:end], *values)
                for start, end, values in zip(
                    edges, edges[1:], zip(*(column.tolist() for column in columns), strict=True), strict=False
                )
            )
        return self._rows

    def __len__(self) -> int:
        return len(self.size)

    def __iter__(self) -> Iterator[FlowClass]:
        return iter(self.rows())

    @overload
    def __getitem__(self, index: int) -> FlowClass: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[FlowClass, ...]: ...

    def __getitem__(self, index: int | slice) -> FlowClass | tuple[FlowClass, ...]:
        return self.rows()[index]
