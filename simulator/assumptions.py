"""What a chip really reaches under a software stack: efficiencies and overheads, each with a range and a source.

Data only: the forms that use these numbers are in simulator/engine/chip.py. A file of simulator/presets/assumptions
names a software stack; ``chips`` holds what differs by chip, ``any_chip`` what is taken for a chip nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from simulator.spec.base import Spec
from simulator.spec.document import Document
from simulator.spec.errors import InputError, NotModelled
from simulator.spec.files import build, merge, override, read_spec
from simulator.spec.sources import Figure, Source
from simulator.spec.units import Bytes, MoreSeconds, Seconds
from workloads.plan import PlanDefaults

PRESETS = Path(__file__).parent / "presets" / "assumptions"


Share = Annotated[float, Field(gt=0, le=1)]
"""A fraction of a rate that something reaches; nothing reaches more than all of it."""

Taken = Annotated[float, Field(ge=0, lt=1)]
"""A fraction that something takes away; never all."""

Part = Annotated[float, Field(ge=0, le=1)]
"""A fraction that may be nothing or all."""

Amount = Annotated[float, Field(ge=0)]


class AttentionCurve(Spec):
    """Achieved rate of a fused attention kernel: ceiling x S / (S + half_sequence), S the keys of a query.

    ``ceiling`` is a fraction of the dense BF16 peak at head dimension 128. ``half_sequence`` [tokens] is for a full mask or
    a selected set of keys, ``half_sequence_causal`` for a causal mask, S being the whole sequence. ``large_head`` is the
    rate at a head dimension of 160 (the mean of 192 and 128, as latent attention trains) over that at 128. ``eight_bits`` is
    what products in FP8 keep of the ratio of the two peaks: exponentials take as long as ever.
    """

    ceiling: Figure[Share]
    half_sequence: Figure[Amount]
    half_sequence_causal: Figure[Amount]
    large_head: Figure[Share]
    eight_bits: Figure[Share]


class ChipEfficiency(Spec):
    """How much of its data sheet a chip gives to kernels, and what communication takes from it."""

    gemm: dict[str, Figure[Share]]  # short-run share of the matrix peak by precision (bf16, fp8, fp4; mxfp8 where it differs)
    sustained: Figure[Share]  # of every arithmetic rate that is left when work goes on: clocks under the power limit
    gemm_depth: Figure[Amount]  # elements of K that prologue and epilogue cost: efficiency K / (K + gemm_depth)
    gemm_small_tile: Figure[Amount]  # elements; a tile of r x c costs 1 + this x (1 / r + 1 / c)
    gemm_tail: Figure[Part]  # share of a partial wave of tiles that is lost
    gemm_start: dict[str, Figure[Seconds]]  # start and drain of one matrix kernel by precision
    weight_gradient: dict[str, Figure[Share]]  # rate of weight gradients over that of the other products, by precision
    grouped_gemm: Figure[Share]  # share of the dense GEMM rate that a grouped one keeps
    grouped_tile: Figure[Amount]  # rows of a grouped product's tile, computed once for each group in it; 0: as small as others
    operand_memory: Figure[Share]  # share of the HBM bandwidth at which matrix kernels get their operands
    memory: Figure[Share]  # share of the HBM bandwidth that kernels which read and write reach
    row_gather: Figure[Share]  # share of that at which rows are picked and put by index
    scan: Figure[Share]  # share of what products of their shape reach that kernels of a state's scan do
    attention_forward: AttentionCurve
    attention_backward: AttentionCurve
    attention_small_head: Figure[Share]  # rate at head dimension 64 over the rate at 128
    attention_block: Figure[Amount]  # queries and keys of a block that a kernel computes whole; 0: the curves above tell
    matrix_edge: Figure[Amount]  # rows and columns of a systolic array, which narrower heads leave idle; 0: none
    kernel_start: Figure[Seconds]  # start and drain of any other kernel
    host_issue: Figure[Seconds]  # what the host takes to issue one kernel
    sparse_issue: Figure[Seconds]  # the same in a run that serves routed experts, whose shapes depend on the data
    captured_issue: Figure[Seconds]  # the same for a node of a captured graph
    communication_cores: dict[str, Figure[Taken]]  # share of the cores taken while a collective of a kind (tp, cp, ep, dp) runs
    reserved_cores: Figure[Taken]  # share of the cores that a stack keeps for communication all through a step
    communication_memory: Figure[Amount]  # HBM bytes per payload byte entering or leaving
    rank_spread: Figure[Part]  # relative standard deviation, from rank to rank of a job, of the time that the same work takes

    @field_validator("gemm", "gemm_start", "weight_gradient", "communication_cores")
    @classmethod
    def _known_keys(cls, table: dict[str, Figure[float]], info: ValidationInfo) -> dict[str, Figure[float]]:
        known = {"communication_cores": ("tp", "cp", "ep", "dp"), "gemm": ("bf16", "fp8", "mxfp8", "fp4")}.get(
            str(info.field_name), ("bf16", "fp8", "fp4")
        )
        for key in table:
            if key not in known:
                raise InputError(
                    f"{info.field_name} has a figure for each of {', '.join(known)}", got=key, do="Name one of them."
                )
        return table


class LibraryCosts(Spec):
    """What a collective costs beyond the wire where no library is known: a launch per operation and a cost per step."""

    launch: Figure[Seconds]
    step: Figure[Seconds]


class ProtocolCosts(Spec):
    """One way in which a library moves bytes; the form is in simulator/network/collectives/library.py."""

    launch: Figure[Seconds]  # once an operation
    inside: Figure[MoreSeconds]  # added to the wire at each step within a scale-up domain; negative: a hop is quicker than that
    outside: Figure[MoreSeconds]  # added to the wire at each step between domains
    share: Figure[float]  # of the links' efficient bandwidth that it keeps
    ramp: Figure[Bytes]  # payload at which half of a small operation's lack of bandwidth is made up


class CollectiveLibrary(Spec):
    """A communication library: by algorithm and protocol, what it costs.

    A collective may have a table of its own (``dispatch``), which goes before that of its algorithm; ``any`` is for the others.
    """

    title: str
    family: Literal["rings", "levels", "dimensions", "one-copy-per-domain"] = "levels"  # its algorithms (collectives/choice.py)
    vendors: tuple[str, ...] = ()  # of the chips whose collectives it runs unless told otherwise
    collectives: tuple[str, ...] = ()  # for which it is the usual one; empty: all that no other one is
    called: tuple[str, ...] = ()  # other names, of libraries with the same costs
    links: dict[str, Figure[float]] = {}  # by chip: share of its scale-up links' efficient bandwidth that this library reaches
    networks: dict[str, Figure[Seconds]] = {}  # by scale-out tier (efa): added to each step over such a network
    in_switch: tuple[str, ...] = ()  # chips whose domain switches add for it
    protocols: dict[str, dict[str, ProtocolCosts]]

    @model_validator(mode="after")
    def _knows_every_algorithm(self) -> Self:
        if "any" not in self.protocols:
            raise InputError("a library says what its other algorithms cost", do="Add protocols.any.", path="protocols")
        return self


class Pace(Spec):
    """Compute seconds of a real step over those of its kernels back to back: what a stack adds to them.

    ``compute`` multiplies the time of every operator: gaps while the host is late, what kernels leave out. ``experts``
    multiplies that of routers, permutations and routed experts once more: copies and waits of a dispatcher. ``passes`` multiplies
    that of operators that only pass over memory, the optimizer's apart: those which a stack leaves unfused, casts and copies
    between its modules. ``fused_experts`` stands for ``experts`` where
    activation and casts are epilogues of their products. 1 is a stack that adds nothing.
    """

    compute: Figure[Amount]
    experts: Figure[Amount]
    fused_experts: Figure[Amount]
    passes: Figure[Amount]


class HostUse(Spec):
    """``update``: share of its memory bandwidth at which a host reads and writes the state of parameters that it updates."""

    update: Figure[Share]


class MemoryOverhead(Spec):
    """Memory that the model does not see: contexts and libraries, and what the allocator cannot use."""

    reserved: Figure[Bytes]
    fragmentation: Figure[Taken]  # share of the capacity


RUNS = ("any", "all-to-all", "dispatch", "combine", "all-gather", "reduce-scatter", "all-reduce", "broadcast", "send-recv")
"""What a stack may name a library for; a send to another pipeline stage is a send-recv."""


MOST_MADE = 1024
"""Efficiencies of chips that are kept; what the project ships has a hundred."""

_MADE: dict[tuple[str, str], ChipEfficiency] = {}
"""By what stands for any chip and what a chip has of its own, to the letter: most stacks say the same of most chips."""


class Assumptions(Spec):
    """A software stack on the chips it was seen on."""

    name: str
    title: str
    sources: dict[str, Source]
    defaults: PlanDefaults = PlanDefaults()
    any_chip: ChipEfficiency
    chips: dict[str, dict[str, Any]] = {}  # by chip name: fields of ChipEfficiency that differ
    library: LibraryCosts  # of chips whose vendor has none of the libraries
    libraries: dict[str, CollectiveLibrary] = {}
    runs: dict[str, str] = {}  # the library of a collective, or of "any", in place of the usual one of the chip's vendor
    memory_overhead: MemoryOverhead
    pace: Pace
    host: HostUse | None = None

    def of_chip(self, chip: str) -> tuple[ChipEfficiency, bool]:
        """The efficiencies of a chip, and whether anything of them is specific to it."""
        own = self.chips.get(chip)
        if own is None:
            return self.any_chip, False
        key = self._any_chip_told, repr(own)
        found = _MADE.get(key)
        if found is None:
            found = ChipEfficiency.model_validate(merge(self.any_chip.model_dump(), own))
            if len(_MADE) >= MOST_MADE:
                _MADE.clear()
            _MADE[key] = found
        return found, True

    @cached_property
    def _any_chip_told(self) -> str:
        """All that is said of a chip that nobody measured."""
        return self.any_chip.model_dump_json()

    def used_by(self, chip: str) -> tuple[Spec, ...]:
        """What a job on this chip takes from here, its communication libraries apart."""
        return (self.of_chip(chip)[0], self.defaults, self.memory_overhead, self.pace, *((self.host,) if self.host else ()))

    @classmethod
    def load(cls, name: str | Path) -> Assumptions:
        """By preset name or path."""
        return read_spec(str(name), cls, PRESETS)

    def with_overrides(self, changes: Mapping[str, Any]) -> Self:
        """A copy with figures replaced by field path: ``{"any_chip.memory": 0.8}``. A value loses its source with it."""
        document = Document(data=self.model_dump(exclude_unset=True))
        for path, value in changes.items():
            document = override(document, path, value)
        return build(document, type(self))

    @model_validator(mode="after")
    def _runs_known_libraries(self) -> Self:
        known = (*self.libraries, "generic", "wire")
        for collective, name in self.runs.items():
            if name not in known:
                raise InputError("there is no library of this name", got=name, do=f"Choose one of {', '.join(known)}.")
            if collective not in RUNS:
                raise InputError("runs names collectives, or any", got=collective, do=f"Choose one of {', '.join(RUNS)}.")
        return self

    @model_validator(mode="after")
    def _chips_are_efficiencies(self) -> Self:
        for chip in self.chips:
            self.of_chip(chip)
        return self


def figure_of(table: dict[str, Figure[float]], key: str, what: str) -> float:
    """One figure of a table, or the sentence that says it is missing."""
    if key not in table:
        raise NotModelled(f"no {what} for {key}; known: {', '.join(sorted(table))}.")
    return table[key].value
