"""What nodes and links are called, both ways.

A name is a path of words with numbers, outermost box first, and each box is called after the tier that makes it:

| node | name |
|---|---|
| device | `superpod1.cabinet3.board2.chip5`; outer boxes appear when the job uses several of them |
| die of a chip | `chip5.die1` |
| switch, scope all | `superpod0.switch3` (its plane) |
| switch, scope aligned | `cabinet3.position5.switch0`: joins the fifth device of every board |
| Clos | `superpod0.leaf4.plane2`, `superpod0.plane2.spine9` |
| Clos of three levels | `fabric0.leaf4.plane0`, `fabric0.pod1.plane0.spine3`, `fabric0.plane0.spine3.core1` |
| rails | `infiniband0.rail5.leaf2`, `infiniband0.rail5.spine0`, `infiniband0.spine7` where rails share their spines |
| torus with sides | devices `pod1.z3.y0.x2` |
| dragonfly | `slingshot0.group2.router7` |

A Clos whose leaves are an enclosure of their own may name it (``leaf_name: node``): `node4.chip5`, `superpod0.node4.plane2`.
A link is ``tail->head``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from simulator.spec.errors import TopologyError
from topologies.adjacency import between, links_at
from topologies.fabric import Fabric, Ints

WORD = re.compile(r"([a-z][a-z-]*)(\d+)")


@dataclass(frozen=True, slots=True)
class NameGroup:
    """Nodes ``first`` .. that are numbered as the mixed radix of ``sizes``, outermost first, with these digit names."""

    first: int
    labels: tuple[str, ...]
    sizes: tuple[int, ...]
    own: tuple[str, ...]  # the digits by which a set of these nodes may be named: boxes of devices, planes of switches

    @property
    def count(self) -> int:
        return prod(self.sizes)

    def holding(self, wanted: Mapping[str, int]) -> Ints:
        """The nodes of the group with these digits; none if it lacks one of them, but for a single outer box's."""
        known = dict(zip(self.labels, self.sizes, strict=True))
        if any(label not in known and digit for label, digit in wanted.items()):
            return np.empty(0, dtype=np.int64)
        nodes, stride = np.arange(self.count, dtype=np.int64), 1
        keep = np.ones(self.count, dtype=bool)
        for label, size in zip(reversed(self.labels), reversed(self.sizes), strict=True):
            if label in wanted:
                keep &= nodes // stride % size == wanted[label]
            stride *= size
        return self.first + nodes[keep]

    @property
    def pattern(self) -> str:
        """The names of the group with their ranges: ``cabinet0-127.board0-7.chip0-7``."""
        pairs = zip(self.labels, self.sizes, strict=True)
        return ".".join(f"{label}0" if size == 1 else f"{label}0-{size - 1}" for label, size in pairs)


@dataclass(frozen=True)
class Names:
    """The names of a fabric's nodes. Groups follow each other in node number; devices are the first."""

    groups: tuple[NameGroup, ...]
    _starts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._starts.extend(group.first for group in self.groups)

    @cached_property
    def _end(self) -> int:
        """One more than the highest node number."""
        return self.groups[-1].first + self.groups[-1].count

    def name(self, node: int) -> str:
        """The name of a node number."""
        at = bisect_right(self._starts, node) - 1
        if at < 0 or node >= self._end:
            raise TopologyError("a node number lies within the fabric", got=node, do=f"It has nodes 0 to {self._end - 1}.")
        group = self.groups[at]
        rest, words = node - group.first, []
        for label, size in zip(reversed(group.labels), reversed(group.sizes), strict=True):
            rest, digit = divmod(rest, size)
            words.append(f"{label}{digit}")
        return ".".join(reversed(words))

    def number(self, name: str) -> int:
        """The node number of a name; outer boxes of which there is one may be written or left out."""
        labels, digits = self._read(name)
        for group in self.groups:
            number = _match(group, labels, digits)
            if number is not None:
                return number
        patterns = ", ".join(group.pattern for group in self.groups)
        raise TopologyError("no node of this fabric has that name", got=name, do=f"Its nodes are {patterns}.")

    def matching(self, path: str) -> Ints:
        """The nodes whose names hold all words of a path with these numbers: the chips of a box, the switches of a plane.

        ``cabinet3.board2`` is every device of that board, ``superpod0.plane2`` every switch of that plane; the last word
        must name what is meant: a box of devices, or a digit of the switches themselves. Empty if nothing is called so.
        """
        labels, digits = self._read(path)
        wanted = dict(zip(labels, digits, strict=True))
        found = [group.holding(wanted) for group in self.groups if labels[-1] in group.own]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    @staticmethod
    def _read(name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
        found = [WORD.fullmatch(part) for part in name.strip().split(".")]
        words = [match for match in found if match is not None]
        if len(words) < len(found):
            raise TopologyError(
                "a node name is a path of words with numbers", got=name, do="Write it like cabinet3.board2.chip1."
            )
        return tuple(match[1] for match in words), tuple(int(match[2]) for match in words)


def _match(group: NameGroup, labels: Sequence[str], digits: Sequence[int]) -> int | None:
    """The node number if the path names a node of the group; a single outer box may be left out on either side."""
    spare, left_out = max(0, len(labels) - len(group.labels)), max(0, len(group.labels) - len(labels))
    if tuple(labels[spare:]) != group.labels[left_out:] or any(digits[:spare]) or prod(group.sizes[:left_out]) > 1:
        return None
    digits, sizes = digits[spare:], group.sizes[left_out:]
    if any(digit >= size for digit, size in zip(digits, sizes, strict=True)):
        return None
    number = 0
    for digit, size in zip(digits, sizes, strict=True):
        number = number * size + digit
    return group.first + number


def link_name(fabric: Fabric, link: int) -> str:
    """``tail->head``."""
    return f"{fabric.node_name(int(fabric.tail[link]))}->{fabric.node_name(int(fabric.head[link]))}"


def links_named(fabric: Fabric, name: str) -> list[int]:
    """The links from one named node to another (one, but for parallel links of a user's graph); an error if there is none."""
    tail, arrow, head = name.partition("->")
    if not arrow or not tail.strip() or not head.strip():
        raise TopologyError(
            "a link is written tail->head", got=name, do="Write it like cabinet3.board2.chip1->cabinet3.board2.chip2."
        )
    a, b = fabric.node_number(tail.strip()), fabric.node_number(head.strip())
    found: list[int] = between(fabric.tail, fabric.head, a, b).tolist()
    if not found:
        ways = [fabric.node_name(int(node)) for node in fabric.head[links_at(fabric.tail, a)][:6]]
        raise TopologyError(
            "there is no such link", got=name, do=f"From {fabric.node_name(a)} links lead to {', '.join(ways)}, ..."
        )
    return found
