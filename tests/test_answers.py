"""Answers kept: what comes back is what simulating again would say, and anything that matters asks anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import simulator.run
from simulator.answers import Answers
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from simulator.spec.files import make

ASKED: dict[str, Any] = {
    "cluster": {"system": "dgx-h100", "chips": 16},
    "model": {"preset": "llama3.1-8b", "layers": 4},
    "training": {"sequence_length": 4096, "global_batch": 16},
    "plan": {"tp": 2, "pp": 2},
}


def scenario(**changes: Any) -> Scenario:
    return make(ASKED, Scenario).replace(**changes)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the scenarios that were really simulated."""
    names: list[str] = []
    real = simulator.run.simulate_prepared

    def counted(prepared: Any, *arguments: Any, **more: Any) -> Result:
        names.append(prepared.scenario.name)
        return real(prepared, *arguments, **more)

    monkeypatch.setattr(simulator.run, "simulate_prepared", counted)
    return names


def told(result: Result) -> dict[str, Any]:
    """All that a result says but what it cost."""
    return result.model_dump(exclude={"simulation": {"wall_s", "cpu_s", "peak_rss_mib", "events", "reused"}})


def test_a_question_asked_again_is_not_simulated_and_answered_the_same(steps: list[str]) -> None:
    """The whole document, the recorded spans and links, under the new name; and what simulating anew says, to the tick."""
    answers = Answers()
    first = simulate(scenario(name="first"), answers=answers)
    again = simulate(scenario(name="second", seed=3), answers=answers)
    assert steps == ["first"] and not first.simulation.reused and again.simulation.reused
    anew = simulate(scenario(name="second", seed=3))
    assert steps == ["first", "second"] and told(again) == told(anew)
    assert again.recording.end == anew.recording.end and again.recording.spans.names == anew.recording.spans.names
    assert (again.recording.spans.start == anew.recording.spans.start).all()
    assert again.links()[0].time_s.tolist() == anew.links()[0].time_s.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"training__global_batch": 32},
        {"plan__pp": 4},
        {"plan__placement": "tp-cp-ep-pp-dp"},
        {"cluster__faults": [{"chip": 3, "speed": 0.5}]},
        {"cluster__set": {"chip.memory_bandwidth": "3 TB/s"}},
        {"network__algorithms": {"all-gather:tp": "direct"}},
        {"assumptions": {"preset": "default", "set": {"any_chip.kernel_start": "9 us"}}},
    ],
    ids=str,
)
def test_whatever_else_changes_is_another_question(steps: list[str], change: dict[str, Any]) -> None:
    answers = Answers()
    simulate(scenario(), answers=answers)
    changed = simulate(scenario(**change), answers=answers)
    assert len(steps) == 2 == len(answers) and not changed.simulation.reused
    assert told(changed) == told(simulate(scenario(**change)))


def test_a_file_that_changed_on_disk_is_another_question(steps: list[str], tmp_path: Path) -> None:
    """Machine, model, order of a schedule: read anew every time, by content."""
    answers = Answers()
    machine, table, model = tmp_path / "machine.yaml", tmp_path / "order.txt", tmp_path / "model.yaml"
    machine.write_text("extends: dgx-h100\nname: mine\n")
    model.write_text("extends: llama3.1-8b\nname: mine\nlayers: 4\n")
    table.write_text("F0 F1 B0 B1 F2 F3 B2 B3\nF0 B0 F1 B1 F2 B2 F3 B3\n")
    asked = scenario(cluster__system=str(machine), model=str(model), plan__schedule={"file": str(table)})
    assert not simulate(asked, answers=answers).simulation.reused and simulate(asked, answers=answers).simulation.reused
    for file, text in (
        (machine, "extends: dgx-h100\nname: mine\ntiers:\n- {}\n".replace("tiers:\n- {}\n", "title: another\n")),
        (model, "extends: llama3.1-8b\nname: mine\nlayers: 6\n"),
        (table, "F0 B0 F1 B1 F2 B2 F3 B3\nF0 B0 F1 B1 F2 B2 F3 B3\n"),
    ):
        file.write_text(text)
        assert not simulate(asked, answers=answers).simulation.reused
        assert simulate(asked, answers=answers).simulation.reused
    assert len(steps) == 4


def test_what_one_result_becomes_the_other_does_not() -> None:
    """Dictionaries of an answer may be changed by who got it."""
    answers = Answers()
    first = simulate(scenario(), answers=answers)
    sent = dict(first.network.sent_bytes)
    again = simulate(scenario(), answers=answers)
    again.network.sent_bytes.clear()
    again.scenario.clear()
    assert first.network.sent_bytes == sent == simulate(scenario(), answers=answers).network.sent_bytes
    assert first.scenario == simulate(scenario(), answers=answers).scenario


def test_the_oldest_goes_first_and_steps_of_every_rank_are_never_kept(steps: list[str]) -> None:
    answers = Answers(most=2)
    for batch in (16, 32, 16, 48):  # 32 is the one not asked for since
        simulate(scenario(training__global_batch=batch), answers=answers)
    assert len(steps) == 3 and len(answers) == 2
    assert simulate(scenario(), answers=answers).simulation.reused
    assert not simulate(scenario(training__global_batch=32), answers=answers).simulation.reused
    assert not simulate(scenario(), symmetric=False, answers=answers).simulation.reused
    assert not simulate(scenario(), slots="isolated", answers=answers).simulation.reused
    with pytest.raises(InputError, match="at least"):
        Answers(most=0)
