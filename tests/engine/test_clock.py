"""The clock leaves Python as it found it."""

from __future__ import annotations

import gc

import pytest

from simulator.engine.clock import Clock
from simulator.engine.garbage import YOUNG


def test_garbage_is_looked_for_less_often_only_while_a_clock_runs() -> None:
    """The threshold is raised while events happen, and as before afterwards, also if one of them raises."""
    before, seen = gc.get_threshold(), []
    assert 0 < before[0] < YOUNG
    clock = Clock()
    clock.call_at(1, lambda: seen.append(gc.get_threshold()))
    clock.call_at(2, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        clock.run()
    assert seen == [(YOUNG, *before[1:])] and gc.get_threshold() == before
