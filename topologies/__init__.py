"""Machines: chips and tiers from files, the fabric of links that a job runs on, and routes over it.

``load(name)`` reads a system, ``.fabric(chips)`` gives the part that a job uses; ``from_networkx(graph)`` takes a graph of
your own. What needs networkx is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topologies.graphs import from_networkx, to_networkx
    from topologies.system import System, load

__all__ = ["System", "from_networkx", "load", "to_networkx"]

_HOMES = {"System": "system", "load": "system", "from_networkx": "graphs", "to_networkx": "graphs"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'topologies' has no attribute {name!r}")
    return getattr(import_module(f"topologies.{_HOMES[name]}"), name)
