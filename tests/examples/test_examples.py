"""Every example answers what is on record, in a process of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("record", Path(__file__).with_name("record.py"))
assert _spec and _spec.loader
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)


def test_every_example_is_on_record() -> None:
    """No example without a recorded answer, no record without an example."""
    assert set(record.recorded()) == {example.stem for example in record.EXAMPLES}


@pytest.mark.parametrize("example", record.EXAMPLES, ids=lambda path: path.stem)
def test_example_answers_what_is_on_record(example: Path) -> None:
    """Same trajectory to the picosecond, same numbers. After an intended change: make record, and say why."""
    assert record.answer(example) == record.recorded()[example.stem]
