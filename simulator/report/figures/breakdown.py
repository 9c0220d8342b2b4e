"""Where a step's time goes: one bar a part, longest first, coloured by what would shorten it."""

from __future__ import annotations

import plotly.graph_objects as go

from simulator.report.design import FAMILY, styled
from simulator.report.words import PARTS, UNITS, Family, label, percent, unit_of
from simulator.results import Result

BAR_HEIGHT = 30


def breakdown(result: Result) -> go.Figure:
    """Seconds and share of each part of the step on the average rank; parts of no length are named below."""
    parts = [(name, seconds) for name, seconds in result.breakdown_s.model_dump().items() if seconds > 0]
    parts.sort(key=lambda item: -item[1])
    largest = max((seconds for _, seconds in parts), default=1.0)
    unit, scale = unit_of(largest)
    figure = go.Figure()
    for family in Family:
        mine = [(name, seconds) for name, seconds in parts if PARTS[name][1] is family]
        if not mine:
            continue
        shares = [percent(seconds / result.step_time_s) for _, seconds in mine]
        values = [f"{seconds / scale:,.3f} {unit}" for _, seconds in mine]
        figure.add_trace(
            go.Bar(
                orientation="h",
                y=[label(name) for name, _ in mine],
                x=[seconds / scale for _, seconds in mine],
                name=str(family),
                marker={"color": FAMILY[family], "line": {"width": 0}},
                text=[f" {value}   <b>{share}</b>" for value, share in zip(values, shares, strict=True)],
                textposition="outside",
                cliponaxis=False,
                customdata=list(zip(values, shares, strict=True)),
                hovertemplate="%{y}: %{customdata[0]}, %{customdata[1]} of the step<extra>" + str(family) + "</extra>",
            )
        )
    styled(figure, height=100 + BAR_HEIGHT * max(1, len(parts)))
    figure.update_layout(bargap=0.32, barmode="overlay")
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=[label(name) for name, _ in reversed(parts)],
        showgrid=False,
        showline=False,
        ticksuffix="\u00a0\u00a0",
        fixedrange=True,
    )
    figure.update_xaxes(
        range=[0, 1.22 * largest / scale],
        title={"text": f"{UNITS[unit]} per step, average rank"},
        showline=False,
        rangemode="tozero",
        fixedrange=True,
    )
    return figure
