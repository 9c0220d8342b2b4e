"""Operator times against hand calculations and published kernel timings."""

from __future__ import annotations

import pytest

import topologies
from simulator.assumptions import Assumptions
from simulator.engine.chip import Device
from workloads.accounting.cores import Core, KeySpan
from workloads.accounting.ledger import Ledger
from workloads.accounting.sections import Section, Shard

HEADS, WIDTH = 48, 128


def h100() -> Device:
    chip = topologies.load("dgx-h100").chip
    return Device.of(chip, Assumptions.load("default").of_chip(chip.name)[0])


def attention(sequence_length: int, sequences: int) -> Section:
    """Causal attention of 48 heads of 128, on one rank."""
    tokens = float(sequences * sequence_length)
    ledger, core = Ledger("attention", Shard(tokens, sequence_length)), Core("core", HEADS, WIDTH, WIDTH, (KeySpan(),))
    ledger.core("attention", core, HEADS, tokens, keys=core.keys(sequence_length), keys_seen=2 * tokens * HEADS * WIDTH)
    return ledger.section()


@pytest.mark.parametrize(("sequence_length", "microseconds"), [(2048, 1631.26), (4096, 4643.46), (8192, 15308.16)])
def test_causal_backward_takes_as_long_as_measured(sequence_length: int, microseconds: float) -> None:
    """FlashAttention-3 on H100, 4 sequences (github.com/meta-pytorch/tritonbench/pull/1267): within 10%."""
    (backward,) = attention(sequence_length, 4).backward_input
    assert h100().time(backward).arithmetic == pytest.approx(microseconds * 1e-6, rel=0.10)


def test_a_fused_backward_executes_five_products_for_the_forward_s_two() -> None:
    """The model counts 2 x forward, the kernel runs 2.5 x: its published rate is over what it runs."""
    section, device = attention(8192, 1), h100()
    (backward,) = section.backward_input
    curve = device.efficiency.attention_backward
    rate = 989e12 * curve.ceiling.value * 8193 / (8193 + curve.half_sequence_causal.value)
    assert backward.flops == 2 * section.forward[0].flops
    assert device.time(backward).arithmetic == pytest.approx(2.5 * section.forward[0].flops / rate, rel=1e-3)
