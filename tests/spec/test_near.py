"""Suggestions for mistyped names."""

from __future__ import annotations

import pytest

from simulator.spec.near import nearest, suggest


@pytest.mark.parametrize(
    ("word", "known", "match"),
    [
        ("gib", ["GB", "GiB"], "GiB"),
        ("dualpip", ["1f1b", "dualpipe"], "dualpipe"),
        ("atlas_950", ["atlas-950", "gb200"], "atlas-950"),
        ("zzz", ["atlas-950"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_name_is_found(word: str, known: list[str], match: str | None) -> None:
    assert nearest(word, known) == match


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    assert suggest("zzz", ["a", "b"], "presets") == "Known presets: a, b."


def test_a_long_list_is_cut() -> None:
    assert suggest("zzz", [f"name{i}" for i in range(20)], "presets").endswith("and 8 more.")


def test_no_names_at_all_is_said() -> None:
    assert suggest("zzz", [], "presets") == "There are no presets."
