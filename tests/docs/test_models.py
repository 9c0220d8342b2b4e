"""The table of models is complete, and every sum is within half a percent of what is stated, or says why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from workloads.loading import model_presets

_spec = importlib.util.spec_from_file_location("model_table", Path(__file__).with_name("model_table.py"))
assert _spec and _spec.loader
model_table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(model_table)


def test_the_document_shows_the_table_of_today() -> None:
    """Every preset has its row; python tests/docs/model_table.py writes it."""
    text = model_table.DOCUMENT.read_text(encoding="utf-8")
    assert text == model_table.written(text)
    assert text.count("\n| ") - 1 >= len(model_presets())


@pytest.mark.parametrize("name", model_presets())
def test_a_sum_is_what_is_stated_or_says_why_not(name: str) -> None:
    """Within 0.5%, or a rounding of the publisher's, or a reason written down."""
    assert model_table.reason(name) is not None


def test_no_reason_is_left_over() -> None:
    """A reason is given only where it is needed."""
    for name in model_table.REASONS:
        assert model_table.reason(name) == model_table.REASONS[name]
