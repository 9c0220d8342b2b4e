"""Laws that every run is held against; a broken one stops the run, for a wrong number is worse than none."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.engine.step import program_flops
from simulator.network.contract import Folding
from simulator.network.usage import Usage
from simulator.prepare import Prepared
from simulator.results import Result
from simulator.spec.errors import IdentityBroken
from workloads.instructions import Program

TOLERANCE = 1e-6


def check(prepared: Prepared, folding: Folding, usage: Usage, result: Result, *, met: bool = True) -> None:
    """All identities of one run; ``met``: all traffic shared the links. Raises IdentityBroken with the numbers that disagree."""
    _ranks(prepared, folding)
    _flops(prepared, folding)
    _same("the breakdown's sum and the step time", result.breakdown_s.total(), result.step_time_s)
    if result.step_time_s < result.bounds.best * (1 - TOLERANCE):
        raise IdentityBroken(f"the step of {result.step_time_s} s beats its lower bound of {result.bounds.best} s")
    usage.check(met=met)
    _experts_talk(prepared, result)


def executed(program: Program) -> Iterator[tuple[dict[str, float], float]]:
    """FLOPs by precision and HBM bytes that one rank of each class executes."""
    for rank in program.ranks:
        yield program_flops(rank)


def _ranks(prepared: Prepared, folding: Folding) -> None:
    total = sum(rank_class.size for rank_class in folding.rank_classes)
    if total != prepared.fabric.ranks:
        raise IdentityBroken(f"rank classes hold {total} ranks, the job {prepared.fabric.ranks}")


def _flops(prepared: Prepared, folding: Folding) -> None:
    """What the ranks execute must be what the model says, recompute and optimizer counted apart."""
    sizes: dict[tuple[int, int], int] = {}
    for rank_class in folding.rank_classes:
        key = (rank_class.pp_rank, rank_class.load_class)
        sizes[key] = sizes.get(key, 0) + rank_class.size
    total = 0.0
    for rank in prepared.program.ranks:
        flops, _ = program_flops(rank, optimizer=False)
        total += sum(flops.values()) * sizes[rank.pp_rank, rank.load_class]
    _same("the program's FLOPs and the model's", total, prepared.program.hardware_flops)


def _same(what: str, left: float, right: float) -> None:
    if abs(left - right) > TOLERANCE * max(abs(left), abs(right)):
        raise IdentityBroken(f"{what} differ: {left!r} against {right!r}")


def _experts_talk(prepared: Prepared, result: Result) -> None:
    """A model with experts spread over ranks must move tokens between them."""
    spread = prepared.plan.ep > 1 and prepared.model.has_experts
    if spread and result.network.sent_bytes.get("ep", 0.0) <= 0.0:
        raise IdentityBroken("experts are spread over ranks and no all-to-all traffic exists")
