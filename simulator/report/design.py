"""One design for every figure: colours, type, margins. Colours keep apart for colour-blind readers and on light or dark."""

from __future__ import annotations

import plotly.graph_objects as go

from simulator.report.words import Family

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
INK = "#2b3138"
QUIET = "#6b7480"
GRID = "rgba(125,135,148,0.22)"
CLEAR = "rgba(0,0,0,0)"

#: What a part of the step calls for (blue, teal, amber, grey differ in lightness too).
FAMILY = {
    Family.COMPUTING: "#2f6db3",
    Family.CHIP: "#6fb7c4",
    Family.COMMUNICATION: "#e0902a",
    Family.WAITING: "#9aa4b1",
}

#: Cells of the schedule: hue tells the direction, lightness the kind of work.
WORK = {
    ("F", 0): "#8fbce8",
    ("F", 1): "#f3bd7a",
    ("B", 0): "#2f6db3",
    ("B", 1): "#c4641c",
    ("I", 0): "#5a93d0",
    ("I", 1): "#dd8a42",
    ("W", 0): "#3d8f86",
    ("W", 1): "#8d7a3c",
}
#: Parts of a rank's memory, as the page's table has them.
MEMORY = {
    "weights": "#2f6db3",
    "gradients": "#6fb7c4",
    "optimizer": "#8d7fbd",
    "buffers": "#9aa4b1",
    "activations": "#e0902a",
}
OTHER_WORK = "#7a6aa8"

#: Idle time by cause: light tints, so that work stands out.
IDLE = {
    "pipeline_bubble": "rgba(140,150,163,0.20)",
    "straggler_wait": "rgba(190,90,140,0.30)",
    "exposed_ep": "rgba(224,144,42,0.32)",
    "exposed_tp": "rgba(214,190,60,0.38)",
    "exposed_cp": "rgba(150,120,200,0.32)",
    "exposed_dp": "rgba(70,160,130,0.32)",
    "exposed_pp": "rgba(90,150,215,0.30)",
    "exposed_host": "rgba(150,105,70,0.34)",
}
IDLE_ELSE = "rgba(140,150,163,0.38)"


def styled(figure: go.Figure, height: int, left: int = 12) -> go.Figure:
    """The shared layout: transparent ground, quiet axes, legend above, horizontal reading."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": left, "r": 16, "t": 56, "b": 44},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        hoverlabel={"font": {"family": FONT, "size": 13, "color": INK}, "bgcolor": "#ffffff", "bordercolor": "#c9ced6"},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "font": {"size": 12},
            "itemclick": "toggle",
            "itemwidth": 30,
        },
    )
    title = {"font": {"size": 12, "color": QUIET}, "standoff": 10}
    figure.update_xaxes(title=title)
    axis = {"zeroline": False, "linecolor": GRID, "gridcolor": GRID, "ticks": "", "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
