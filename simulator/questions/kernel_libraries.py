"""Who measured kernels, and how: names of chips in tables, and kernel libraries with what differs from the default stack.

The figures of a chip in simulator/presets/assumptions/default.yaml are those of the best published library for training. A
row of another library or an older release is predicted with that library's shares of them; nothing is kept for a single row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from simulator.assumptions import ChipEfficiency
from simulator.spec.base import Spec
from simulator.spec.errors import NotModelled
from simulator.spec.files import read_spec
from simulator.spec.sources import Figure, Source

PRESET = Path(__file__).parent.parent / "presets" / "kernel_libraries.yaml"

FieldPath = tuple[str, ...]
SpecClass = TypeVar("SpecClass", bound=Spec)
Times = Annotated[float, Field(gt=0, le=1)]

FIELDS: dict[str, tuple[FieldPath, ...]] = {
    "gemm": (("gemm",),),
    "grouped_gemm": (("grouped_gemm",),),
    "memory": (("memory",),),
    "attention": (("attention_forward", "ceiling"), ("attention_backward", "ceiling")),
    "weight_gradient": (("weight_gradient",),),
}
"""Where in the efficiencies of a chip a library's share applies; under a table of precisions to each of them."""


class KernelLibrary(Spec):
    """A family of kernels, by how rows name it. ``lib`` is a pattern of a row's label, ``family`` one of its family; the first
    entry that fits is taken.

    ``shares`` multiply the chip's figures, ``figures`` take their place. ``run``: burst (tens of repetitions, or a cache flush
    between them) or steady (a hundred milliseconds and more, which a power limit shapes). ``flushes``: whether the cache is
    emptied between repetitions; if not, operands that fit stay in it.
    """

    title: str
    lib: str
    family: str = ""
    run: Literal["burst", "steady"]
    flushes: bool = True
    shares: dict[Literal["gemm", "grouped_gemm", "memory", "attention", "weight_gradient"], Figure[Times]] = {}
    figures: dict[str, Any] = {}

    def fits(self, family: str, label: str) -> bool:
        """Whether a row is of this library."""
        return bool(re.search(self.family, family) and re.search(self.lib, label))

    def applied(self, efficiency: ChipEfficiency) -> ChipEfficiency:
        """The chip's figures under this library."""
        for path, data in leaves(self.figures):
            own = type(figure_at(efficiency, path)).model_validate(data)
            efficiency = with_figure(efficiency, path, own.value)
        for name, share in self.shares.items():
            for path in FIELDS[name]:
                for whole in _figures_under(efficiency, path):
                    efficiency = with_figure(efficiency, whole, figure_at(efficiency, whole).value * share.value)
        return efficiency


class KernelLibraries(Spec):
    """The preset file."""

    sources: dict[str, Source]
    chips: dict[str, tuple[str, ...]]  # preset, and what tables call the chip
    cache: Figure[float]  # bandwidth of operands that stay in the last-level cache, over the HBM bandwidth
    libraries: dict[str, KernelLibrary]

    def chip(self, name: str) -> str:
        """The preset of a chip that a table names, or the preset itself."""
        for preset, names in self.chips.items():
            if name == preset or name in names:
                return preset
        raise NotModelled(f"no preset is the chip {name}.")

    def library(self, family: str, label: str) -> str:
        """The library of a row, labelled "library precision [source] chip"."""
        for name, library in self.libraries.items():
            if library.fits(family, label):
                return name
        raise NotModelled(f"no kernel library of ours is {label}.")


@cache
def kernel_libraries() -> KernelLibraries:
    """The preset, read once."""
    return read_spec(str(PRESET), KernelLibraries, PRESET.parent)


def figure_at(spec: Any, path: FieldPath) -> Figure[float]:
    """The figure at a path of fields and table keys."""
    for key in path:
        spec = spec[key] if isinstance(spec, Mapping) else getattr(spec, key)
    assert isinstance(spec, Figure)
    return spec


def with_figure(spec: SpecClass, path: FieldPath, value: float) -> SpecClass:
    """A copy with the value at a path replaced, without checking it again: for many trials of known figures."""
    head, *rest = path
    found = getattr(spec, head)
    return spec.model_copy(update={head: _replaced(found, tuple(rest), value)})


def leaves(figures: Mapping[str, Any], before: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    """Every figure of a nested table as it is written, with its path."""
    for key, value in figures.items():
        if isinstance(value, Mapping) and "value" not in value:
            yield from leaves(value, (*before, key))
        else:
            yield (*before, key), value


def _replaced(found: Any, rest: FieldPath, value: float) -> Any:
    if not rest:
        return found.model_copy(update={"value": value})
    if isinstance(found, Mapping):
        return {**found, rest[0]: _replaced(found[rest[0]], rest[1:], value)}
    return with_figure(found, rest, value)


def _figures_under(efficiency: ChipEfficiency, path: FieldPath) -> list[FieldPath]:
    """The figure at a path, or all of the table there."""
    found: Any = efficiency
    for key in path:
        found = getattr(found, key)
    return [(*path, key) for key in found] if isinstance(found, Mapping) else [path]
