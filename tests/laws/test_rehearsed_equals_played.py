"""Slots that are rehearsed once and repeated give the very step that playing every instruction gives, to the tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from simulator.engine.ensemble import Ensemble
from simulator.engine.kindred import Deeds
from simulator.engine.performance import Performance
from simulator.engine.rehearsal import Rehearsals
from simulator.engine.repertoire import Rehearsal, Repertoire
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_faults import DEAD, SLOW, WEAK, question
from tests.laws.test_folded_equals_unfolded import CASES, SMALL_DENSE, SMALL_V3
from workloads.instructions import Slot

SCHEDULED: dict[str, dict[str, Any]] = {
    "interleaved dense": {
        "cluster": {"system": "dgx-h100", "chips": 32},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 32},
        "plan": {"tp": 4, "pp": 4, "vpp": 2, "schedule": "interleaved"},
    },
    "experts and stages share the network cards": {
        "cluster": {"system": "h800-8", "chips": 64},
        "model": {**SMALL_V3, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 512},
        "plan": {"pp": 4, "ep": 16, "vpp": 2, "schedule": "interleaved", "dispatcher": "alltoall"},
    },
    "two directions share the network cards": {
        "cluster": {"system": "h800-8", "chips": 64},
        "model": {**SMALL_V3, "layers": 8},
        "training": {"sequence_length": 4096, "global_batch": 512},
        "plan": {"pp": 4, "ep": 16, "schedule": "dualpipe", "dispatcher": "alltoall"},
    },
    "who comes late is told apart from twins that were told apart before": {
        "cluster": {
            "system": "h800-mpft",
            "chips": 8,
            "faults": [
                {"link": "server0.switch1->chip4", "capacity": 0.9},
                {"link": "server0.switch3->chip1", "capacity": 0.3},
            ],
        },
        "model": {"preset": "pangu-pro-moe-72b", "layers": 2},
        "training": {"sequence_length": 1024, "global_batch": 16, "micro_batch": 1, "precision": "fp8"},
        "plan": {
            "tp": 4,
            "ep": 8,
            "zero": 0,
            "recompute": "selective",
            "attention": "flash-fp8",
            "expert_kernels": "fused",
            "overlap": {"ep": False, "tp": True, "pp": False, "grad_reduce": False},
        },
        "assumptions": "megascale",
    },
    "some of a tensor-parallel group are as loaded as before, others are not": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": {"preset": "qwen3-30b-a3b", "layers": 4},
        "training": {"sequence_length": 4096, "global_batch": 8, "micro_batch": 1, "router": {"kind": "rotating", "factor": 2}},
        "plan": {"tp": 4, "pp": 2, "cp": 2, "ep": 8, "schedule": "zb-h1", "recompute": "full"},
    },
    "gathered weights in every slot": {
        "cluster": {"system": "dgx-h100", "chips": 16},
        "model": SMALL_DENSE,
        "training": {"sequence_length": 4096, "global_batch": 64},
        "plan": {"zero": 3},
    },
}


def both(scenario: Scenario) -> tuple[Result, Result]:
    return simulate(scenario), simulate(scenario, slots="played")


def same(rehearsed: Result, played: Result) -> None:
    """Same trajectory on every lane, same books, same bytes on every link, fewer events."""
    assert rehearsed.fingerprint == played.fingerprint
    assert rehearsed.breakdown_s.model_dump() == pytest.approx(played.breakdown_s.model_dump(), rel=1e-9, abs=1e-12)
    for tier, use in played.network.tiers.items():
        assert rehearsed.network.tiers[tier].wire_bytes == pytest.approx(use.wire_bytes, rel=1e-9)
        assert rehearsed.network.tiers[tier].peak_utilisation == pytest.approx(use.peak_utilisation, rel=1e-9)


@pytest.mark.parametrize("name", [*CASES, *SCHEDULED])
def test_rehearsed_equals_played(name: str) -> None:
    scenario = make({"name": name, **CASES, **SCHEDULED}[name] | {"name": name}, Scenario)
    rehearsed, played = both(scenario)
    same(rehearsed, played)


@pytest.mark.parametrize("faults", [(WEAK,), (DEAD,), (SLOW,), (WEAK, DEAD, SLOW)], ids=["weak", "dead", "slow", "all"])
def test_rehearsed_equals_played_around_faults(faults: tuple[dict[str, Any], ...]) -> None:
    """Ranks that differ meet at the threshold of a slot, or play it."""
    same(*both(question(*faults)))


def counting(monkeypatch: pytest.MonkeyPatch, **methods: type) -> Counter[str]:
    """How often these methods are called from now on."""
    counted: Counter[str] = Counter()

    def watched(method: str, of: type) -> None:
        plain = getattr(of, method)
        monkeypatch.setattr(of, method, lambda *args: (counted.update([method]), plain(*args))[1])

    for method, of in methods.items():
        watched(method, of)
    return counted


def test_rehearsed_equals_played_where_teams_come_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks come early to slots that begin with the last, sends meet these, and twins stop being alike in the middle of them."""
    counted = counting(monkeypatch, apart=Ensemble, _record_heads=Rehearsals, _play_apart=Rehearsals)
    case = SCHEDULED["experts and stages share the network cards"]
    training = {**case["training"], "global_batch": 256}
    slow = {**case["cluster"], "faults": [{"chip": 5, "speed": 0.7}]}
    scenario = make({**case, "name": "late", "training": training, "cluster": slow}, Scenario)
    rehearsed = simulate(scenario)
    assert counted["apart"] > 10 and counted["_record_heads"] > 5 and counted["_play_apart"] > 5
    same(rehearsed, simulate(scenario, slots="played"))


def test_rehearsed_equals_played_where_some_begin_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tensor parallelism can begin before all of a team are there, those who come later join those who play."""
    counted = counting(monkeypatch, join=Performance)
    scenario = make(
        {
            "cluster": {"system": "dgx-h100", "chips": 16, "faults": [WEAK]},
            "model": SMALL_DENSE,
            "training": {"sequence_length": 4096, "global_batch": 8},
            "plan": {"tp": 4, "pp": 2, "cp": 2},
        },
        Scenario,
    )
    rehearsed = simulate(scenario)
    assert counted["join"] > 10
    same(rehearsed, simulate(scenario, slots="played"))


def test_slots_are_interrupted_where_links_are_shared_and_repeated_where_they_are_not() -> None:
    """The two mechanisms are at work in these tests: a run without sharing needs far fewer events, one with it still fewer."""
    alone, apart = both(make({**SCHEDULED["interleaved dense"], "name": "apart"}, Scenario))
    assert alone.simulation.events < 0.7 * apart.simulation.events
    shared, played = both(make({**SCHEDULED["experts and stages share the network cards"], "name": "shared"}, Scenario))
    assert shared.simulation.events < 0.9 * played.simulation.events


def test_isolated_slots_are_exact_where_links_are_not_shared_and_say_so_where_they_are() -> None:
    """Where something would have been interrupted the answer is near, and flagged."""
    alone = make({**SCHEDULED["interleaved dense"], "name": "apart"}, Scenario)
    assert simulate(alone, slots="isolated").fingerprint == simulate(alone).fingerprint
    shared = make({**SCHEDULED["experts and stages share the network cards"], "name": "shared"}, Scenario)
    near, exact = simulate(shared, slots="isolated"), simulate(shared)
    assert near.network.rung == "approximate" and near.warnings
    assert exact.network.rung == "exact" and exact.fingerprint != near.fingerprint
    assert near.step_time_s == pytest.approx(exact.step_time_s, rel=0.02)


def test_rehearsed_equals_played_where_those_who_are_waited_for_come_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slow chips in one team: a slot goes otherwise than when all come together, and is rehearsed by when each came.

    It is repeated for those who come as far apart again, and taken up in the middle where links are shared.
    """
    rehearsed, taken_up = Counter[bool](), Counter[bool]()
    rehearse, take_up = Repertoire._rehearse, Rehearsals._take_up

    def rehearsing(self: Repertoire, team: tuple[int, ...], slot: Slot, offsets: Mapping[int, int]) -> Deeds:
        rehearsed.update([bool(offsets)])
        return rehearse(self, team, slot, offsets)

    def taking_up(self: Rehearsals, performance: Performance, of: Rehearsal) -> None:
        taken_up.update([bool(of.offsets)])
        take_up(self, performance, of)

    monkeypatch.setattr(Repertoire, "_rehearse", rehearsing)
    monkeypatch.setattr(Rehearsals, "_take_up", taking_up)
    counted = counting(monkeypatch, staggered=Repertoire)
    case = SCHEDULED["two directions share the network cards"]
    training = {**case["training"], "global_batch": 256}
    for speed in (0.9, 0.7, 0.5):
        slow = {**case["cluster"], "faults": [{"chip": 5, "speed": speed}, {"chip": 25, "speed": 0.8}]}
        scenario = make({**case, "name": "late", "training": training, "cluster": slow}, Scenario)
        same(simulate(scenario), simulate(scenario, slots="played"))
    assert counted["staggered"] > rehearsed[True] > 3 and taken_up[True] > 0
