"""Plain data from a file, and where in which file every key and value of it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.spec.errors import InputError

Step = str | int
Place = tuple[Step, ...]
"""A field's path: ("tiers", 2, "latency")."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file, counted from 1, or the option of the command line a value came from."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping read from a file: plain ``data``, and the mark of every key and value by its place."""

    data: dict[str, Any]
    keys: dict[Place, Mark] = field(default_factory=dict)
    values: dict[Place, Mark] = field(default_factory=dict)

    def mark(self, place: Place, *, key: bool = False) -> Mark | None:
        """Where ``place`` stands; what the file does not have, where its nearest parent stands."""
        if key and place in self.keys:
            return self.keys[place]
        for length in range(len(place), -1, -1):
            found = self.values.get(place[:length])
            if found is not None:
                return self.keys.get(place[:length], found) if length < len(place) else found
        return None


_STEP = re.compile(r'"([^"]+)"|\[([0-9]+)\]|([^.\[\]"]+)')


def dotted(place: Sequence[Step]) -> str:
    """A place as people write it.

    >>> dotted(("tiers", 2, "latency"))
    'tiers[2].latency'
    """
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step:
            text += f'."{step}"' if text else f'"{step}"'
        else:
            text += f".{step}" if text else step
    return text


def split_path(path: str) -> Place:
    """``tiers[2].latency`` (or ``tiers.2.latency``) -> its steps; a key that has dots goes in double quotes.

    >>> split_path('cluster.set."chip.watts"')
    ('cluster', 'set', 'chip.watts')
    """
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if steps and path[position] == ".":
            position += 1
        match = _STEP.match(path, position)
        if match is None:
            break
        quoted, index, word = match.groups()
        steps.append(quoted if quoted else int(index) if index else word.strip())
        position = match.end()
    if position < len(path) or not steps or any(step == "" for step in steps) or path.endswith("."):
        raise InputError("is not the path of a field", got=path, do="Write keys joined by dots, like plan.tp.")
    return tuple(steps)
