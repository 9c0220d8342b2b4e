"""Which algorithm a library would pick for a collective on a group, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simulator.network.collectives.direct import direct
from simulator.network.collectives.dispatch import one_copy_per_domain
from simulator.network.collectives.halving_doubling import halving_doubling
from simulator.network.collectives.hierarchical import hierarchical
from simulator.network.collectives.pattern import Algorithm, levels
from simulator.network.collectives.ring import ring
from simulator.spec.errors import InputError
from topologies.fabric import Ints
from workloads.instructions import Communication

ALGORITHMS: dict[str, Algorithm] = {
    "direct": direct,
    "hierarchical": hierarchical,
    "one-copy-per-domain": one_copy_per_domain,
    "ring": ring,
    "halving-doubling": halving_doubling,
}
COLLECTIVES = ("all-to-all", "dispatch", "combine", "all-gather", "reduce-scatter", "all-reduce")


def check_overrides(overrides: Mapping[str, str], groups: Iterable[str]) -> None:
    """Refuse a choice that nothing would ever look up: a collective, a group or an algorithm that does not exist."""
    known = tuple(groups)
    for key, algorithm in overrides.items():
        collective, _, group = key.partition(":")
        for what, name, names in (
            ("collective", collective, COLLECTIVES),
            ("group", group or known[0], known),
            ("algorithm", algorithm, tuple(ALGORITHMS)),
        ):
            if name not in names:
                raise InputError(
                    f"there is no {what} of this name",
                    got=name,
                    do=f"Choose one of {', '.join(names)}.",
                    path=f"network.algorithms.{key}",
                )


def choose(communication: Communication, members: Ints, domain: int, overrides: Mapping[str, str]) -> str:
    """Name of the algorithm in :data:`ALGORITHMS`.

    Direct inside one scale-up domain. Across domains: hierarchical for all-gather, reduce-scatter and all-reduce, one copy
    per domain for a dispatch or combine that says ``deduplicate``, direct for the other all-to-alls and for
    groups that do not hold the same places in each domain (except that one copy per domain is then refused).
    ``overrides`` maps "all-reduce" or "all-reduce:tp" (collective:group) to an algorithm; the longer key wins.
    """
    collective = communication.collective
    if collective not in COLLECTIVES:
        raise InputError("unknown collective", got=collective, do=f"Choose one of {', '.join(COLLECTIVES)}.")
    wanted = overrides.get(f"{collective}:{communication.group}", overrides.get(collective))
    if wanted is not None:
        if wanted not in ALGORITHMS:
            raise InputError(f"unknown algorithm for {collective}", got=wanted, do=f"Choose one of {', '.join(ALGORITHMS)}.")
        return wanted
    if members[0] // domain == members[-1] // domain:
        return "direct"
    if collective in ("dispatch", "combine") and communication.deduplicate:
        return "one-copy-per-domain"
    if collective in ("all-to-all", "dispatch", "combine") or levels(members, int(members[0]), domain) is None:
        return "direct"
    return "hierarchical"
