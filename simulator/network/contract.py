"""What the engine asks of the network, and what it gets back.

The engine never sees a chip or a link: it names an *operation class* (one collective of all the equivalent groups that
start it together) and is told when it is done. ``Folding`` makes operation classes; ``FluidNetwork`` runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.axes import Runs
from workloads.instructions import Communication


@dataclass(frozen=True, slots=True, eq=False)
class FlowClass:
    """``count`` flows that symmetry makes identical: each carries ``size`` payload bytes and gets the same rate.

    ``links`` are link-class ids; ``load[i]`` is what one unit of this class's per-flow payload rate puts on ONE link of class
    ``links[i]`` in wire bytes: sum over the class's flows of (fraction / tier efficiency) / number of links in the link class.
    Max-min fairness compares rate / ``weight``; no flow is faster than ``rate_cap`` [B/s], whatever the links leave it.
    """

    links: npt.NDArray[np.int64]
    load: npt.NDArray[np.float64]
    size: float
    count: int
    source_class: int  # rank class that sends
    flows_per_source: float  # flows of this class that leave one rank of source_class
    target_class: int
    flows_per_target: float
    weight: float = 1.0
    rate_cap: float = math.inf
    path: int = -1  # the number that the fold which made it has for its way; -1: made by hand


@dataclass(frozen=True, slots=True, eq=False)
class OperationClass:
    """One collective of one orbit of groups. Phases follow each other; the flows of one phase start together.

    ``latency`` [s] passes before the first byte moves. ``participants`` are the rank classes that must arrive.
    ``bytes_sent`` payload bytes over all ranks of all its groups. ``rung``: exact, makespan-only or approximate.
    ``library`` and ``protocol`` run it; ``fill`` is the part of the latency that stands for bandwidth it does not reach [s].
    """

    key: int
    name: str
    kind: str
    phases: tuple[Sequence[FlowClass], ...]
    latency: float
    participants: tuple[int, ...]
    bytes_sent: float
    algorithm: str
    rung: str = "exact"
    library: str = ""
    protocol: str = ""
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks that symmetry makes identical; ``representative`` stands for all ``size`` of them.

    ``speed`` is the fraction of their compute and memory rates that they have left (1: whole); ``load_class`` says which of the
    programs of their pipeline rank they run, where experts are loaded unequally.
    """

    key: int
    representative: int
    size: int
    pp_rank: int
    speed: float = 1.0
    load_class: int = 0


@dataclass(frozen=True, slots=True)
class LinkClass:
    """``size`` identical directed links of raw ``capacity`` [B/s] each.

    ``tier`` is the name of the fabric's tier, or :data:`PORTS` for the pooled injection (or ejection) limit of a device.
    ``relaxed``: some of the links have more than ``capacity``, which is that of the weakest; rates are exact as long as no
    link of such a class is full (docs/network.md, theorem 4).
    """

    key: int
    tier: str
    capacity: float
    size: int
    called: str | Callable[[], str]  # the name of one of them, or who says it: most classes are never named
    relaxed: bool = False

    @property
    def example(self) -> str:
        """The name of one of the links."""
        return self.called if isinstance(self.called, str) else self.called()


#: Tier name of the pooled limits of a device's ports; they carry the bytes of other tiers once more.
PORTS = "ports"


#: Is told at which places of a list something has ended.
Ended = Callable[[list[int]], None]


class Folding(Protocol):
    """Ranks, links and flows folded by the declared symmetries that fabric and plan share."""

    rank_classes: tuple[RankClass, ...]

    @property
    def link_classes(self) -> tuple[LinkClass, ...]: ...

    def collective(self, rank_class: int, communication: Communication) -> OperationClass:
        """The class of the collective that ``rank_class`` takes part in (the same object for every participant)."""
        ...

    def send(self, rank_class: int, target_pp_rank: int, payload: float) -> OperationClass:
        """Point to point from every rank of the class to its counterpart in another stage. Participants: the sender."""
        ...


class Network(Protocol):
    """A fluid server: launched operations share all links at max-min fair rates."""

    def launch(self, operation: OperationClass) -> Any:
        """Start now; returns the SimPy event that fires when the last byte of the last phase has arrived."""
        ...

    def launch_together(self, operations: Sequence[OperationClass], ended: Ended) -> None:
        """Start several now; ``ended`` is told the places of those that are done, whenever some are."""
        ...

    def memory_rate(self, rank_class: int) -> float:
        """Payload bytes per second now entering plus leaving one rank of the class."""
        ...


class Cancellable(Protocol):
    """A call that can be taken back."""

    def cancel(self) -> None: ...


class Signal(Protocol):
    """Something others wait for."""

    def succeed(self) -> Any: ...


class Timekeeper(Protocol):
    """The part of the engine's clock that the network needs; times in integer picoseconds."""

    @property
    def now(self) -> int: ...

    def call_at(self, time: int, function: Callable[[], None], /) -> Cancellable: ...

    def event(self) -> Any: ...


class Placement(Protocol):
    """Who is in whose group (workloads.groups implements it)."""

    def members(self, group: str, rank: int) -> Any:
        """Ranks of the group of ``rank``, itself included, ascending."""
        ...

    def runs_of(self, group: str) -> Runs:
        """(stride between neighbours, size) of the runs of an axis or of several, innermost first; () for a group of one."""
        ...

    def boundaries(self) -> Sequence[int]:
        """Strides of the rank number at which an axis of the plan begins or ends."""
        ...
