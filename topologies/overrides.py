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


def overridden(spec: SpecClass, changes: Mapping[str, Any]) -> SpecClass:
    """``spec`` with fields set by path (``tiers.superpod.bandwidth``), all of them before the result is checked.

    A figure takes the bare value, of kind assumed: nothing of the old one's range and source stays. Raises InputError that
    names near fields, or says what is wrong with a value.
    """
    data: Any = spec
    for path, value in changes.items():
        steps = [str(step) for step in split_path(path)]
        if len(steps) > 1 and steps[-1] == "value":
            steps.pop()
        data = _set(spec, data, steps, value, path)
    return make(data, type(spec)) if changes else spec


def _set(before: Any, now: Any, steps: Sequence[str], value: Any, path: str) -> dict[str, Any]:
    """The fields of ``now`` (what earlier changes left of ``before``) with one more change, specs on its way as mappings."""
    step, rest = steps[0], steps[1:]
    fields = _given(now)
    if fields is None:
        raise InputError("lies in what another override replaces", do="Set it in a second step.", path=path)
    known = _known(before)
    if step not in known or (rest and step not in fields):
        raise InputError(f"there is no field {step}", do=suggest(step, known, "fields"), path=path)
    old = known[step]
    if rest:
        return {**fields, step: _set(old, fields[step], rest, value, path)}
    if isinstance(value, str) and not isinstance(old, str):
        value = read_scalar(value, path)  # what was typed on a command line: "18" is a number, "196 GB/s" stays text
    if isinstance(old, Figure) and not isinstance(value, Mapping | Figure):
        value = {"value": value, "kind": "assumed", "note": NOTE}
    return {**fields, step: value}


def _given(node: Any) -> dict[str, Any] | None:
    """The fields of a spec that a file gave, or the items of a mapping; None of anything else."""
    if isinstance(node, BaseModel):
        return {name: getattr(node, name) for name in node.model_fields_set}
    return dict(node) if isinstance(node, Mapping) else None


def _known(node: Any) -> dict[str, Any]:
    """The fields that a spec has, also those left at their default, or the items of a mapping. A figure is set whole."""
    if isinstance(node, BaseModel) and not isinstance(node, Figure):
        return {name: getattr(node, name) for name in type(node).model_fields}
    return dict(node) if isinstance(node, Mapping) else {}
