"""Every wrong scenario file ends in one line that says where, which rule and what to do: exit 2, never a traceback."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.errors import InputError

_spec = importlib.util.spec_from_file_location("malformed", Path(__file__).with_name("malformed.py"))
assert _spec and _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
GOOD, MALFORMED = _module.GOOD, _module.MALFORMED

#: About the whole file, or about what a preset says: no line to point at.
WITHOUT_POSITION = {"empty", "binary garbage", "layers beyond reason"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "malformed.yaml"


def test_the_good_file_is_good(here: Path) -> None:
    """The file that all the wrong ones are made from is right."""
    here.write_text(GOOD)
    assert prepare(Scenario.load(here.name)).plan.ep == 8


@pytest.mark.parametrize("name", MALFORMED)
def test_one_line_with_position_and_remedy(name: str, here: Path) -> None:
    """Names the place, the rule and a remedy, in one line."""
    text, wanted = MALFORMED[name]
    here.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        prepare(Scenario.load(here.name))
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in wanted), message
    assert message.endswith((".", ")", "?"))
    if name not in WITHOUT_POSITION:
        assert re.match(r"malformed\.yaml:\d+:\d+", message), message
