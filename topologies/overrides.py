"""Fields of a frozen spec set by path, with the same checks as in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from simulator.spec.errors import InputError
from simulator.spec.files import make, split_path
from simulator.spec.near import suggest
from simulator.spec.sources import Figure
from simulator.spec.strict_yaml import read_scalar

SpecClass = TypeVar("SpecClass", bound=BaseModel)

NOTE = "overridden"


def overridden(spec: SpecClass, path: str, value: Any) -> SpecClass:
    """``spec`` with the field at ``path`` set; mappings are entered by key. InputError names near fields, or what is wrong.

    A figure takes the bare value, of kind assumed: nothing of the old one's range and source stays.
    """
    steps = [str(step) for step in split_path(path)]
    if len(steps) > 1 and steps[-1] == "value":
        steps.pop()
    changed: SpecClass = _set(spec, steps, value, path)
    return changed


def _set(node: Any, steps: Sequence[str], value: Any, path: str) -> Any:
    step, rest = steps[0], steps[1:]
    fields = _fields(node)
    if step not in fields:
        known = _fields(node, every=True)
        if step not in known or rest:
            raise InputError(f"there is no field {step}", do=suggest(step, known, "fields"), path=path)
    old = fields.get(step)
    if isinstance(value, str) and not rest and not isinstance(old, str):
        value = read_scalar(value, path)  # what was typed on a command line: "18" is a number, "196 GB/s" stays text
    if rest:
        new = _set(old, rest, value, path)
    elif isinstance(old, Figure) and not isinstance(value, Mapping | Figure):
        new = {"value": value, "kind": "assumed", "note": NOTE}
    else:
        new = value
    fields[step] = new
    return _checked(type(node), fields, path) if isinstance(node, BaseModel) else fields


def _fields(node: Any, every: bool = False) -> dict[str, Any]:
    """The fields of a spec or the items of a mapping; ``every``: also those that were left at their default."""
    if isinstance(node, BaseModel) and not isinstance(node, Figure):
        names = type(node).model_fields if every else node.model_fields_set
        return {name: getattr(node, name) for name in names}
    return dict(node) if isinstance(node, Mapping) else {}


def _checked(spec: type[BaseModel], fields: dict[str, Any], path: str) -> BaseModel:
    try:
        return make(fields, spec)
    except InputError as error:
        raise type(error)(error.rule, got=error.got, do=error.do, path=path) from None
