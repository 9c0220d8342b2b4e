"""Reflections that faults leave of a ring: which they are, and that counting by them changes no link's bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.network.blocks import Blocks
from simulator.network.loads import direct_loads
from simulator.network.mirrors import mirrors
from simulator.network.orbits import Orbits
from simulator.network.placement import refine
from simulator.spec.errors import IdentityBroken
from tests.topologies.machines import machine, tier
from topologies.fabric import Fabric
from topologies.naming import link_name

TORUS = machine(pod=tier("torus", 60, "60 GB/s", sides="5x4x3")).fabric()
ALL = Blocks(60, 60)


def cut(*ends: tuple[int, int]) -> Fabric:
    """The torus with some links dead."""
    links = [int(np.flatnonzero((TORUS.tail == tail) & (TORUS.head == head))[0]) for tail, head in ends]
    return TORUS.with_faults([{"link": link_name(TORUS, link), "capacity": 0} for link in links])


def found(fabric: Fabric) -> dict[str, int]:
    parts = refine(fabric.dimensions, ALL)
    return {mirror.part.name: mirror.about for mirror in mirrors(fabric, parts, Orbits(fabric, parts).parts)}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(28, 29)], {"x": None, "y": 2, "z": 2}),  # device 28 is (3, 1, 1): across the link, not along it
        ([(28, 29), (29, 28)], {"x": 2, "y": 2, "z": 2}),  # both ways dead: also end for end, 3 + 4 = 2 of 5
        ([(28, 29), (8, 9)], {"x": None, "y": 2, "z": 1}),  # the same link on two floors, 1 and 0
        ([(28, 29), (11, 16)], {"x": None, "y": None, "z": None}),
    ],
    ids=["one way", "both ways", "two floors", "two that differ"],
)
def test_which_reflections_are_left(ends: list[tuple[int, int]], expected: dict[str, int | None]) -> None:
    assert found(cut(*ends)) == {name: about for name, about in expected.items() if about is not None}


@pytest.mark.parametrize("ends", [[(28, 29)], [(28, 29), (29, 28)], [(28, 29), (8, 9)]], ids=str)
def test_every_link_carries_what_it_carries_without_them(ends: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    by_mirrors = direct_loads(cut(*ends), ALL, 60)
    monkeypatch.setattr("simulator.network.loads.mirrors", lambda *_: [])
    plain = direct_loads(cut(*ends), ALL, 60)
    np.testing.assert_allclose(by_mirrors.payload, plain.payload, rtol=1e-12, atol=1e-12)
    assert by_mirrors.hop == plain.hop


def test_a_ring_that_is_none_is_refused() -> None:
    """A link led elsewhere: the arrays are looked at, whatever the dimension says of itself."""
    fabric = cut((28, 29))
    head = fabric.head.copy()
    head[0] = 17
    with pytest.raises(IdentityBroken, match="looks the same turned round"):
        found(replace(fabric, head=head))
