"""Predictions held against measurements, as text: every case, then the errors by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.report.words import significant

NAME = 64
GROUP = 44


def table(document: Mapping[str, Any]) -> str:
    """The document of `supernode validate --json` for people: cases, groups, the whole."""
    cases, summary = document["cases"], document["summary"]
    parts = [*_cases(cases), *_phases(cases), "", *_groups(summary), "", *_refused(cases), *_pairs(document), *_total(summary)]
    return "\n".join(parts) + "\n"


def signed(error: float | None) -> str:
    """A signed error in percent; a dash where nothing was compared.

    >>> signed(-0.0312), signed(0.5), signed(None)
    ('-3.1 %', '+50.0 %', '-')
    """
    return "-" if error is None else f"{100 * error:+.1f} %"


def reference(case: Mapping[str, Any]) -> float | None:
    """The step time that a case was held against, measured or derived [s]."""
    value = case["measured"].get("step_time_s") or case["derived"].get("step_time_s")
    return None if value is None else float(value)


def _cases(cases: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'case':<{NAME}}{'measured':>11}{'predicted':>11}{'error':>10}{'memory':>10}",
        f"{'':<{NAME}}{'s a step':>11}{'s a step':>11}",
    ]
    for case in cases:
        if not case["covered"]:
            continue
        step = reference(case)
        lines.append(
            f"{case['id'][: NAME - 2]:<{NAME}}{'-' if step is None else significant(step):>11}"
            f"{significant(case['predicted']['step_time_s']):>11}{signed(case['error'].get('step_time_s')):>10}"
            f"{signed(case['error'].get('memory_gib_per_chip')):>10}"
        )
    return lines


def _phases(cases: list[dict[str, Any]]) -> list[str]:
    """Parts of a step that a source prints, beside what is predicted of them."""
    lines = []
    for case in cases:
        errors = case["error"].get("breakdown", {})
        if errors:
            lines += ["", f"{'parts of ' + case['id']:<{NAME}}{'measured':>11}{'predicted':>11}{'error':>10}"]
            lines += [
                f"  {name:<{NAME - 2}}{significant(case['measured']['breakdown'][name]):>11}"
                f"{significant(case['predicted']['breakdown'][name]):>11}{signed(error):>10}"
                for name, error in errors.items()
            ]
    return lines


def _pairs(document: Mapping[str, Any]) -> list[str]:
    """Pairs in the wrong order, and the share of them in the right one."""
    pairs, summary = document.get("pairs", []), document["summary"]
    if not pairs:
        return []
    lines = ["pairs in the wrong order"]
    for pair in pairs:
        if not pair["agrees"]:
            ratios = [f"{word} {_ratio(pair[word + '_ratio'])}" for word in ("measured", "predicted")]
            lines.append(f"  {pair['faster']} before {pair['slower']} ({pair['kind']}): {', '.join(ratios)}")
    lines += ["", f"{'pairs in order, groups weighted equally':<{GROUP}}{'pairs':>10}{'groups':>12}{'agree':>11}"]
    for kind, found in summary["pair_agreement_by_kind"].items():
        lines.append(f"  {kind:<{GROUP - 2}}{found['pairs']:>10}{found['groups']:>12}{_absolute(found['agreement']):>11}")
    lines.append(f"  {'all':<{GROUP - 2}}{len(pairs):>10}{'':>12}{_absolute(summary['pair_agreement']):>11}")
    return [*lines, ""]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _groups(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in ("by_class", "by_vendor", "by_stack", "by_system", "by_family"):
        name = key.removeprefix("by_") + ", families weighted equally"
        lines.append(f"{name:<{GROUP}}{'covered':>10}{'median |e|':>12}{'90th pct':>11}{'median e':>11}")
        lines += [f"  {name[: GROUP - 4]:<{GROUP - 2}}{_numbers(group)}" for name, group in summary[key].items()]
    return lines


def _numbers(group: Mapping[str, Any]) -> str:
    covered = f"{group['covered']}/{group['cases']}"
    columns = [_absolute(group["median_abs_error"]), _absolute(group["p90_abs_error"]), signed(group["median_error"])]
    return f"{covered:>10}{columns[0]:>12}{columns[1]:>11}{columns[2]:>11}"


def _absolute(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:.1f} %"


def _refused(cases: list[dict[str, Any]]) -> list[str]:
    refused = [case for case in cases if not case["covered"]]
    if not refused:
        return []
    return ["not covered", *(f"  {case['id']}: {case['reason']}" for case in refused), ""]


def _total(summary: Mapping[str, Any]) -> list[str]:
    memory = summary["memory"]
    lines = [
        f"{summary['covered']} of {summary['cases']} cases covered, {summary['compared']} compared in step time: median "
        f"{_absolute(summary['median_abs_error'])}, 90th percentile {_absolute(summary['p90_abs_error'])}, "
        f"median signed {signed(summary['median_error'])} (families weighted equally)"
    ]
    if memory["compared"]:
        lines.append(
            f"memory: {memory['compared']} compared, median {_absolute(memory['median_abs_error'])}, "
            f"90th percentile {_absolute(memory['p90_abs_error'])}"
        )
    return lines
