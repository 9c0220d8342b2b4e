"""Pydantic's findings as one of our one-line errors, at the place in the file where the mistake is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.spec.document import Document, Place, Step, dotted, split_path
from simulator.spec.errors import InputError, Words
from simulator.spec.near import nearest, suggest


def translate(error: ValidationError, spec: type[BaseModel], document: Document) -> InputError:
    """The first problem of ``error`` in the order of the file, told in one line, and how many more there are."""
    groups = _by_place(error.errors(), document.data)
    found = sorted((_problem(place, details, spec, document) for place, details in groups.items()), key=_position)
    first = found[0][1]
    if len(found) > 1:
        others = "1 more problem" if len(found) == 2 else f"{len(found) - 1} more problems"
        first.do = f"{first.do} ({others})" if first.do else f"({others})"
    return first


def locate(error: InputError, document: Document) -> InputError:
    """An error that was found after the file was read, with the position of its field in ``document``."""
    if error.where is not None or error.path is None:
        return error
    return error.at(where=_where(document, _place_of(error.path, document.data)))


def _by_place(details: list[ErrorDetails], data: Any) -> dict[Place, list[ErrorDetails]]:
    """Findings by the place they concern.

    A union reports each member's complaint, with the member's name in the location. Of the members that got into the
    data the one with fewest complaints is what the user meant (a slow chip with a speed of 2 is no link without a name);
    complaints that stay at the union itself are alternatives of one rule.
    """
    found = [(detail, *_real_place(detail, data)) for detail in details]
    inside: dict[Place, dict[Step, int]] = {}  # by union, complaints of each member that got into the data
    for _, place, union, member in found:
        if union is not None and len(place) > len(union):
            members = inside.setdefault(union, {})
            members[member] = members.get(member, 0) + 1
    meant = {union: min(members, key=lambda name: members[name]) for union, members in inside.items()}
    groups: dict[Place, list[ErrorDetails]] = {}
    for detail, place, union, member in found:
        if union not in meant or meant[union] == member:
            groups.setdefault(place, []).append(detail)
    return groups


def _real_place(detail: ErrorDetails, data: Any) -> tuple[Place, Place | None, Step]:
    """The steps of a finding's location that exist in the data (or should); where a union stands in it, and the member."""
    location = detail["loc"]
    place: list[Step] = []
    union: Place | None = None
    member: Step = ""
    for index, step in enumerate(location):
        last = index == len(location) - 1
        if isinstance(data, Mapping) and step in data:
            place.append(step)
            data = data[step]
        elif isinstance(data, Sequence) and not isinstance(data, str) and isinstance(step, int) and step < len(data):
            place.append(step)
            data = data[step]
        elif last and detail["type"] == "missing" and isinstance(data, Mapping):
            place.append(step)
        elif isinstance(data, Mapping | list):
            union, member = tuple(place), step  # the name of a union's member, or [key]
        else:
            union, member = tuple(place), step
            break  # a figure written as a bare value has no "value" key
    return tuple(place), union, member


def _problem(
    place: Place, details: list[ErrorDetails], spec: type[BaseModel], document: Document
) -> tuple[Place, InputError, Document]:
    detail = details[0]
    kind = detail["type"]
    if kind == "extra_forbidden":
        name = str(place[-1]) if place else ""
        glued = ":" in name  # "tp:8" is one word to YAML
        do = "Write a space after the colon." if glued else suggest(name, _known_keys(spec, place[:-1]), "keys")
        problem = InputError(f"unknown key {name}", do=do)
        return place, problem.at(where=_where(document, place, key=True), path=dotted(place)), document
    if kind == "missing":
        problem = InputError("is missing", do=f"Add {place[-1] if place else 'it'}: to {dotted(place[:-1]) or 'the file'}.")
        return place, problem.at(where=_where(document, place[:-1]), path=dotted(place)), document
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        inner = cause.path or ""
        path = dotted((*place, *split_path(inner))) if inner else dotted(place)
        full = _place_of(path, document.data)
        if inner == "value" and dotted(full) != path:
            path = dotted(full)  # a figure written as a bare value has no "value" key
        located = type(cause)(cause.rule, got=cause.got, do=cause.do, path=path or None)
        return full, located.at(where=cause.where or _where(document, full)), document
    problem = _plain(details)
    return place, problem.at(where=_where(document, place), path=dotted(place) or None), document


def _plain(details: list[ErrorDetails]) -> InputError:
    """A rule of pydantic's own, or the alternatives of a union, in our words."""
    rules = list(dict.fromkeys(_rule(detail) for detail in details))
    got = details[0]["input"]
    choices = [choice for detail in details for choice in _choices(detail)]
    near = nearest(got, choices) if isinstance(got, str) and choices else None
    do = f"Did you mean {near}?" if near else None
    if got is None:
        do = "Give it a value, or leave the key out."
    rule = " or ".join([rules[0], *(rule.removeprefix("must be ") for rule in rules[1:])])
    return InputError(rule, got=Words("nothing") if got is None else got, do=do)


def _rule(detail: ErrorDetails) -> str:
    words = {
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "string_type": "must be text",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "model_type": "must be a mapping of keys to values",
        "model_attributes_type": "must be a mapping of keys to values",
        "dict_type": "must be a mapping of keys to values",
        "list_type": "must be a list",
        "tuple_type": "must be a list",
        "value_error": "",
    }
    known = words.get(detail["type"])
    if known:
        return known
    choices = _choices(detail)
    if choices:
        return f"must be one of {', '.join(choices)}" if len(choices) > 1 else f"must be {choices[0]}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should be", "must be").removesuffix(".")


def _choices(detail: ErrorDetails) -> list[str]:
    if detail["type"] not in ("literal_error", "enum"):
        return []
    expected = str(detail.get("ctx", {}).get("expected", ""))
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",") if word.strip()]


def _position(found: tuple[Place, InputError, Document]) -> tuple[int, int, int]:
    """Problems of the command line first, then in the order of the file; of other files last."""
    place, _, document = found
    mark = document.mark(place, key=True)
    if mark is None:
        return (2, 0, 0)
    own = document.values.get(())
    return (0 if not mark.line else 1 if own is None or own.file == mark.file else 2, mark.line, mark.column)


def _where(document: Document, place: Place, *, key: bool = False) -> str | None:
    mark = document.mark(place, key=key)
    return None if mark is None else str(mark)


def _place_of(path: str, data: Any) -> Place:
    """The place of a dotted path as far as the data has it."""
    place: list[Step] = []
    for word in split_path(path) if path else ():
        step: Step = int(word) if isinstance(data, list) and str(word).isdigit() else word
        in_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if not in_list and not (isinstance(data, Mapping) and step in data):
            break
        data = data[step]
        place.append(step)
    return tuple(place)


def _known_keys(spec: type[BaseModel], place: Place) -> list[str]:
    """The keys that the mapping at ``place`` may have, following the field types from ``spec``."""
    models = [spec]
    for step in place:
        inner = [model for model in models if isinstance(step, str) and step in model.model_fields]
        annotations = [model.model_fields[str(step)].annotation for model in inner]
        models = [found for annotation in annotations for found in _models(annotation)] if inner else models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
