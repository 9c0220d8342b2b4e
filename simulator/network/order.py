"""Algorithms that follow the order of ranks (a ring, a tree with a root) survive few of the swaps that a folding makes."""

from __future__ import annotations

import numpy as np

from simulator.network.collectives.pattern import Pattern
from simulator.network.orbits import Orbits
from simulator.spec.errors import NotModelled
from topologies.fabric import Ints
from workloads.instructions import Communication


def require_order(orbits: Orbits, members: Ints, pattern: Pattern, communication: Communication) -> None:
    """Refuse a folding that makes more swaps than the pattern survives."""
    if pattern.survives == "swaps":
        return
    coordinates = orbits.coordinates[members]
    moved = [
        part
        for column, part in enumerate(orbits.parts)
        if part.size > 1 and np.any(coordinates[:, column] != coordinates[0, column])
    ]
    if pattern.survives == "turns":
        fine = all(part.symmetry == "none" for part in moved[:-1]) and (moved[-1].symmetry != "full" or moved[-1].size == 2)
    else:
        pairs = pattern.survives == "flips"  # a swap of two is a flip of their bit
        fine = all(part.symmetry == "none" or (pairs and part.size == 2) for part in moved)
    if not fine:
        raise NotModelled(
            f"{communication.name}: an algorithm that follows the order of ranks needs it kept along {communication.group}. "
            f"Ask for a ring by its group (network.algorithms: {{{communication.collective}:{communication.group}: ring}}); "
            "halving-doubling and a tree with a root need every rank simulated by itself (symmetric=False)."
        )
