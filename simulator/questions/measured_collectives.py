"""Measured collectives held against predictions: a file whose top-level key is ``collectives``, one row a measurement.

A row names a system, chips, a collective, who ran it (``library``) and what was printed: ``time_us``, ``busbw_GBps``
(as nccl-tests defines it) or ``algbw_GBps``. Its size is ``bytes_per_chip`` (the per-rank buffer) or, for dispatch and
combine, ``tokens``, ``hidden``, ``top_k`` and ``dtype``. The error is predicted time / measured time - 1; nothing is fitted to
a row.

Bandwidths of dispatch and combine count what their authors count: every copy of a token, the rank's own included; of kernels that
send one copy a rank those copies (DeepEP's tests count the tokens that a rank has received); where ``bandwidth_kind`` names
RDMA, one copy for each server that a token goes to, its own included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from simulator.assumptions import Assumptions
from simulator.network.collectives.dispatch import distinct_domains, merged
from simulator.network.collectives.stack import GENERIC, WIRE
from simulator.questions.collective import collective
from simulator.questions.collective_results import CollectiveResult
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, NotModelled, SupernodeError, one_line
from simulator.spec.files import build, read_document
from simulator.spec.sources import Figure, Source
from simulator.spec.units import Seconds
from topologies import load

GB = 1e9
LARGE = 8 * 2.0**30
"""What a bandwidth without a size was measured with: published ones are those of the largest sizes [B]."""

MOE = {"tokens": 4096, "hidden": 7168, "top_k": 8}
"""The setting of DeepEP's tables, for rows that do not repeat it."""

ELEMENT = {"fp8": 1.0, "int8": 1.0, "bf16": 2.0}
ALGORITHMS = {"ring": "rings", "nvls": "in-switch", "nvlstree": "in-switch"}
"""What benchmarks call an algorithm, and what we do; an NVLS tree is the in-switch reduction of several domains."""


TIMING = Path(__file__).parent.parent / "presets" / "collective_timing.yaml"

ONE_A_BOX = ("deepep-ascend",)
"""Libraries measured over a supernode's switches alone: a rank in each of as many boxes, so that no box's own links help."""


class Printed(Spec):
    """What the source prints; a bandwidth of 0.0 is one that was rounded away."""

    model_config = ConfigDict(extra="ignore")
    time_us: Annotated[float, Field(gt=0)] | None = None
    busbw_GBps: Annotated[float, Field(ge=0)] | None = None  # noqa: N815  (as files have it)
    algbw_GBps: Annotated[float, Field(ge=0)] | None = None  # noqa: N815


class Row(Spec):
    """One measurement as it is written down."""

    model_config = ConfigDict(extra="ignore")
    id: str
    system: str
    chips: int
    collective: str
    library: str
    measured: Printed
    bytes_per_chip: float | None = None
    algorithm: str | None = None
    tokens: int | None = None
    hidden: int | None = None
    top_k: int | None = None
    top_groups: int = 0
    dtype: str = "bf16"
    bandwidth_kind: str = ""
    link: str | None = None
    path: str | None = None
    near_duplicate_of: str | None = None
    source: str = ""
    host_us: Annotated[float, Field(ge=0)] | None = None


class RowSource(Spec):
    """Where rows come from; a row names its key, or writes the URL itself."""

    model_config = ConfigDict(extra="ignore")
    url: str = ""


class RowFile(Spec):
    """A file of rows; other top-level keys (meta) are read over."""

    model_config = ConfigDict(extra="ignore")
    collectives: tuple[Row, ...]
    sources: dict[str, RowSource] = {}


class Timing(Spec):
    """What a benchmark adds to each operation; ``where`` is part of the URL of its results."""

    where: str
    host: Figure[Seconds]


class Timings(Spec):
    """The benchmarks that are known to add something."""

    sources: dict[str, Source]
    timings: tuple[Timing, ...]

    def host(self, url: str) -> float:
        """What the benchmark behind a source adds to an operation [s]."""
        return next((timing.host.value for timing in self.timings if timing.where in url), 0.0)


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """A row, answered or not. ``scored`` is false for a row that nearly repeats another."""

    id: str
    library: str
    system: str
    collective: str
    scored: bool
    covered: bool = False
    reason: str | None = None
    measured_s: float | None = None
    predicted_s: float | None = None
    error: float | None = None
    algorithm: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CollectiveValidation:
    """Every row answered, in the order of the file."""

    outcomes: tuple[RowOutcome, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """Errors of all scored rows, and by library: rows, covered, median and 90th percentile of |error|, bias, worst."""
        rows = [row for row in self.outcomes if row.scored]
        names = sorted({row.library for row in rows})
        return _score(rows) | {"by_library": {name: _score([row for row in rows if row.library == name]) for name in names}}

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data."""
        return {"collectives": [asdict(row) for row in self.outcomes], "summary": self.summary}

    def to_json(self) -> str:
        """The JSON document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def table(self) -> str:
        """Every row, then the errors by library, as text."""
        lines = [f"{'row':<40}{'library':<20}{'measured':>12}{'predicted':>12}{'error':>10}  algorithm"]
        for row in self.outcomes:
            if row.error is not None and row.measured_s and row.predicted_s:
                times = f"{row.measured_s * 1e6:>9.1f} us{row.predicted_s * 1e6:>9.1f} us{100 * row.error:>+8.1f} %"
                lines.append(f"{row.id[:38]:<40}{row.library[:18]:<20}{times}  {row.algorithm}")
        lines += [f"not covered: {row.id}: {row.reason}" for row in self.outcomes if not row.covered]
        repeats = sum(not row.scored for row in self.outcomes)
        lines += [f"not scored: {repeats} of these rows, which nearly repeat others"] if repeats else []
        lines += ["", f"{'by library':<24}{'rows':>6}{'covered':>9}{'median |e|':>12}{'90th pct':>10}{'median e':>10}  worst"]
        summary = self.summary
        for name, score in [*summary["by_library"].items(), ("all", summary)]:
            if score["covered"]:
                numbers = f"{score['median']:>11.1%} {score['p90']:>9.1%} {score['bias']:>+9.1%} "
                lines.append(f"{name:<24}{score['rows']:>6}{score['covered']:>9}{numbers} {score['worst']}")
            else:
                lines.append(f"{name:<24}{score['rows']:>6}{0:>9}")
        return "\n".join(lines) + "\n"


def holds_collectives(path: str | Path) -> bool:
    """Whether a file is one of rows of collectives, by its top-level key, without reading all of it."""
    file = Path(path)
    return file.is_file() and re.search(rb"^collectives\s*:", file.read_bytes(), re.MULTILINE) is not None


def validate_collectives(
    path: str | Path, *, limit: int | None = None, progress: Callable[[float, str], None] | None = None
) -> CollectiveValidation:
    """Predict the rows of a file (the first ``limit`` of them); InputError with file and line for one that is not made so."""
    file = build(read_document(path), RowFile)
    rows = file.collectives[:limit]
    if not rows:
        raise InputError("needs at least one row", path="collectives", where=str(path), do="Write one.")
    stack = Assumptions.load("default")
    timings = build(read_document(TIMING), Timings)
    outcomes = []
    for done, row in enumerate(rows, start=1):
        url = file.sources[row.source].url if row.source in file.sources else row.source
        host = timings.host(url) if row.host_us is None else row.host_us * 1e-6
        outcomes.append(answer(row, stack, host))
        if progress:
            progress(done / len(rows), f"{done} of {len(rows)}: {row.id}")
    return CollectiveValidation(tuple(outcomes))


def answer(row: Row, stack: Assumptions, host: float = 0.0) -> RowOutcome:
    """One row predicted, or the reason why it cannot be; ``host`` is what its benchmark adds to the operation [s]."""
    scored = row.near_duplicate_of is None
    outcome = RowOutcome(row.id, row.library, row.system, row.collective, scored)
    try:
        result, counted, notes = _predict(row, stack)
        measured = _measured_seconds(row, result, counted)
    except SupernodeError as error:
        return RowOutcome(**asdict(outcome) | {"reason": one_line(str(error))})
    predicted = result.time_s + host
    if host:
        notes = (*notes, f"the host adds {host * 1e6:g} us to an operation timed by itself")
    return RowOutcome(
        row.id, row.library, row.system, row.collective, scored, True, None, measured, predicted,
        predicted / measured - 1.0, f"{result.algorithm} {result.protocol}".strip(), notes,
    )  # fmt: skip


def _predict(row: Row, stack: Assumptions) -> tuple[CollectiveResult, float, tuple[str, ...]]:
    """The answer, the bytes that a printed algorithm bandwidth counts, and what had to be filled in."""
    library = _library(row.library, stack)
    chips, in_each = row.chips, None
    if row.link is not None:
        chips, in_each = _pair(row)
    notes: list[str] = []
    top_k = 0
    if row.collective in ("dispatch", "combine"):
        missing = [name for name in MOE if getattr(row, name) is None]
        notes += [f"{name} is taken as {MOE[name]}" for name in missing]
        tokens, hidden, top_k = (getattr(row, name) or MOE[name] for name in MOE)
        size = tokens * hidden * ELEMENT[row.dtype] * top_k
    elif row.bytes_per_chip is not None:
        size = row.bytes_per_chip
    else:
        notes.append("bytes are taken as 8 GiB")
        size = LARGE
    one_copy = top_k if library == "deepep" else 0
    group, stride = None, 1
    if row.library in ONE_A_BOX and chips > 1:
        box = next(iter(load(row.system).tiers.values())).size.value
        group, stride, chips = chips, box, chips * box
    result = collective(
        row.system,
        row.collective,
        bytes=size,
        chips=chips,
        group_size=group,
        stride=stride,
        chips_per_domain=in_each,
        algorithm=ALGORITHMS.get(row.algorithm or "", row.algorithm),
        library=library,
        assumptions=stack,
        top_k=one_copy,
        max_domains=row.top_groups,
    )
    counted = size * (merged(1.0 / row.chips, top_k) if one_copy else 1.0)
    if "RDMA" in row.bandwidth_kind:
        servers = row.chips // load(row.system).chips
        counted = size / top_k * distinct_domains(servers, top_k, row.top_groups)
    return result, counted, tuple(notes)


def _measured_seconds(row: Row, result: CollectiveResult, counted: float) -> float:
    """The printed time, or the one behind a printed bandwidth [s]."""
    if row.measured.time_us is not None:
        return row.measured.time_us * 1e-6
    if row.measured.busbw_GBps:
        return result.bytes * (result.bus_bandwidth / result.algorithm_bandwidth) / (row.measured.busbw_GBps * GB)
    if row.measured.algbw_GBps:
        return counted / (row.measured.algbw_GBps * GB)
    raise NotModelled(f"{row.id} prints neither a time nor a bandwidth above 0.")


def _library(name: str, stack: Assumptions) -> str:
    """The library of the assumptions that a row's is: by name, by another name it has, or by the longest beginning."""
    if name in (GENERIC, WIRE) or name in stack.libraries:
        return name
    for known, spec in stack.libraries.items():
        if name in spec.called:
            return known
    if name == "CPU-side end-to-end":
        return WIRE
    starts = [known for known in stack.libraries if name.startswith(known)]
    if not starts:
        raise NotModelled(f"no library of the assumptions is {name}; known: {', '.join(stack.libraries)}.")
    return max(starts, key=len)


def _pair(row: Row) -> tuple[int, int | None]:
    """Chips that hold a pair of the kind a latency was measured on: in one server, under one leaf, under two."""
    if row.link == "NVLink":
        return 2, None
    outer = [tier for tier in load(row.system).tiers.values() if tier.scale_out]
    if row.link != "IB" or not outer:
        raise NotModelled(f"{row.id}: {row.system} has no {row.link}.")
    leaf = outer[0].leaf
    return (2 * leaf.value if row.path == "cross_leaf" and leaf else 2), 1


def _score(rows: Sequence[RowOutcome]) -> dict[str, Any]:
    """Counts and errors of some rows."""
    errors = np.array([row.error for row in rows if row.error is not None])
    score: dict[str, Any] = {"rows": len(rows), "covered": len(errors)}
    if len(errors):
        worst = max((row for row in rows if row.error is not None), key=lambda row: abs(row.error or 0.0))
        score |= {
            "median": float(np.median(np.abs(errors))),
            "p90": float(np.percentile(np.abs(errors), 90)),
            "bias": float(np.median(errors)),
            "worst": f"{worst.id} {100 * (worst.error or 0.0):+.1f} %",
        }
    return score
