"""Folding of the shipped systems: small jobs against every flow by itself, whole machines against counting every link."""

from __future__ import annotations

import numpy as np
import pytest

import topologies
from simulator.network.fold import Fold
from simulator.network.maxmin import is_max_min, max_min
from simulator.network.unfolded import Send, unfolded
from tests.network.doubles import communication
from tests.network.systems import launch_all, rates_of_each_flow, system
from workloads.groups import Groups

SMALL = [  # system, chips, chips per domain, plan
    ("atlas-950-superpod-8192", 64, None, (2, 1, 2, 1, 8)),
    ("atlas-950-superpod-8192", 128, 32, (1, 1, 4, 1, 32)),
    ("cloudmatrix384", 32, None, (2, 2, 2, 2, 8)),
    ("atlas-800t-a2", 16, None, (4, 1, 2, 1, 4)),
    ("dgx-h100", 32, None, (2, 1, 2, 1, 16)),
    ("h800-8", 32, None, (1, 1, 2, 1, 16)),
    ("gb200-nvl72", 32, 8, (2, 1, 2, 1, 16)),
    ("gb200-nvl72", 24, 12, (1, 1, 1, 1, 8)),
]


@pytest.mark.parametrize(("name", "chips", "per_domain", "plan"), SMALL)
@pytest.mark.parametrize("routing", ["spray", "dimension-order"])
def test_small_jobs_fold_to_the_rates_of_every_flow(
    name: str, chips: int, per_domain: int | None, plan: tuple[int, ...], routing: str
) -> None:
    fabric = topologies.load(name).fabric(chips, per_domain, routing)
    tp, cp, pp, etp, ep = plan
    groups = Groups(tp, cp, fabric.ranks // (tp * cp * pp), pp, etp, ep)
    operations = [
        communication("all-to-all", "ep", 7e6),
        communication("all-gather", "tp", 2e6),
        communication("all-reduce", "dp", 11e6),
        communication("reduce-scatter", "expert_dp", 5e6),
        *([Send(0, 1, 3e6)] if pp > 1 else []),
    ]
    fold = Fold(fabric, groups)
    each = unfolded(fabric, groups, operations)
    folded = launch_all(fold, operations)
    tagged = [(number, flow) for number, phases in enumerate(folded) for flow in (phases[0] if phases else ())]
    rates = max_min(*system(fold, [flow for _, flow in tagged]))
    chosen = np.flatnonzero(each.phase == 0)
    loads, _ = each.select(chosen)
    found = rates_of_each_flow(fold, rates, tagged, each, chosen.tolist())
    assert np.max(np.abs(found / max_min(loads, each.capacity) - 1.0)) <= 1e-10
    assert is_max_min(loads, each.capacity, found)


@pytest.mark.parametrize(
    ("name", "chips", "plan"),
    [
        ("atlas-950-superpod-8192", 8192, (1, 1, 16, 1, 64)),
        ("cloudmatrix384", 384, (2, 1, 4, 1, 32)),
        ("gb200-nvl72", 1152, (4, 1, 16, 1, 36)),
        ("dgx-h100", 1024, (8, 1, 16, 1, 8)),
    ],
)
def test_whole_machines_have_as_many_links_of_each_class_as_the_closed_form_says(
    name: str, chips: int, plan: tuple[int, ...]
) -> None:
    fabric = topologies.load(name).fabric(chips)
    tp, cp, pp, etp, ep = plan
    fold = Fold(fabric, Groups(tp, cp, fabric.ranks // (tp * cp * pp), pp, etp, ep))
    fold.orbits.check()
    assert sum(rank_class.size for rank_class in fold.rank_classes) == fabric.ranks
    assert len(fold.rank_classes) == pp
