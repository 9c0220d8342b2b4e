"""What a chip file and a tier of a system file may say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator.spec.base import Spec
from simulator.spec.errors import InputError, TopologyError
from simulator.spec.sources import Figure, Source
from simulator.spec.units import Bytes, BytesPerSecond, Dollars, FlopsPerSecond, Seconds, Watts

CHIPS = Path(__file__).parent / "presets" / "chips"

MatrixPrecision = Literal["bf16", "fp8", "fp4"]

PEAK_OF: dict[str, MatrixPrecision] = {
    "bf16": "bf16",
    "fp16": "bf16",
    "fp8": "fp8",
    "mxfp8": "fp8",
    "fp4": "fp4",
    "mxfp4": "fp4",
    "nvfp4": "fp4",
}
"""The row of ``matrix_peak`` at which a training precision runs."""


class Package(Spec):
    """The links between the dies of one chip, where software sees each die as a device. ``bandwidth`` per die [B/s]."""

    bandwidth: Figure[BytesPerSecond]
    latency: Figure[Seconds]
    efficiency: Figure[float]


class Host(Spec):
    """One chip's way to the memory of its host, and its share of that memory.

    ``bandwidth`` of the link, raw, per direction; ``efficiency`` what large copies reach of it. ``memory_bandwidth`` is what the
    host's processors have for one chip, and bounds copies too; without it they cannot be asked to update parameters. A chip file
    without ``host`` is one whose host nothing can be kept in.
    """

    bandwidth: Figure[BytesPerSecond]
    efficiency: Figure[float]
    memory_bandwidth: Figure[BytesPerSecond] | None = None
    memory_capacity: Figure[Bytes] | None = None

    @model_validator(mode="after")
    def _check_figures(self) -> Self:
        _positive(self.bandwidth.value, "host.bandwidth")
        if self.memory_bandwidth:
            _positive(self.memory_bandwidth.value, "host.memory_bandwidth")
        if not 0 < self.efficiency.value <= 1:
            raise InputError("is above 0 and at most 1", got=self.efficiency.value, path="host.efficiency")
        return self

    @property
    def copy_rate(self) -> float:
        """What a large copy reaches in one direction, nothing in the other [B/s]."""
        reached = self.bandwidth.value * self.efficiency.value
        return min(reached, self.memory_bandwidth.value) if self.memory_bandwidth else reached


class Chip(Spec):
    """An accelerator as it is sold: one package. Every figure is per chip, shared equally by its ranks.

    ``matrix_peak`` is dense and of the matrix units alone, by precision (bf16 stands for fp16 too); a precision that is
    missing is one that the chip cannot do. ``ports_bandwidth`` is raw, all ports together, per direction.
    """

    name: str
    title: str
    vendor: str
    ranks_per_chip: int = Field(default=1, ge=1)
    compute_units: Figure[int]
    matrix_peak: dict[MatrixPrecision, Figure[FlopsPerSecond]]
    vector_fp32: Figure[FlopsPerSecond] | None = None
    memory_capacity: Figure[Bytes]
    memory_bandwidth: Figure[BytesPerSecond]
    l2: Figure[Bytes] | None = None
    ports_bandwidth: Figure[BytesPerSecond]
    package: Package | None = None
    host: Host | None = None
    power: Figure[Watts] | None = None
    price: Figure[Dollars] | None = None
    rental_per_hour: Figure[Dollars] | None = None
    sources: dict[str, Source] = {}

    @model_validator(mode="after")
    def _check_figures(self) -> Self:
        if not self.matrix_peak:
            raise InputError("a chip has at least one matrix peak", do="Give matrix_peak.bf16.", path="matrix_peak")
        if (self.ranks_per_chip > 1) != (self.package is not None):
            raise InputError(
                "a chip of several ranks has package links between them, a chip of one has none",
                got=f"ranks_per_chip {self.ranks_per_chip}",
                do="Give package: {bandwidth, latency, efficiency}, or ranks_per_chip: 1.",
                path="package",
            )
        named = {"memory_capacity": self.memory_capacity, "memory_bandwidth": self.memory_bandwidth}
        named |= {"ports_bandwidth": self.ports_bandwidth} | {
            f"matrix_peak.{key}": peak for key, peak in self.matrix_peak.items()
        }
        for name, figure in named.items():
            _positive(figure.value, name)
        _positive(self.compute_units.value, "compute_units")
        return self

    def peak(self, precision: str) -> float:
        """Dense matrix peak at a training precision [FLOP/s].

        Raises InputError, naming what the chip can do, where it has no matrix units for that precision.
        """
        key = PEAK_OF.get(precision)
        if key is None or key not in self.matrix_peak:
            can = ", ".join(name for name, row in PEAK_OF.items() if row in self.matrix_peak)
            raise InputError(f"{self.title} cannot multiply matrices in this precision", got=precision, do=f"It can do {can}.")
        return self.matrix_peak[key].value


@dataclass(frozen=True, slots=True)
class Socket:
    """What links see of a chip: all else of it (its memory, say, or its peaks) makes the same fabric."""

    chip: str
    ranks_per_chip: int
    package: Package | None
    ports_bandwidth: float  # [B/s]

    @classmethod
    def of(cls, chip: Chip) -> Socket:
        return cls(chip.name, chip.ranks_per_chip, chip.package, chip.ports_bandwidth.value)


POSITIVE = (
    *("size", "bandwidth", "planes", "leaf", "spines", "pod", "cores", "oversubscription", "core_oversubscription"),
    *("cube", "global_links", "local_bandwidth", "global_bandwidth"),
)
"""Figures of a tier that are above 0."""

BELONGS: dict[str, tuple[str, ...]] = {
    "scope": ("switch",),
    "planes": ("switch", "clos", "rails"),
    "leaf": ("clos", "rails", "dragonfly"),
    "leaf_name": ("clos",),
    "leaf_latency": ("clos", "rails", "dragonfly"),
    "leaf_medium": ("clos", "rails", "dragonfly"),
    "spines": ("clos", "rails"),
    "shared_spine": ("rails",),
    "pod": ("clos", "dragonfly"),
    "cores": ("clos",),
    "oversubscription": ("clos", "rails"),
    "core_oversubscription": ("clos",),
    "sides": ("torus",),
    "cube": ("torus",),
    "global_links": ("dragonfly",),
    "local_bandwidth": ("dragonfly",),
    "global_bandwidth": ("dragonfly",),
}
"""The shapes that have an option."""

NEEDED: dict[str, tuple[str, ...]] = {
    "clos": ("leaf", "spines"),
    "rails": ("leaf", "spines"),
    "dragonfly": ("leaf", "pod", "global_links", "local_bandwidth", "global_bandwidth"),
}
"""The options that a shape cannot be without."""

SIDES = re.compile(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,5}")


class OrName:
    """In the schema of a file a chip may be named instead."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        named = {"type": "string", "description": "a chip preset, or the path of a chip file"}
        return {"anyOf": [named, handler(schema)]}


class Tier(Spec):
    """One level of a system: how ``size`` units of the tiers below are joined.

    ``bandwidth`` is per chip and direction, over all its links of this tier; ``latency`` one way, end to end, of a short
    message; ``efficiency`` payload over raw bandwidth for large messages; ``oversubscription`` bandwidth into a leaf over
    bandwidth out of it. ``leaf`` and ``pod`` count the chips attached under one leaf (under one pod); ``spines`` and
    ``cores`` the links up of a leaf (of a spine), each to a switch of its own. Of the outermost tier ``size`` is a maximum.
    Left out, ``planes`` and the oversubscriptions are 1, and chips have ``latency`` and ``medium`` to
    their leaf.

    A torus has ``sides`` ("16x20x28"; left out, a ring of ``size``); its ``latency`` is that of one hop. With ``cube`` its sides
    are switched together from cubes of that side, so that a job gets a torus of its own; without, a side that a
    job takes in part is a line. In a dragonfly a leaf is a router and a pod a group; ``local_bandwidth`` is that of one
    link between two routers of a group, ``global_bandwidth`` of one of the ``global_links`` between two groups.
    """

    shape: Literal["mesh", "switch", "clos", "rails", "torus", "dragonfly"]
    size: Figure[int]
    bandwidth: Figure[BytesPerSecond]
    latency: Figure[Seconds]
    efficiency: Figure[float]
    medium: str
    scope: Literal["all", "aligned"] = "all"
    scale_out: bool = False
    planes: Figure[int] | None = None
    leaf: Figure[int] | None = None
    leaf_name: str | None = Field(default=None, pattern=r"^[a-z][a-z-]*[a-z]$")
    leaf_latency: Figure[Seconds] | None = None
    leaf_medium: str | None = None
    spines: Figure[int] | None = None
    shared_spine: bool = False
    pod: Figure[int] | None = None
    cores: Figure[int] | None = None
    oversubscription: Figure[float] | None = None
    core_oversubscription: Figure[float] | None = None
    sides: Figure[str] | None = None
    cube: Figure[int] | None = None
    global_links: Figure[int] | None = None
    local_bandwidth: Figure[BytesPerSecond] | None = None
    global_bandwidth: Figure[BytesPerSecond] | None = None

    @property
    def joins(self) -> bool:
        """Takes any device of its box to any other; else only devices of equal position in their units."""
        return self.shape in ("clos", "dragonfly") or (self.shape == "switch" and self.scope == "all")

    @property
    def whole_sides(self) -> tuple[int, ...]:
        """The sides of a torus, x first; of one that does not name them, one side."""
        return tuple(map(int, self.sides.value.split("x"))) if self.sides else (self.size.value,)

    @model_validator(mode="after")
    def _check_figures(self) -> Self:
        for name in POSITIVE:
            figure = getattr(self, name)
            if figure is not None:
                _positive(figure.value, name)
        if not 0 < self.efficiency.value <= 1:
            raise TopologyError("efficiency is above 0 and at most 1", got=self.efficiency.value, path="efficiency")
        if self.shape == "mesh" and self.size.value < 2:
            raise TopologyError("a mesh joins at least 2 units", got=self.size.value, path="size")
        if self.sides and not SIDES.fullmatch(self.sides.value):
            raise TopologyError(
                "sides are up to six numbers with x between", got=self.sides.value, do="Write 16x16.", path="sides"
            )
        if self.shape == "torus" and prod(self.whole_sides) != self.size.value:
            got = f"{self.whole_sides} and {self.size.value}"
            raise TopologyError("the sides of a torus multiply to its size", got=got, path="sides")
        if self.cube and any(side % self.cube.value for side in self.whole_sides):
            raise TopologyError("the sides of a torus are whole cubes", got=self.cube.value, path="cube")
        return self

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        for name, shapes in BELONGS.items():
            if name in self.model_fields_set and self.shape not in shapes:
                raise TopologyError(
                    f"a {self.shape} tier has no {name}", do=f"Only {' and '.join(shapes)} tiers have it.", path=name
                )
        for name in NEEDED.get(self.shape, ()):
            if getattr(self, name) is None:
                raise TopologyError(f"a {self.shape} tier says {name}", do=f"Add {name}.", path=name)
        if self.shape == "clos" and (self.pod is None) != (self.cores is None):
            raise TopologyError("a Clos of three levels says both pod and cores, one of two levels neither", path="pod")
        return self


def _positive(value: float, name: str) -> None:
    if not value > 0:
        raise TopologyError("must be above 0", got=value, path=name)
