"""A step that is told without a clock is the step that a clock tells, to the tick; where it can't be told so, the clock does."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.alike import KEPT
from simulator.engine.macro import Macro
from simulator.engine.step import StepOutcome, run_step
from simulator.network.usage import Usage
from simulator.prepare import prepare
from simulator.run import _fold
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_folded_equals_unfolded import CASES, SMALL_DENSE, SMALL_V3
from tests.laws.test_kept_slots import dense
from tests.laws.test_repeated_rounds import same


def pods(schedule: str, **plan: Any) -> dict[str, Any]:
    """Stages on a torus, whose gradients and parameters go beside the slots."""
    return {
        "cluster": {"system": "tpu-v5p", "chips": 64},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 128},
        "plan": {"tp": 4, "pp": 4, "schedule": schedule, **plan},
    }


TOLD: dict[str, dict[str, Any]] = {
    "one stage": CASES["dense cp"],
    "1f1b": dense("1f1b"),
    "zero bubble": dense("zb-h1"),
    "interleaved, parameters and gradients under way": pods("interleaved", vpp=2),
    "sends not overlapped": pods("1f1b", overlap={"pp": False}),
    "two directions, which meet before and after": pods("dualpipe"),
    "stages innermost, mirrored": CASES["stages innermost, mirrored"],
    "racks": CASES["racks"],
    "experts strided over racks": CASES["experts strided over racks"],
}
NOT_TOLD: dict[str, dict[str, Any]] = {
    "mail meets gradients": dense("interleaved", vpp=2),
    "stages fill the network cards": {
        "cluster": {"system": "h800-8", "chips": 64},
        "model": {**SMALL_V3, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 256},
        "plan": {"pp": 4, "ep": 16, "dispatcher": "alltoall"},
    },
    "ranks of a stage that differ meet in its slots": {
        **dense("1f1b"),
        "cluster": {"system": "dgx-h100", "chips": 32, "faults": [{"chip": 3, "speed": 0.5}]},
    },
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Macro | None]:
    """Every step that was tried without a clock; None for one that could not be told so."""
    found: list[Macro | None] = []
    plain = Macro.run

    def run(macro: Macro) -> Usage | None:
        usage = plain(macro)
        found.append(None if usage is None else macro)
        return usage

    monkeypatch.setattr(Macro, "run", run)
    return found


def outcome(asked: dict[str, Any], *, macro: bool) -> tuple[StepOutcome, Usage]:
    prepared = prepare(make({"name": "macro", **asked}, Scenario))
    found = run_step(prepared.program, _fold(prepared, True), prepared.device, macro=macro)
    return found, Usage(found.network)


@pytest.mark.parametrize("name", TOLD)
def test_a_step_told_without_a_clock_is_the_one_that_the_clock_tells(name: str, told: list[Macro | None]) -> None:
    """Same spans, books, bytes and use of links; and one event a slot once what it does is known."""
    KEPT.forget()
    short, use = outcome(TOLD[name], macro=True)
    again, _ = outcome(TOLD[name], macro=True)
    first, warm = told
    assert first is not None and warm is not None
    same(short, use, *outcome(TOLD[name], macro=False))
    assert again.end == short.end and again.events == warm.slots and again.repeated == warm.slots
    assert [mine.parts for mine in again.accounts] == [other.parts for other in short.accounts]


@pytest.mark.parametrize("name", NOT_TOLD)
def test_where_stages_feel_each_other_the_clock_tells(name: str, told: list[Macro | None]) -> None:
    """What can't be told without a clock leaves no trace in the answer."""
    same(*outcome(NOT_TOLD[name], macro=True), *outcome(NOT_TOLD[name], macro=False))
    assert told == [None]


def test_a_longer_step_is_told_from_what_a_shorter_one_left(told: list[Macro | None]) -> None:
    """With three times the batch little is played: the last slots come at other times, the first ones and all others do not."""
    asked = pods("dualpipe")
    longer = {**asked, "training": {**asked["training"], "global_batch": 384}}
    KEPT.forget()
    outcome(longer, macro=True)
    KEPT.forget()
    outcome(asked, macro=True)
    outcome(longer, macro=True)
    cold, _, warm = told
    assert cold is not None and warm is not None
    assert warm.slots == cold.slots
    assert warm.slots - warm.repeated < 0.5 * (cold.slots - cold.repeated)
    assert warm.events < 0.7 * cold.events
