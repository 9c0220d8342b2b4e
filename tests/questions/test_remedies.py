"""What would make a job fit: changes that are really laid out, the best of them first."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.footprint import footprint
from simulator.questions.remedies import advice, footprint_and_advice, remedies, simulate_and_advise
from simulator.run import OVER_MEMORY
from simulator.scenario import Scenario
from simulator.spec.files import make

LARGE: dict[str, Any] = {
    "cluster": {"system": "dgx-h100", "chips": 16},
    "model": "llama3.1-70b",
    "training": {"sequence_length": 8192, "global_batch": 16},
    "plan": {"tp": 2},
}


def question(**changes: Any) -> Scenario:
    return make(LARGE, Scenario).replace(**changes)


def test_every_remedy_is_what_the_changed_scenario_holds() -> None:
    """Of 70B on sixteen H100s in pairs: three changes, ordered by what they leave, each as its own footprint says."""
    asked = question()
    found = remedies(asked)
    assert 0 < len(found) <= 3 and not footprint(asked).fits
    assert [r.peak_gib for r in found if not r.fits] == sorted(r.peak_gib for r in found if not r.fits)
    for remedy in found:
        path, value = remedy.setting.split("=")
        if value.isdigit():
            changed = footprint(asked.replace(**{path.replace(".", "__"): int(value)}))
            assert changed.peak_gib_per_chip == pytest.approx(remedy.peak_gib) and changed.fits == remedy.fits


def test_what_fits_comes_first_and_the_sentence_says_so() -> None:
    """A third of 70B without recomputation and with four sequences at once: making everything again is the way."""
    asked = question(model={"preset": "llama3.1-70b", "layers": 24}, plan__tp=4, plan__recompute="none", training__micro_batch=4)
    first, *_ = remedies(asked)
    assert first.fits and f"{first.setting} {first.peak_gib:.1f} GiB (fits)" in advice(asked)


def test_a_job_that_fits_needs_none() -> None:
    asked = question(cluster__chips=64, plan__tp=8)
    assert remedies(asked) == () and footprint_and_advice(asked) == (footprint(asked), "")


def test_the_warning_of_a_result_takes_the_advice() -> None:
    asked = question(model={"preset": "llama3.1-70b", "layers": 24}, plan__tp=1)
    (told,) = [each for each in simulate_and_advise(asked).warnings if each.startswith(OVER_MEMORY)]
    assert advice(asked) in told and footprint_and_advice(asked)[1] == f"\n{advice(asked)}\n"
