"""Machines folded under a plan, kept from one question to the next: another batch or another price meets the same flows.

All that a program sends is asked of a fold before anything runs, in the order of the program. So its classes of links and flows
are the same whatever came before, and whoever asks for the same finds them made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

from simulator.network.collectives.library import Libraries
from simulator.network.contract import Placement
from simulator.network.fold import Fold
from topologies.fabric import Fabric
from workloads.instructions import Communication, Program, RankProgram

_Asked = tuple[tuple[tuple[Communication, ...], ...], tuple[tuple[int, int], ...], float]
_Machine = tuple[Placement, Libraries, Mapping[str, str], Sequence[str], Sequence[int]]

_KEPT: deque[tuple[Fabric, _Machine, _Asked, Fold]] = deque(maxlen=4)
"""Those that were asked for last."""


def folded(
    fabric: Fabric,
    groups: Placement,
    program: Program,
    *,
    libraries: Libraries,
    algorithms: Mapping[str, str],
    ordered: Sequence[str],
) -> Fold:
    """A fold of a machine without defects, asked for all that a program sends; the very same for what was asked lately."""
    machine = groups, libraries, dict(algorithms), tuple(ordered), program.load_classes
    asked = _asked(program)
    for known, under, had, fold in tuple(_KEPT):  # others may ask meanwhile, on other threads
        if known is fabric and had == asked and under == machine:
            return fold
    fold = Fold(fabric, groups, libraries=libraries, algorithms=algorithms, ordered=ordered, loads=program.load_classes)
    _ask(fold, program, asked)
    _KEPT.append((fabric, machine, asked, fold))
    return fold


def forget() -> None:
    """Begin anew."""
    _KEPT.clear()


def collectives(rank: RankProgram) -> tuple[Communication, ...]:
    """The collectives in a rank's program, each once, in its order."""
    found: dict[Communication, None] = {}
    for block in (rank.prologue, *rank.blocks.values(), rank.epilogue):
        found.update(dict.fromkeys(block.communications))
    return tuple(found)


def _asked(program: Program) -> _Asked:
    """What every rank program sends, from which pipeline rank to which mail goes, and how much [B]."""
    pairs = {
        pair: None
        for owners in program.rank_of
        for one, other in pairwise(owners)
        if one != other
        for pair in ((one, other), (other, one))
    }
    return tuple([collectives(rank) for rank in program.ranks]), tuple(pairs), program.boundary_bytes


def _ask(fold: Fold, program: Program, asked: _Asked) -> None:
    by_rank, pairs, payload = asked
    of_program = {id(rank): sent for rank, sent in zip(program.ranks, by_rank, strict=True)}
    for rank_class in fold.rank_classes:
        for communication in of_program[id(program.of(rank_class.pp_rank, rank_class.load_class))]:
            fold.collective(rank_class.key, communication)
        for source, target in pairs:
            if source == rank_class.pp_rank:
                fold.send(rank_class.key, target, payload)
