"""Quantities with units in files, SI floats inside.

A file says ``400 Gbit/s``, ``80 GiB``, ``989 TFLOP/s``, ``1.2 us``; a field typed :data:`BytesPerSecond` holds 5e10.
A number without a unit is refused where a quantity is due: nobody has to guess bits or bytes, GB or GiB.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from simulator.spec.errors import UnitError, Words
from simulator.spec.near import nearest


class Dimension(StrEnum):
    """What a quantity measures; each has one SI unit inside (s, B, B/s, FLOP/s, W) or US dollars."""

    TIME = "time"
    BYTES = "bytes"
    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"
    POWER = "power"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class Scale:
    """One dimension's units: ``units`` may be written, ``shown`` are the (unit, from this value on) that we write.

    ``binary`` units are shown instead when they make the shorter text (80 GiB rather than 85.8993 GB). A value above
    ``ceiling`` belongs to no machine and is a slip of the keyboard.
    """

    noun: str
    units: dict[str, Decimal]
    shown: tuple[tuple[str, float], ...]
    ceiling: float
    examples: tuple[str, ...]
    binary: tuple[tuple[str, float], ...] = ()


def _prefixed(unit: str, prefixes: str, scale: Decimal = Decimal(1)) -> dict[str, Decimal]:
    """``unit`` with each SI prefix of ``prefixes`` ("-" for none) -> its size."""
    power = {"-": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
    return {(letter.strip("-") + unit): scale * Decimal(10) ** power[letter] for letter in prefixes}


def _binary(unit: str) -> dict[str, Decimal]:
    return {f"{letter}i{unit}": Decimal(1024) ** (i + 1) for i, letter in enumerate("KMGTPE")}


def _from_one(units: dict[str, Decimal]) -> tuple[tuple[str, float], ...]:
    """Show each unit from one of it on."""
    return tuple((name, float(size)) for name, size in units.items())


_SECONDS = {name: Decimal(size) for name, size in {"ps": "1e-12", "ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1"}.items()}
_LONG = {"min": Decimal(60), "h": Decimal(3600), "days": Decimal(86400)}
_TIME_NAMES = {"µs": _SECONDS["us"], "μs": _SECONDS["us"], "day": _LONG["days"], "d": _LONG["days"]}
_BYTES = _prefixed("B", "-kMGTPE")
_BYTE_RATES = _prefixed("B/s", "-kMGTPE")
_FLOP_RATES = _prefixed("FLOP/s", "-kMGTPE")
_WATTS = _prefixed("W", "-kMG")
_DOLLARS = {"USD": Decimal(1), "million USD": Decimal(10**6), "billion USD": Decimal(10**9)}

SCALES: dict[Dimension, Scale] = {
    Dimension.TIME: Scale(
        noun="a time",
        units=_SECONDS | _LONG | _TIME_NAMES,
        # 90 s, 45 min and 30 h are how people say it: a longer unit starts later than at one of it.
        shown=(*_from_one(_SECONDS), ("min", 600.0), ("h", 7200.0), ("days", 172800.0)),
        ceiling=3.2e9,  # a century
        examples=("1.2 us", "90 days"),
    ),
    Dimension.BYTES: Scale(
        noun="a number of bytes",
        units=_BYTES | _binary("B"),
        shown=_from_one(_BYTES),
        binary=_from_one(_binary("B")),
        ceiling=1e21,
        examples=("80 GiB", "96 GB"),
    ),
    Dimension.BANDWIDTH: Scale(
        noun="a bandwidth",
        units=_BYTE_RATES | _binary("B/s") | _prefixed("bit/s", "-kMGTP", Decimal(1) / 8),
        shown=_from_one(_BYTE_RATES),
        ceiling=1e21,
        examples=("400 Gbit/s", "392 GB/s"),
    ),
    Dimension.COMPUTE: Scale(
        noun="a rate of computation",
        units=_FLOP_RATES | _prefixed("FLOPS", "-kMGTPE"),
        shown=_from_one(_FLOP_RATES),
        ceiling=1e24,
        examples=("989 TFLOP/s", "4.5 PFLOP/s"),
    ),
    Dimension.POWER: Scale(noun="a power", units=_WATTS, shown=_from_one(_WATTS), ceiling=1e12, examples=("700 W", "1.2 MW")),
    Dimension.MONEY: Scale(
        noun="a price", units=_DOLLARS, shown=_from_one(_DOLLARS), ceiling=1e14, examples=("25000 USD", "3 million USD")
    ),
}

# What people write without saying which of two things they mean.
_AMBIGUOUS = {
    "KB": "kB (1000 bytes) or KiB (1024 bytes)",
    "Kb/s": "kbit/s (bits) or kB/s (bytes)",
    "bps": "bit/s (bits) or B/s (bytes)",
    **{f"{p}b/s": f"{p}bit/s (bits) or {p}B/s (bytes)" for p in "kMGTP"},
    **{f"{p}bps": f"{p}bit/s (bits) or {p}B/s (bytes)" for p in "kMGTP"},
    **{f"{p}Bps": f"{p}B/s" for p in "kMGTP"},
    **{f"{p}b": f"{p}B (bytes)" for p in "kMGTP"},
}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def parse(text: str, dimension: Dimension | str) -> float:
    """Read a quantity with its unit -> its value in SI units (or USD), correctly rounded.

    >>> parse("400 Gbit/s", "bandwidth"), parse("80 GiB", "bytes"), parse("1.2 us", "time")
    (50000000000.0, 85899345920.0, 1.2e-06)

    Raises :class:`UnitError` for no unit, an unknown or ambiguous one, a negative or senseless value.
    """
    dimension = Dimension(dimension)
    scale = SCALES[dimension]
    words = " ".join(text.split()) if len(text) <= 80 else text
    match = _NUMBER.match(words)
    if len(text) > 80 or match is None:
        raise _refused(dimension, "must be a number and a unit", text)
    number, unit = match.group(), words[match.end() :].strip()
    if unit.startswith((",", "_")):
        raise UnitError("a number is written without thousands separators", got=text, do=f"Write {_examples(dimension)}.")
    if not unit:
        raise _refused(dimension, "needs a unit", text)
    if unit not in scale.units:
        raise _unknown_unit(unit, dimension, text)
    if not math.isfinite(float(number)) or abs(float(number)) > 1e30:
        raise UnitError(f"is too large for {SCALES[dimension].noun}", got=text, do="Check the number and its unit.")
    value = float(Decimal(number) * scale.units[unit])
    return _sensible(value, dimension, text, written_as_zero=Decimal(number) == 0)


def show(value: float, dimension: Dimension | str, *, digits: int | None = 6, unit: str | None = None) -> str:
    """A quantity for people: the readable unit, ``digits`` significant digits (None: all, parsed back exactly).

    >>> show(392e9, "bandwidth"), show(1.2e-6, "time"), show(80 * 2**30, "bytes"), show(5e10, "bandwidth", unit="Gbit/s")
    ('392 GB/s', '1.2 us', '80 GiB', '400 Gbit/s')
    """
    dimension = Dimension(dimension)
    scale = SCALES[dimension]
    base = next(name for name, size in scale.units.items() if size == 1)
    if not math.isfinite(value):
        return f"{value} {base}"
    if unit is not None:
        return f"{_digits(value, scale.units[unit], digits)} {unit}"
    rounded = value if digits is None else float(f"{value:.{digits}g}")
    texts = [_in_best_unit(rounded, ladder, scale.units, base, digits) for ladder in (scale.shown, scale.binary) if ladder]
    text = min(texts, key=len)
    if digits is None and parse_signed(text, dimension) != value:
        return f"{value!r} {base}"
    return text


def parse_signed(text: str, dimension: Dimension | str) -> float:
    """:func:`parse` for differences, which may be negative.

    >>> parse_signed("-3 ms", "time")
    -0.003
    """
    return -parse(text[1:], dimension) if text.startswith("-") else parse(text, dimension)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Pydantic annotation: a string with a unit in files (and in JSON), a float inside."""

    dimension: Dimension
    signed: bool = False  # a difference, which may be negative

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.read,
            core_schema.float_schema(allow_inf_nan=False),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: show(value, self.dimension, digits=None), return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "string",
            "description": f"{self.dimension}: a number and a unit ({', '.join(SCALES[self.dimension].units)})",
            "examples": list(SCALES[self.dimension].examples),
        }

    def read(self, value: Any) -> float:
        """The float of a quantity in a file; a bare number or a boolean says nothing about its unit."""
        if not isinstance(value, str):
            bare = isinstance(value, int | float) and not isinstance(value, bool)
            raise _refused(self.dimension, "needs a unit" if bare else "must be a number and a unit", value)
        return parse_signed(value, self.dimension) if self.signed else parse(value, self.dimension)


Seconds = Annotated[float, Quantity(Dimension.TIME)]
MoreSeconds = Annotated[float, Quantity(Dimension.TIME, signed=True)]
Bytes = Annotated[float, Quantity(Dimension.BYTES)]
BytesPerSecond = Annotated[float, Quantity(Dimension.BANDWIDTH)]
FlopsPerSecond = Annotated[float, Quantity(Dimension.COMPUTE)]
Watts = Annotated[float, Quantity(Dimension.POWER)]
Dollars = Annotated[float, Quantity(Dimension.MONEY)]


def _in_best_unit(
    value: float, ladder: tuple[tuple[str, float], ...], units: dict[str, Decimal], base: str, digits: int | None
) -> str:
    fitting = [name for name, start in ladder if abs(value) >= start]
    name = fitting[-1] if fitting else (ladder[0][0] if value else base)
    return f"{_digits(value, units[name], digits)} {name}"


def _digits(value: float, size: Decimal, digits: int | None) -> str:
    scaled = Decimal(value) / size if digits is not None else Decimal(repr(float(value))) / size
    text = f"{float(scaled):.{digits}g}" if digits is not None else repr(float(scaled))
    return text.removesuffix(".0")


def _sensible(value: float, dimension: Dimension, text: str, *, written_as_zero: bool) -> float:
    if value < 0:
        raise UnitError(f"{SCALES[dimension].noun} cannot be negative", got=text, do="Drop the minus sign.")
    if value > SCALES[dimension].ceiling:
        raise UnitError(f"is too large for {SCALES[dimension].noun}", got=text, do="Check the number and its unit.")
    if value == 0.0 and not written_as_zero:
        raise UnitError("is too small to be told from zero", got=text, do="Check the number and its unit.")
    return value


def _unknown_unit(unit: str, dimension: Dimension, text: str) -> UnitError:
    if unit in _AMBIGUOUS:
        return UnitError(f"the unit {unit} can be read two ways", got=text, do=f"Write {_AMBIGUOUS[unit]}.")
    elsewhere = next((other for other, scale in SCALES.items() if unit in scale.units), None)
    if elsewhere is not None:
        return _refused(dimension, f"must be {SCALES[dimension].noun}, and {unit} measures {SCALES[elsewhere].noun}", text)
    scale = SCALES[dimension]
    match = nearest(unit, [name for name, _ in scale.shown + scale.binary]) or nearest(unit, scale.units)
    do = f"Did you mean {match}?" if match else f"Write {_examples(dimension)}."
    return UnitError(f"unknown unit {unit!r} for {SCALES[dimension].noun}", got=text, do=do)


def _refused(dimension: Dimension, rule: str, got: Any) -> UnitError:
    return UnitError(rule, got=Words("nothing") if got is None else got, do=f"Write {_examples(dimension)}.")


def _examples(dimension: Dimension) -> str:
    return " or ".join(f'"{example}"' for example in SCALES[dimension].examples)
