"""One self-contained HTML page of a result: numbers, figures, tables, bounds, warnings, the scenario; no network needed."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from simulator.report.figures.breakdown import breakdown
from simulator.report.figures.memory import memory as memory_figure
from simulator.report.figures.pipeline import pipeline
from simulator.report.memory_table import host_line
from simulator.report.page_tables import bounds_chart, links_table, memory_table, rungs_table
from simulator.report.table import saturation
from simulator.report.words import (
    PARTS,
    Family,
    chips,
    count,
    days_per_trillion_tokens,
    duration,
    label,
    percent,
    setting,
    significant,
    tightest_bound,
)
from simulator.results import Result
from simulator.spec.strict_yaml import write_yaml

#: The style class of each family of the breakdown.
CLASS = {
    Family.COMPUTING: "computing",
    Family.CHIP: "chip",
    Family.COMMUNICATION: "communication",
    Family.WAITING: "waiting",
}


def write_report(result: Result, path: str | Path) -> None:
    """Write the page of a result. Raises OSError where the file cannot be written."""
    Path(path).write_text(page(result), encoding="utf-8")


def page(result: Result) -> str:
    """The page as HTML. Plotly's library stands in it once (4.8 MB), so that the file opens anywhere, offline."""
    body = "\n".join(
        (
            _header(result),
            _headline(result),
            _strip(result),
            _warnings(result),
            _time(result),
            _bounds(result),
            _timeline(result),
            _memory(result),
            _links(result),
            _exactness(result),
            _scenario(result),
            _footer(result),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(result.name)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{get_plotlyjs()}</script>\n<script>\n{_asset('page.js')}</script>\n"
        "</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return files("simulator.report").joinpath("assets", name).read_text(encoding="utf-8")


def _figure(name: str, figure: go.Figure) -> str:
    """A place for a figure, as high as it will be, and its data; ``<`` is escaped so that no text can end the script."""
    data = str(figure.to_json()).replace("<", "\\u003c")
    height = figure.layout.height
    return (
        f'<div class="scroll"><div class="figure" id="{name}" style="height:{height}px"></div></div>\n'
        f'<script type="application/json" id="{name}-data">{data}</script>'
    )


def _section(title: str, *content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(part for part in content if part) + "\n</section>"


def _header(result: Result) -> str:
    return (
        f'<header>\n<p class="kind">One training step, simulated</p>\n<h1>{escape(result.name)}</h1>\n'
        f"<p>{escape(setting(result))}</p>\n</header>"
    )


def _headline(result: Result) -> str:
    memory = result.memory
    fits = '<span class="good">Fits</span>' if memory.fits else '<span class="bad">Does not fit</span>'
    numbers = [
        ("Step time", duration(result.step_time_s), _above_bounds(result)),
        (
            "Tokens per second",
            count(result.tokens_per_s),
            f"{count(result.tokens_per_s_per_chip)} per chip, {chips(result):,} chips",
        ),
        ("A trillion tokens", f"{significant(days_per_trillion_tokens(result))} days", "if nothing interrupts the run"),
        (
            "MFU",
            percent(result.mfu),
            f"{significant(result.model_tflops_per_chip)} of {significant(result.mfu_peak_tflops)} TFLOP/s; "
            f"HFU&nbsp;{percent(result.hfu)}".replace(" ", "&nbsp;"),
        ),
        (
            "Peak memory",
            f"{significant(memory.peak_gib_per_chip)} GiB",
            f"{fits} in {significant(memory.usable_gib_per_chip)} usable of "
            f"{significant(memory.capacity_gib_per_chip)} GiB a chip",
        ),
    ]
    items = "\n".join(
        f'<div><dt>{name}</dt><dd><div class="value">{_with_small_unit(value)}</div><div class="note">{note}</div></dd></div>'
        for name, value, note in numbers
    )
    return f'<dl class="headline">\n{items}\n</dl>'


def _above_bounds(result: Result) -> str:
    best = result.bounds.best
    return f"{result.step_time_s / best:.2f} × the {tightest_bound(result)} bound" if best > 0 else ""


def _with_small_unit(value: str) -> str:
    number, _, unit = value.partition(" ")
    return f"{escape(number)} <small>{escape(unit)}</small>" if unit else escape(number)


def _strip(result: Result) -> str:
    seconds = result.breakdown_s.model_dump()
    families = {
        family: sum(value for part, value in seconds.items() if PARTS[part][1] is family) / result.step_time_s
        for family in Family
    }
    present = {family: share for family, share in families.items() if share > 0}
    pieces = "".join(f'<i class="{CLASS[family]}" style="flex:{share:.6f} 0 0"></i>' for family, share in present.items())
    key = "".join(
        f'<li><i class="{CLASS[family]}"></i><b>{percent(share)}</b> {escape(str(family))}</li>'
        for family, share in present.items()
    )
    return f'<div class="strip" role="img" aria-label="shares of the step">{pieces}</div>\n<ul class="key">{key}</ul>'


def _time(result: Result) -> str:
    absent = [label(part) for part, seconds in result.breakdown_s.model_dump().items() if seconds <= 0]
    none = f" Nothing went to {', '.join(absent)}." if absent else ""
    text = f"Seconds of one step on the average rank; the parts sum to {duration(result.step_time_s)}.{none}"
    return _section("Where a step’s time goes", f"<p>{escape(text)}</p>", _figure("breakdown", breakdown(result)))


def _timeline(result: Result) -> str:
    if not result.has_recording:
        return _section(
            "Timeline of the stages", "<p>This result holds no timeline: it was loaded from a file, or not recorded.</p>"
        )
    text = (
        "One row a pipeline rank, time to the right. A row split in two runs a forward and a backward side by side. "
        "Drag to zoom, double-click to return, click the legend to hide; hover a cell for what it waited for."
    )
    return _section("Timeline of the stages", f"<p>{text}</p>", _figure("pipeline", pipeline(result)))


def _warnings(result: Result) -> str:
    if not result.warnings:
        return ""
    items = "\n".join(f"<li>{escape(warning)}</li>" for warning in result.warnings)
    return _section("Warnings", f'<ul class="warnings">\n{items}\n</ul>')


def _memory(result: Result) -> str:
    memory = result.memory
    text = (
        f"Peak of every pipeline rank in GiB a chip. The bar’s full width is the {significant(memory.capacity_gib_per_chip)} GiB "
        f"of the chip, the mark the {significant(memory.usable_gib_per_chip)} usable. Recompute: {memory.recompute}."
    )
    text += "".join(f" {line}." for line in host_line(memory))
    if not result.has_memory_over_time:
        return _section("Memory", f"<p>{escape(text)}</p>", memory_table(memory))
    over_time = (
        "Over the step: the parts of the fullest rank stacked, activations on top; the dot marks its peak. "
        "Thin lines are what other ranks hold in all."
    )
    return _section(
        "Memory", f"<p>{escape(text)}</p>", memory_table(memory), f"<p>{over_time}</p>", _figure("memory", memory_figure(result))
    )


def _links(result: Result) -> str:
    if not result.network.tiers:
        return _section("Network", "<p>Nothing was sent between chips.</p>")
    text = f"{saturation(result)} A link is saturated above 95 % of its raw capacity; a byte counts on every link it crosses."
    return _section("Network", f"<p>{escape(text)}</p>", links_table(result))


def _bounds(result: Result) -> str:
    text = "Lower bounds from loads alone: each load over the data sheet’s rate, as if nothing ever waited."
    if result.bounds.best > 0:
        text += f" The step takes {result.step_time_s / result.bounds.best:.2f}\u00a0× the {tightest_bound(result)} bound."
    return _section("What no schedule can beat", f"<p>{text}</p>", bounds_chart(result.bounds, result.step_time_s))


def _exactness(result: Result) -> str:
    cost = result.simulation
    text = (
        f"{cost.ranks:,} ranks, followed as {cost.rank_classes:,} classes of ranks, {cost.link_classes:,} of links and "
        f"{cost.flow_classes:,} of flows that behave alike."
    )
    return _section("How exact", f"<p>{text}</p>", rungs_table(result))


def _scenario(result: Result) -> str:
    text = write_yaml(result.scenario)
    return _section(
        "Scenario", "<p>The question as it was asked; save it as a file to ask it again.</p>", f"<pre>{escape(text)}</pre>"
    )


def _footer(result: Result) -> str:
    cost = result.simulation
    return (
        f"<footer>\n<p>supernode-simulator {escape(result.version)}, fingerprint {escape(result.fingerprint)}</p>\n"
        f"<p>{cost.events:,} events; {duration(cost.cpu_s)} of CPU, {cost.peak_rss_mib:,.0f} MiB</p>\n</footer>"
    )
