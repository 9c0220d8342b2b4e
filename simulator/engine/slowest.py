"""What ranks that wait for each other lose to the slowest of them.

No two chips of a machine are equally fast: silicon and cooling differ, and under a power limit so do clocks; hosts have hiccups
of their own. Ranks of one job meet at every collective, so a step goes by its slowest rank. With times that are log-normal
around the typical one

    time of the slowest of n ranks / time of a typical one = exp(spread x q(n)),    q(n) = Phi^-1((n - 3/8) / (n + 1/4))

where ``spread`` is the standard deviation of their logarithm and q(n) the expected largest of n standard normal values (Blom
1958: within 1 % from 8 on, 5 % above at 2). Sinha et al. (SC22, arXiv 2208.11035) found 8 % between the whiskers of the GPUs
of one machine, which is a spread of 1.5 %, and up to 22 %.
Leaves out: which rank it is, and that it may stand where the step has slack (a stage that is waited for by nobody).

>>> round(Slowest(0.02, slot=1, pipeline=8, job=1024).in_job, 3)
1.067
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from statistics import NormalDist

from workloads.resolved import ResolvedPlan


@dataclass(frozen=True, slots=True)
class Slowest:
    """How much longer than a typical rank the slowest one takes, of those who meet in a slot, in a pipeline and in a job.

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
        """Of those who meet in the collectives of a slot [time over that of a typical rank]."""
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
        if ranks < 2:
            return 1.0
        return exp(self.spread * NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25)))


ALIKE = Slowest()
"""Ranks that all take the same time."""
