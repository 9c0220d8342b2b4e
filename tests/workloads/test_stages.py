"""Which layers a stage holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workloads
from workloads.pieces import head_in_layers
from workloads.stages import cut


@given(st.integers(1, 200), st.integers(1, 64), st.floats(0, 6))
def test_every_layer_is_on_one_stage_and_only_the_last_differs_by_more_than_one(layers: int, stages: int, extra: float) -> None:
    found = cut(layers, stages, extra)
    counts = [stage.count for stage in found]
    assert [layer for stage in found for layer in stage.layers] == list(range(layers))
    assert max(counts[:-1], default=0) - min(counts[:-1], default=0) <= 1
    assert found[0].embedding and found[-1].head and sum(stage.embedding + stage.head for stage in found) == 2


@given(st.integers(1, 40), st.integers(1, 32), st.floats(0, 6))
def test_layers_that_divide_are_spread_evenly_whatever_the_head_weighs(each: int, stages: int, extra: float) -> None:
    assert {stage.count for stage in cut(each * stages, stages, extra)} == {each}


@given(st.integers(2, 60), st.integers(2, 8), st.floats(0, 6))
def test_no_other_number_of_layers_on_the_last_stage_makes_the_heaviest_lighter(layers: int, stages: int, extra: float) -> None:
    counts = [stage.count for stage in cut(layers, stages, extra)]
    if layers % stages:
        heaviest = max(*counts[:-1], counts[-1] + extra)
        for last in range(layers // stages + 1):
            assert heaviest <= max(-(-(layers - last) // (stages - 1)), last + extra) + 1e-9


@pytest.mark.parametrize(
    ("stages", "expected"),
    [(4, [16, 16, 16, 13]), (8, [8] * 7 + [5]), (16, [4] * 15 + [1])],
)
def test_deepseek_v3_is_laid_out_as_megatron_bridge_does(stages: int, expected: list[int]) -> None:
    """Embedding and decoders, then decoders, then decoders with MTP and loss (Megatron-Bridge, recipes/deepseek)."""
    model = workloads.load({"preset": "deepseek-v3", "mtp_depth": 1})
    assert [stage.count for stage in cut(model.layers, stages, head_in_layers(model, 4096))] == expected


def test_a_layout_by_hand_is_followed() -> None:
    """Counts as given, contiguous, whatever the head weighs."""
    stages = cut(10, 4, 3.0, (1, 4, 5, 0))
    assert [list(stage.layers) for stage in stages] == [[0], [1, 2, 3, 4], [5, 6, 7, 8, 9], []]
    assert (stages[0].embedding, stages[-1].head) == (True, True)


def test_llama_405b_leaves_a_layer_out_at_both_ends() -> None:
    """Llama 3 report, arXiv 2407.21783, section 3.3.2: one layer less on the first and on the last stage."""
    model = workloads.load("llama3.1-405b")
    extra = head_in_layers(model, 8192)
    assert [stage.count for stage in cut(126, 16, extra)] == [7] + [8] * 14 + [7]
    assert [stage.count for stage in cut(126, 128, extra)] == [0] + [1] * 126 + [0]
