"""Which algorithm a library would pick for a collective on a group, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simulator.network.collectives.dimensions import Axis, along_dimensions, sides
from simulator.network.collectives.direct import direct
from simulator.network.collectives.dispatch import one_copy_per_domain
from simulator.network.collectives.halving_doubling import halving_doubling
from simulator.network.collectives.hierarchical import hierarchical, hierarchical_serial
from simulator.network.collectives.in_switch import in_switch
from simulator.network.collectives.library import Library
from simulator.network.collectives.pattern import Algorithm, Pattern, levels
from simulator.network.collectives.rail_rings import rail_rings
from simulator.network.collectives.ring import ring
from simulator.network.collectives.tree import binomial, double_tree
from simulator.spec.errors import InputError
from topologies.fabric import Ints
from workloads.instructions import Communication

ALGORITHMS: dict[str, Algorithm] = {
    "direct": direct,
    "hierarchical": hierarchical,
    "hierarchical-serial": hierarchical_serial,
    "one-copy-per-domain": one_copy_per_domain,
    "ring": ring,
    "rings": rail_rings,
    "tree": double_tree,
    "binomial-tree": binomial,
    "in-switch": in_switch,
    "halving-doubling": halving_doubling,
}

SKEWED = ("direct", "one-copy-per-domain")
"""Algorithms that know what to do with a dispatch or combine in which some ranks send or get more than others."""

DIMENSIONS = "dimensions"
"""The algorithm that goes along all dimensions of the machine; it has to know them."""

NAMES = (*ALGORITHMS, DIMENSIONS)

COLLECTIVES = ("all-to-all", "dispatch", "combine", "all-gather", "reduce-scatter", "all-reduce", "broadcast", "send-recv")


def check_overrides(overrides: Mapping[str, str], groups: Iterable[str]) -> None:
    """Refuse a choice that nothing would ever look up: a collective, a group or an algorithm that does not exist."""
    known = tuple(groups)
    for key, algorithm in overrides.items():
        collective, _, group = key.partition(":")
        for what, name, names in (
            ("collective", collective, COLLECTIVES),
            ("group", group or known[0], known),
            ("algorithm", algorithm, NAMES),
        ):
            if name not in names:
                raise InputError(
                    f"there is no {what} of this name",
                    got=name,
                    do=f"Choose one of {', '.join(names)}.",
                    path=f"network.algorithms.{key}",
                )


def pattern_of(
    algorithm: str, members: Ints, rank: int, communication: Communication, domain: int, axes: tuple[Axis, ...]
) -> Pattern:
    """What one rank does under an algorithm, by name; ``axes`` are the dimensions by which the machine counts its devices."""
    if algorithm == DIMENSIONS:
        return along_dimensions(members, rank, communication, axes, domain)
    return ALGORITHMS[algorithm](members, rank, communication, domain)


def choose(communication: Communication, members: Ints, domain: int, overrides: Mapping[str, str]) -> str:
    """Name of the algorithm in :data:`ALGORITHMS`.

    Direct inside one scale-up domain. Across domains: hierarchical for all-gather, reduce-scatter and all-reduce, one copy
    per domain for a dispatch or combine that says ``deduplicate``, direct for the other all-to-alls and for
    groups that do not hold the same places in each domain. A broadcast takes the double tree, or one ring
    where its group does not; a send-recv goes to the neighbour in the ring.
    ``overrides`` maps "all-reduce" or "all-reduce:tp" (collective:group) to an algorithm; the longer key wins.
    """
    collective = communication.collective
    if collective not in COLLECTIVES:
        raise InputError("unknown collective", got=collective, do=f"Choose one of {', '.join(COLLECTIVES)}.")
    wanted = overrides.get(f"{collective}:{communication.group}", overrides.get(collective))
    if wanted is not None:
        if wanted not in NAMES:
            raise InputError(f"unknown algorithm for {collective}", got=wanted, do=f"Choose one of {', '.join(NAMES)}.")
        return wanted
    if collective in ("broadcast", "send-recv"):
        even = collective == "broadcast" and levels(members, int(members[0]), domain) is not None
        return "tree" if even else "ring"
    if members[0] // domain == members[-1] // domain:
        return "direct"
    if collective in ("dispatch", "combine") and communication.deduplicate:
        return "one-copy-per-domain"
    if collective in ("all-to-all", "dispatch", "combine") or levels(members, int(members[0]), domain) is None:
        return "direct"
    return "hierarchical"


def candidates(
    library: Library,
    communication: Communication,
    members: Ints,
    domain: int,
    overrides: Mapping[str, str],
    axes: tuple[Axis, ...] = (),
) -> tuple[str, ...]:
    """The algorithms among which a library takes the fastest; one only where it has no choice or is given none.

    ``rings`` (NCCL, RCCL): rings for everything but all-reduce, which may also take the double tree between domains or, where
    the switches of a domain add, reduction in the switch. ``dimensions`` (XLA): all dimensions at once, where
    the group is a block of them and one is a ring. ``one-copy-per-domain`` (DeepEP): that. ``levels``, and whatever is
    none of these: as in :func:`choose`: HCCL's mesh inside a server and its pipeline of both levels between servers, pairwise
    all-to-all. Sources: NCCL src/graph/tuning.cc; the HCCL_ALGO page of the CANN documentation; the DeepEP README.
    """
    collective = communication.collective
    if f"{collective}:{communication.group}" in overrides or collective in overrides:
        return (choose(communication, members, domain, overrides),)
    crosses = members[0] // domain != members[-1] // domain
    experts = collective in ("dispatch", "combine")
    if library.family == "one-copy-per-domain" and experts and crosses and communication.top_k:
        return ("one-copy-per-domain",)
    rings = collective in ("all-gather", "reduce-scatter", "all-reduce", "broadcast")
    if library.family == DIMENSIONS and collective in ("all-gather", "reduce-scatter", "all-reduce"):
        block = sides(members, axes)
        if block is not None and any(axes[place].ring for place, _ in block):
            return (DIMENSIONS,)
    cut = levels(members, int(members[0]), domain) if library.family == "rings" and rings else None
    if cut is None:
        return (choose(communication, members, domain, {}),)
    found = ["rings"]
    if collective == "all-reduce":
        if crosses:
            found.append("tree")
        if library.switches_add and cut.within > 1:
            found.append("in-switch")
    return tuple(found)
