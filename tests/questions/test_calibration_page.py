"""The page that a calibration writes: every group in its tables, every compared row a dot at its place."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from simulator.questions.calibration_page import EDGE, SIDE, Score, page, scatter
from simulator.questions.scores import Outcome
from simulator.questions.summary import summary
from simulator.questions.traits import Traits

ROWS = tuple(
    Outcome(
        id=f"case-{place}", stack="megatron", family=f"family {place}", system="dgx-h100", model="m", covered=True,
        predicted={"step_time_s": measured * (1 + error)}, error={"step_time_s": error},
        traits=Traits(vendor="NVIDIA", moe=place == 2),
    )
    for place, (measured, error) in enumerate([(1.0, 0.0), (10.0, -0.2), (100.0, 0.1)])
)  # fmt: skip


def test_every_compared_row_is_a_dot_at_its_measured_and_predicted_time() -> None:
    """Axes run from 1 to 1,000 s (110 is rounded up); the first row lies on the diagonal's lower end."""
    root = ElementTree.fromstring(scatter(ROWS))
    dots = [node for node in root.iter("{http://www.w3.org/2000/svg}circle") if len(node)]
    assert len(dots) == len(ROWS)
    x, y = float(dots[1].get("cx", "")), float(dots[1].get("cy", ""))
    assert math.isclose(x, EDGE + SIDE / 3, abs_tol=0.1)
    assert math.isclose(SIDE + 2 * EDGE - y, EDGE + SIDE * math.log10(8.0) / 3, abs_tol=0.1)


def test_the_page_holds_constants_groups_and_left_out_scores() -> None:
    constants = [("megatron", "compute", 1.234, 0.7, 1.8, 3)]
    text = page(summary(ROWS), constants, [Score("without the family", 0.071, 0.2)], [Score("`compute`", 0.12, 0.3)])
    for line in (
        "| megatron | compute | 1.234 | 0.7-1.8 | 3 |",
        "| without the family | 7.1% | 20.0% |",
        "| `compute` | 12.0% | 30.0% |",
        "| family 1 | 1 | 20.0% | 20.0% | -20.0% |",
        "| case-1 | -20.0% |",
    ):
        assert line in text
