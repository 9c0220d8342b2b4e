"""What kind of run a case is: the classes that are scored apart, for one number over all of them hides where it is wrong.

Dense models stress other parts of a prediction than mixtures of experts, and experts whose traffic stays inside a box of
eight chips others than those that leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import topologies
import workloads
from simulator.scenario import Scenario
from simulator.spec.errors import SupernodeError
from topologies.system import System
from workloads.accounting.precision import is_quantised

BOX = 8
"""Chips of a conventional server. Experts on a machine whose scale-up domains are larger count as ``across``."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The classes of one run; None where its machine or model is not known.

    ``across``: experts over more than one scale-up domain, or on a machine whose domains are larger than a box.
    ``fused``: whether the plan says that experts' kernels are fused, in a precision that has such.
    """

    vendor: str | None = None
    moe: bool | None = None
    across: bool | None = None
    fused: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The scores that this run counts in."""
        if self.moe is None:
            return ()
        if not self.moe:
            return ("dense",)
        return ("moe", "moe_across_nodes") if self.across else ("moe",)


UNKNOWN = Traits()


def traits_of(scenario: Scenario | None) -> Traits:
    """The classes of a scenario; unknown where it, its machine or its model cannot be loaded."""
    if scenario is None:
        return UNKNOWN
    try:
        system = _system(scenario.cluster.system)
        moe = workloads.load(scenario.model).has_experts
    except SupernodeError:  # whoever runs the scenario says what is wrong with it
        return UNKNOWN
    fused = scenario.plan.expert_kernels == "fused" and is_quantised(scenario.training.precision)
    return Traits(system.chip.vendor, moe, moe and _leaves_a_box(scenario, system), fused)


def _leaves_a_box(scenario: Scenario, system: System) -> bool:
    """Whether expert traffic leaves a domain, or the domain is larger than a box."""
    if system.chips > BOX:
        return True
    each = scenario.cluster.chips_per_domain or min(system.chips, scenario.cluster.chips or system.chips)
    plan = scenario.plan
    return (plan.ep or 1) * (plan.etp or 1) > each * system.chip.ranks_per_chip


@cache
def _system(name: str) -> System:
    return topologies.load(name)
