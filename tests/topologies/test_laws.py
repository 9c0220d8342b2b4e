"""Laws that hold on any stack of tiers, not only on the machines that people built."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import TopologyError
from tests.topologies.machines import CHIP, TWO_DIES, machine, tier
from topologies.symmetry import check_routing, check_symmetries, generators


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """One to three tiers of any shape, of at most 4 x 4 x 3 chips, leaves and pods wherever they may be."""
    found: dict[str, dict[str, Any]] = {}
    below, boxes = 1, [1]
    for name, most in zip("abc", (4, 4, 3), strict=True):
        shape = draw(st.sampled_from(["mesh", "switch", "clos", "rails", "torus", "dragonfly"]))
        size = draw(st.integers(2, most))
        more: dict[str, Any] = {}
        if shape == "switch":
            more = {"scope": draw(st.sampled_from(["all", "aligned"])), "planes": draw(st.integers(1, 3))}
        elif shape == "rails":
            more = {"leaf": draw(st.integers(1, 3)), "spines": draw(st.integers(1, 3)), "shared_spine": draw(st.booleans())}
            more["planes"] = draw(st.integers(1, 2))
        elif shape == "torus":
            size = draw(st.sampled_from([size, 5, 6]))
            if size == 6 and not any("sides" in fields for fields in found.values()):
                more = {"sides": draw(st.sampled_from(["2x3", "3x2", "1x6"]))}
        elif shape == "dragonfly":
            size, leaf = draw(st.sampled_from([4, 6])), below * draw(st.integers(1, 2))
            links = {"global_links": draw(st.integers(1, 3)), "local_bandwidth": "20 GB/s", "global_bandwidth": "30 GB/s"}
            more = links | {"leaf": leaf, "pod": leaf * draw(st.integers(1, 2)), "leaf_latency": "0.4 us"}
        elif shape == "clos":
            leaf = draw(st.sampled_from([*boxes, below, below * 2]))
            more = {"leaf": leaf, "spines": draw(st.integers(1, 2)), "planes": draw(st.integers(1, 2))}
            if draw(st.booleans()):
                pods = [pod for pod in (*boxes, below, below * 2, below * 4) if pod % leaf == 0]
                more |= {"pod": draw(st.sampled_from(pods)), "cores": draw(st.integers(1, 2))}
        found[name] = tier(shape, size, **more)
        boxes.append(below)
        below *= size
        if draw(st.booleans()):
            break
    return found


@given(tiers(), st.booleans(), st.randoms(use_true_random=False))
def test_any_machine_keeps_flow_symmetry_and_names(stack: dict[str, dict[str, Any]], dies: bool, chance: random.Random) -> None:
    """On a random part of a random machine: declared swaps map links to links and routes to routes, flow is conserved on
    links that are used once, and every node is found by its name.
    """
    system = machine(TWO_DIES if dies else CHIP, **stack)
    legal = [1]
    for size in (fields["size"] for fields in stack.values()):
        legal += [legal[-1] * units for units in range(2, size + 1)]
    try:
        fabric = system.fabric(chance.choice(legal))
    except TopologyError as error:
        assert "no part of a" in str(error)  # noqa: PT017 - 5 of the 6 units of a 2x3 torus are no box
        return
    check_symmetries(fabric)
    for generator in generators(fabric):
        check_routing(fabric, generator, chance.randrange(fabric.ranks), chance.randrange(fabric.ranks))
    for _ in range(5):
        source, target = chance.randrange(fabric.ranks), chance.randrange(fabric.ranks)
        route = fabric.router(source, target)
        net = np.zeros(len(fabric.node_kind))
        np.add.at(net, fabric.tail[route.links], route.fraction)
        np.subtract.at(net, fabric.head[route.links], route.fraction)
        net[source] -= source != target
        net[target] += source != target
        np.testing.assert_allclose(net, 0, atol=1e-12)
        assert len(set(route.links.tolist())) == len(route.links)
    for node in range(0, len(fabric.node_kind), 3):
        assert fabric.node_number(fabric.node_name(node)) == node
