"""What ranks that wait for each other lose to the slowest of them.

No two chips of a machine are equally fast: silicon and cooling differ, and under a power limit so do clocks; hosts have hiccups of
their own. Ranks of one job meet at every collective, so a step goes by its slowest rank. What ranks take more than the fastest one
has a long tail (of 8 % between the whiskers of a machine's GPUs, and outliers at half as much again as the median: Sinha et al.,
SC22, arXiv 2208.11035); with an exponential one

    time of the slowest of n ranks / time of the average one = 1 + spread x (1/2 + 1/3 + ... + 1/n)

where ``spread`` is the relative standard deviation from rank to rank: the expected largest of n exponential values is the n-th
harmonic number of their mean.
Leaves out: which rank it is, and that it may stand where the step has slack (a stage that is waited for by nobody).

>>> round(Slowest(0.02, slot=1, pipeline=4, job=1024).in_pipeline, 4)
1.0217
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.resolved import ResolvedPlan


@dataclass(frozen=True, slots=True)
class Slowest:
    """How much longer than the average rank the slowest one takes, of those who meet in a slot, in a pipeline and in a job.

    ``slot``, ``pipeline``, ``job``: how many ranks those are.
    """

    spread: float = 0.0
    slot: int = 1
    pipeline: int = 1
    job: int = 1

    @classmethod
    def of(cls, plan: ResolvedPlan, spread: float) -> Slowest:
        """Those of a plan: slots hold collectives of tp, cp and ep, and of dp where parameters are gathered for each layer."""
        stage = plan.tp * plan.cp * plan.dp
        slot = stage if plan.zero >= 3 else min(stage, max(plan.tp * plan.cp, plan.ep * plan.etp))
        return cls(spread, slot, slot * plan.pp, stage * plan.pp)

    @property
    def in_slot(self) -> float:
        """Of those who meet in the collectives of a slot [time over that of the average rank]."""
        return self._of(self.slot)

    @property
    def in_pipeline(self) -> float:
        """Of those who also wait for each other's mail."""
        return self._of(self.pipeline)

    @property
    def in_job(self) -> float:
        """Of all, who meet in the update."""
        return self._of(self.job)

    def _of(self, ranks: int) -> float:
        return 1.0 + self.spread * float(np.sum(1.0 / np.arange(2, ranks + 1)))


ALIKE = Slowest()
"""Ranks that all take the same time."""
