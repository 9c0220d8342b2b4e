"""Two levels: inside the scale-up domain, and among the ranks that hold the same place in each domain (a rail).

Both levels are pipelined against each other, so they run at once, each with its own bytes. With g ranks of the group
in each of G domains, n = g G, and payload S (conventions of ``Communication``), one rank sends

- all-gather, reduce-scatter: S / g to each of g - 1 inside, S / n to each of G - 1 outside. Outside it handles only its
  own slice of S / g, of which (G - 1) / G leaves: the bytes of rail-aligned rings. All-reduce: both, twice.
- all-to-all, dispatch, combine: what is for place i of another domain goes over my rail first or last: S / G to each of
  G - 1 outside, S / g to each of g - 1 inside.

``hierarchical-serial`` moves the same bytes level after level: reduce-scatter inside, then the exchange of slices
outside (2 ceil(log2 G) steps for an all-reduce, as the recursive algorithms of HCCL take), then all-gather inside; an
all-to-all first inside, then outside.

Leaves out: the start-up of the pipeline between levels (one chunk's time), paid as one extra step of latency.
"""

from __future__ import annotations

from simulator.network.collectives.pattern import ANYWHERE, Exchange, Levels, Pattern, levels, refusal
from topologies.fabric import Ints
from workloads.instructions import Communication


def hierarchical(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """The two exchanges of one collective, at once; see the module."""
    if communication.collective in ANYWHERE:
        raise refusal(communication, f"a two-level {communication.collective} is not modelled")
    cut = cut_by_domain(members, rank, communication, domain)
    size = len(members)
    if communication.collective in ("all-to-all", "dispatch", "combine"):
        outside = communication.payload / cut.across
    else:
        outside = communication.payload / size
    inside = communication.payload / cut.within
    rounds = 2 if communication.collective == "all-reduce" else 1
    return Pattern((two_levels(cut, inside * rounds, outside * rounds, rounds),))


def hierarchical_serial(members: Ints, rank: int, communication: Communication, domain: int) -> Pattern:
    """One exchange after the other; see the module."""
    if communication.collective not in ("all-gather", "reduce-scatter", "all-reduce", "all-to-all"):
        raise refusal(communication, f"no level by level {communication.collective} is modelled")
    cut = cut_by_domain(members, rank, communication, domain)
    steps = (cut.across - 1).bit_length()
    slices = communication.payload / (cut.across if communication.collective == "all-to-all" else len(members))
    inside = (Exchange(cut.inner, communication.payload / cut.within),) if len(cut.inner) else ()
    outside = (Exchange(cut.outer, slices, steps),) if len(cut.outer) else ()
    twice = (Exchange(cut.outer, 2 * slices, 2 * steps),) if len(cut.outer) else ()
    phases = {
        "all-gather": (outside, inside),
        "reduce-scatter": (inside, outside),
        "all-to-all": (inside, outside),
        "all-reduce": (inside, twice, inside),
    }
    return Pattern(tuple(phase for phase in phases[communication.collective] if phase))


def cut_by_domain(members: Ints, rank: int, communication: Communication, domain: int) -> Levels:
    """The levels of the group. Raises NotModelled where its domains do not hold the same places."""
    cut = levels(members, rank, domain)
    if cut is None:
        raise refusal(
            communication,
            f"a two-level {communication.collective} needs a group that holds the same places in each domain of {domain} ranks, "
            f"or of a size that the domain divides or is divided by; the {len(members)} ranks of {communication.group} around "
            f"rank {rank} do not",
        )
    return cut


def two_levels(cut: Levels, inside: float, outside: float, steps: int) -> tuple[Exchange, ...]:
    """The exchanges of the levels that have somebody to talk to; ``inside`` and ``outside`` in bytes per peer."""
    exchanges = []
    if len(cut.inner):
        exchanges.append(Exchange(cut.inner, inside, steps))
    if len(cut.outer):
        exchanges.append(Exchange(cut.outer, outside, steps))
    return tuple(exchanges)
