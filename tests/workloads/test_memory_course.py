"""Activations over the works of a schedule, against hand-worked courses and the peaks that memory reports."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workloads.test_memory import DENSE, HEAD, LAYER, resolved
from workloads.instructions import Work, WorkKind
from workloads.memory import StageActivations, activation_levels, held_by
from workloads.memory_course import Span, changes, course, shares
from workloads.outline import Outline
from workloads.pieces import Pieces
from workloads.program import schedule_order
from workloads.recompute import Recompute


def test_a_forward_climbs_layer_by_layer_and_a_backward_comes_down() -> None:
    """Of the eight layers, an embedding that keeps nothing and a head whose loss holds more for a moment."""
    plan, groups = resolved(ranks=1, batch=1)
    stage = Pieces(DENSE, plan, groups, Recompute()).stages[0]
    up, down = changes(stage, WorkKind.F), changes(stage, WorkKind.B)
    assert up[:9] == [LAYER * number for number in range(9)]
    assert max(up[-1] + level for level in down) == pytest.approx(8 * LAYER + HEAD)
    assert down[-1] == -up[-1]
    assert [up[-1] + level for level in down[1:]] == pytest.approx([8 * LAYER - number * LAYER for number in (*range(9), 8)])


@pytest.mark.parametrize("recompute", [Recompute(), Recompute(full=True), Recompute(("layernorm", "mlp_act"))])
@pytest.mark.parametrize("kind", list(WorkKind))
def test_the_highest_level_of_a_work_is_what_its_slot_counts(recompute: Recompute, kind: WorkKind) -> None:
    plan, groups = resolved(ranks=2, pp=2, batch=4)
    for stage in Pieces(DENSE, plan, groups, recompute).stages:
        held = StageActivations.of(stage)
        (level,) = activation_levels(Outline.of([(Work(kind, 0, 0),)]), lambda work, held=held: held)
        # A slot takes before it frees: what leaves counts as there until its end.
        assert max(0.0, *changes(stage, kind)) == pytest.approx(max(level, 0.0))


@pytest.mark.parametrize("schedule", ["1f1b", "zb-h1"])
def test_the_highest_moment_of_a_schedule_is_its_peak(schedule: str) -> None:
    """Played in any time: here every slot lasts a second."""
    plan, groups = resolved(ranks=4, pp=4, batch=16, schedule=schedule)
    pieces = Pieces(DENSE, plan, groups, Recompute(full=True))
    for slots in schedule_order(plan):
        spans = [Span(work, float(at), at + 1.0) for at, slot in enumerate(slots) for work in slot]
        times, held = course(
            spans,
            lambda work: (
                shares(pieces.stages[work.stage], work.kind, lambda op: op.flops),
                changes(pieces.stages[work.stage], work.kind),
            ),
        )
        assert held.max() == pytest.approx(max(activation_levels(Outline.of(slots), held_by(pieces))))
        assert abs(held[-1]) < 1e-6 * held.max()
        assert np.all(np.diff(times) > 0)


def test_pieces_take_their_share_of_a_works_time() -> None:
    plan, groups = resolved(ranks=1, batch=1)
    stage = Pieces(DENSE, plan, groups, Recompute()).stages[0]
    moments = shares(stage, WorkKind.F, lambda operator: operator.flops)
    assert moments[0] == 0.0 and moments[-1] == 1.0
    layers = np.diff(moments)[1:9]
    assert layers == pytest.approx([layers[0]] * 8)
    assert shares(stage, WorkKind.F, lambda operator: 0.0) == pytest.approx(np.linspace(0, 1, len(stage) + 1))


def test_works_side_by_side_add_up_and_changes_of_one_moment_happen_at_once() -> None:
    first, second = Work(WorkKind.F, 0, 0), Work(WorkKind.B, 0, 1)
    levels = {first: (np.array([0.0, 0.5, 1.0]), [2.0, 6.0, 6.0]), second: (np.array([0.0, 1.0]), [1.0, -6.0])}
    times, held = course([Span(first, 0.0, 2.0), Span(second, 1.0, 2.0)], lambda work: levels[work])
    assert times.tolist() == [0.0, 1.0, 2.0]
    assert held.tolist() == [2.0, 7.0, 0.0]
