"""Rounds of a schedule that are left out because they repeat another give the very step that playing them all gives."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.step import StepOutcome, run_step
from simulator.network.usage import Usage
from simulator.prepare import prepare
from simulator.run import _fold, fingerprint
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_faults import SLOW, WEAK
from tests.laws.test_folded_equals_unfolded import SMALL_DENSE, SMALL_V3

BOXES = {"system": "dgx-h100", "chips": 16}
CARDS = {"system": "h800-8", "chips": 128}
V3 = {"cluster": {"system": "h800-8", "chips": 64}, "model": {**SMALL_V3, "layers": 8}}


KERNELS = {"preset": "default", "set": {"pace.compute": 1.0, "pace.passes": 1.0, "pace.experts": 1.0}}
"""Whether rounds repeat to the tick before the step is over hangs on the lengths of its slots; under these they do."""


def dense(batch: int, cluster: dict[str, Any] = BOXES, **plan: Any) -> dict[str, Any]:
    training = {"sequence_length": 2048, "global_batch": batch, "micro_batch": 1}
    return {
        "cluster": cluster,
        "model": SMALL_DENSE,
        "training": training,
        "plan": {"tp": 2, "pp": 4, **plan},
        "assumptions": KERNELS,
    }


def experts(batch: int, router: Any = "balanced", **plan: Any) -> dict[str, Any]:
    training = {"sequence_length": 4096, "global_batch": batch, "micro_batch": 1, "router": router}
    plan = {"pp": 4, "ep": 16, "dispatcher": "alltoall", **plan}
    return {**V3, "training": training, "plan": plan, "assumptions": KERNELS}


REPEATED: dict[str, dict[str, Any]] = {
    "1f1b": dense(64),
    "1f1b, sends not overlapped": dense(64, overlap={"pp": False}),
    "zero bubble": dense(64, schedule="zb-h1"),
    "zero bubble in a V": dense(40, schedule="zb-v"),
    "two directions": dense(64, schedule="dualpipe"),
    "experts, interleaved": experts(1024, vpp=2, schedule="interleaved"),
    "experts joined": experts(1024, overlap={"ep": True}),
}


def outcome(asked: dict[str, Any], slots: str) -> tuple[StepOutcome, Usage]:
    prepared = prepare(make({"name": "rounds", **asked}, Scenario))
    found = run_step(prepared.program, _fold(prepared, True), prepared.device, slots=slots, macro=False)
    return found, Usage(found.network)


def same(short: StepOutcome, use: Usage, whole: StepOutcome, whole_use: Usage) -> None:
    """Same spans on every lane, same books, same bytes, same use of the links over time."""
    assert short.end == whole.end
    assert fingerprint(short.recorder.spans(), short.end) == fingerprint(whole.recorder.spans(), whole.end)
    for mine, other in zip(short.accounts, whole.accounts, strict=True):
        assert mine.parts == pytest.approx(other.parts, rel=1e-9, abs=1.0)
    assert use.sent_bytes == pytest.approx(whole_use.sent_bytes, rel=1e-12)
    links = {link.link_class.example: link for link in whole_use.links()}
    for link in use.links():
        assert link.busy == pytest.approx(links[link.link_class.example].busy, rel=1e-9)
        assert link.wire_bytes == pytest.approx(links[link.link_class.example].wire_bytes, rel=1e-9)


def meeting() -> dict[str, Any]:
    """Experts spread over two boxes and eight stages in two directions: mail meets their traffic on the cards in every slot."""
    return {**experts(1024, pp=8, schedule="dualpipe"), "cluster": CARDS, "model": {**SMALL_V3, "layers": 16}}


@pytest.mark.parametrize("name", REPEATED)
def test_rounds_left_out_are_as_if_played(name: str) -> None:
    """To the tick, under every schedule; and some rounds were left out, or the test would say nothing."""
    short, use = outcome(REPEATED[name], "exact")
    assert short.left_out > 0.2 * short.end
    same(short, use, *outcome(REPEATED[name], "played"))


def test_rounds_in_which_slots_are_taken_up_in_the_middle_are_as_if_played() -> None:
    """Somebody always plays there, from when mail came into the way on: what it heard so far decides."""
    short, use = outcome(meeting(), "exact")
    assert short.left_out > 0.2 * short.end and short.repeated < short.events / 10
    same(short, use, *outcome(meeting(), "played"))


def test_ranks_that_differ_are_played_or_left_out_alike() -> None:
    """A slow chip and a weak link: teams rarely come together, and what is left out is the same to the tick."""
    asked = dense(32, cluster={**BOXES, "faults": [SLOW, WEAK]})
    same(*outcome(asked, "exact"), *outcome(asked, "played"))


def test_a_router_that_changes_with_time_repeats_with_its_own_period() -> None:
    """Blocks that differ by micro-batch belong to the round: what is left out is whole turns of the router."""
    asked = experts(512, router={"kind": "burst", "factor": 2.0, "every": 4})
    same(*outcome(asked, "exact"), *outcome(asked, "played"))


def test_a_step_of_few_micro_batches_has_no_rounds_to_leave_out() -> None:
    """While it fills and drains, no moment is like another."""
    short, use = outcome(dense(8), "exact")
    assert short.left_out == 0
    same(short, use, *outcome(dense(8), "played"))
