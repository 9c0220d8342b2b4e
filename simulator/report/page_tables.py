"""The tables of the report page, as HTML: memory by pipeline rank, links by tier, bounds, how the answers were found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from simulator.report.words import MEMORY_PARTS, RUNGS, by_saturation, duration, percent, senders, volume
from simulator.results import Bounds, MemoryResult, Result, StageMemoryResult


def table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; a column has a heading and a style class."""
    names = "".join(f'<th class="{kind}">{name}</th>' for name, kind in head)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(head, row, strict=True)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>'


def bar(shares: Sequence[tuple[str, float]], mark: float | None = None) -> str:
    """A horizontal bar of shares of its width, each with its style class, and a mark across it."""
    pieces = "".join(f'<i class="{kind}" style="width:{100 * share:.2f}%"></i>' for kind, share in shares if share > 0)
    limit = "" if mark is None else f'<b style="left:{100 * mark:.2f}%"></b>'
    return f"<div>{pieces}{limit}</div>"


def memory_table(memory: MemoryResult) -> str:
    """A row a pipeline rank, its parts drawn against the chip's capacity; neighbours that hold the same share a row."""
    whole = max(memory.capacity_gib_per_chip, memory.peak_gib_per_chip)
    rows = []
    for amounts, group in groupby(memory.stages, key=_written):
        alike = list(group)
        parts = [(part, _gib(alike[0], part) / whole) for part in MEMORY_PARTS]
        first, last = alike[0].pp_rank, alike[-1].pp_rank
        total, *rest = amounts
        over = f'<span class="bad">{total}</span>' if alike[0].total_gib > memory.usable_gib_per_chip else total
        name = f"{first}" if first == last else f"{first} to {last}"
        rows.append([name, over, bar(parts, memory.usable_gib_per_chip / whole), *rest])
    head = [(f'<span class="key"><i class="{part}"></i>{part}</span>', "") for part in MEMORY_PARTS]
    return table([("pipeline rank", ""), ("total", ""), ("", "bar"), *head, ("micro-batches<br>in flight", "")], rows)


def _gib(stage: StageMemoryResult, part: str) -> float:
    return float(getattr(stage, f"{part}_gib"))


def _written(stage: StageMemoryResult) -> tuple[str, ...]:
    """What a row says of a stage: total, parts, micro-batches in flight."""
    amounts = (stage.total_gib, *(_gib(stage, part) for part in MEMORY_PARTS))
    return (*(f"{gib:,.1f}" for gib in amounts), f"{stage.micro_batches_in_flight:,.1f}".removesuffix(".0"))


def links_table(result: Result) -> str:
    """A row a tier, the longest saturated first: use (mean dark, peak light), saturation, capacity, whose bytes crossed it."""
    rows = []
    for name, use in by_saturation(result):
        mean, peak = min(1.0, use.mean_utilisation), min(1.0, use.peak_utilisation)
        rows.append([
            escape(name), percent(use.mean_utilisation), percent(use.peak_utilisation),
            bar([("computing", mean), ("computing faint", peak - mean)]),
            duration(use.saturated_s), percent(use.saturated_s / result.step_time_s),
            f"{use.links:,}", volume(use.capacity_bytes_per_s, "/s"), escape(senders(use)),
        ])  # fmt: skip
    head = [
        ("tier", ""), ("mean use", ""), ("peak use", ""), ("", "bar"), ("saturated", ""), ("of the step", ""),
        ("links", ""), ("capacity each", ""), ("sent by, over all links", "text"),
    ]  # fmt: skip
    return table(head, rows)


def bounds_chart(bounds: Bounds, step: float) -> str:
    """The bounds and the step as bars of one scale."""
    rows = (
        ("busiest rank’s FLOPs at the peak rate", bounds.compute_s, "computing"),
        ("busiest rank’s HBM bytes", bounds.memory_s, "chip"),
        ("busiest link’s bytes", bounds.network_s, "communication"),
        ("this step", step, "step"),
    )
    drawn = "\n".join(
        f"<span>{name}</span>{bar([(kind, seconds / step)])}"
        f"<span>{duration(seconds)}</span><span>{percent(seconds / step)}</span>"
        for name, seconds, kind in rows
    )
    return f'<div class="bounds">\n{drawn}\n</div>'


def rungs_table(result: Result) -> str:
    """How the transfer times of which operations were found."""
    operations: dict[str, list[str]] = {}
    for name, rung in result.network.rungs.items():
        operations.setdefault(rung, []).append(name)
    if not operations:
        return ""
    rows = [
        (
            escape(rung), f"{len(names)}",
            f"{escape(RUNGS[rung])}<details><summary>which</summary>{escape(', '.join(names))}</details>",
        )
        for rung, names in operations.items()
    ]  # fmt: skip
    return table([("answer", ""), ("operations", ""), ("how their transfer times are found", "text")], rows)
