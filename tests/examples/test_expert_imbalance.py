"""What docs/studies.md says of unequal experts is what the machines answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("imbalance", Path(__file__).parents[2] / "examples" / "expert_imbalance.py")
assert _spec and _spec.loader
imbalance = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(imbalance)


@pytest.mark.parametrize(("machine", "links_first"), [(1, False), (2, True)], ids=["racks", "boxes"])
def test_racks_wait_for_products_and_boxes_for_cards(machine: int, links_first: bool) -> None:
    """From balanced to twice the mean on one rank, a step grows alike; on racks by waiting, on boxes by the links."""
    _, cluster, dispatcher = imbalance.MACHINES[machine]
    even, hot = (imbalance.step(cluster, dispatcher, "hot-rank", factor) for factor in (1.0, 2.0))
    waiting = hot.breakdown_s.straggler_wait - even.breakdown_s.straggler_wait
    links = hot.breakdown_s.exposed_ep - even.breakdown_s.exposed_ep
    assert 1.3 < hot.step_time_s / even.step_time_s < 1.6
    assert (links > waiting) is links_first
