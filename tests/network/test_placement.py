"""The common refinement of a fabric's dimensions and a plan's axes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.network.placement import common_cuts, refine
from simulator.spec.errors import NotModelled
from topologies.fabric import Dimension
from workloads.groups import Groups

BOX = (Dimension("chip", 8, "full"), Dimension("board", 8, "full"), Dimension("plane", 7, "full", hidden=True))


def shape(parts: object) -> list[tuple[str, int, str]]:
    return [(part.name, part.size, part.symmetry) for part in parts]  # type: ignore[attr-defined]


def test_axes_that_end_where_dimensions_do_keep_them_whole() -> None:
    assert shape(refine(BOX, Groups(8, 1, 8, 1))) == [("chip", 8, "full"), ("board", 8, "full"), ("plane", 7, "full")]


def test_an_axis_that_ends_inside_a_dimension_cuts_it() -> None:
    assert shape(refine(BOX, Groups(2, 1, 32, 1, 1, 16))) == [
        ("chip/1", 2, "full"),
        ("chip/2", 4, "full"),
        ("board/1", 2, "full"),
        ("board/2", 4, "full"),
        ("plane", 7, "full"),
    ]


def test_pipeline_coordinates_are_labelled() -> None:
    assert shape(refine(BOX, Groups(1, 1, 16, 4)))[:3] == [("chip", 8, "full"), ("board/1", 2, "full"), ("board/2", 4, "none")]


def test_a_ring_may_turn_its_outermost_part_only() -> None:
    assert [part.symmetry for part in refine(BOX, Groups(1, 16, 4, 1), ordered=("cp",))] == ["none", "cyclic", "full", "full"]


def test_a_piece_of_a_cyclic_dimension_turns_only_if_nothing_carries_out_of_it() -> None:
    torus = (Dimension("x", 8, "cyclic"),)
    assert [part.symmetry for part in refine(torus, Groups(2, 1, 4, 1))] == ["none", "cyclic"]
    assert [part.symmetry for part in refine(torus, Groups(1, 1, 8, 1))] == ["cyclic"]


def test_without_symmetry_every_part_is_labelled() -> None:
    assert {part.symmetry for part in refine(BOX, Groups(1, 1, 16, 4), symmetric=False)} == {"none"}


def test_sizes_that_do_not_divide_make_one_labelled_block_and_keep_the_rest() -> None:
    racks = (Dimension("chip", 72, "full"), Dimension("rack", 108, "full"))
    assert shape(refine(racks, Groups(1, 1, 7776, 1, 1, 32))) == [
        ("chip/1", 8, "full"),
        ("chip/8", 9, "none"),
        ("rack/1", 4, "none"),
        ("rack/4", 27, "full"),
    ]


def test_axes_that_do_not_divide_each_other_label_the_slice_between_them() -> None:
    line = (Dimension("chip", 24, "full"),)
    assert shape(refine(line, Groups(4, 1, 6, 1, 1, 6))) == [("chip/1", 2, "full"), ("chip/2", 6, "none"), ("chip/12", 2, "full")]


def test_too_many_labels_are_refused() -> None:
    line = (Dimension("rank", 6000, "none"),)
    with pytest.raises(NotModelled, match="6000 different classes"):
        refine(line, Groups(1, 1, 6000, 1))


SIZES = st.lists(st.sampled_from([2, 3, 4, 5, 6, 8, 9, 12]), min_size=1, max_size=4)


@given(SIZES, SIZES)
def test_cuts_form_a_chain_and_leave_no_coarser_common_refinement(first: list[int], second: list[int]) -> None:
    ranks = math.lcm(math.prod(first), math.prod(second))
    chains = [{math.prod(sizes[:count]) for count in range(len(sizes) + 1)} | {ranks} for sizes in (first, second)]
    cuts = common_cuts(chains[0] | chains[1], ranks)
    assert cuts[0] == 1 and cuts[-1] == ranks
    assert all(high % low == 0 for low, high in pairwise(cuts))
    assert all(cut % bound == 0 or bound % cut == 0 for cut in cuts for bound in chains[0] | chains[1])
    # a product that both sides know is always a cut
    assert chains[0] & chains[1] <= set(cuts) or any(
        bound % other and other % bound for bound in chains[0] & chains[1] for other in chains[0] | chains[1]
    )
