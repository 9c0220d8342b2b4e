"""Quantities: what is read, what is refused, what is shown."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import UnitError
from simulator.spec.files import make
from simulator.spec.units import (
    SCALES,
    Bytes,
    BytesPerSecond,
    Dimension,
    Dollars,
    FlopsPerSecond,
    Seconds,
    Watts,
    parse,
    parse_signed,
    show,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("400 Gbit/s", "bandwidth", 50e9),
        ("392 GB/s", "bandwidth", 392e9),
        ("1 Tbit/s", "bandwidth", 125e9),
        ("1 GiB/s", "bandwidth", 2.0**30),
        ("3.2TB/s", "bandwidth", 3.2e12),
        ("80 GiB", "bytes", 80 * 2.0**30),
        ("96 GB", "bytes", 96e9),
        ("1 KiB", "bytes", 1024.0),
        ("1 kB", "bytes", 1000.0),
        ("2 EB", "bytes", 2e18),
        ("0 B", "bytes", 0.0),
        ("1.2 us", "time", 1.2e-6),
        ("1.2 µs", "time", 1.2e-6),
        ("1.2 \u03bcs", "time", 1.2e-6),
        ("5 ps", "time", 5e-12),
        ("90 days", "time", 90 * 86400.0),
        ("1 day", "time", 86400.0),
        ("2 h", "time", 7200.0),
        ("1.5 min", "time", 90.0),
        ("989 TFLOP/s", "compute", 989e12),
        ("989 TFLOPS", "compute", 989e12),
        ("1e3 GFLOP/s", "compute", 1e12),
        (".5 PFLOP/s", "compute", 5e14),
        ("700 W", "power", 700.0),
        ("1.2 MW", "power", 1.2e6),
        ("+25000 USD", "money", 25000.0),
        ("3 million USD", "money", 3e6),
        ("  7   GB  ", "bytes", 7e9),
    ],
)
def test_a_quantity_is_read_to_the_nearest_float(text: str, dimension: str, value: float) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension", "words"),
    [
        ("400", "bandwidth", ["needs a unit", "400 Gbit/s"]),
        ("", "time", ["a number and a unit", "1.2 us"]),
        ("fast", "bandwidth", ["a number and a unit"]),
        ("GB/s", "bandwidth", ["a number and a unit"]),
        ("nan s", "time", ["a number and a unit"]),
        ("inf GB/s", "bandwidth", ["a number and a unit"]),
        ("1e999 s", "time", ["too large"]),
        ("1e999999999999 s", "time", ["too large"]),
        ("1e-999 s", "time", ["too small"]),
        ("1000000 days", "time", ["too large"]),
        ("1e9 EB", "bytes", ["too large"]),
        ("-1 us", "time", ["negative", "minus"]),
        ("25,000 USD", "money", ["thousands separators"]),
        ("25_000 USD", "money", ["thousands separators"]),
        ("400 Gb/s", "bandwidth", ["two ways", "Gbit/s (bits) or GB/s (bytes)"]),
        ("400 Gbps", "bandwidth", ["two ways", "Gbit/s (bits) or GB/s (bytes)"]),
        ("80 Gb", "bytes", ["two ways", "GB (bytes)"]),
        ("8 KB", "bytes", ["two ways", "kB (1000 bytes) or KiB (1024 bytes)"]),
        ("80 gib", "bytes", ["unknown unit", "Did you mean GiB?"]),
        ("80 GBs", "bytes", ["unknown unit", "Did you mean GB?"]),
        ("5 TFLOP", "compute", ["unknown unit", "TFLOP/s"]),
        ("1.2 usec", "time", ["unknown unit", "Did you mean us?"]),
        ("80 GB", "bandwidth", ["must be a bandwidth", "GB measures a number of bytes"]),
        ("80 GB/s", "bytes", ["must be a number of bytes", "GB/s measures a bandwidth"]),
        ("1 GB GB", "bytes", ["unknown unit"]),
        ("1.2.3 GB", "bytes", ["unknown unit"]),
        ("0x10 GB", "bytes", ["unknown unit"]),
        ("٣ GB", "bytes", ["a number and a unit"]),
        ("9" * 100 + " s", "time", ["a number and a unit"]),
    ],
)
def test_a_slip_is_refused_with_its_remedy(text: str, dimension: str, words: list[str]) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, dimension)
    assert [word for word in words if word not in str(caught.value)] == []


def test_every_unit_of_every_dimension_can_be_written() -> None:
    for dimension, scale in SCALES.items():
        for unit, size in scale.units.items():
            assert parse(f"2 {unit}", dimension) == float(2 * size)
        for example in scale.examples:
            assert parse(example, dimension) > 0


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (392e9, "bandwidth", "392 GB/s"),
        (1.2e-6, "time", "1.2 us"),
        (80 * 2.0**30, "bytes", "80 GiB"),
        (96e9, "bytes", "96 GB"),
        (1024.0, "bytes", "1 KiB"),
        (0.0, "bytes", "0 B"),
        (0.0, "time", "0 s"),
        (90.0, "time", "90 s"),
        (5400.0, "time", "90 min"),
        (60 * 86400.0, "time", "60 days"),
        (999.9999999e9, "bandwidth", "1 TB/s"),
        (-0.003, "time", "-3 ms"),
        (1 / 3, "time", "333.333 ms"),
        (989e12, "compute", "989 TFLOP/s"),
        (25000.0, "money", "25000 USD"),
        (3e6, "money", "3 million USD"),
        (math.inf, "bandwidth", "inf B/s"),
    ],
)
def test_a_quantity_is_shown_in_a_readable_unit(value: float, dimension: str, text: str) -> None:
    assert show(value, dimension) == text


def test_a_unit_can_be_asked_for() -> None:
    assert show(50e9, "bandwidth", unit="Gbit/s") == "400 Gbit/s"


_DIMENSIONS = st.sampled_from(list(Dimension))
_VALUES = st.floats(min_value=1e-15, max_value=1e9) | st.floats(min_value=1.0, max_value=1e9).map(lambda x: float(round(x)))


@given(_VALUES, _DIMENSIONS)
def test_what_is_shown_reads_back_to_its_digits(value: float, dimension: Dimension) -> None:
    assert parse(show(value, dimension), dimension) == pytest.approx(value, rel=1e-5)


@given(_VALUES, _DIMENSIONS)
def test_what_is_shown_in_full_reads_back_exactly(value: float, dimension: Dimension) -> None:
    assert parse(show(value, dimension, digits=None), dimension) == value


@given(_VALUES)
def test_differences_read_back_with_their_sign(value: float) -> None:
    assert parse_signed(show(-value, "time"), "time") == pytest.approx(-value, rel=1e-5)


@given(st.text(max_size=100), _DIMENSIONS)
def test_any_text_is_read_or_refused_in_our_own_words(text: str, dimension: Dimension) -> None:
    with suppress(UnitError):
        assert parse(text, dimension) >= 0


class Machine(Spec):
    """One field of every dimension."""

    latency: Seconds
    memory: Bytes
    bandwidth: Annotated[BytesPerSecond, Field(gt=0)]
    peak: FlopsPerSecond
    power: Watts
    price: Dollars | None = None


_MACHINE = {"latency": "1.2 us", "memory": "80 GiB", "bandwidth": "400 Gbit/s", "peak": "989 TFLOP/s", "power": "700 W"}


def test_a_spec_holds_plain_si_floats() -> None:
    machine = make(_MACHINE, Machine)
    assert (machine.latency, machine.memory, machine.bandwidth) == (1.2e-6, 80 * 2.0**30, 50e9)
    assert (machine.peak, machine.power, machine.price) == (989e12, 700.0, None)


def test_what_a_spec_dumps_is_what_a_file_says() -> None:
    machine = make(_MACHINE | {"price": "25000 USD"}, Machine)
    assert machine.model_dump()["memory"] == "80 GiB"
    assert Machine.model_validate(machine.model_dump()) == machine
    assert Machine.model_validate_json(machine.model_dump_json()) == machine


@pytest.mark.parametrize("value", [400, 4.5, 0, True, False, None, [], {}, ["1 GB/s"]])
def test_only_text_is_a_quantity(value: object) -> None:
    with pytest.raises(ValueError, match="unit"):
        make(_MACHINE | {"bandwidth": value}, Machine)


def test_a_constraint_on_a_quantity_holds() -> None:
    with pytest.raises(ValueError, match="bandwidth: must be greater than 0"):
        make(_MACHINE | {"bandwidth": "0 GB/s"}, Machine)
