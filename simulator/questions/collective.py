"""One collective alone on a machine: its time, its bandwidths as nccl-tests defines them, and how far its links let it go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import topologies
from simulator.assumptions import PRESETS, Assumptions
from simulator.network.blocks import GROUP, Blocks
from simulator.network.collectives.choice import COLLECTIVES, NAMES
from simulator.network.collectives.library import Library
from simulator.network.collectives.stack import library_named, usual_library
from simulator.network.matrix import matrix_transfer
from simulator.questions.alone import Alone, Bench
from simulator.questions.collective_results import CollectiveResult, CollectiveSweep, bus_factor
from simulator.spec.errors import InputError, NotModelled, one_line
from simulator.spec.files import preset_names
from simulator.spec.near import suggest
from simulator.spec.units import Dimension, parse
from topologies.fabric import Fabric, Floats
from topologies.faults import Fault, as_faults
from topologies.system import SYSTEMS, System
from workloads.instructions import Communication

MATRIX = "all-to-all-v"


def collective(
    system: str | Path | System | Fabric,
    operation: str,
    *,
    bytes: float | str | None = None,  # noqa: A002  (the word of the contract)
    matrix: Sequence[Sequence[float]] | Floats | None = None,
    chips: int | None = None,
    group_size: int | None = None,
    stride: int = 1,
    algorithm: str | None = None,
    library: str | None = None,
    assumptions: str | Path | Assumptions = "default",
    chips_per_domain: int | None = None,
    routing: str | Mapping[str, Any] | None = None,
    faults: Iterable[Mapping[str, Any]] = (),
    top_k: int = 0,
    max_domains: int = 0,
) -> CollectiveResult:
    """Time of one collective on ``chips`` chips of a system, run by all groups of ``group_size`` ranks at once.

    ``bytes`` is the per-rank buffer ("64 MiB" or a number). Members of a group are ``stride`` ranks apart; without
    ``group_size`` all ranks are one group. ``algorithm`` overrides what the library would take, ``library`` who it is
    (default: the usual one of the chip's vendor). ``routing`` ("up-down", ``{"hash": {"paths": 4, "seed": 1}}``) and ``faults``
    as in a scenario; without routing a system sprays, and a fabric keeps its own. A dispatch or combine of ``top_k`` experts a
    token may send one copy per domain, in at most ``max_domains`` of them. An all-to-all-v takes a
    ``matrix`` in place of bytes: row i column j is what rank i sends to rank j [B]. Raises InputError or NotModelled with the
    sentence that says why not.
    """
    _check_experts(operation, top_k, max_domains)
    question = _Question.of(system, chips, chips_per_domain, routing, faults, group_size, stride, library, assumptions)
    if (operation == MATRIX) != (matrix is not None) or (operation == MATRIX) != (bytes is None):
        rule = "an all-to-all-v takes a matrix, every other collective takes bytes"
        raise InputError(rule, got=operation, do="Give matrix, or bytes.", path="matrix" if operation == MATRIX else "bytes")
    if matrix is not None:
        return question.answer_matrix(_table(matrix))
    assert bytes is not None
    return question.answer(operation, _bytes(bytes), algorithm, top_k, max_domains)


def sweep(
    system: str | Path | System | Fabric,
    operation: str,
    *,
    sizes: Sequence[float | str] = (),
    chips: int | None = None,
    group_size: int | None = None,
    stride: int = 1,
    algorithm: str | None = None,
    library: str | None = None,
    assumptions: str | Path | Assumptions = "default",
    chips_per_domain: int | None = None,
    routing: str | Mapping[str, Any] | None = None,
    faults: Iterable[Mapping[str, Any]] = (),
    top_k: int = 0,
    max_domains: int = 0,
) -> CollectiveSweep:
    """:func:`collective` at several sizes, by default 1 KiB to 16 GiB in steps of 4."""
    if operation == MATRIX:
        raise InputError("an all-to-all-v has one matrix, not many sizes", got=operation, do="Sweep all-to-all.")
    _check_experts(operation, top_k, max_domains)
    question = _Question.of(system, chips, chips_per_domain, routing, faults, group_size, stride, library, assumptions)
    payloads = sorted(_bytes(size) for size in sizes or sizes_up_to(None))
    return CollectiveSweep(tuple(question.answer(operation, size, algorithm, top_k, max_domains) for size in payloads))


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A machine with groups and a stack, before anything is sent."""

    bench: Bench
    system: str
    chip: str
    vendor: str
    library: str | None
    assumptions: Assumptions

    @classmethod
    def of(
        cls,
        system: str | Path | System | Fabric,
        chips: int | None,
        chips_per_domain: int | None,
        routing: str | Mapping[str, Any] | None,
        faults: Iterable[Mapping[str, Any]],
        group_size: int | None,
        stride: int,
        library: str | None,
        assumptions: str | Path | Assumptions,
    ) -> _Question:
        broken = as_faults(faults)
        stack = assumptions if isinstance(assumptions, Assumptions) else _stack(assumptions)
        numbers = {"chips": chips, "chips_per_domain": chips_per_domain, "group_size": group_size, "stride": stride}
        choice: list[Any] = [None if number is None else _whole(number, path) for path, number in numbers.items()]
        if isinstance(system, str) and system in preset_names(SYSTEMS):
            asked = json.dumps([broken, routing], default=dict, sort_keys=True)
            bench, chip, vendor = _shipped_bench(system, asked, *choice)
        else:
            bench, chip, vendor = _bench(system, broken, routing, *choice)
        return cls(bench, bench.fabric.name, chip, vendor, library, stack)

    def answer(self, operation: str, payload: float, algorithm: str | None, top_k: int, max_domains: int) -> CollectiveResult:
        if operation not in COLLECTIVES:
            raise InputError(
                "unknown collective", got=operation, do=suggest(str(operation), [*COLLECTIVES, MATRIX], "collectives")
            )
        if algorithm is not None and algorithm not in NAMES:
            raise InputError("unknown algorithm", got=algorithm, do=suggest(algorithm, list(NAMES), "algorithms"))
        if len(self.bench.members) < 2:
            raise InputError("fewer than 2 ranks of the first group are alive", path="faults", do="Kill fewer chips.")
        library = self._library(operation)
        one = Communication(operation, "collective", operation, GROUP, payload, top_k, max_domains, top_k > 0)
        return self._result(operation, payload, self.bench.run(one, library, algorithm))

    def answer_matrix(self, matrix: Floats) -> CollectiveResult:
        """All-to-all-v among all ranks. ``bytes`` is what the busiest sender holds, what it keeps included."""
        fabric = self.bench.fabric
        if self.bench.blocks.size != fabric.ranks:
            raise NotModelled("an all-to-all-v is among all ranks; leave group_size out and put zeros where nothing is sent.")
        moved = matrix_transfer(fabric, matrix, self.bench.domain)
        rows = matrix.sum(axis=1)
        busiest = int(np.argmax(rows))
        payload = float(rows[busiest])
        library = self._library("all-to-all")
        protocol = library.of("direct", "all-to-all")[0]
        latency = protocol.launch + moved.hop + (protocol.outside if moved.leaves_domain else protocol.inside)
        seconds = latency + moved.seconds * protocol.stretch(payload)
        return CollectiveResult(
            collective=MATRIX,
            system=self.system,
            chips=fabric.ranks // fabric.ranks_per_chip,
            group_size=fabric.ranks,
            bytes=payload,
            time_s=seconds,
            algorithm_bandwidth=payload / seconds,
            bus_bandwidth=(payload - float(matrix[busiest, busiest])) / seconds,
            bound_s=moved.least,
            latency_s=latency,
            busiest_link=moved.busiest.example,
            busiest_tier=moved.busiest.tier,
            algorithm="direct",
            protocol=protocol.name,
            library=library.name,
            rung=moved.rung,
        )

    def _result(self, operation: str, payload: float, run: Alone) -> CollectiveResult:
        fabric = self.bench.fabric
        size = len(self.bench.members)
        first = run.operations[0]
        return CollectiveResult(
            collective=operation,
            system=self.system,
            chips=fabric.ranks // fabric.ranks_per_chip,
            group_size=size,
            bytes=payload,
            time_s=run.time,
            algorithm_bandwidth=payload / run.time,
            bus_bandwidth=payload / run.time * bus_factor(operation, size),
            bound_s=run.least,
            latency_s=run.latency,
            busiest_link=run.busiest.example if run.busiest else "",
            busiest_tier=run.busiest.tier if run.busiest else "",
            algorithm=first.algorithm,
            protocol=first.protocol,
            library=first.library,
            rung=run.rung,
        )

    def _library(self, operation: str) -> Library:
        """The library asked for, or the one that the stack names, or the usual one of the chip's vendor."""
        stack = self.assumptions
        if self.library is not None:
            return library_named(stack, self.library, self.chip)
        named = stack.runs.get(operation, stack.runs.get("any"))
        return library_named(stack, named or usual_library(stack, self.vendor, operation), self.chip)


def _bench(
    system: str | Path | System | Fabric,
    faults: Sequence[Fault | Mapping[str, Any]],
    routing: str | Mapping[str, Any] | None,
    chips: int | None,
    chips_per_domain: int | None,
    group_size: int | None,
    stride: int,
) -> tuple[Bench, str, str]:
    """The machine with its faults and groups; its chip and the chip's vendor, empty for a fabric that does not say."""
    chip = vendor = ""
    if isinstance(system, Fabric):
        fabric = system
        if chips not in (None, fabric.ranks // fabric.ranks_per_chip):
            raise InputError(f"the fabric has {fabric.ranks // fabric.ranks_per_chip} chips", got=chips, path="chips")
        if chips_per_domain is not None:
            do = "Take part of each domain where the fabric is made."
            raise InputError("a fabric is used whole", got=chips_per_domain, do=do, path="chips_per_domain")
        fabric = fabric if routing is None else fabric.with_routing(routing)
    else:
        machine = system if isinstance(system, System) else topologies.load(system)
        fabric = machine.fabric(chips, chips_per_domain, routing="spray" if routing is None else routing)
        chip, vendor = machine.chip.name, machine.chip.vendor
    if faults:
        fabric = fabric.with_faults(faults)
    blocks = Blocks(fabric.ranks, fabric.ranks // stride if group_size is None else group_size, stride)
    if blocks.size < 2:
        raise InputError("a collective needs at least 2 ranks", got=blocks.size, do="Use more chips.", path="group_size")
    return Bench(fabric, blocks), chip, vendor


@lru_cache(maxsize=4)
def _shipped_bench(system: str, asked: str, *choice: Any) -> tuple[Bench, str, str]:
    """The same for a preset, kept: files that ship do not change while a program runs. ``asked``: faults and routing."""
    faults, routing = json.loads(asked)
    return _bench(system, faults, routing, *choice)


def _stack(assumptions: str | Path) -> Assumptions:
    """Assumptions by name or path; presets are kept."""
    known = isinstance(assumptions, str) and assumptions in _shipped_stacks()
    return _shipped_stack(str(assumptions)) if known else Assumptions.load(assumptions)


@lru_cache(maxsize=1)
def _shipped_stacks() -> frozenset[str]:
    return frozenset(preset_names(PRESETS))


@lru_cache(maxsize=8)
def _shipped_stack(name: str) -> Assumptions:
    return Assumptions.load(name)


def _whole(number: object, path: str, least: int = 1) -> int:
    """A whole number, of Python or numpy."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise InputError(f"must be a whole number, {least} or more", got=number, path=path)
    return int(number)


def _check_experts(operation: str, top_k: int, max_domains: int) -> None:
    """Experts a token, and the domains that a router looks at, are what a dispatch and a combine have."""
    for number, path in ((top_k, "top_k"), (max_domains, "max_domains")):
        if _whole(number, path, 0) and operation not in ("dispatch", "combine"):
            raise InputError("is for a dispatch or a combine", got=f"{path} {number}, {operation}", do="Leave it out.", path=path)
    if max_domains and not top_k:
        raise InputError(
            "a router that looks at some domains needs the experts a token", do="Give top_k too.", path="max_domains"
        )


def _table(matrix: Sequence[Sequence[float]] | Floats) -> Floats:
    """Rows of numbers."""
    try:
        return np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        do = "Give as many numbers in each row as there are ranks."
        raise InputError("a matrix is rows of as many numbers of bytes", do=do, path="matrix") from None


def _bytes(size: float | str) -> float:
    """A size with a unit, or a plain number of bytes."""
    if isinstance(size, str):
        size = float(size) if size.strip().isdecimal() else parse(size, Dimension.BYTES)
    if isinstance(size, bool) or not isinstance(size, int | float | np.number) or not 0 < size < 2.0**80:
        raise InputError("bytes must be above 0", got=size, do="Write 64 MiB.", path="bytes")
    return float(size)


def sizes_up_to(largest: str | None) -> list[float]:
    """1 KiB to 16 GiB in steps of 4, or up to a size.

    >>> sizes_up_to("20 kB")
    [1024.0, 4096.0, 16384.0, 20000.0]
    """
    end = _bytes(largest) if largest is not None else 2.0**34
    return [*(float(4**power) for power in range(5, 40) if 4**power < end), end]


def read_matrix(path: str) -> Floats:
    """A table of bytes from a file of comma-separated rows."""
    try:
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        reason = one_line(str(error))
        raise InputError(f"is no table of numbers: {reason}", got=path, do="Write a row a line.", path="matrix") from None
