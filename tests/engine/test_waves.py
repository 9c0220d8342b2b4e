"""Experts in waves on real lanes: dispatch, products and combine of a layer follow each other as their closed form says."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.doubles import TimedFolding
from tests.engine.test_rank import run
from workloads.accounting.sections import Section
from workloads.chain import Chain
from workloads.instructions import Communication, Instruction, Kernel, Operator, Phase
from workloads.layers import Layer
from workloads.schedules import one_f_one_b
from workloads.traffic import Traffic

ROUTED = ("router", "permute", "experts", "unpermute")


@dataclass
class Exchanges:
    """Traffic of a layer with nothing but dispatch and combine, under a plan with so many waves."""

    waves: int

    @property
    def plan(self) -> Any:
        overlap = SimpleNamespace(ep=False, ep_waves=self.waves, tp=False, tp_gradients=False, cp=False)
        return SimpleNamespace(overlap=overlap)

    def dispatch(self, _what: str = "") -> Communication:
        return Communication("dispatch", "ep", "dispatch", "ep", 1.0)

    def combine(self, _what: str = "") -> Communication:
        return Communication("combine", "ep", "combine", "ep", 1.0)

    def expert_gather(self) -> None:
        return None

    def expert_reduce(self) -> None:
        return None


def layer_seconds(waves: int, dispatch: float, products: float, combine: float) -> float:
    """The forward pass of one such layer, alone on one rank [s]."""
    product = Operator("product", "experts", Kernel.GROUPED_GEMM, Phase.FORWARD, products, 0.0)
    sections = {name: Section(name, forward=(product,) if name == "experts" else ()) for name in ROUTED}
    chain = Chain()
    Layer(sections, cast(Traffic, Exchanges(waves))).forward(chain)
    blocks: dict[str, tuple[Instruction, ...]] = {"F": chain.block("F").instructions, "B": ()}
    names = {"dispatch": dispatch, "combine": combine}
    seconds = names if waves == 1 else {f"{name} wave": whole / waves for name, whole in names.items()}
    step, _ = run([tuple(slots) for slots in one_f_one_b(1, 1)], blocks, TimedFolding(1, seconds))
    return step


milliseconds = st.floats(0.01, 1.0)


@given(st.integers(2, 8), milliseconds, milliseconds, milliseconds)
def test_waves_take_what_their_closed_form_says(waves: int, dispatch: float, products: float, combine: float) -> None:
    """max(D + C, d + G + c, d + g + C, D + g + c): the lane is never idle, or the products are not, or either end shows."""
    d, g, c = dispatch / waves, products / waves, combine / waves
    expected = max(dispatch + combine, d + products + c, d + g + combine, dispatch + g + c)
    assert layer_seconds(waves, dispatch, products, combine) == pytest.approx(expected, rel=1e-8)
    assert expected <= dispatch + products + combine


def test_one_wave_is_the_layer_as_it_was() -> None:
    assert layer_seconds(1, 0.2, 0.5, 0.3) == pytest.approx(1.0, rel=1e-9)


def test_many_waves_leave_the_longer_of_exchange_and_products() -> None:
    """D + C = 0.4 against G = 1: of 16 waves only one dispatch and one combine show, 0.4/16."""
    assert layer_seconds(16, 0.2, 1.0, 0.2) == pytest.approx(1.0 + 0.4 / 16, rel=1e-9)
