"""The timeline of the stages: one row a rank class, a bar a work, idle time in light colours by cause.

One trace a category (bars with a base), so that 64 rows of 150 works stay a handful of traces.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from simulator.report.design import IDLE, IDLE_ELSE, OTHER_WORK, WORK, styled
from simulator.report.timeline import Stretches, Timeline, timeline
from simulator.report.words import UNITS, duration, label, unit_of
from simulator.results import Result

KINDS = {"F": "forward", "B": "backward", "I": "backward, inputs", "W": "backward, weights"}
THICK = 0.86
LABELLED_CELLS = 400  # up to here there is room for the micro-batch's number inside its cell


def pipeline(result: Result) -> go.Figure:
    """The works of every rank class over the step; hover names micro-batch, stage, length and what it waited for."""
    drawn = timeline(result.recording)
    unit, scale = unit_of(drawn.end)
    figure = go.Figure()
    for cause, stretches in drawn.idle.items():
        figure.add_trace(_stretch_trace(drawn, stretches, f"idle: {label(cause)}", IDLE.get(cause, IDLE_ELSE), unit, scale))
    both = bool(drawn.cells.direction.any())
    for (kind, direction), colour in WORK.items():
        chosen = (drawn.cells.kind == kind) & (drawn.cells.direction == direction)
        if chosen.any():
            name = KINDS[kind] + ((" ↓" if direction == 0 else " ↑") if both else "")
            figure.add_trace(_cell_trace(drawn, np.flatnonzero(chosen), name, colour, unit, scale))
    if len(drawn.other_work.row):
        figure.add_trace(_stretch_trace(drawn, drawn.other_work, "optimizer and other work", OTHER_WORK, unit, scale))
    rows = len(drawn.labels)
    styled(figure, height=130 + rows * _row_height(rows))
    figure.update_layout(barmode="overlay", hovermode="closest", dragmode="zoom", bargap=0)
    figure.update_layout(uniformtext={"minsize": 9, "mode": "hide"})  # a number that has no room is left out, never turned
    for rank, trace in enumerate(figure.data):  # idle time is drawn first, beneath, and listed last
        trace.legendrank = rank + (1000 if trace.name.startswith("idle") else 0)
    every = -(-rows // 32)
    figure.update_yaxes(
        range=[rows - 0.5, -0.5],
        tickmode="array",
        tickvals=list(range(0, rows, every)),
        ticktext=[f"{text}\u00a0\u00a0" for text in drawn.labels[::every]],  # a suffix is not drawn beside texts of one's own
        showgrid=False,
        showline=False,
        fixedrange=True,
    )
    figure.update_xaxes(range=[0, drawn.end / scale], title={"text": f"{UNITS[unit]} since the step began"}, showgrid=True)
    return figure


def _row_height(rows: int) -> int:
    """Pixels of one row: comfortable for few, dense for many."""
    return int(min(30, max(11, 520 / rows)))


def _cell_trace(drawn: Timeline, index: npt.NDArray[np.int64], name: str, colour: str, unit: str, scale: float) -> go.Bar:
    cells = drawn.cells
    half = cells.half[index]
    return go.Bar(
        orientation="h",
        name=name,
        y=cells.row[index],
        base=cells.start[index] / scale,
        x=(cells.end - cells.start)[index] / scale,
        width=np.where(half == 0, THICK, THICK / 2),
        offset=np.where(half == 2, 0.0, -THICK / 2),
        marker={"color": colour, "line": {"width": 0.5, "color": "rgba(255,255,255,0.55)"}},
        text=[str(number) for number in cells.micro_batch[index]] if len(cells.row) <= LABELLED_CELLS else None,
        textposition="inside",
        insidetextanchor="middle",
        textfont={"size": 10},
        textangle=0,
        customdata=_hover(drawn, index),
        hovertemplate="%{customdata}<extra></extra>",
    )


def _stretch_trace(drawn: Timeline, stretches: Stretches, name: str, colour: str, unit: str, scale: float) -> go.Bar:
    lasted = stretches.end - stretches.start
    return go.Bar(
        orientation="h",
        name=name,
        y=stretches.row,
        base=stretches.start / scale,
        x=lasted / scale,
        width=THICK,
        offset=-THICK / 2,
        marker={"color": colour, "line": {"width": 0}},
        customdata=[
            f"{name} on {drawn.labels[row]}: {duration(length)}"
            for row, length in zip(stretches.row, lasted.tolist(), strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _hover(drawn: Timeline, index: npt.NDArray[np.int64]) -> list[str]:
    cells = drawn.cells
    lines = []
    for cell in index.tolist():
        lasted = cells.end[cell] - cells.start[cell]
        unit, scale = unit_of(lasted)
        waits = [
            f"{label(cause)} {part / scale:.3g} {unit}"
            for cause, inside in cells.waiting.items()
            if (part := float(inside[cell])) > 0
        ]
        lines.append(
            f"<b>micro-batch {cells.micro_batch[cell]}</b>, stage {cells.stage[cell]}: {lasted / scale:.4g} {unit}<br>"
            f"{KINDS[str(cells.kind[cell])]} on {drawn.labels[cells.row[cell]]}"
            + (f"<br>idle inside: {', '.join(waits)}" if waits else "")
        )
    return lines
