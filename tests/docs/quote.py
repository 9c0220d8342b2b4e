"""Write into README.md what the examples answer now: python tests/docs/quote.py.

Between the marks of a quotation stands nothing that a person wrote, so numbers never lag behind the code for long.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
MAIN = "v4_pro_on_atlas_950"


def marks(name: str) -> tuple[str, str]:
    """The lines around a quotation."""
    return f"<!-- {name}: written by tests/docs/quote.py -->\n", f"\n<!-- end of {name} -->"


def quoted(text: str, name: str) -> str:
    """What stands between the marks."""
    begin, end = marks(name)
    return text.split(begin)[1].split(end, maxsplit=1)[0]


def replaced(text: str, name: str, body: str) -> str:
    """The text with another quotation between the marks."""
    begin, end = marks(name)
    return re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: begin + body + end, text, count=1, flags=re.DOTALL)


def row(example: str, setting: str, step_time_s: float, mfu: float) -> str:
    """One row of the table of examples."""
    system, plan = setting.split(" · ", 1)
    return f"| [{example}](examples/{example}.yaml) | {system} | {plan} | {step_time_s:.2f} s | {100 * mfu:.1f}% |"


def shortened(summary: str) -> str:
    """The answer to where its details begin."""
    return summary.split("\n\nMemory\n", maxsplit=1)[0] + "\n..."


def main() -> None:
    """Run every example; about half a minute."""
    sys.path.insert(0, str(ROOT))
    from simulator import Scenario, simulate
    from simulator.report.words import setting

    rows = ["| example | chips and system | plan | step | MFU |", "|---|---|---|---|---|"]
    text = README.read_text(encoding="utf-8")
    for example in EXAMPLES:
        result = simulate(Scenario.load(example))
        rows.append(row(example.stem, setting(result).removesuffix(" a step"), result.step_time_s, result.mfu))
        if example.stem == MAIN:
            text = replaced(text, "answer", f"```text\n{shortened(result.summary())}\n```")
    README.write_text(replaced(text, "examples", "\n".join(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
