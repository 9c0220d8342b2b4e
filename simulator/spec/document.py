"""Plain data from a file, and where in which file every key and value of it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
