"""Figures that say where they come from.

A preset writes ``memory_bandwidth: {value: 3.2 TB/s, source: HUAWEI_HC25, kind: official, check: read}`` and has a
table ``sources: {HUAWEI_HC25: {title: ..., url: ...}}``. In a user's own file a bare ``3.2 TB/s`` does: it is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator.spec.base import Spec
from simulator.spec.errors import InputError, Words
from simulator.spec.units import Quantity, show

T = TypeVar("T")

Kind = Literal["official", "measured", "derived", "analyst", "assumed"]
"""official: the maker says so. measured: somebody ran it. derived: arithmetic on sourced figures. analyst: an estimate
somebody published. assumed: ours or the user's."""

Check = Literal["read", "relayed", "recalled", "computed", "none"]
"""read: in the primary text. relayed: in a secondary text. recalled: from general knowledge. computed: by arithmetic."""


class Source(Spec):
    """Where figures come from."""

    title: str
    url: str
    access: str | None = None


class Figure(Spec, Generic[T]):
    """A value with its range, its source and how far it was checked.

    ``source`` names a key of the file's ``sources`` table. What claims to be official, measured or an analyst's must
    name its source; what names a source must say what kind it is.
    """

    value: T
    low: T | None = None
    high: T | None = None
    source: str | None = None
    kind: Kind = "assumed"
    check: Check | None = None
    note: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_value(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping | Figure) else {"value": data}

    @model_validator(mode="after")
    def _check_provenance(self) -> Self:
        if self.kind in ("official", "measured", "analyst") and self.source is None:
            raise InputError(
                f"a figure of kind {self.kind} names its source", do="Add source: KEY of the sources table, or say kind: assumed."
            )
        if self.source is not None and "kind" not in self.model_fields_set:
            raise InputError(
                "a figure with a source says of what kind it is",
                got=self.source,
                do="Add kind: official, measured, derived, analyst or assumed.",
                path="source",
            )
        return self

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        low, value, high = self.low, self.value, self.high
        if not isinstance(value, int | float):
            return self
        if isinstance(low, int | float) and low > value:
            raise InputError("low must not be above the value", got=Words(f"{self.show(low)} > {self.show(value)}"), path="low")
        if isinstance(high, int | float) and high < value:
            raise InputError(
                "high must not be below the value", got=Words(f"{self.show(high)} < {self.show(value)}"), path="high"
            )
        return self

    def __str__(self) -> str:
        """The value with its unit, and the range if there is one: ``3.2 TB/s (3 TB/s to 3.3 TB/s)``."""
        if self.low is None and self.high is None:
            return self.show(self.value)
        low, high = self.value if self.low is None else self.low, self.value if self.high is None else self.high
        return f"{self.show(self.value)} ({self.show(low)} to {self.show(high)})"

    def show(self, value: Any) -> str:
        """One of its values as text, with the unit of its quantity."""
        quantity = next((extra for extra in type(self).model_fields["value"].metadata if isinstance(extra, Quantity)), None)
        if quantity is not None:
            return show(value, quantity.dimension)
        return f"{value:g}" if isinstance(value, float) else str(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler.resolve_ref_schema(handler(schema))
        bare = whole.get("properties", {}).get("value", {})
        return {"anyOf": [bare, whole]}


def figures(spec: BaseModel, path: str = "") -> Iterator[tuple[str, Figure[Any]]]:
    """Every figure below ``spec`` with its field path, in the order of the fields (``chip.memory_bandwidth``)."""
    for name in type(spec).model_fields:
        yield from _figures_in(getattr(spec, name), f"{path}.{name}" if path else name)


def unsourced(spec: BaseModel, sources: Mapping[str, Source] | None = None) -> list[str]:
    """What is wrong with the provenance of a preset's figures, one sentence each; empty when all is well.

    ``sources`` is the file's table, by default the field of that name. A figure names a source that the table has, or it
    is assumed (or derived) and its note says why.
    """
    table = getattr(spec, "sources", {}) if sources is None else sources
    problems = []
    for path, figure in figures(spec):
        if figure.source is not None and figure.source not in table:
            problems.append(f"{path}: source {figure.source} is not in the file's sources table.")
        elif figure.source is None and not figure.note:
            problems.append(f"{path}: a figure without a source needs a note that says where it comes from.")
    return problems


def _figures_in(value: Any, path: str) -> Iterator[tuple[str, Figure[Any]]]:
    if isinstance(value, Figure):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from figures(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _figures_in(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _figures_in(item, f"{path}[{index}]")
