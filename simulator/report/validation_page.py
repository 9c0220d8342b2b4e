"""One self-contained page: predictions against measurements, the scatter and every number behind it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from simulator.report.design import FONT, INK, QUIET
from simulator.report.figures.scatter import scatter
from simulator.report.validation_table import reference, signed
from simulator.report.words import significant

GROUPS = ("by_class", "by_vendor", "by_system", "by_stack", "by_family")
STYLE = f"""
body {{ font: 15px/1.5 {FONT}; color: {INK}; background: #fff; max-width: 1080px; margin: 40px auto; padding: 0 24px; }}
h1 {{ font-size: 26px; font-weight: 600; margin: 0 0 4px; }} h2 {{ font-size: 18px; font-weight: 600; margin: 36px 0 8px; }}
p.lead {{ color: {QUIET}; margin: 0 0 20px; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; white-space: nowrap; padding: 4px 10px; border-bottom: 1px solid #e6e9ed; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; white-space: normal; }} th {{ font-weight: 600; color: {QUIET}; }}
td small {{ color: {QUIET}; }}
"""


def write_validation_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page of a validation document. Raises OSError where the file cannot be written."""
    path.write_text(validation_page(document), encoding="utf-8")


def validation_page(document: Mapping[str, Any]) -> str:
    """The page as HTML, Plotly inside."""
    summary = document["summary"]
    config = {"displayModeBar": False, "responsive": True}
    figure = scatter(document).to_html(full_html=False, include_plotlyjs=True, config=config)
    lead = (
        f"{summary['covered']} of {summary['cases']} cases covered. Absolute error of the step time, families weighted "
        f"equally: median {_share(summary['median_abs_error'])}, 90th percentile {_share(summary['p90_abs_error'])}."
    )
    groups = "".join(_groups(key.removeprefix("by_"), summary[key]) for key in GROUPS)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Predicted against measured</title>'
        f"<style>{STYLE}</style><h1>Predicted against measured</h1><p class='lead'>{escape(lead)}</p>{figure}"
        f"<h2>Cases</h2>{_cases(document['cases'])}{_refused(document['cases'])}{_pairs(document)}{groups}</html>\n"
    )


def _cases(cases: list[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        if case["covered"]:
            step = reference(case)
            notes = "; ".join([*case["notes"], *case["warnings"]])
            rows.append([
                escape(case["id"]) + (f"<br><small>{escape(notes)}</small>" if notes else ""),
                "" if step is None else significant(step, 4), significant(case["predicted"]["step_time_s"], 4),
                signed(case["error"].get("step_time_s")), signed(case["error"].get("memory_gib_per_chip")),
            ])  # fmt: skip
    return _table(["case", "measured, s a step", "predicted", "error", "memory error"], rows)


def _refused(cases: list[dict[str, Any]]) -> str:
    rows = [[escape(case["id"]), escape(case["reason"])] for case in cases if not case["covered"]]
    return "<h2>Not covered</h2>" + _table(["case", "reason"], rows) if rows else ""


def _pairs(document: Mapping[str, Any]) -> str:
    rows = [
        [escape(f"{pair['faster']} before {pair['slower']}"), escape(pair["kind"]), _times(pair["measured_ratio"]),
         _times(pair["predicted_ratio"]), "yes" if pair["agrees"] else "no"]
        for pair in document.get("pairs", [])
    ]  # fmt: skip
    if not rows:
        return ""
    share = _share(document["summary"]["pair_agreement"])
    head = f"<h2>Pairs</h2><p>{share} in the measured order, groups weighted equally.</p>"
    return head + _table(["pair", "differs in", "measured", "predicted", "agrees"], rows)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _groups(name: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [escape(key), f"{group['covered']} of {group['cases']}", _share(group["median_abs_error"]),
         _share(group["p90_abs_error"]), signed(group["median_error"])]
        for key, group in groups.items()
    ]  # fmt: skip
    return f"<h2>By {escape(name)}</h2>" + _table([name, "covered", "median", "90th percentile", "signed median"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{word}</th>" for word in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _share(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:.1f} %"
