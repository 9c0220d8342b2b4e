"""A part of the parameters updated by the host: gradients go down, the host's processors update, parameters come up.

For a parameter the host gets its gradient (in the accumulator's precision), reads and writes master weight and both moments, and
sends back the 16-bit weight, or the master weight where that stays on the chip (``offload.master`` false, as in Megatron-LM,
whose host keeps a copy of it to work on). With ``overlap`` the three follow each other layer by layer, beside what the chip
updates itself; without, each is over before the next begins.

Leaves out: clipping by the norm of all gradients, which would wait for the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workloads.chain import Chain
from workloads.instructions import HostLane
from workloads.memory import owned_parameters
from workloads.pieces import Piece
from workloads.resolved import ResolvedPlan
from workloads.traffic import Traffic

WEIGHT = 2.0
"""Bytes of the weight that comes up where the master copy stays below: 16 bits."""


@dataclass(frozen=True, slots=True)
class HostBytes:
    """Bytes a parameter: ``down``, ``up``, and what the host reads and writes to update it."""

    down: float
    update: float
    up: float

    @classmethod
    def of(cls, plan: ResolvedPlan) -> HostBytes:
        """Of a plan's AdamW.

        fp32 all through: 4 down, 4 + 2 x (4 + 8) + 4 moved by the host, 4 up.
        """
        state = plan.state
        up = WEIGHT if plan.offload.master or not state.master else state.master
        kept = (state.master or WEIGHT) + 2.0 * state.moment
        return cls(state.gradients, state.gradients + 2.0 * kept + up, up)


class HostUpdate:
    """The update of one rank's share of these pieces by its host."""

    def __init__(self, traffic: Traffic, pieces: Sequence[Piece]) -> None:
        self.plan = traffic.plan
        self.each = HostBytes.of(traffic.plan)
        self.names = [piece.name for piece in pieces]
        self.elements = [owned_parameters(traffic, [piece]).total * traffic.plan.offload.optimizer for piece in pieces]
        self._home: list[str] = []
        self._down: dict[int, str] = {}

    def leave(self, chain: Chain, index: int, after: str, token: str) -> None:
        """Send a piece's gradients down as soon as they are reduced (``after``)."""
        for started in chain.begin(
            self.names[index], HostLane.TO, self.elements[index] * self.each.down, after=after, token=token
        ):
            self._down[index] = started

    def begin(self, chain: Chain) -> None:
        """Begin what is to run beside the chip's own update."""
        if not self.plan.offload.overlap:
            return
        for index in reversed(range(len(self.names))):
            if index not in self._down:
                self.leave(chain, index, "", f"host gradients {index}")
        for index in reversed(range(len(self.names))):
            if index in self._down:
                self._home += self._pass_on(chain, index)

    def finish(self, chain: Chain) -> None:
        """Wait until all parameters are updated and up."""
        if self.plan.offload.overlap:
            chain.wait(self._home)
            return
        total = sum(self.elements)
        for lane, each in ((HostLane.TO, self.each.down), (HostLane.UPDATE, self.each.update), (HostLane.FROM, self.each.up)):
            chain.wait(chain.begin("optimizer", lane, total * each))

    def _pass_on(self, chain: Chain, index: int) -> tuple[str, ...]:
        name, elements = self.names[index], self.elements[index]
        (updated,) = chain.begin(name, HostLane.UPDATE, elements * self.each.update, after=self._down[index])
        return chain.begin(name, HostLane.FROM, elements * self.each.up, after=updated)
