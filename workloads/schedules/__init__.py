"""In which order a pipeline rank runs forwards and backwards: plain functions from counts to an order.

An order is a list of slots per pipeline rank (:mod:`workloads.instructions`); nothing here knows how long anything
takes. ``pp`` counts pipeline ranks, ``micro_batches`` those of one pipeline in one step, ``vpp`` the model stages
(chunks) that a rank holds. Which rank holds which stage is in :mod:`workloads.schedules.layout`.
"""

from __future__ import annotations

from workloads.schedules.alternating import interleaved, one_f_one_b, overlapped_one_f_one_b
from workloads.schedules.bidirectional import dualpipe, dualpipe_v
from workloads.schedules.layout import Order, Owners, micro_batches_in_flight, stage_owners
from workloads.schedules.zero_bubble import zb_h1, zb_v

__all__ = [
    "Order",
    "Owners",
    "dualpipe",
    "dualpipe_v",
    "interleaved",
    "micro_batches_in_flight",
    "one_f_one_b",
    "overlapped_one_f_one_b",
    "stage_owners",
    "zb_h1",
    "zb_v",
]
