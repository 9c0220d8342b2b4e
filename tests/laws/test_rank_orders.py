"""What an order of ranks may change in a step, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make


def step(chips: int, placement: Any, **plan: Any) -> Result:
    asked = {
        "cluster": {"system": "dgx-h100", "chips": chips},
        "model": {"preset": "mixtral-8x7b", "layers": 4},
        "training": {"sequence_length": 4096, "global_batch": 32},
        "plan": {"placement": placement} | plan,
    }
    return simulate(make(asked, Scenario))


@pytest.mark.parametrize("order", ["cp-tp-ep-dp-pp", "dp-ep-tp-cp-pp", "pp-tp-cp-dp-ep"])
def test_inside_one_switch_every_order_is_the_same_step(order: str) -> None:
    """All chips of a box are alike, so who is whose neighbour does not matter: the same breakdown, to the picosecond."""
    plan = {"tp": 2, "pp": 2, "cp": 2, "ep": 2, "etp": 1}
    usual, other = step(8, None, **plan), step(8, order, **plan)
    assert usual.step_time_s == other.step_time_s
    assert usual.breakdown_s == other.breakdown_s and usual.network.sent_bytes == other.network.sent_bytes


def test_an_axis_laid_outermost_pays_for_the_network() -> None:
    """tp 2 over two boxes: its bytes are the same and all cross the network cards; inside a box none did."""
    usual, across = step(16, None, tp=2), step(16, "dp-ep-tp", tp=2)
    assert across.network.sent_bytes["tp"] == usual.network.sent_bytes["tp"]
    assert "tp" not in usual.network.tiers["infiniband"].payload_bytes
    assert across.network.tiers["infiniband"].payload_bytes["tp"] >= across.network.sent_bytes["tp"]
    assert across.breakdown_s.exposed_tp > 2 * usual.breakdown_s.exposed_tp


def test_heads_exchanged_inside_a_box_spare_the_network() -> None:
    """cp 16 over two boxes, P bytes of keys: 16 rings of 2 ranks carry half of P/8 each over the network cards.

    The 8 rings that a library makes of 16 ranks carry 15/16 of P/8 each, out of both boxes.
    """

    def asked(**plan: Any) -> Result:
        question = {
            "cluster": {"system": "dgx-h100", "chips": 16},
            "model": {"preset": "llama3.1-8b", "layers": 4},
            "training": {"sequence_length": 65536, "global_batch": 1},
            "plan": {"cp": 16, "recompute": "none", "zero": 0} | plan,
        }
        return simulate(make(question, Scenario))

    ring = asked()
    mixed = asked(context_exchange="all-to-all+ring", context_heads=8)
    assert mixed.model_tflops_per_chip * mixed.step_time_s == pytest.approx(ring.model_tflops_per_chip * ring.step_time_s)
    wire = [result.network.tiers["infiniband"].payload_bytes["cp"] for result in (ring, mixed)]
    assert wire[1] / wire[0] == pytest.approx((16 / 2) / (8 * 2 * 15 / 16))
