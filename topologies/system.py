"""A system file: a chip and the tiers that join its chips into one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import model_validator

from simulator.spec.base import Spec
from simulator.spec.errors import InputError, TopologyError
from simulator.spec.files import build, find, preset_names, read_document, read_spec
from simulator.spec.sources import Figure, Source
from simulator.spec.units import Dollars, Watts
from topologies.allocation import chips_of_slice, slice_sides, units_used
from topologies.assembly import assemble
from topologies.fabric import Fabric
from topologies.overrides import overridden
from topologies.parts import CHIPS, Chip, OrName, Socket, Tier
from topologies.policies import routed

SYSTEMS = Path(__file__).parent / "presets" / "systems"

TIER_NAME = re.compile(r"[a-z]([a-z-]*[a-z])?")
RESERVED = ("chip", "die", "package")


class System(Spec):
    """A machine: ``tiers`` by name, innermost first. ``chip`` is a preset or a path in the file, the chip itself here.

    Tiers with ``scale_out`` join scale-up domains; ``power`` and ``price`` are those of one domain, everything in it
    included. ``usual_chips_per_domain`` is what jobs take of each domain where whole domains do not divide the job.
    """

    name: str
    title: str
    chip: Annotated[Chip, OrName()]
    tiers: dict[str, Tier]
    usual_chips_per_domain: Figure[int] | None = None
    power: Figure[Watts] | None = None
    price: Figure[Dollars] | None = None
    sources: dict[str, Source] = {}

    @model_validator(mode="before")
    @classmethod
    def _read_chip(cls, data: Any) -> Any:
        """Put the chip in the place of its name, and its sources into the system's table."""
        if not isinstance(data, Mapping) or not isinstance(data.get("chip"), str):
            return data
        try:
            chip = read_spec(data["chip"], Chip, CHIPS)
        except InputError as error:
            raise error if error.where else error.at(path="chip") from None
        sources = data.get("sources", {})
        return {**data, "chip": chip, "sources": {**chip.sources, **sources} if isinstance(sources, Mapping) else sources}

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_tiers(self.tiers)
        return self

    @property
    def domain(self) -> dict[str, Tier]:
        """The tiers of one scale-up domain."""
        return {name: tier for name, tier in self.tiers.items() if not tier.scale_out}

    @property
    def chips(self) -> int:
        """Chips of one scale-up domain: what a job uses that does not say how many."""
        return prod(tier.size.value for tier in self.domain.values())

    @property
    def max_chips(self) -> int:
        """Chips that the outermost tier can join."""
        return prod(tier.size.value for tier in self.tiers.values())

    def units(self, chips: int | None = None, chips_per_domain: int | None = None, slices: int | None = None) -> tuple[int, ...]:
        """Units of each tier that a job uses, innermost first. TopologyError with the nearest legal counts."""
        inside = [tier.size.value for tier in self.domain.values()]
        beyond = [tier.size.value for tier in self.tiers.values() if tier.scale_out]
        usual = self.usual_chips_per_domain.value if self.usual_chips_per_domain else None
        each = chips_of_slice(chips, chips_per_domain, slices, prod(inside))
        chips = each * slices if slices and each and chips is None else chips
        units = units_used(self.name, inside, beyond, chips, each, usual)
        for tier, used in zip(self.tiers.values(), units, strict=True):
            if tier.shape == "torus":
                slice_sides(used, tier.whole_sides, tier.cube.value if tier.cube else None)
        return units

    def fabric(
        self,
        chips: int | None = None,
        chips_per_domain: int | None = None,
        routing: str | Mapping[str, Any] = "spray",
        slices: int | None = None,
    ) -> Fabric:
        """The part of the machine that a job uses, as flat arrays.

        ``routing``: spray, dimension-order, up-down, minimal, or ``{"hash": {"paths": 4, "seed": 1}}``
        (:mod:`topologies.policies`). ``slices`` are scale-up domains joined by the scale-out network, with
        chips / slices each. A part keeps the bandwidth of each link of the whole machine. Units that do not fill their
        leaves are spread evenly over as few leaves as they can (the largest divisor of their number that a leaf holds).
        """
        units = dict(zip(self.tiers, self.units(chips, chips_per_domain, slices), strict=True))
        return routed(assemble(self.name, Socket.of(self.chip), self.tiers, units), routing)

    @property
    def wiring(self) -> tuple[object, ...]:
        """All that :meth:`fabric` hangs on: machines that differ in something else have the same links."""
        return self.name, Socket.of(self.chip), tuple(self.tiers.items()), self.usual_chips_per_domain

    def with_overrides(self, changes: Mapping[str, Any]) -> System:
        """The same system with fields set by path: ``{"tiers.superpod.bandwidth": "196 GB/s"}``.

        A figure set so is a point value of kind assumed, without the range and the source of the one it replaces.
        """
        return overridden(self, changes)


def load(name: str | Path) -> System:
    """A system preset by name, or a system file by path; a chip file that it names may lie beside it."""
    document = read_document(name, SYSTEMS)
    chip = document.data.get("chip")
    if isinstance(chip, str) and chip not in preset_names(CHIPS):
        beside = find(name, SYSTEMS).parent / chip
        if beside.is_file():
            document.data["chip"] = str(beside)
    return build(document, System)


def check_tiers(tiers: Mapping[str, Tier]) -> None:
    """What tiers owe each other: names, the order of scale-up and scale-out, leaves that hold whole units."""
    if not tiers:
        raise TopologyError("a system has at least one tier", path="tiers")
    _check_tori(tiers)
    below, outside = 1, False
    for name, tier in tiers.items():
        path = f"tiers.{name}"
        if not TIER_NAME.fullmatch(name) or name in RESERVED:
            rule = f"a tier's name is lower-case letters and hyphens and none of {', '.join(RESERVED)}"
            raise TopologyError(rule, got=name, do="Call it after what it makes: board, rack.", path=path)
        if outside and not tier.scale_out:
            raise TopologyError(
                "all tiers outside a scale-out tier are scale-out", got=name, do="Add scale_out: true.", path=path
            )
        outside = outside or tier.scale_out
        if tier.shape in ("clos", "dragonfly"):
            _check_leaves(tiers, tier, below, path)
        below *= tier.size.value


def _check_tori(tiers: Mapping[str, Tier]) -> None:
    """Coordinates x, y, z are those of one torus."""
    named = [name for name, tier in tiers.items() if tier.sides]
    if len(named) > 1 or any(name in "xyzwvu" for name in tiers if named):
        raise TopologyError(
            "one tier of a system names its sides x, y, z",
            got=", ".join(named),
            do="Write further ones as rings, one tier a side, and call them otherwise.",
            path="tiers",
        )


def _check_leaves(tiers: Mapping[str, Tier], tier: Tier, below: int, path: str) -> None:
    """A leaf (and a pod) of a Clos holds whole units of the tiers below, or is a box of them."""
    boxes, product = [1], 1
    for inner in tiers.values():
        product *= inner.size.value
        if product >= below:
            break
        boxes.append(product)
    for field in ("leaf", "pod"):
        figure = getattr(tier, field)
        if figure is not None and figure.value % below and figure.value not in boxes:
            raise TopologyError(
                f"a {field} holds a multiple of the {below} chips of a unit, or a whole box below ({', '.join(map(str, boxes))})",
                got=figure.value,
                do=f"Use {max(below, figure.value // below * below)}.",
                path=f"{path}.{field}",
            )
        if figure is not None and tier.shape == "dragonfly" and figure.value % below:
            raise TopologyError(
                f"a router holds whole units of {below} chips", got=figure.value, do=f"Use {below}.", path=f"{path}.{field}"
            )
    if tier.leaf and tier.pod and tier.pod.value % tier.leaf.value:
        raise TopologyError(
            "a pod holds whole leaves", got=f"{tier.pod.value} chips, leaves of {tier.leaf.value}", path=f"{path}.pod"
        )
