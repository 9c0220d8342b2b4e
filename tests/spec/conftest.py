"""Presets to extend, and a file that is read as a user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.spec.errors import InputError
from simulator.spec.files import read_spec
from tests.spec.machines import WHOLE, Machine


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """A folder with the presets ``small`` and ``large``; large extends small."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "small.yaml").write_text(WHOLE)
    (folder / "large.yaml").write_text("extends: small\nname: large\nplan: {tp: 16}\nchip:\n  memory: {value: 192 GB}\n")
    return folder


@pytest.fixture
def read(tmp_path: Path, presets: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:
    """Read a text as the file ``machine.yaml`` of the current directory."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str) -> Machine:
        (tmp_path / "machine.yaml").write_text(text)
        return read_spec("machine.yaml", Machine, presets)

    return read_text


@pytest.fixture
def refusal(read: Callable[[str], Machine]) -> Callable[[str], str]:
    """The one line that a text is refused with."""

    def message(text: str) -> str:
        with pytest.raises(InputError) as caught:
            read(text)
        return str(caught.value)

    return message
