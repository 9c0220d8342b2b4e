"""Which libraries run the collectives of a job: what a stack's assumptions say, on one chip of one vendor."""

from __future__ import annotations

from simulator.assumptions import Assumptions, CollectiveLibrary, ProtocolCosts
from simulator.network.collectives.library import Libraries, Library, Protocol
from simulator.spec.errors import InputError
from simulator.spec.near import suggest

GENERIC = "generic"
"""The library of launch and step latencies that a chip's collectives are given whose vendor has none."""

WIRE = "wire"
"""No library at all: the latency of the routes, and the bytes."""


def libraries_of(stack: Assumptions, chip: str, vendor: str) -> Libraries:
    """The libraries of a job on this chip.

    ``runs`` of the assumptions names them by collective, or for ``any``; what it leaves out is run by the usual library of the
    vendor, or at the generic costs. The vendor's kernels for experts (DeepEP) run what one copy per domain is asked of.
    """
    usual = library_named(stack, stack.runs["any"] if "any" in stack.runs else usual_library(stack, vendor), chip)
    named = {collective: library_named(stack, name, chip) for collective, name in stack.runs.items() if collective != "any"}
    special = {collective: usual_library(stack, vendor, collective) for collective in ("dispatch", "combine")}
    kernels = {collective: library_named(stack, name, chip) for collective, name in special.items() if name != GENERIC}
    return Libraries(usual, named, kernels)


def usual_library(stack: Assumptions, vendor: str, collective: str = "") -> str:
    """The name of the library that runs a collective on a vendor's chips unless told otherwise."""
    ours = [(name, spec) for name, spec in stack.libraries.items() if vendor in spec.vendors]
    special = [name for name, spec in ours if collective in spec.collectives]
    return next(iter([*special, *(name for name, spec in ours if not spec.collectives)]), GENERIC)


def library_named(stack: Assumptions, name: str, chip: str) -> Library:
    """A library of the assumptions as the network knows it, on one chip. InputError for a name that is not known."""
    if name == WIRE:
        return Library.plain(WIRE)
    if name == GENERIC:
        return Library.plain(GENERIC, stack.library.launch.value, stack.library.step.value)
    known = stack.libraries
    if name not in known:
        names = [*known, GENERIC, WIRE]
        raise InputError("unknown library", got=name, do=suggest(name, names, "libraries"), path="library")
    spec: CollectiveLibrary = known[name]
    protocols = {
        algorithm: tuple(_protocol(protocol, costs) for protocol, costs in table.items())
        for algorithm, table in spec.protocols.items()
    }
    reach = spec.links[chip].value if chip in spec.links else 1.0
    networks = {tier: figure.value for tier, figure in spec.networks.items()}
    return Library(name, protocols, spec.family, reach, chip in spec.in_switch, networks)


def _protocol(name: str, costs: ProtocolCosts) -> Protocol:
    return Protocol(name, costs.launch.value, costs.inside.value, costs.outside.value, costs.share.value, costs.ramp.value)
