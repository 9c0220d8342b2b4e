"""How fast a chip and its host get at each other's memory: one rank's share.

A copy runs at the smaller of what large copies reach on the link and the chip's share of the host's memory bandwidth, each way;
an update reads and writes state at a share of that memory bandwidth (``host.update`` of the assumptions).
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.assumptions import HostUse
from simulator.spec.errors import NotModelled
from topologies.parts import Chip
from workloads.instructions import HostLane


@dataclass(frozen=True, slots=True)
class HostRates:
    """One rank's share of its host: copies each way [B/s], bytes of state that its processors update [B/s]; 0: not known."""

    copy: float = 0.0
    update: float = 0.0
    missing: str = ""

    @classmethod
    def of(cls, chip: Chip, use: HostUse | None) -> HostRates:
        """What a chip file and the assumptions say."""
        if chip.host is None:
            return cls(missing=f"{chip.name} does not say how it reaches its host: give chip.host (bandwidth, efficiency)")
        copy = chip.host.copy_rate / chip.ranks_per_chip
        if chip.host.memory_bandwidth is None:
            return cls(copy, missing=f"{chip.name} does not say how fast its host's memory is: give chip.host.memory_bandwidth")
        if use is None:
            return cls(copy, missing="the assumptions do not say how well a host updates parameters: give host.update")
        return cls(copy, chip.host.memory_bandwidth.value / chip.ranks_per_chip * use.update.value)

    def rate(self, lane: HostLane) -> float:
        """Of one lane [B/s]. Raises NotModelled with the field to give where nobody says."""
        found = self.update if lane is HostLane.UPDATE else self.copy
        if found <= 0.0:
            raise NotModelled(f"{self.missing}. plan.offload needs it.")
        return found


NO_HOST = HostRates(missing="nothing is known of the chip's host")
