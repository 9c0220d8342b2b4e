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


def chips_of_slice(chips: int | None, chips_per_domain: int | None, slices: int | None, whole: int) -> int | None:
    """``chips_per_domain`` of a job of several slices; TopologyError if the slices are not equal.

    >>> chips_of_slice(12288, None, 2, 8960)
    6144
    """
    if slices is None:
        return chips_per_domain
    if slices < 1:
        raise TopologyError("a job has at least one slice", got=slices, path="slices")
    if chips is None:
        return chips_per_domain or whole
    if chips % slices or (chips_per_domain and chips_per_domain * slices != chips):
        near = max(1, chips // slices) * slices
        raise TopologyError(f"the {slices} slices of a job are equal", got=f"{chips} chips", do=f"Use {near}.", path="slices")
    return chips // slices


def largest_divisor(count: int, most: int) -> int:
    """The largest divisor of ``count`` that is at most ``most``: units spread evenly over as few leaves as they can.

    >>> largest_divisor(48, 32), largest_divisor(37, 32)
    (24, 1)
    """
    return next(size for size in range(min(count, most), 0, -1) if count % size == 0)


def slice_sides(units: int, whole: Sequence[int], cube: int | None = None) -> tuple[int, ...]:
    """The sides of the part of a torus that a job of ``units`` takes: as near to a cube as they can be.

    Switched together from cubes it takes whole ones (of less than one, a part whose sides divide it); otherwise a box within the
    machine's sides. TopologyError with the nearest numbers for which there is one.

    >>> slice_sides(6144, (16, 20, 28), cube=4), slice_sides(32, (16, 16)), slice_sides(8, (16, 20, 28), cube=4)
    ((16, 16, 24), (4, 8), (2, 2, 2))
    """
    if units == prod(whole):
        return tuple(whole)
    found = _slice(units, whole, cube)
    if found is None:
        counts = range(1, prod(whole) + 1)
        lower = next(count for count in reversed(counts[: units - 1]) if _slice(count, whole, cube))
        upper = next((count for count in counts[units:] if _slice(count, whole, cube)), prod(whole))
        sides = "x".join(map(str, whole))
        raise TopologyError(
            f"no part of a {sides} torus has so many units", got=units, do=f"Use {_phrase([lower, upper])}.", path="chips"
        )
    return found


def _slice(units: int, whole: Sequence[int], cube: int | None) -> tuple[int, ...] | None:
    if cube is None:
        return _nearest_cube(units, tuple(whole), 1)
    unit = cube ** len(whole)
    if units % unit == 0:
        cubes = _nearest_cube(units // unit, (units // unit,) * len(whole), 1)
        return tuple(side * cube for side in cubes) if cubes else None
    return _nearest_cube(units, (cube,) * len(whole), cube)


def _nearest_cube(units: int, most: tuple[int, ...], of: int) -> tuple[int, ...] | None:
    """Factors of ``units`` with the smallest largest one, each at most its ``most`` and, if ``of`` is not 1, a divisor of it."""
    if len(most) == 1:
        return (units,) if units <= most[0] and (of == 1 or of % units == 0) else None
    best: tuple[int, ...] | None = None
    for side in range(1, min(units, most[0]) + 1):
        if units % side or (of > 1 and of % side):
            continue
        rest = _nearest_cube(units // side, most[1:], of)
        if rest is not None and (best is None or _flatness((side, *rest)) < _flatness(best)):
            best = (side, *rest)
    return best


def _flatness(sides: tuple[int, ...]) -> tuple[int, int]:
    return max(sides), sum(sides)


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
