"""The base of all specs: nothing unknown, nothing taken for another type; and the JSON Schema."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from simulator.spec.base import Spec, json_schema
from simulator.spec.sources import Figure
from simulator.spec.units import BytesPerSecond, Seconds


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


class Inner(Spec):
    latency: Seconds
    flag: bool = False


class Outer(Spec):
    whole: int = 0
    number: float = 0.0
    text: str = ""
    flag: bool = False
    colour: Colour = Colour.RED
    level: Level = Level.ONE
    word: Literal["a", "b"] = "a"
    either: int | Literal["auto"] = "auto"
    maybe: int | None = None
    limited: Annotated[int, Field(ge=1)] = 1
    many: tuple[int, ...] = ()
    table: dict[str, float] = {}
    nested: dict[str, list[int]] = {}
    inner: Inner | None = None
    choice: str | Inner = ""
    rate: BytesPerSecond | None = None
    anything: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", 3),
        ("number", 3),
        ("number", 3.5),
        ("text", "x"),
        ("flag", True),
        ("colour", "red"),
        ("colour", Colour.RED),
        ("level", 1),
        ("word", "b"),
        ("either", 3),
        ("either", "auto"),
        ("maybe", None),
        ("limited", 2),
        ("many", [1, 2]),
        ("many", (1, 2)),
        ("table", {"a": 1}),
        ("nested", {"a": [1]}),
        ("inner", {"latency": "1 us", "flag": True}),
        ("choice", {"latency": "1 us", "flag": True}),
        ("rate", "1 GB/s"),
        ("anything", {"a": True, "b": [1, "x"]}),
    ],
)
def test_a_value_of_the_right_type_is_taken(field: str, value: Any) -> None:
    assert field in Outer.model_validate({field: value}).model_fields_set


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", True),
        ("whole", "3"),
        ("whole", 3.0),
        ("number", True),
        ("number", "1e9"),
        ("text", 3),
        ("text", True),
        ("flag", 1),
        ("flag", "yes"),
        ("colour", True),
        ("level", True),
        ("word", True),
        ("either", True),
        ("either", "3"),
        ("maybe", True),
        ("maybe", "3"),
        ("limited", True),
        ("limited", 0),
        ("many", [1, True]),
        ("many", ["1"]),
        ("table", {"a": True}),
        ("nested", {"a": [True]}),
        ("inner", {"latency": "1 us", "flag": 1}),
        ("choice", True),
        ("rate", True),
        ("rate", 3),
        ("unknown", 1),
    ],
)
def test_a_value_of_another_type_is_not_taken_for_it(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate({field: value})


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer().whole = 3


class File(Spec):
    latency: Seconds
    peak: Figure[BytesPerSecond]
    share: Figure[float]


def test_the_schema_writes_quantities_as_text_and_allows_extends() -> None:
    schema = json_schema(File)
    assert schema["$schema"].endswith("2020-12/schema") and schema["additionalProperties"] is False
    assert schema["properties"]["latency"]["type"] == "string"
    assert schema["properties"]["latency"]["examples"] == ["1.2 us", "90 days"]
    assert schema["properties"]["extends"]["type"] == "string"


def test_the_schema_lets_a_figure_be_bare_or_full() -> None:
    definitions = json_schema(File)["$defs"]
    for name, bare in (("Figure_Annotated_float__Quantity__", "string"), ("Figure_float_", "number")):
        first, second = definitions[name]["anyOf"]
        assert first["type"] == bare
        assert set(second["properties"]) == {"value", "low", "high", "source", "kind", "check", "note"}
