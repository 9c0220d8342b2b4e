"""Closed forms of unequal experts: the hot rank's products, its ingress link, and the step that waits for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from simulator.engine.chip import Conditions, Device
from simulator.engine.clock import PICOSECONDS
from simulator.engine.step import run_step
from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.prepare import Prepared, prepare
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.network import fabrics
from workloads.groups import Groups
from workloads.instructions import Communication, Compute, Kernel, Operator, Phase, Skew

EP = 8


def question(**router: Any) -> Scenario:
    """One sparse layer of DeepSeek-V3 on one NVLink domain, nothing overlapped, no waves of tiles."""
    return make(
        {
            "cluster": {"system": "gb200-nvl72", "chips": EP, "chips_per_domain": EP},
            "model": {"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0},
            "training": {"sequence_length": 4096, "global_batch": 16, "precision": "bf16", "router": router},
            "assumptions": {"preset": "default", "set": {"any_chip.gemm_tail": 0.0, "any_chip.gemm_small_tile": 0.0}},
            "plan": {"ep": EP, "recompute": "none", "overlap": {"grad_reduce": False, "param_gather": False}},
        },
        Scenario,
    )


def grouped(prepared: Prepared, load_class: int) -> list[Operator]:
    """The grouped products of one forward pass of one class."""
    block = prepared.program.of(0, load_class).blocks[0, 0, "F", ""]
    operators = (part for step in block.instructions if isinstance(step, Compute) for part in step.operators)
    return [operator for operator in operators if operator.kernel is Kernel.GROUPED_GEMM and operator.phase is Phase.FORWARD]


@pytest.mark.parametrize("factor", [1.5, 2.0, 4.0, 7.5])
def test_expert_products_of_a_hot_rank_take_its_factor_times_as_long(factor: float) -> None:
    """Compute-bound, no partial waves: h where experts are even, (h m + 32) / (m + 32) where half a tile sticks out."""
    hot, even = prepare(question(kind="hot-rank", factor=factor)), prepare(question(kind="balanced"))
    for conditions, tile in ((Conditions(even=True), 0.0), (Conditions(), 64.0)):
        device = Device.of(even.chip, even.efficiency, conditions)
        for slow, mean in zip(grouped(hot, hot.plan.loads.classes[0]), grouped(even, 0), strict=True):
            assert slow.flops == pytest.approx(factor * mean.flops, rel=1e-12)
            times = [device.time(operator) for operator in (slow, mean)]
            assert times[1].arithmetic > times[1].memory
            wanted = (factor * mean.m + tile / 2) / (mean.m + tile / 2)
            assert times[0].arithmetic / times[1].arithmetic == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 4.0])
def test_a_dispatch_to_a_hot_rank_takes_what_its_ingress_takes(factor: float) -> None:
    """On links that do not block: h x payload x (n - 1) / n / bandwidth, for that link is full all the time."""
    fabric = fabrics.star(EP, 2.0)
    groups = Groups(1, 1, EP, 1, ep=EP)
    share = (1.0 - factor / EP) / (EP - 1)
    skew = Skew((1.0,) * EP, (factor / EP, *(share,) * (EP - 1)))
    fold = Fold(fabric, groups, loads=(1, *(0,) * (EP - 1)))
    for collective in ("dispatch", "combine"):
        call = Communication("tokens", "ep", collective, "ep", 100.0, skew=skew)
        found = isolated_time(fold.collective(0, call), fold.link_classes)
        assert found == pytest.approx(factor * 100.0 * (EP - 1) / EP / 2.0, rel=1e-12)


def test_a_step_grows_by_the_same_amount_with_every_mean_that_is_put_on_the_hot_rank() -> None:
    """All that the hot rank does with its tokens, and the link into it, grow linearly; everybody waits for them."""
    times = [simulate(question(kind="hot-rank", factor=factor)).step_time_s for factor in (2.0, 3.0, 4.0, 5.0)]
    added = [later - earlier for earlier, later in pairwise(times)]
    assert added[0] > 0.0
    assert added == pytest.approx([added[0]] * 3, rel=1e-6)


def test_the_others_wait_as_long_as_the_hot_rank_works_longer() -> None:
    """Seven of eight ranks wait out what the hot rank computes more than they do; the hot one waits for nobody."""
    prepared = prepare(question(kind="hot-rank", factor=3.0))
    fold = Fold(prepared.fabric, prepared.groups, loads=prepared.program.load_classes)
    outcome = run_step(prepared.program, fold, prepared.device)
    assert [rank.size for rank in fold.rank_classes] == [1, 7]
    hot, cold = ({part: time / PICOSECONDS for part, time in books.parts.items()} for books in outcome.accounts)
    assert hot["straggler_wait"] == pytest.approx(0.0, abs=1e-6)
    busy = ("arithmetic", "memory_stall", "overhead", "interference", "optimizer")
    more = sum(hot[part] - cold[part] for part in busy)
    assert cold["straggler_wait"] == pytest.approx(more, rel=1e-6)
