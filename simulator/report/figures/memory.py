"""Memory over the step: what fills the fullest pipeline rank, what the others hold, and the moment of the peak."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from simulator.memory_timeline import PARTS, MemoryTimeline
from simulator.report.design import MEMORY, QUIET, styled
from simulator.report.words import UNITS, duration, significant, unit_of
from simulator.results import Result
from workloads.memory_course import Floats

FINE, COARSE = 1500, 300  # moments drawn of the fullest rank, and of each other
OTHERS = 12  # ranks drawn beside the fullest


def memory(result: Result) -> go.Figure:
    """Stacked parts of the fullest rank, the totals of others as thin lines, the usable memory as a rule.

    Raises FileProblem for a result without a recording.
    """
    timelines = result.memory_over_time()
    fullest = max(timelines, key=lambda timeline: timeline.peak_gib)
    unit, scale = unit_of(fullest.step_time_s)
    figure = go.Figure()
    times, parts = _thinned(fullest, FINE)
    for part in PARTS:
        if not parts[part].any():
            continue
        figure.add_trace(
            go.Scatter(
                x=times / scale, y=parts[part], name=part, stackgroup="parts", mode="lines", line={"width": 0, "shape": "hv"},
                fillcolor=MEMORY[part], hovertemplate=f"%{{y:.1f}} GiB<extra>{part}</extra>",
            )
        )  # fmt: skip
    _others(figure, [timeline for timeline in timelines if timeline is not fullest], scale)
    _rules(figure, result, fullest, scale)
    styled(figure, height=380)
    top = max(fullest.peak_gib, min(result.memory.usable_gib_per_chip, 2.5 * fullest.peak_gib))
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title={"text": UNITS[unit]}, range=[0, fullest.step_time_s / scale], showgrid=False)
    figure.update_yaxes(
        title={"text": "GiB a chip", "font": {"size": 12, "color": QUIET}}, range=[0, 1.14 * top], fixedrange=True
    )
    return figure


def _others(figure: go.Figure, timelines: list[MemoryTimeline], scale: float) -> None:
    """Totals of the other ranks, evenly chosen where there are many; one entry of the legend for all."""
    chosen = sorted({round(place) for place in np.linspace(0, len(timelines) - 1, min(OTHERS, len(timelines)))})
    for number, place in enumerate(chosen):
        timeline = timelines[place]
        times, parts = _thinned(timeline, COARSE)
        total: Floats = np.sum(list(parts.values()), axis=0)
        figure.add_trace(
            go.Scatter(
                x=times / scale, y=total, name="other pipeline ranks, total", legendgroup="others", showlegend=number == 0,
                mode="lines", line={"width": 1, "shape": "hv", "color": "rgba(43,49,56,0.38)"}, hoverinfo="skip",
            )
        )  # fmt: skip


def _rules(figure: go.Figure, result: Result, fullest: MemoryTimeline, scale: float) -> None:
    """The usable memory, where it is near, and the peak with its moment."""
    usable = result.memory.usable_gib_per_chip
    if usable <= 2.5 * fullest.peak_gib:
        figure.add_hline(
            y=usable, line={"color": QUIET, "width": 1, "dash": "dash"}, annotation_text=f"usable {significant(usable)} GiB",
            annotation_position="top right", annotation_font={"size": 12, "color": QUIET},
        )  # fmt: skip
    at = fullest.peak_s / scale
    figure.add_trace(
        go.Scatter(
            x=[at], y=[fullest.peak_gib], mode="markers", showlegend=False, hoverinfo="skip",
            marker={"size": 9, "color": "#ffffff", "line": {"width": 2, "color": "#b3382c"}},
        )
    )  # fmt: skip
    late = fullest.peak_s > 0.6 * fullest.step_time_s
    figure.add_annotation(
        x=at, y=fullest.peak_gib, showarrow=False, xanchor="right" if late else "left", yanchor="bottom",
        xshift=-8 if late else 8, yshift=3, font={"size": 12, "color": "#b3382c"},
        text=f"<b>{significant(fullest.peak_gib)} GiB</b> on pipeline rank {fullest.pp_rank} after {duration(fullest.peak_s)}",
    )  # fmt: skip


def _thinned(timeline: MemoryTimeline, most: int) -> tuple[Floats, dict[str, Floats]]:
    """The curve at not more moments than ``most``, each standing for the most that is held until the next."""
    times, parts = timeline.time_s, timeline.parts
    if len(times) > most:
        starts = np.linspace(0, len(times), most, endpoint=False).astype(np.int64)
        times = times[starts]
        parts = {name: np.maximum.reduceat(values, starts) for name, values in parts.items()}
    end = max(timeline.step_time_s, float(times[-1]))
    return np.append(times, end), {name: np.append(values, values[-1]) for name, values in parts.items()}
