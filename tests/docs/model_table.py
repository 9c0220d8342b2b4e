"""The table of docs/models.md: every model that ships, its parameters, and what its publisher states.

Run as a script it writes the table anew: python tests/docs/model_table.py.
"""

from __future__ import annotations

from pathlib import Path

import workloads
from workloads.accounting import active_parameters, total_parameters
from workloads.loading import model_presets

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- models -->\n", "<!-- /models -->\n"
UNITS = {"T": 1e12, "B": 1e9, "M": 1e6}
WITHIN = 0.005

#: Why a model differs by more than half a percent, where the stated figure is no rounding of ours.
REASONS = {
    "gemma4-26b": "26B is its name, 25.2B the size on its card",
    "grok-1": "the released figure is 314B; the shape of the released code gives 315.7B",
    "kimi-linear-48b-a3b": "48B is its name, 49B the size of its files",
    "kimi-k2": "its configuration gives 1.026T, which the report rounds up to 1.04T",
    "llama3.1-70b": "70B is its name, 70.6B the size on its card",
    "llama4-scout": "109B counts the vision encoder, and the shape is recalled",
    "mlm-32b": "the source prints a nominal size",
    "nemotron-3-22b": "22B is its name; the shape is recalled",
    "pangu-ultra-135b": "135B is its name; vocabulary and width are of medium confidence",
    "telechat2-115b": "115B is its name; the shape is recalled",
}


def stated(text: str) -> float:
    """A size as publishers write it.

    >>> stated("1.6T"), stated("235B")
    (1600000000000.0, 235000000000.0)
    """
    return float(text[:-1]) * UNITS[text[-1]]


def rounds_to(total: float, text: str) -> bool:
    """Whether a total, rounded to as many places as the publisher prints, is what is printed."""
    places = len(text[:-1].partition(".")[2])
    return round(total / UNITS[text[-1]], places) == float(text[:-1])


def reason(name: str) -> str | None:
    """Why this model's sum is right although it is not the stated one; None if nothing is known."""
    model = workloads.load(name)
    assert model.stated is not None
    total = total_parameters(model)
    if abs(total / stated(model.stated.total) - 1) <= WITHIN:
        return ""
    if rounds_to(total, model.stated.total):
        return "rounds to the stated size"
    if any("nominal" in note for note in model.notes):
        return "the stated size is nominal"
    return REASONS.get(name)


def table() -> str:
    """The table as Markdown."""
    lines = ["| model | parameters | active a token | stated | difference | |", "|---|---:|---:|---:|---:|---|"]
    for name in model_presets():
        model = workloads.load(name)
        assert model.stated is not None
        total = total_parameters(model)
        difference = total / stated(model.stated.total) - 1
        active = f"{active_parameters(model) / 1e9:,.2f}B" if model.moe else ""
        lines.append(
            f"| {name} | {total:,} | {active} | {model.stated.total}"
            f"{' / ' + model.stated.active if model.stated.active else ''} | {100 * difference:+.2f}% | {reason(name) or ''} |"
        )
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The document with the table of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
