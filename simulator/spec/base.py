"""The base of everything a file may say, and the JSON Schema of it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from simulator.spec.document import Place
from simulator.spec.errors import InputError
from simulator.spec.units import Quantity


class _Choice(str):
    """Marks text that is one of a few words; which ones, pydantic checks."""

    __slots__ = ()


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", _Choice: "one of its words"}


class Spec(BaseModel):
    """One mapping of a file: frozen, no unknown keys, and no scalar taken for another type.

    Pydantic alone would read ``true`` as 1 and ``"8"`` as 8. YAML makes a boolean of ``on`` and ``yes``, so here a
    boolean is refused where a number or text is due, and text where a number is due.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_coercion(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = _admitted_by_field(cls)
        slips = [slip for name, value in data.items() if name in fields for slip in _slips(value, fields[name], (name,))]
        if slips:
            raise ValidationError.from_exception_data(cls.__name__, slips)
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
        return frozenset(_Choice if isinstance(member.value, str) else type(member.value) for member in annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return frozenset(_Choice if isinstance(value, str) else type(value) for value in arguments)
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


def _slips(value: Any, admitted: frozenset[type], place: Place) -> Iterator[InitErrorDetails]:
    """The scalars below ``value`` whose type is not one of ``admitted``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _slips(item, admitted, (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _slips(item, admitted, (*place, index))
    elif isinstance(value, bool | int | float | str) and not isinstance(value, Enum) and not _is_admitted(value, admitted):
        kinds = admitted - {int} if float in admitted else admitted
        rule = "must be " + " or ".join(word for kind, word in _WORDS.items() if kind in kinds)
        hint = "YAML reads on, off, yes and no as booleans; put text in quotes." if isinstance(value, bool) else None
        error = InputError(rule, got=value, do=hint)
        yield InitErrorDetails(type=PydanticCustomError("other_type", "{error}", {"error": error}), loc=place, input=value)


def _is_admitted(value: bool | float | str, admitted: frozenset[type]) -> bool:
    if type(value) in admitted:
        return True
    # Pydantic tells a wrong word with the right ones; only text that it would read as a number is ours to refuse.
    return isinstance(value, str) and _Choice in admitted and not _reads_as_number(value)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
