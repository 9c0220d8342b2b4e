"""Store and forward, chunk by chunk: an oracle against which the fluid is held, for up to 64 devices.

Every flow is cut into equal chunks. A chunk follows one of the paths into which the flow's route splits, chunks taking
the paths in proportion; each link (and each pooled port limit of a device) serves one whole chunk after the other, at its
capacity times efficiency, and hands a chunk on when all of it is there. Of the chunks that wait for it a link takes that of
the flow which is least far: fair queueing, of which max-min rates are the limit of small chunks (first come, first served
is not fair, and nears its limit more slowly). A flow has a few chunks under way and sends the next when one has arrived,
as a transport with a window does. Nothing here knows rates, fairness, symmetry or classes.

The first chunk's way through its links, and the last ones' on them, take time that no fluid has; it is in proportion to the
size of a chunk. :func:`chunked_limit` takes it out: with T(c) = T + a / c, the limit is T = 2 T(2c) - T(c).

Leaves out: finite buffers, congestion control, loss; hop latencies (the fluid's are added before the first byte).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.spec.errors import NotModelled
from topologies.fabric import Fabric

LIMIT = 64
"""Devices up to which it is meant to be run: 64 x 63 flows x 64 chunks x 4 hops are a million events."""

WINDOW = 8
"""Chunks of one flow under way at once."""

TIE = 1e-12
"""Times closer than this are one time."""


@dataclass(frozen=True, slots=True)
class Message:
    """``size`` payload bytes from one device to another."""

    source: int
    target: int
    size: float


def chunked_limit(fabric: Fabric, messages: Sequence[Message], chunks: int = 64) -> float:
    """Seconds in the limit of small chunks, from ``chunks`` a message or more and from just half as many."""
    half = chunks // 2
    return 2.0 * chunked_time(fabric, messages, half, times=2) - chunked_time(fabric, messages, half)


def chunked_time(fabric: Fabric, messages: Sequence[Message], chunks: int = 64, times: int = 1) -> float:
    """Seconds until the last chunk of messages that start together has arrived.

    Each is cut into ``times`` the least number of chunks that its paths share evenly and that is at least ``chunks``.
    """
    if fabric.ranks > LIMIT:
        raise NotModelled(f"{fabric.ranks} devices chunk by chunk are too many; up to {LIMIT} are.")
    servers = _Servers(fabric)
    flows = [_cut(fabric, servers, message, chunks, times) for message in messages]
    waiting: list[list[_Chunk]] = [[] for _ in servers.seconds_per_byte]
    serving = [False] * len(waiting)
    ending: list[tuple[float, int, _Chunk]] = []  # when a server is done with which chunk
    touched = {_queue(waiting, flow, number, index, 0) for number, flow in enumerate(flows) for index in range(flow.first_window)}
    now = 0.0
    while True:
        for server in touched:
            if waiting[server] and not serving[server]:
                serving[server] = True
                chunk = heapq.heappop(waiting[server])
                heapq.heappush(ending, (now + flows[chunk[2]].size * servers.seconds_per_byte[server], server, chunk))
        touched.clear()
        if not ending:
            return now
        now = ending[0][0]
        while ending and ending[0][0] <= now * (1.0 + TIE):  # all that end now are in the queues before any is taken
            _, server, (_, _, number, index, hop) = heapq.heappop(ending)
            serving[server] = False
            touched.add(server)
            flow = flows[number]
            if hop + 1 < len(flow.stages[index]):
                touched.add(_queue(waiting, flow, number, index, hop + 1))
            elif index + WINDOW < len(flow.stages):
                touched.add(_queue(waiting, flow, number, index + WINDOW, 0))


_Chunk = tuple[float, int, int, int, int]  # how far its flow is, turn of the flow, flow, index in it, hop


def _queue(waiting: list[list[_Chunk]], flow: _Flow, number: int, index: int, hop: int) -> int:
    """Put a chunk into the queue of the server at its next hop, and say which that is."""
    server = flow.stages[index][hop]
    heapq.heappush(waiting[server], (index / len(flow.stages), flow.turn, number, index, hop))
    return server


@dataclass(frozen=True, slots=True)
class _Flow:
    """A message in chunks: bytes of one, what each passes through, and when its source comes to it in a round."""

    size: float
    stages: tuple[tuple[int, ...], ...]
    turn: int

    @property
    def first_window(self) -> int:
        """Chunks that it sends at once."""
        return min(WINDOW, len(self.stages))


def _cut(fabric: Fabric, servers: _Servers, message: Message, chunks: int, times: int) -> _Flow:
    ways = paths(fabric, message.source, message.target)
    count = times * len(ways) * math.ceil(chunks / len(ways))
    turn = (message.target - message.source) % fabric.ranks
    stages = [servers.stages(way) for _, way in ways]
    taken = in_proportion([share for share, _ in ways], count, turn)
    return _Flow(message.size / count, tuple(stages[way] for way in taken), turn)


class _Servers:
    """The links, by number, and then one limit out and one in for each device whose ports are pooled."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        efficiency = [fabric.tiers[tier].efficiency for tier in fabric.link_tier.tolist()]
        capacity = fabric.capacity.tolist()
        self.seconds_per_byte = [1.0 / (c * e) if c > 0 else math.inf for c, e in zip(capacity, efficiency, strict=True)]
        self.pooled = math.isfinite(fabric.ports)
        self._port: dict[tuple[int, int, float], int] = {}
        self._efficiency = efficiency

    def stages(self, links: Sequence[int]) -> tuple[int, ...]:
        """What a chunk on these links passes through, in order."""
        if not self.pooled:
            return tuple(links)
        found: list[int] = []
        for link in links:
            tail, head = int(self.fabric.tail[link]), int(self.fabric.head[link])
            found += [self._limit(tail, 0, link)] if tail < self.fabric.ranks else []
            found.append(link)
            found += [self._limit(head, 1, link)] if head < self.fabric.ranks else []
        return tuple(found)

    def _limit(self, device: int, direction: int, link: int) -> int:
        """A device's pooled limit for the wire bytes of one tier.

        One queue a direction; tiers of other efficiencies would need other service times at the same queue, which is refused.
        """
        efficiency = self._efficiency[link]
        key = (device, direction, efficiency)
        if key not in self._port:
            if any(known[:2] == key[:2] for known in self._port):
                raise NotModelled("pooled ports of tiers with different efficiencies are not served chunk by chunk.")
            self._port[key] = len(self.seconds_per_byte)
            self.seconds_per_byte.append(1.0 / (self.fabric.ports * efficiency))
        return self._port[key]


def paths(fabric: Fabric, source: int, target: int) -> list[tuple[float, tuple[int, ...]]]:
    """The route of a flow as paths with the share of its bytes that each takes, largest first.

    Takes out the widest way again and again; as many paths as that needs, at most one for each link.
    """
    route = fabric.router(source, target)
    left = dict(zip(route.links.tolist(), route.fraction.tolist(), strict=True))
    out: dict[int, list[int]] = {}
    for link in left:
        out.setdefault(int(fabric.tail[link]), []).append(link)
    found: list[tuple[float, tuple[int, ...]]] = []
    while sum(left[link] for link in out[source]) > 1e-9:
        node, way = source, []
        while node != target:
            link = max(out[node], key=lambda link: left[link])
            way.append(link)
            node = int(fabric.head[link])
        share = min(left[link] for link in way)
        for link in way:
            left[link] -= share
        found.append((share, tuple(way)))
    return found


def in_proportion(shares: Sequence[float], count: int, first: int) -> list[int]:
    """Which path each of ``count`` chunks takes: never more than one chunk away from its share, starting anywhere.

    >>> in_proportion([0.5, 0.25, 0.25], 4, 0)
    [0, 1, 2, 0]
    """
    taken = [0.0] * len(shares)
    order = [(first + step) % len(shares) for step in range(len(shares))]
    found = []
    for number in range(1, count + 1):
        way = max(order, key=lambda path: shares[path] * number - taken[path])
        taken[way] += 1.0
        found.append(way)
    return found
