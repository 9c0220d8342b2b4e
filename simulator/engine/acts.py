"""What a rank does before its first slot and after its last, cut where it meets other stages.

Most stages have all their collectives to themselves. But the two copies of a tied embedding are made equal, and under a schedule
of two directions the two ranks that hold the same stages share their update: collectives of several stages, for which each asks
when nothing else of it is under way, and waits at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.engine.itinerary import Scene
from simulator.network.contract import OperationClass
from workloads.instructions import Block, Communication, Instruction, Start, Wait


@dataclass(frozen=True, slots=True)
class Meeting:
    """A collective of several stages."""

    communication: Communication
    operation: OperationClass


Act = Scene | Meeting


def acts(block: Block, operation_of: Callable[[Communication], OperationClass], rank_class: int) -> tuple[Act, ...] | None:
    """A block in parts; None if the rank goes on while others are in what it began."""
    found: list[Act] = []
    part: list[Instruction] = []
    steps = iter(block.instructions)
    for step in steps:
        if isinstance(step, Start):
            operation = operation_of(step.communication)
            if operation.participants != (rank_class,):
                if next(steps, None) != Wait(step.token):
                    return None
                found += [*_scene(block.name, part), Meeting(step.communication, operation)]
                part = []
                continue
        part.append(step)
    return (*found, *_scene(block.name, part))


def _scene(name: str, part: list[Instruction]) -> list[Scene]:
    return [Scene(Block(name, tuple(part)))] if part else []
