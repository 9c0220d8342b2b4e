"""Folding of faulty fabrics against every flow by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.network.maxmin import is_max_min, max_min
from simulator.network.orbits import Orbits
from simulator.network.placement import refine
from simulator.network.unfolded import Send, unfolded
from simulator.spec.errors import InputError, NotModelled
from tests.network import fabrics
from tests.network.doubles import communication
from tests.network.faulty import random_defects, weakened
from tests.network.systems import FABRICS, launch_all, plans, rates_of_each_flow, system
from topologies.fabric import Defect
from workloads.groups import Groups

MORE = {
    **FABRICS,
    "mesh 4x4x4": lambda: fabrics.mesh((4, 4, 4), (1.0, 1.0, 0.6)),
    "torus 4x8": lambda: fabrics.torus((4, 8)),
    "clos 8x8": lambda: fabrics.clos(8, 8, 2.0, 9.0, planes=2, spines=3),
    "rails 4x8, ports": lambda: fabrics.rails(4, 8, 8.0, 1.0, ports=6.0),
}
CASES = [
    (name, plan, 17 * number + seed)
    for number, name in enumerate(MORE)
    for seed, plan in enumerate(plan for plan in plans(MORE[name]().ranks)[:8] if MORE[name]().ranks <= 32 or plan.pp > 1)
]


@pytest.mark.parametrize(("name", "groups", "seed"), CASES, ids=str)
def test_rates_on_a_faulty_fabric_equal_those_of_every_flow_by_itself(name: str, groups: Groups, seed: int) -> None:
    whole = MORE[name]()
    fabric = weakened(whole, random_defects(whole, seed))
    operations = [
        communication("all-to-all", "ep", 7.0),
        communication("all-gather", "tp", 2.0),
        communication("reduce-scatter", "dp_cp", 11.0),
        communication("all-to-all", "stage", 5.0),
        *([Send(0, 1, 3.0)] if groups.pp > 1 and not fabric.dead else []),
    ]
    algorithms = dict.fromkeys(("all-gather", "reduce-scatter"), "direct")
    fold = Fold(fabric, groups, algorithms=algorithms)
    fold.orbits.check()
    folded = launch_all(fold, operations)
    each = unfolded(fabric, groups, operations, algorithms)
    tagged = [(number, flow) for number, phases in enumerate(folded) for flow in (phases[0] if phases else ())]
    rates = max_min(*system(fold, [flow for _, flow in tagged]))
    chosen = np.flatnonzero(each.phase == 0)
    assert sum(flow.count for _, flow in tagged) == len(chosen)
    loads, _ = each.select(chosen)
    found = rates_of_each_flow(fold, rates, tagged, each, chosen.tolist())
    assert np.max(np.abs(found / max_min(loads, each.capacity) - 1.0)) <= 1e-10
    assert is_max_min(loads, each.capacity, found)
