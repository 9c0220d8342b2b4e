"""Supernode Simulator: what a training step takes on a machine of chips and links, and why.

The public names load on first use, so that ``import simulator`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.answers import Answers as Answers
    from simulator.questions.collective import collective as collective
    from simulator.questions.sweep import sweep as sweep
    from simulator.questions.validate import validate as validate
    from simulator.results import Result as Result
    from simulator.run import simulate as simulate
    from simulator.scenario import Scenario as Scenario

_HOME = {
    "Answers": "simulator.answers",
    "Result": "simulator.results",
    "Scenario": "simulator.scenario",
    "collective": "simulator.questions.collective",
    "simulate": "simulator.run",
    "sweep": "simulator.questions.sweep",
    "validate": "simulator.questions.validate",
}

__all__ = ["Answers", "Result", "Scenario", "collective", "simulate", "sweep", "validate"]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that is its home."""
    if name == "__version__":
        value = globals()[name] = import_module("importlib.metadata").version("supernode-simulator")
        return value
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*globals(), *_HOME])
