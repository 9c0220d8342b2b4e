"""What a caller may leave out of a simulation changes nothing of what is left."""

from __future__ import annotations

import pytest

from simulator.answers import Answers
from simulator.engine.alike import KEPT
from simulator.run import simulate
from simulator.spec.errors import FileProblem, InputError
from tests.test_answers import scenario

ELSEWHERE = {"fingerprint", "simulation"}


@pytest.mark.parametrize("slots", ["exact", "isolated"])
def test_a_step_that_is_not_recorded_is_the_same_but_for_its_timeline(slots: str) -> None:
    """Every figure of the answer stands; the fingerprint is empty, and who asks for the timeline is told that there is none."""
    recorded, bare = (simulate(scenario(), slots=slots, record=record) for record in (True, False))
    assert bare.model_dump(exclude=ELSEWHERE) == recorded.model_dump(exclude=ELSEWHERE)
    assert recorded.has_recording and len(recorded.fingerprint) == 16
    assert not bare.has_recording and bare.fingerprint == ""
    with pytest.raises(FileProblem, match="holds no timeline"):
        _ = bare.recording


@pytest.mark.parametrize("slots", ["exact", "isolated"])
def test_a_step_that_is_not_recorded_leaves_a_later_one_its_whole_timeline(slots: str) -> None:
    """Slots and stretches that it rehearsed are kept with their spans, though nothing was written down of the step."""
    KEPT.forget()
    cold = simulate(scenario(), slots=slots)
    KEPT.forget()
    simulate(scenario(), slots=slots, record=False)
    assert simulate(scenario(), slots=slots).fingerprint == cold.fingerprint


def test_a_step_longer_than_the_clock_is_refused_in_a_line() -> None:
    """A size with too many noughts is no fault of the simulator."""
    asked = scenario()
    with pytest.raises(InputError, match=r"takes more than 106 days\. Correct the sizes"):
        simulate(asked.replace(model={"preset": "llama3.1-8b", "layers": 8, "vocab": 10**18}, plan={"pp": 4}))


def test_an_answer_without_a_timeline_is_not_kept_for_who_wants_one() -> None:
    """A step that was not recorded stands in for nobody's."""
    answers = Answers()
    simulate(scenario(), answers=answers, record=False)
    assert simulate(scenario(), answers=answers).has_recording
