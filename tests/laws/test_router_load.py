"""Unequal experts in a whole step: classes answer as all ranks do, hotter is never faster, what is dropped is not computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.prepare import prepare
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make

V3 = {"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0}
V4 = {"preset": "deepseek-v4-flash", "layers": 4, "mtp_depth": 1}
MIXTRAL = {"preset": "mixtral-8x7b", "layers": 4}

H800 = {
    "cluster": {"system": "h800-8", "chips": 32},
    "model": V3,
    "training": {"sequence_length": 4096, "global_batch": 64, "precision": "fp8"},
    "plan": {"pp": 2, "ep": 16, "dispatcher": "deepep"},
}
SUPERPOD = {
    "cluster": {"system": "atlas-950-superpod-8192", "chips": 64},
    "model": V4,
    "training": {"sequence_length": 4096, "global_batch": 128, "precision": "fp8", "optimizer": "muon"},
    "plan": {"pp": 4, "ep": 16, "schedule": "dualpipe"},
}
RACKS = {
    "cluster": {"system": "gb200-nvl72", "chips": 32, "chips_per_domain": 16},
    "model": V3,
    "training": {"sequence_length": 4096, "global_batch": 64, "precision": "mxfp8"},
    "plan": {"pp": 2, "ep": 8, "overlap": {"ep": True}},
}
CLOS = {
    "cluster": {"system": "cloudmatrix384", "chips": 16},
    "model": V4,
    "training": {"sequence_length": 4096, "global_batch": 32},
    "plan": {"pp": 2, "ep": 16},
}
TENSOR = {
    "cluster": {"system": "dgx-h100", "chips": 32},
    "model": MIXTRAL,
    "training": {"sequence_length": 4096, "global_batch": 32},
    "plan": {"tp": 4, "ep": 4, "etp": 2, "zero": 3},
}
TORUS = {
    "cluster": {"system": "tpu-v5p", "chips": 64},
    "model": MIXTRAL,
    "training": {"sequence_length": 4096, "global_batch": 64},
    "plan": {"ep": 4},
}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "hot rank round the rings of a torus": (TORUS, {"kind": "hot-rank", "factor": 1.5}),
    "hot rank, one copy per domain": (H800, {"kind": "hot-rank", "factor": 2.0}),
    "hot expert, one copy per domain": (H800, {"kind": "hot-expert", "factor": 20.0, "capacity_factor": 8.0}),
    "rotating under dualpipe": (SUPERPOD, {"kind": "rotating", "factor": 3.0, "ranks": 2}),
    "zero load on the superpod": (SUPERPOD, {"kind": "zero-load-rank", "ranks": 2}),
    "zipf on racks": (RACKS, {"kind": "zipf", "exponent": 0.5}),
    "burst on racks": (RACKS, {"kind": "burst", "factor": 4.0, "every": 3}),
    "ragged dies with drops": (CLOS, {"kind": "ragged", "least": 0.25, "ranks": 4, "capacity_factor": 0.9}),
    "spread over dies": (CLOS, {"kind": "spread", "factor": 1.75, "ranks": 4}),
    "hot rank in waves": ({**RACKS, "plan": {**RACKS["plan"], "overlap": {"ep_waves": 4}}}, {"kind": "hot-rank", "factor": 3.0}),
    "experts cut by tensor parallelism": (TENSOR, "zero-load-rank"),
    "copies of hot experts in waves": (
        {**RACKS, "plan": {**RACKS["plan"], "overlap": {"ep_waves": 3}}},
        {"kind": "hot-rank", "factor": 3.0, "redundant_experts": 32},
    ),
    "a hot expert in waves, one copy per domain": (
        {**H800, "plan": {**H800["plan"], "overlap": {"ep_waves": 4}}},
        {"kind": "hot-expert", "factor": 8.0},
    ),
}
WAVES: dict[str, dict[str, Any]] = {
    "hot expert": {"kind": "hot-expert", "factor": 4.0},
    "copies of a hot rank": {"kind": "hot-rank", "factor": 3.0, "redundant_experts": 32},
}


def question(case: dict[str, Any], router: Any) -> Scenario:
    return make({**case, "training": {**case["training"], "router": router}}, Scenario)


def step(case: dict[str, Any], router: Any) -> Result:
    return simulate(question(case, router))


def equal(folded: Result, unfolded: Result) -> None:
    assert unfolded.simulation.rank_classes == unfolded.simulation.ranks > folded.simulation.rank_classes
    assert folded.step_time_s == pytest.approx(unfolded.step_time_s, rel=1e-9)
    for tier, use in folded.network.tiers.items():
        assert use.payload_bytes == pytest.approx(unfolded.network.tiers[tier].payload_bytes, rel=1e-9)
    for part, seconds in folded.breakdown_s.model_dump().items():
        assert seconds == pytest.approx(getattr(unfolded.breakdown_s, part), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_classes_of_load_answer_as_every_rank_by_itself(name: str) -> None:
    """Step time and bytes within 1e-9, all parts of the breakdown."""
    scenario = question(*CASES[name])
    folded, unfolded = simulate(scenario), simulate(scenario, symmetric=False)
    equal(folded, unfolded)
    assert folded.router == unfolded.router and folded.router is not None and folded.router.classes > 1


def test_a_table_of_every_layer_and_micro_batch_answers_as_every_rank_by_itself(tmp_path: Any) -> None:
    """Two kinds of ranks (even and odd ones), another load in each of two layers and four micro-batches."""
    counts = np.random.default_rng(0).uniform(1, 3, (2, 4, 2, 32))
    table = np.empty((2, 4, 256))
    for position in range(8):
        table[:, :, position * 32 : position * 32 + 32] = counts[:, :, position % 2]
    np.save(tmp_path / "table.npy", table)
    case = {**RACKS, "model": {**V3, "layers": 5}}
    folded = step({**case}, {"kind": "table", "file": str(tmp_path / "table.npy")})
    unfolded = simulate(question(case, {"kind": "table", "file": str(tmp_path / "table.npy")}), symmetric=False)
    equal(folded, unfolded)
    assert folded.router is not None and folded.router.classes == 2


@pytest.mark.parametrize("dispatcher", ["alltoall", "deepep"])
@pytest.mark.parametrize("name", WAVES)
def test_waves_of_unequal_experts_send_what_the_layer_sends_and_hide_some_of_it(name: str, dispatcher: str) -> None:
    """The same bytes by waves of any number, also where one copy serves a domain; no step longer than without waves."""

    def waved(waves: int) -> Result:
        return step({**RACKS, "plan": {"pp": 2, "ep": 8, "dispatcher": dispatcher, "overlap": {"ep_waves": waves}}}, WAVES[name])

    whole, *cut = (waved(waves) for waves in (1, 2, 4))
    for each in cut:
        assert each.network.sent_bytes["ep"] == pytest.approx(whole.network.sent_bytes["ep"], rel=1e-9)
        assert each.step_time_s < whole.step_time_s
        assert each.model_tflops_per_chip * each.step_time_s == pytest.approx(
            whole.model_tflops_per_chip * whole.step_time_s, rel=1e-9
        )


def test_a_flat_table_is_a_balanced_router(tmp_path: Any) -> None:
    np.save(tmp_path / "flat.npy", np.full((1, 1, 256), 7.0))
    flat, even = step(RACKS, {"kind": "table", "file": str(tmp_path / "flat.npy")}), step(RACKS, "balanced")
    assert flat.step_time_s == pytest.approx(even.step_time_s, rel=1e-9)
    assert flat.router is not None and flat.router.classes == 1


@pytest.mark.parametrize("case", [H800, RACKS, CLOS], ids=["h800", "racks", "clos"])
def test_a_hotter_rank_never_makes_a_step_faster(case: dict[str, Any]) -> None:
    """From balanced to four times the mean: longer and longer; others wait for the slowest, and FLOPs stay what they are."""
    results = [step(case, {"kind": "hot-rank", "factor": factor}) for factor in (1.0, 1.5, 2.0, 3.0, 4.0)]
    times = [result.step_time_s for result in results]
    assert times == sorted(times) and times[-1] > 1.1 * times[0]
    assert results[-1].breakdown_s.straggler_wait > results[0].breakdown_s.straggler_wait
    assert [result.model_tflops_per_chip * result.step_time_s for result in results] == pytest.approx(
        [results[0].model_tflops_per_chip * times[0]] * 5, rel=1e-12
    )
    assert [result.memory.peak_gib_per_chip for result in results] == sorted(
        result.memory.peak_gib_per_chip for result in results
    )


def test_the_step_is_as_long_wherever_the_hot_rank_is(tmp_path: Any) -> None:
    """The same hot load on the first, a middle and the last rank of a group inside one domain."""
    times = []
    for position in (0, 3, 7):
        table = np.ones((1, 1, 256))
        table[:, :, position * 32 : position * 32 + 32] = 3.0
        np.save(tmp_path / "hot.npy", table)
        times.append(step(RACKS, {"kind": "table", "file": str(tmp_path / "hot.npy")}).step_time_s)
    assert times == pytest.approx([times[0]] * 3, rel=1e-9)


@pytest.mark.parametrize("capacity", [0.5, 0.8, 1.0])
def test_what_finds_no_room_is_neither_computed_nor_sent(capacity: float) -> None:
    """A balanced router with room for a share of the copies: that share of expert FLOPs and of dispatched bytes."""
    full, cut = (step(RACKS, {"kind": "balanced", "capacity_factor": room}) for room in (1.0, capacity))
    assert cut.router is not None and cut.router.dropped_share == pytest.approx(1 - capacity, abs=1e-12)
    assert cut.network.sent_bytes["ep"] == pytest.approx(capacity * full.network.sent_bytes["ep"], rel=1e-9)
    assert full.step_time_s == step(RACKS, "balanced").step_time_s >= cut.step_time_s
    programs = [prepare(question(RACKS, {"kind": "balanced", "capacity_factor": room})).program for room in (1.0, capacity)]
    matrices = 2.0 * 3 * 7168 * 2048 * 8  # FLOPs of eight gated experts, forward, a token and layer
    missing = 3.0 * matrices * 1 * programs[0].tokens * (1 - capacity)  # one sparse layer of four
    assert programs[0].model_flops - programs[1].model_flops == pytest.approx(
        missing, rel=1e-6, abs=1e-6 * programs[0].model_flops
    )


def test_tokens_that_a_ragged_source_lacks_are_sent_by_nobody() -> None:
    """Half of the sources hold a quarter of the tokens: 5/8 of the copies in all, from and to every pair its own share."""
    ragged, even = step(CLOS, {"kind": "ragged", "least": 0.25}), step(CLOS, "balanced")
    assert ragged.router is not None and ragged.router.padding_share == pytest.approx(3 / 8, rel=1e-12)
    assert ragged.network.sent_bytes["ep"] == pytest.approx(5 / 8 * even.network.sent_bytes["ep"], rel=1e-9)


@pytest.mark.parametrize("name", ["rotating under dualpipe", "hot rank, one copy per domain", "burst on racks"])
def test_slots_of_unequal_ranks_that_repeat_are_repeated_to_the_tick(name: str) -> None:
    """Every class has blocks of its own, and one for each pattern: a repeated slot is that of its own pattern."""
    scenario = question(*CASES[name])
    scenario = scenario.replace(training__global_batch=4 * (scenario.training.global_batch or 0))
    rehearsed, played = simulate(scenario), simulate(scenario, slots="played")
    assert rehearsed.fingerprint == played.fingerprint
    if name == "hot rank, one copy per domain":  # elsewhere slots meet others on full links, and are taken up
        assert rehearsed.simulation.events < played.simulation.events
