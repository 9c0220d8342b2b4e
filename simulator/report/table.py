"""A result as plain text that a planner understands, at most 100 columns wide."""

from __future__ import annotations

import textwrap

from simulator.report.memory_table import host_line
from simulator.report.words import (
    by_saturation,
    chips,
    count,
    days_per_trillion_tokens,
    duration,
    label,
    percent,
    senders,
    setting,
    significant,
    tightest_bound,
    unit_of,
    volume,
)
from simulator.results import Result

WIDTH = 96
BAR = 36
EIGHTHS = " ▏▎▍▌▋▊▉"


def summary(result: Result) -> str:
    """Speed, memory, where the time goes, the busiest links, the bounds and the warnings, as text without colours."""
    sections = (
        _title(result),
        _headline(result),
        _breakdown(result),
        _memory(result),
        _router(result),
        _network(result),
        _bounds(result),
        _warnings(result),
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _title(result: Result) -> list[str]:
    return [*textwrap.wrap(result.name, WIDTH), *textwrap.wrap(setting(result), WIDTH)]


def _rows(rows: list[tuple[str, str, str]]) -> list[str]:
    width = max(len(value) for _, value, _ in rows)
    return [f"  {name:<20}{value:>{width}}   {note}".rstrip() for name, value, note in rows]


def _headline(result: Result) -> list[str]:
    memory = result.memory
    fits = "fits" if memory.fits else "DOES NOT FIT"
    return _rows(
        [
            ("Step time", duration(result.step_time_s), ""),
            (
                "Tokens per second",
                count(result.tokens_per_s),
                f"{count(result.tokens_per_s_per_chip)} per chip on {chips(result):,} chips",
            ),
            ("A trillion tokens", f"{significant(days_per_trillion_tokens(result))} days", "without interruptions"),
            (
                "MFU",
                percent(result.mfu),
                f"{significant(result.model_tflops_per_chip)} of {significant(result.mfu_peak_tflops)} TFLOP/s per chip",
            ),
            ("HFU", percent(result.hfu), "recomputation counted"),
            (
                "Memory",
                f"{significant(memory.peak_gib_per_chip)} GiB",
                f"per chip at peak, {significant(memory.usable_gib_per_chip)} usable of"
                f" {significant(memory.capacity_gib_per_chip)} GiB: {fits}",
            ),
        ]
    )


def bar(share: float, width: int = BAR) -> str:
    """A bar of eighth blocks; what is there shows at least an eighth.

    >>> bar(0.5, 4), bar(0.0001, 4), bar(0.0, 4)
    ('██', '▏', '')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _breakdown(result: Result) -> list[str]:
    parts = sorted(result.breakdown_s.model_dump().items(), key=lambda item: -item[1])
    shown = [(name, seconds) for name, seconds in parts if seconds > 0]
    largest = max((seconds for _, seconds in shown), default=0.0)
    unit, scale = unit_of(largest)
    lines = ["Where a step's time goes (average rank)"]
    for name, seconds in shown:
        drawn = bar(seconds / largest)
        written = f"{seconds / scale:,.3f} {unit}"
        lines.append(f"  {label(name):<27}{drawn:<{BAR}}  {written:>11}  {percent(seconds / result.step_time_s):>7}")
    absent = [label(name) for name, seconds in parts if seconds <= 0]
    if absent:
        lines += textwrap.wrap("none: " + ", ".join(absent), WIDTH, initial_indent="  ", subsequent_indent="        ")
    return lines


def _memory(result: Result) -> list[str]:
    memory = result.memory
    parts = [f"{name} {significant(gib)}" for name, gib in sorted(memory.parts.items(), key=lambda item: -item[1]) if gib > 0]
    if not memory.stages:
        return []
    fullest = max(memory.stages, key=lambda stage: stage.total_gib)
    lines = [
        f"Pipeline rank {fullest.pp_rank}, the fullest [GiB per chip]: " + ", ".join(parts),
        f"Recompute: {memory.recompute}",
        *host_line(memory),
    ]
    wrapped = [textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return ["Memory", *(piece for pieces in wrapped for piece in pieces)]


def _router(result: Result) -> list[str]:
    """How unequally experts are loaded, if they are."""
    router = result.router
    if router is None or (router.kind == "balanced" and router.dropped_share == 0.0):
        return []
    lines = [
        f"Router: {router.kind}; the busiest rank of a group gets {significant(router.rank_factor)} times the mean (at worst"
        f" {significant(router.worst_rank_factor)}), the busiest expert {significant(router.expert_factor)} times."
    ]
    if router.dropped_share > 0.0:
        lines[0] += f" Dropped: {percent(router.dropped_share)} of the copies of tokens."
    if router.padding_share > 0.0:
        lines[0] += f" Padding, routed nowhere: {percent(router.padding_share)} of the tokens."
    return textwrap.wrap(lines[0], WIDTH)


def _network(result: Result) -> list[str]:
    tiers = by_saturation(result)
    if not tiers:
        return []
    width = min(26, max(len("tier"), *(len(name) for name, _ in tiers)))
    lines = [
        "Links, the longest saturated tier first",
        f"  {'tier':<{width}}{'mean':>8}{'peak':>9}{'saturated':>12}{'capacity':>12}  sent by, over all links",
    ]
    for name, use in tiers:
        lines.append(
            f"  {clipped(name, width):<{width}}"
            f"{percent(use.mean_utilisation):>8}{percent(use.peak_utilisation):>9}"
            f"{duration(use.saturated_s):>12}{volume(use.capacity_bytes_per_s, '/s'):>12}  {senders(use, 2)}"
        )
    lines += textwrap.wrap(saturation(result), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def clipped(text: str, width: int) -> str:
    """Text cut to a column, with an ellipsis where something is gone."""
    return text if len(text) <= width else text[: width - 1] + "…"


def saturation(result: Result) -> str:
    """Which link saturates first and when, and how the transfers were solved, in a sentence or two."""
    network = result.network
    if network.first_to_saturate is None:
        text = "No link reaches saturation"
        text += f"; the busiest is {network.busiest_link}." if network.busiest_link else "."
    else:
        moment = "" if network.first_saturation_s is None else f", {duration(network.first_saturation_s)} into the step"
        text = f"First to saturate: {network.first_to_saturate}{moment}."
    return f"{text} Transfer times: {network.rung}."


def _bounds(result: Result) -> list[str]:
    bounds = result.bounds
    named = {"compute": bounds.compute_s, "memory": bounds.memory_s, "network": bounds.network_s}
    values = " · ".join(f"{name} {duration(seconds)}" for name, seconds in named.items())
    text = f"  {values}"
    if bounds.best > 0:
        text += f"   (the step takes {result.step_time_s / bounds.best:.2f} × the {tightest_bound(result)} bound)"
    return ["No schedule can beat", text]


def _warnings(result: Result) -> list[str]:
    if not result.warnings:
        return []
    lines = ["Warnings"]
    for warning in result.warnings:
        lines += textwrap.wrap(warning, WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    return lines
