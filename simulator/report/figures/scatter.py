"""Predicted against measured step time: a point a case, the diagonal and a band around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from simulator.report.design import GRID, QUIET, styled
from simulator.report.validation_table import reference, signed

BAND = 0.2
"""Half width of the band drawn around the diagonal, as a share."""

PALETTE = ("#2f6db3", "#e0902a", "#3d8f86", "#c4641c", "#7a6aa8", "#8d7a3c", "#6fb7c4", "#b04a72", "#5c7d3a", "#59636e")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")


def scatter(document: Mapping[str, Any], group: str = "system") -> go.Figure:
    """Both axes logarithmic [s a step]; colour and symbol by ``group`` (system, stack or family)."""
    figure = go.Figure()
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in document["cases"]:
        if reference(case) is not None and "step_time_s" in case["predicted"]:
            groups.setdefault(case[group], []).append(case)
    shown = [case for cases in groups.values() for case in cases]
    steps = [reference(case) or 0.0 for case in shown] + [case["predicted"]["step_time_s"] for case in shown]
    if steps:
        _diagonal(figure, min(steps) / 1.3, max(steps) * 1.3)
    for index, name in enumerate(sorted(groups)):
        cases = groups[name]
        figure.add_trace(
            go.Scatter(
                x=[reference(case) for case in cases],
                y=[case["predicted"]["step_time_s"] for case in cases],
                mode="markers",
                name=name,
                marker={"color": PALETTE[index % len(PALETTE)], "symbol": SYMBOLS[index // len(PALETTE) % len(SYMBOLS)],
                        "size": 9, "opacity": 0.85, "line": {"width": 0}},
                customdata=[(case["id"], signed(case["error"].get("step_time_s"))) for case in cases],
                hovertemplate="%{customdata[0]}<br>measured %{x:.4g} s, predicted %{y:.4g} s: %{customdata[1]}<extra></extra>",
            )
        )  # fmt: skip
    styled(figure, height=640)
    axis = {"type": "log", "dtick": 1, "minor": {"dtick": "D1", "showgrid": False}, "constrain": "domain"}
    if steps:
        axis["range"] = [math.log10(min(steps) / 1.5), math.log10(max(steps) * 1.5)]
    figure.update_xaxes(title={"text": "measured, seconds a step"}, **axis)
    figure.update_yaxes(title={"text": "predicted, seconds a step"}, scaleanchor="x", **axis)
    return figure


def _diagonal(figure: go.Figure, low: float, high: float) -> None:
    figure.add_trace(go.Scatter(
        x=[low, high, high, low], y=[low * (1 + BAND), high * (1 + BAND), high * (1 - BAND), low * (1 - BAND)],
        fill="toself", fillcolor=GRID, line={"width": 0}, mode="lines", hoverinfo="skip", name=f"within {BAND:.0%}",
    ))  # fmt: skip
    figure.add_trace(go.Scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": QUIET, "width": 1}, hoverinfo="skip", showlegend=False,
    ))  # fmt: skip
