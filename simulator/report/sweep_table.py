"""A sweep as text: the plans that run, fastest first; then those that do not fit, and those that cannot be, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.report.words import significant

_PARTS = (("bubble", "pipeline_bubble"), ("ep", "exposed_ep"), ("tp", "exposed_tp"), ("pp", "exposed_pp"), ("dp", "exposed_dp"))
"""Columns, and the part of the breakdown each shows."""


def sweep_table(document: Mapping[str, Any]) -> str:
    """The document of `supernode sweep --json` for people."""
    points = document["points"]
    paths = list(document["over"])
    ran = sorted((p for p in points if p["status"] == "simulated"), key=lambda p: p["step_time_s"])
    lines = [f"{document['name']}: {len(points)} plans, {len(ran)} run and fit", ""]
    if ran:
        lines += _ran(ran, paths)
    for status, title in (("does not fit", "Do not fit in memory"), ("refused", "Cannot be")):
        rows = [point for point in points if point["status"] == status]
        if rows:
            lines += ["", f"{title} ({len(rows)})"]
            lines += [f"  {_settings(point, paths):<44s} {point['reason']}" for point in rows]
    return "\n".join(lines)


def _ran(points: list[Mapping[str, Any]], paths: list[str]) -> list[str]:
    names = [path.rsplit(".", 1)[-1] for path in paths]
    widths = [max(len(name), *(len(str(p["settings"][path])) for p in points)) for name, path in zip(names, paths, strict=True)]
    head = "  ".join(f"{name:>{width}s}" for name, width in zip(names, widths, strict=True))
    shown = [(name, part) for name, part in _PARTS if any(p["breakdown_s"][part] > 0 for p in points)]
    columns = "".join(f"{name:>9s}" for name, _ in shown)
    lines = [
        f"{head}  {'step s':>8s}{'MFU %':>7s}{columns}{'GiB':>7s}  recompute",
        f"{'':{len(head)}s}  {'':8s}{'':7s}{'seconds of the step, average rank':s}",
    ]
    for point in points:
        chosen = "  ".join(f"{point['settings'][path]!s:>{width}s}" for path, width in zip(paths, widths, strict=True))
        parts = "".join(f"{significant(point['breakdown_s'][part]):>9s}" for _, part in shown)
        lines.append(
            f"{chosen}  {point['step_time_s']:8.3f}{100 * point['mfu']:7.1f}{parts}{point['peak_gib_per_chip']:7.1f}"
            f"  {_recompute(point['recompute'])}"
        )
    return lines


def _recompute(way: str) -> str:
    """none, full, or how many kinds of modules.

    >>> _recompute("selective (layernorm, mlp_act)"), _recompute("full")
    ('2 modules', 'full')
    """
    return f"{way.count(',') + 1} modules" if way.startswith("selective") else way


def _settings(point: Mapping[str, Any], paths: list[str]) -> str:
    return ", ".join(f"{path.rsplit('.', 1)[-1]} {point['settings'][path]}" for path in paths)
