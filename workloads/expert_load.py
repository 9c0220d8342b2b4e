"""How many tokens each expert gets: what the router does to the ranks of an expert-parallel group.

Leaves out: any imbalance (skewed, hot experts, given tables); a plan that asks for it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.model import MixtureOfExperts


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """What the experts of one rank process for one micro-batch.

    ``tokens``: token copies over all its experts, those of its etp group gathered; ``experts``: how many experts it holds.
    """

    tokens: float
    experts: float


def balanced(moe: MixtureOfExperts, local_tokens: float, ep: int, etp: int) -> ExpertLoad:
    """Every expert gets equally many tokens.

    Each rank routes ``local_tokens`` to top_k experts each; over the ep ranks of a group they spread evenly, so a rank
    receives as many copies as it sends, and the etp ranks that share its experts gather theirs together.

    >>> balanced(MixtureOfExperts(experts=384, top_k=6, width=3072), 4096, ep=64, etp=1)
    ExpertLoad(tokens=24576.0, experts=6.0)
    """
    return ExpertLoad(float(local_tokens * moe.top_k * etp), moe.experts / ep)
