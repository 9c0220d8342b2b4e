"""What ``make calibrate`` leaves behind for people: docs/validation-results.md and its scatter plot.

Numbers only, as they are; what they mean is in docs/validation.md, which no program writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.questions.scores import Outcome

FEW_ROWS = 3
"""Groups of fewer rows are left out of the tables of stacks."""
SIDE, EDGE = 520.0, 60.0
COLOURS = {"dense": "#2166ac", "moe": "#f4a582", "moe_across_nodes": "#b2182b"}
NAMES = {"dense": "dense", "moe": "experts inside a box", "moe_across_nodes": "experts across boxes or racks"}


@dataclass(frozen=True, slots=True)
class Score:
    """Median and 90th percentile of the absolute error under one set of constants."""

    name: str
    median: float
    tail: float


def page(
    summary: Mapping[str, Any],
    constants: Sequence[tuple[str, str, float, float, float, int]],
    left_out: Sequence[Score],
    bought: Sequence[Score],
) -> str:
    """The page in Markdown. ``constants``: owner, field, value, bounds, rows; ``bought``: without one sort of constants."""
    kinds, memory = summary["pair_agreement_by_kind"], summary["memory"]
    lines = [
        "# Validation: results",
        "",
        "Written by `make calibrate` from tests/published; [validation.md](validation.md) says how to read it.",
        "",
        f"{summary['covered']} of {summary['cases']} rows answered, {summary['compared']} compared in step time, "
        f"{len(constants)} constants fitted on them. Memory: {memory['compared']} rows, "
        f"median {_share(memory['median_abs_error'])}, 90th percentile {_share(memory['p90_abs_error'])}.",
        "",
        "![Predicted against measured step time](images/validation.svg)",
        "",
        "## Constants fitted on other rows",
        "",
        *_table(
            ("constants", "median", "90th percentile"), ((row.name, _share(row.median), _share(row.tail)) for row in left_out)
        ),
        "What each sort buys: errors with those of one sort back at their priors.",
        "",
        *_table(("without", "median", "90th percentile"), ((row.name, _share(row.median), _share(row.tail)) for row in bought)),
        "## Order of pairs",
        "",
        *_table(
            ("kind", "pairs", "in the measured order"),
            [
                *((kind, str(found["pairs"]), _share(found["agreement"])) for kind, found in kinds.items()),
                ("all", str(sum(found["pairs"] for found in kinds.values())), _share(summary["pair_agreement"])),
            ],
        ),
        "## Where",
        "",
        *_groups("class", summary["by_class"]),
        *_groups("vendor", summary["by_vendor"]),
        *_groups("system", summary["by_system"]),
        *_groups("stack", summary["by_stack"], FEW_ROWS),
        *_groups("family", summary["by_family"]),
        "## The fifteen worst rows",
        "",
        *_table(("case", "error"), ((row["id"], f"{row['error']:+.1%}") for row in summary["worst"])),
        "## Constants",
        "",
        *_table(
            ("owner", "constant", "value", "bounds", "rows"),
            ((owner, field, f"{value:.3f}", f"{low}-{high}", str(rows)) for owner, field, value, low, high, rows in constants),
        ),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def scatter(outcomes: Iterable[Outcome]) -> str:
    """Predicted against measured step time [s] on logarithmic axes, as SVG; the band is 15 % to either side."""
    dots = []
    for row in outcomes:
        if "step_time_s" in row.error:
            predicted = row.predicted["step_time_s"]
            dots.append((predicted / (1 + row.error["step_time_s"]), predicted, row))
    low = math.floor(math.log10(min(min(x, y) for x, y, _ in dots)))
    high = math.ceil(math.log10(max(max(x, y) for x, y, _ in dots)))

    def at(value: float) -> float:
        return EDGE + (math.log10(value) - low) / (high - low) * SIDE

    whole, bottom = SIDE + 2 * EDGE, SIDE + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {whole:g}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{whole:g}" height="{whole:g}" fill="white"/>',
    ]
    for power in range(low, high + 1):
        place, text = at(10.0**power), f"{10.0**power:g}"
        across = whole - place
        parts += [
            f'<path d="M{place:.1f} {EDGE:g}V{bottom:g}M{EDGE:g} {across:.1f}H{bottom:g}" stroke="#e3e6ea"/>',
            f'<text x="{place:.1f}" y="{bottom + 20:g}" text-anchor="middle" fill="#444">{text}</text>',
            f'<text x="{EDGE - 8:g}" y="{across + 4:.1f}" text-anchor="end" fill="#444">{text}</text>',
        ]
    shift = math.log10(1.15) / (high - low) * SIDE
    parts += [
        f'<path d="M{EDGE:g} {bottom - shift:.1f}L{bottom - shift:.1f} {EDGE:g}H{bottom:g}'
        f'V{EDGE + shift:.1f}L{EDGE + shift:.1f} {bottom:g}H{EDGE:g}z" fill="#f0f2f5"/>',
        f'<path d="M{EDGE:g} {bottom:g}L{bottom:g} {EDGE:g}" stroke="#8a9099"/>',
    ]
    for measured, predicted, row in dots:
        kind = row.traits.classes[-1] if row.traits.classes else "dense"
        parts.append(
            f'<circle cx="{at(measured):.1f}" cy="{whole - at(predicted):.1f}" r="3.2" fill="{COLOURS[kind]}" '
            'fill-opacity="0.75">'
            f"<title>{row.id}: {measured:.3g} s measured, {predicted:.3g} s predicted</title></circle>"
        )
    for place, (kind, colour) in enumerate(COLOURS.items()):
        y = EDGE + 18 + 20 * place
        parts += [
            f'<circle cx="{EDGE + 16:g}" cy="{y:g}" r="4.5" fill="{colour}"/>',
            f'<text x="{EDGE + 28:g}" y="{y + 4:g}" fill="#222">{NAMES[kind]}</text>',
        ]
    parts += [
        f'<text x="{whole / 2:g}" y="{whole - 14:g}" text-anchor="middle" fill="#222">measured step time, s</text>',
        f'<text x="16" y="{whole / 2:g}" text-anchor="middle" fill="#222" transform="rotate(-90 16 {whole / 2:g})">'
        "predicted step time, s</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _groups(title: str, scores: Mapping[str, Mapping[str, Any]], least: int = 1) -> list[str]:
    found = sorted(scores.items(), key=lambda item: item[0])
    signed: Callable[[float], str] = "{:+.1%}".format
    return _table(
        (title, "compared", "median", "90th percentile", "signed median"),
        (
            (
                name,
                str(row["compared"]),
                _share(row["median_abs_error"]),
                _share(row["p90_abs_error"]),
                signed(row["median_error"]),
            )
            for name, row in found
            if row["compared"] >= least
        ),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' if place == 0 else '---:' for place in range(len(heads)))}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
