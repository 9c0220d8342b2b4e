"""Which part of a machine a job uses: a whole box of it, so that every rank sees the same surroundings.

A job fills the machine innermost tier first: boards, then cabinets, then SuperPoDs. ``chips_per_domain`` takes only that
many chips of each scale-up domain (64 of an NVL72's 72). A job in several domains without it takes whole domains or,
where that does not divide, the system's ``usual_chips_per_domain``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from simulator.spec.errors import TopologyError


def units_used(
    name: str,
    domain: Sequence[int],
    beyond: Sequence[int],
    chips: int | None = None,
    chips_per_domain: int | None = None,
    usual_chips_per_domain: int | None = None,
) -> tuple[int, ...]:
    """Units of every tier that a job of ``chips`` uses; ``domain`` and ``beyond`` are the sizes of the scale-up and
    scale-out tiers, innermost first. Default: one whole domain.

    >>> units_used("atlas", (8, 8, 128), (64,), chips=256)
    (8, 8, 4, 1)
    >>> units_used("nvl72", (72,), (1024,), chips=1152, chips_per_domain=64)
    (64, 18)
    """
    whole = prod(domain)
    chips = (chips_per_domain or whole) if chips is None else chips
    if chips < 1:
        raise TopologyError("a job uses at least one chip", got=chips, path="chips")
    if chips_per_domain is not None and not 1 <= chips_per_domain <= whole:
        raise TopologyError(
            f"chips_per_domain lies between 1 and the {whole} chips of a domain of {name}",
            got=chips_per_domain,
            path="chips_per_domain",
        )
    each = chips_per_domain or _chips_in_each(chips, whole, usual_chips_per_domain)
    most = each * prod(beyond)
    if chips > most:
        raise TopologyError(f"{name} has at most {most} chips", got=chips, do=f"Use at most {most}.", path="chips")
    if chips < each:
        raise TopologyError(
            f"chips_per_domain must not exceed the job's chips ({chips})",
            got=each,
            do=f"Use at most {chips}.",
            path="chips_per_domain",
        )
    inside = _fill(domain, each, name, "chips_per_domain" if chips_per_domain else "chips")
    if chips % each:
        near = _phrase([legal * each for legal in _nearest(beyond, chips // each, chips // each + 1)])
        hint = "" if chips_per_domain else " or set chips_per_domain"
        raise TopologyError(
            f"a job in several domains uses {each} chips of each", got=chips, do=f"Use {near} chips{hint}.", path="chips"
        )
    return inside + _fill(beyond, chips // each, name, "chips", each)


def largest_divisor(count: int, most: int) -> int:
    """The largest divisor of ``count`` that is at most ``most``: units spread evenly over as few leaves as they can.

    >>> largest_divisor(48, 32), largest_divisor(37, 32)
    (24, 1)
    """
    return next(size for size in range(min(count, most), 0, -1) if count % size == 0)


def _chips_in_each(chips: int, whole: int, usual: int | None) -> int:
    if chips <= whole:
        return chips
    if chips % whole and usual and chips % usual == 0:
        return usual
    return whole


def _fill(sizes: Sequence[int], count: int, name: str, path: str, each: int = 1) -> tuple[int, ...]:
    """Units of each tier, innermost first: full tiers, then part of one, then one unit."""
    units: list[int] = []
    rest = count
    for size in sizes:
        if rest >= size and rest % size:
            near = _phrase([legal * each for legal in _nearest(sizes, count, count)])
            raise TopologyError(f"the chips of a job fill a whole box of {name}", got=count * each, do=f"Use {near}.", path=path)
        units.append(min(rest, size))
        rest = rest // size if rest >= size else 1
    return tuple(units)


def _nearest(sizes: Sequence[int], floor: int, ceiling: int) -> list[int]:
    """The largest number up to ``floor`` and the smallest from ``ceiling`` on that fill a box, where there are such."""
    lower, upper, below = 0, 0, 1
    for size in sizes:
        if below <= floor:
            lower = max(lower, below * min(size, floor // below))
        if ceiling <= below * size:
            most = below * max(1, -(-ceiling // below))
            upper = min(upper, most) if upper else most
        below *= size
    return [number for number in (lower, upper) if number]


def _phrase(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, sorted(set(numbers))))
