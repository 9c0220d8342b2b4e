"""How tokens choose experts in a job: what ``training.router`` of a scenario may say.

One word (``balanced``) or a mapping with ``kind`` and what belongs to it:

| kind | says | who departs from the mean |
|---|---|---|
| balanced | | nobody |
| zipf | exponent, placement | expert number r (from 1) is chosen in proportion to r ** -exponent |
| hot-expert | factor | one expert gets ``factor`` times the mean |
| hot-rank | factor | the experts of one rank together get ``factor`` times the mean |
| spread | factor, ranks | the same of several ranks, evenly spaced over the group |
| zero-load-rank | ranks [1] | so many ranks get no token at all |
| ragged | least, ranks [half] | so many sources hold only ``least`` of a rank's tokens, the rest is padding |
| rotating | factor, ranks [all] | one hot rank, another one with every micro-batch |
| burst | factor, every, length [1] | one hot rank during ``length`` of every ``every`` micro-batches |
| table | file | token counts by layer, micro-batch and expert |

Any of them may have a ``capacity_factor``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import PlanError

Kind = Literal["balanced", "zipf", "hot-expert", "hot-rank", "spread", "zero-load-rank", "ragged", "rotating", "burst", "table"]

#: What each kind needs, and what else it may have.
PARAMETERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "balanced": ((), ()),
    "zipf": (("exponent",), ("placement",)),
    "hot-expert": (("factor",), ()),
    "hot-rank": (("factor",), ()),
    "spread": (("factor", "ranks"), ()),
    "zero-load-rank": ((), ("ranks",)),
    "ragged": (("least",), ("ranks",)),
    "rotating": (("factor",), ("ranks",)),
    "burst": (("factor", "every"), ("length",)),
    "table": (("file",), ()),
}


class RouterLoad(Spec):
    """The load of a job's experts. Ranks and experts are those of one expert-parallel group; all groups are alike.

    ``factor``: load over the mean of the group. ``placement``: whether popular experts lie together (``contiguous``:
    experts 1, 2, ... fill the first rank, then the second) or are ``dealt`` out to the ranks one by one.
    ``capacity_factor``: an expert takes at most so many times the mean number of tokens, and drops the others.
    ``redundant_experts``: places for copies of hot experts in a group, beside those of the experts (workloads/spare_experts.py).
    """

    kind: Kind = "balanced"
    factor: float | None = Field(default=None, ge=1.0, allow_inf_nan=False)
    exponent: float | None = Field(default=None, ge=0.0, le=10.0, allow_inf_nan=False)
    placement: Literal["contiguous", "dealt"] | None = None
    ranks: int | None = Field(default=None, ge=1)
    least: float | None = Field(default=None, ge=0.0, le=1.0, allow_inf_nan=False)
    every: int | None = Field(default=None, ge=1)
    length: int | None = Field(default=None, ge=1)
    file: str | None = None
    capacity_factor: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    redundant_experts: int | None = Field(default=None, ge=1)


def router_load(router: str | RouterLoad | None) -> RouterLoad:
    """The load that one word, a mapping or nothing stands for.

    Raises PlanError where a kind lacks what it needs, or is given what belongs to another.
    """
    load = router if isinstance(router, RouterLoad) else RouterLoad.model_validate({"kind": router or "balanced"})
    needed, allowed = PARAMETERS[load.kind]
    known = dict.fromkeys(name for names in PARAMETERS.values() for part in names for name in part)
    for name in needed:
        if getattr(load, name) is None:
            says = ", ".join(f"{each}: ..." for each in needed)
            raise PlanError(
                f"a {load.kind} router needs {name}", do=f"Write {{kind: {load.kind}, {says}}}.", path="training.router"
            )
    for name in known:
        given = getattr(load, name)
        if given is not None and name not in (*needed, *allowed):
            says = ", ".join((*needed, *allowed)) or "nothing more"
            raise PlanError(
                f"a {load.kind} router has no {name}",
                got=given,
                do=f"Leave it out; this kind has {says}.",
                path=f"training.router.{name}",
            )
    if load.kind == "burst" and (load.length or 1) > (load.every or 1):
        raise PlanError(
            "a burst cannot be longer than its period",
            got=load.length,
            do=f"Use at most {load.every}.",
            path="training.router.length",
        )
    return load
