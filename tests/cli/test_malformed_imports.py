"""Wrong imports and impossible plans end in one line: where, which rule, what we got, what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from simulator.prepare import prepare
from simulator.questions.importing import bring_launch, bring_model
from simulator.scenario import Scenario
from simulator.spec.errors import InputError, NotModelled, SupernodeError

_spec = importlib.util.spec_from_file_location("malformed_imports", Path(__file__).with_name("malformed_imports.py"))
assert _spec and _spec.loader
wrong = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wrong)


def _is_one_good_line(error: SupernodeError, wanted: tuple[str, ...]) -> None:
    message = str(error)
    assert "\n" not in message
    assert all(part in message for part in wanted), message
    assert message.endswith((".", ")", "?")), message
    assert not isinstance(error, InputError) or error.do or "must be" in message, f"says nothing to do: {message}"


def test_there_are_forty_of_them() -> None:
    """At least forty bad imports and plans, beside the malformed scenario files."""
    assert len(wrong.CONFIGURATIONS) + len(wrong.LAUNCHES) + len(wrong.PLANS) >= 40


def test_what_they_are_made_from_is_good(tmp_path: Path) -> None:
    """The configuration, the launch and the scenario are right before they are broken."""
    (tmp_path / "config.json").write_text(wrong.config())
    assert bring_model(str(tmp_path / "config.json")).data["parameters"]["total"] == 8_030_261_248
    assert bring_launch(wrong.LAUNCH, system="dgx-h100", chips=64).data["scenario"]["plan"]["ep"] == 8
    (tmp_path / "scenario.yaml").write_text(wrong.plan("tp: 8"))
    assert prepare(Scenario.load(tmp_path / "scenario.yaml")).plan.dp == 8


@pytest.mark.parametrize("name", wrong.CONFIGURATIONS)
def test_a_wrong_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the key and its line."""
    monkeypatch.chdir(tmp_path)
    text, wanted = wrong.CONFIGURATIONS[name]
    Path("config.json").write_text(text)
    with pytest.raises((InputError, NotModelled)) as caught:
        bring_model("config.json")
    _is_one_good_line(caught.value, wanted)


@pytest.mark.parametrize("name", wrong.LAUNCHES)
def test_a_wrong_launch(name: str) -> None:
    """Names the flag."""
    text, wanted = wrong.LAUNCHES[name]
    with pytest.raises((InputError, NotModelled)) as caught:
        bring_launch(text, system="dgx-h100", chips=64)
    _is_one_good_line(caught.value, wanted)


@pytest.mark.parametrize("name", wrong.PLANS)
def test_a_plan_that_cannot_be(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the field, its place in the file, and a value that would do."""
    monkeypatch.chdir(tmp_path)
    text, wanted = wrong.PLANS[name]
    Path("scenario.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        prepare(Scenario.load("scenario.yaml"))
    assert str(caught.value).startswith("scenario.yaml:")
    _is_one_good_line(caught.value, wanted)
