"""The base of everything a file may say, and the JSON Schema of it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from simulator.spec.errors import InputError
from simulator.spec.units import Quantity

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Spec(BaseModel):
    """One mapping of a file: frozen, no unknown keys, and no scalar taken for another type.

    Pydantic alone would read ``true`` as 1 and ``"8"`` as 8. YAML makes a boolean of ``on`` and ``yes``, so here a
    boolean is refused where a number or text is due, and text where a number is due.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_coercion(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name, value in data.items():
                admitted = _admitted_by_field(cls).get(name) if isinstance(name, str) else None
                if admitted is not None:
                    _check_leaves(value, admitted, name)
        return data


def json_schema(spec: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a file of this kind, for editors: quantities are strings with units, ``extends`` is allowed."""
    schema = spec.model_json_schema(mode="validation")
    properties = schema.setdefault("properties", {})
    properties.setdefault("extends", {"type": "string", "description": "a preset or a file that this one changes"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def _admitted_by_field(spec: type[BaseModel]) -> dict[str, frozenset[type]]:
    """Field -> the scalar types it admits, of the fields where pydantic's own reading would be too kind."""
    found = {}
    for name, field in spec.model_fields.items():
        if any(isinstance(extra, Quantity) for extra in field.metadata):
            continue
        admitted = _admitted(field.annotation)
        if admitted is not None:
            found[field.alias or name] = admitted
    return found


def _admitted(annotation: Any) -> frozenset[type] | None:
    """The scalar types that may appear anywhere under ``annotation``; None if it checks itself (a Spec, a quantity, Any)."""
    if annotation in (bool, str, int):
        return frozenset({annotation})
    if annotation is float:
        return frozenset({int, float})
    if annotation is type(None) or annotation is None:
        return frozenset({type(None)})
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return frozenset(type(member.value) for member in annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return frozenset(type(value) for value in arguments)
    if hasattr(annotation, "__metadata__"):
        own = any(isinstance(extra, Quantity) for extra in annotation.__metadata__)
        return None if own else _admitted(annotation.__origin__)
    if origin in (Union, types.UnionType, list, tuple, set, frozenset, dict, Mapping):
        inside = arguments[1:] if origin in (dict, Mapping) else tuple(a for a in arguments if a is not Ellipsis)
        parts = [_admitted(part) for part in inside]
        if not parts or any(part is None for part in parts):
            return None
        return frozenset[type]().union(*(part for part in parts if part is not None))
    return None


def _check_leaves(value: Any, admitted: frozenset[type], path: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_leaves(item, admitted, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_leaves(item, admitted, f"{path}[{index}]")
    elif isinstance(value, bool | int | float | str) and not isinstance(value, Enum) and type(value) not in admitted:
        kinds = admitted - {int} if float in admitted else admitted
        due = " or ".join(word for kind, word in _WORDS.items() if kind in kinds)
        hint = "YAML reads on, off, yes and no as booleans; put text in quotes." if isinstance(value, bool) else None
        raise InputError(f"must be {due}", got=value, do=hint, path=path)
