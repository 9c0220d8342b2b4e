"""Measured kernels as they are written down, and what each row asks: operators on a chip under a library.

A file has one list for each family of kernels, ``gemm``, ``grouped_gemm``, ``attention``, ``memory_bound``; a row names a chip,
a library (``lib``), a precision, a shape, and one of ``tflops``, ``gbps``, ``us``, ``ms``. TFLOP/s of attention count
what its authors count: 4 x S^2 x d a head forward, 2.5 times that backward, half of both under a causal mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from simulator.questions.kernel_operators import FAMILIES, Work
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, NotModelled
from simulator.spec.files import build, read_document

Number = float | str | None
"""A printed figure; a range or a word ("5000-6000") stays text, and is not held against anything."""


class Row(Spec):
    """One measurement as it is written down; which keys it needs depends on its family."""

    model_config = ConfigDict(extra="ignore")
    chip: str
    kernel: str = ""
    prec: str = "bf16"
    lib: str = ""
    src: str = "own"
    tflops: Number = None
    gbps: Number = None
    us: Number = None
    ms: Number = None
    ms_prequant: Number = None  # of a run of products whose inputs were cast before
    M: float | None = None
    N: float | None = None
    K: float | None = None
    groups: Number = None
    m_per_group: float | None = None
    k_per_group: float | None = None
    op: str = "fwd"
    head_dim: Number = None
    causal: bool = False
    seq: float | None = None
    B: float | None = None
    H: float | None = None
    hidden: float | None = None
    ffn: float | None = None
    shape: str = ""

    def number(self, name: str) -> float:
        """A figure that the row must have; NotModelled where it is missing or no number."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotModelled(f"the row prints no {name}." if value is None else f"{name} is no number: {value}.")
        return float(value)


class RowFile(Spec):
    """A file of rows; other top-level keys (sources, launch, clocks) are read over."""

    model_config = ConfigDict(extra="ignore")
    gemm: tuple[Row, ...] = ()
    grouped_gemm: tuple[Row, ...] = ()
    attention: tuple[Row, ...] = ()
    memory_bound: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A row with its place in the file."""

    id: str
    family: str
    row: Row

    def work(self) -> Work:
        """The operators that the row timed; NotModelled where its shape is not printed."""
        return FAMILIES[self.family](self.row)

    def seconds(self, work: Work) -> float:
        """The time of one run, printed or behind the printed rate [s]."""
        row = self.row
        if row.ms_prequant is not None:
            return row.number("ms_prequant") * 1e-3
        if work.flops and row.tflops is not None:
            return work.flops / (row.number("tflops") * 1e12)
        if row.us is not None:
            return row.number("us") * 1e-6
        if row.ms is not None:
            return row.number("ms") * 1e-3
        return prod((work.bytes, 1 / (row.number("gbps") * 1e9)))


def holds_kernels(path: str | Path) -> bool:
    """Whether a file is one of rows of kernels, by its top-level keys, without reading all of it."""
    file = Path(path)
    keys = "|".join(FAMILIES).encode()
    return file.is_file() and re.search(rb"^(" + keys + rb")\s*:", file.read_bytes(), re.MULTILINE) is not None


def read_rows(path: str | Path) -> tuple[Measured, ...]:
    """The rows of a file in its order; InputError with file and line for one that is not made so."""
    rows = tuple(_rows(build(read_document(path), RowFile)))
    if not rows:
        raise InputError("needs at least one row", path="gemm", where=str(path), do="Write one.")
    return rows


def _rows(file: RowFile) -> Iterator[Measured]:
    for family in FAMILIES:
        listed: tuple[Row, ...] = getattr(file, family)
        seen: dict[str, int] = {}
        for row in listed:
            seen[row.src] = seen.get(row.src, 0) + 1
            yield Measured(f"{family}-{row.src}-{seen[row.src]}", family, row)


def as_row(**fields: Any) -> Row:
    """A row from its fields, for questions asked from Python."""
    return Row.model_validate(fields)
