"""A small kind of system file that has one of everything, to be spoiled by the tests."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import model_validator

from simulator.spec.base import Spec
from simulator.spec.errors import PlanError
from simulator.spec.sources import Figure, Source
from simulator.spec.units import Bytes, BytesPerSecond, Seconds


class Schedule(StrEnum):
    ONE_F_ONE_B = "1f1b"
    DUALPIPE = "dualpipe"


class Chip(Spec):
    memory: Figure[Bytes]
    memory_bandwidth: Figure[BytesPerSecond]
    cores: Figure[int] = Figure[int](value=32)


class Plan(Spec):
    tp: int = 1
    pp: int = 1
    schedule: Schedule = Schedule.ONE_F_ONE_B
    recompute: Literal["none", "selective", "full"] = "none"
    overlap: bool | dict[str, bool] = True
    note: str | None = None

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.schedule is Schedule.DUALPIPE and self.pp % 2:
            raise PlanError("dualpipe needs an even number of stages", got=self.pp, do="Change pp.", path="pp")
        return self


class Tier(Spec):
    name: str
    latency: Seconds
    size: int | Literal["rest"] = "rest"


class Machine(Spec):
    name: str = "unnamed"
    chip: Chip
    plan: Plan = Plan()
    tiers: tuple[Tier, ...] = ()
    model: str | Plan = "none"
    efficiency: float = 1.0
    set: dict[str, str | float] = {}
    sources: dict[str, Source] = {}


WHOLE = """\
name: good
chip:
  memory: {value: 96 GB, low: 90 GB, high: 100 GB, source: SHEET, kind: official, check: read}
  memory_bandwidth: 3.2 TB/s
plan: {tp: 8, pp: 4}
tiers:
  - {name: board, latency: 300 ns, size: 8}
  - name: rack
    latency: 1.2 us
sources:
  SHEET: {title: A data sheet, url: "https://example.org/sheet"}
"""
