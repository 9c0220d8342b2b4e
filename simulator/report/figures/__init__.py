"""Figures of a result, one Plotly figure a function, found by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulator.report.figures.breakdown import breakdown
from simulator.report.figures.memory import memory
from simulator.report.figures.pipeline import pipeline
from simulator.spec.errors import InputError
from simulator.spec.near import suggest

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from simulator.results import Result

FIGURES: dict[str, Callable[[Result], go.Figure]] = {"breakdown": breakdown, "memory": memory, "pipeline": pipeline}


def figure(result: Result, name: str) -> go.Figure:
    """One figure by name. Raises InputError for a name that no figure has, naming those that exist."""
    if name not in FIGURES:
        raise InputError("there is no such figure", got=name, do=suggest(name, FIGURES, "figures"))
    return FIGURES[name](result)
