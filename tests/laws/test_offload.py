"""A step that keeps things in the host: never below what its copies take, and hidden where time allows."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario

SYSTEM = "dgx-h100"


def answer(slots: str = "exact", host: dict[str, str] | None = None, system: str = SYSTEM, **plan: Any) -> Result:
    changes = {f"chip.host.{name}": value for name, value in (host or {}).items()}
    asked = {
        "name": "offload",
        "cluster": {"system": system, "chips": 8, "set": changes},
        "model": {"preset": "llama3.1-8b", "layers": 6},
        "training": {"sequence_length": 8192, "global_batch": 32, "micro_batch": 1, "precision": "bf16"},
        "plan": {"zero": 1, "recompute": "none", **plan},
    }
    return simulate(Scenario.model_validate(asked), slots=slots)


@pytest.fixture(scope="module")
def plain() -> Result:
    return answer()


def test_nothing_in_the_host_costs_nothing_there(plain: Result) -> None:
    assert plain.breakdown_s.exposed_host == 0.0
    assert plain.memory.host_gib_per_chip == 0.0


@pytest.mark.parametrize("plan", [{"pp": 1}, {"pp": 2}])
def test_slots_with_copies_are_repeated_as_they_are_played(plan: dict[str, int]) -> None:
    plan = plan | {"offload": ["decoder_layer_input", "qkv_proj"]}
    repeated, played = answer(**plan), answer(slots="played", **plan)
    assert repeated.step_time_s == played.step_time_s
    assert repeated.breakdown_s.model_dump() == pytest.approx(played.breakdown_s.model_dump(), rel=1e-9, abs=1e-12)
    assert repeated.fingerprint == played.fingerprint


def test_a_quick_link_hides_all_and_a_slow_one_shows_what_is_left_after_computing(plain: Result) -> None:
    """The inputs of six layers, four micro-batches: 4 x 6 x 64 MiB each way, at 40 GB/s and 0.4 GB/s of bandwidth reached."""
    everything = 4 * 6 * 8192 * 4096 * 2
    quick = answer(offload=["decoder_layer_input"], host={"bandwidth": "40 GB/s", "efficiency": 1.0})
    slow = answer(offload=["decoder_layer_input"], host={"bandwidth": "0.4 GB/s", "efficiency": 1.0})
    assert quick.breakdown_s.exposed_host < 0.02 * quick.step_time_s
    assert plain.step_time_s <= quick.step_time_s < 1.03 * plain.step_time_s
    assert slow.step_time_s > 2 * everything / 0.4e9
    assert slow.breakdown_s.exposed_host > slow.step_time_s - 1.5 * plain.step_time_s


def test_a_slower_link_never_makes_a_quicker_step() -> None:
    steps = [answer(offload=["activations"], host={"bandwidth": f"{rate} GB/s"}).step_time_s for rate in (100, 30, 10, 3)]
    assert steps == sorted(steps)


def test_the_memory_that_leaves_the_chip_is_in_the_host(plain: Result) -> None:
    away = answer(offload={"activations": ["activations"], "optimizer": 1.0, "master": True}).memory
    here = plain.memory
    moved = here.parts["activations"] + here.parts["optimizer"] - away.parts["activations"] - away.parts["optimizer"]
    assert away.host_gib_per_chip == pytest.approx(moved, rel=1e-9)
    assert away.parts["optimizer"] == 0.0
    assert away.host_usable_gib_per_chip == pytest.approx(256e9 / 2**30)


def test_an_update_by_the_host_lasts_no_less_than_its_bytes_take(plain: Result) -> None:
    """Not overlapped: gradients, then the update, then parameters, one after the other, on top of the step; overlapped, less."""
    owned = plain.memory.parts["optimizer"] * 2**30 / 12
    rates = {"bandwidth": "50 GB/s", "efficiency": 1.0, "memory_bandwidth": "100 GB/s"}
    apart = answer(offload={"optimizer": 1.0, "overlap": False}, host=rates)
    beside = answer(offload={"optimizer": 1.0}, host=rates)
    copies = owned * (4 + 4) / 50e9
    update = owned * (4 + 2 * 12 + 4) / (100e9 * 0.3)
    assert apart.breakdown_s.exposed_host == pytest.approx(copies + update, rel=1e-6)
    assert update < beside.breakdown_s.exposed_host < copies + update
    half = answer(offload={"optimizer": 0.5, "overlap": False}, host=rates)
    assert half.breakdown_s.exposed_host == pytest.approx((copies + update) / 2, rel=1e-6)


def test_a_chip_without_a_host_is_asked_for_one() -> None:
    from simulator.spec.errors import NotModelled

    with pytest.raises(NotModelled, match=r"chip\.host"):
        answer(system="atlas-800t-a2", offload=["decoder_layer_input"])


def test_what_the_host_keeps_is_said_and_what_it_cannot_hold_is_warned_of() -> None:
    small = answer(offload=["activations"], host={"memory_capacity": "1 GB"})
    assert any("does not fit in the host" in warning for warning in small.warnings)
    assert "In the host, per chip" in small.summary()
    large = answer(offload=["activations"])
    assert not large.warnings
