"""From a file, or the name of a preset, to a checked spec.

``extends: other`` at the top of a file starts from another one (a file beside it, or a preset): mappings are merged key
by key, everything else is replaced. A sourced figure (a mapping with ``value``) is replaced whole: a new value never
keeps the old one's source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from simulator.spec.document import Document, Mark, Place, dotted, split_path
from simulator.spec.errors import FileProblem, InputError, MissingPreset, Words
from simulator.spec.near import nearest, suggest
from simulator.spec.problems import translate
from simulator.spec.strict_yaml import LARGEST_FILE, read_scalar, read_yaml

__all__ = [
    "apply_override",
    "build",
    "find",
    "make",
    "merge",
    "override",
    "preset_names",
    "read_document",
    "read_spec",
    "split_path",
]

SpecClass = TypeVar("SpecClass", bound=BaseModel)

_SUFFIXES = (".yaml", ".yml", ".json")

REMEMBERED = 64
"""Files, and specs made of files, that are kept once read: many questions are asked about few machines, models and stacks."""

SMALL_FILE = 1 << 18
"""Bytes of a file above which it is not kept: tables of cases and rows are read once."""

Link = tuple[str, bytes]
"""A file of a chain that extend each other: its name as shown, and what it holds."""


def read_spec(
    name: str | Path, spec: type[SpecClass], folder: Path | None = None, *, overrides: Mapping[str, Any] | None = None
) -> SpecClass:
    """Read a file, or a preset of ``folder`` by its name, into a ``spec``.

    ``overrides`` sets fields by their path before the check (``{"chip.memory_bandwidth": "3.2 TB/s"}``).
    What a preset says is checked once as long as its files stay what they are. Raises :class:`InputError` (one line with
    file:line:column, the field and the remedy) for anything wrong in it.
    """
    if folder is None or overrides:
        return build(read_document(name, folder), spec, overrides=overrides)
    return cast(SpecClass, _preset(spec, _chain(find(name, folder), folder, ())))


def read_document(name: str | Path, folder: Path | None = None) -> Document:
    """The plain data of a file or preset with everything it extends, and where each value stands."""
    return _merged(_chain(find(name, folder), folder, ()))


def build(document: Document, spec: type[SpecClass], *, overrides: Mapping[str, Any] | None = None) -> SpecClass:
    """Check a document against its ``spec``."""
    for path, value in (overrides or {}).items():
        document = override(document, path, value)
    try:
        return spec.model_validate(document.data)
    except ValidationError as error:
        raise translate(error, spec, document) from None


def make(data: Mapping[str, Any], spec: type[SpecClass]) -> SpecClass:
    """Check plain data that is in no file, with the same one-line errors."""
    return build(Document(data=dict(data)), spec)


def preset_names(folder: Path) -> list[str]:
    """The presets of a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find(name: str | Path, folder: Path | None = None, *, beside: Path | None = None) -> Path:
    """The file that ``name`` means: a preset of ``folder``, or a path (relative to ``beside`` for an ``extends``)."""
    text = os.fspath(name)
    if not text.strip() or "\0" in text:
        raise FileProblem("needs the name of a preset or the path of a file", got=text, do="Name one.")
    presets = preset_names(folder) if folder else []
    if folder and text in presets:
        return folder / f"{text}.yaml"
    path = Path(text) if beside is None else beside / text
    try:
        is_file, is_directory = path.is_file(), path.is_dir()
    except OSError as error:
        raise FileProblem("is not the path of a file", got=text, do=f"{error.strerror}.") from None
    if is_file:
        return path
    if is_directory:
        inside = sorted(item.name for item in path.iterdir() if item.suffix in _SUFFIXES)[:5]
        do = f"Name a file in it: {', '.join(inside)}." if inside else "Name a file."
        raise FileProblem("is a directory, not a file", got=text, do=do)
    if os.sep in text or path.suffix in _SUFFIXES:
        raise FileProblem("there is no such file", got=text, do=_near_file(path, presets))
    raise MissingPreset("there is no preset and no file of this name", got=text, do=suggest(text, presets, "presets"))


def override(document: Document, path: str, value: Any, *, where: str = "--set") -> Document:
    """``document`` with the field at ``path`` set; what is set is later checked like everything else in the file."""
    place = split_path(path)
    if len(place) > 1 and place[-1] == "value" and _is_figure(_inside(document.data, place[:-1])):
        place = place[:-1]  # the new value is not what the old one's source says: the whole figure goes
    mark = Mark(where)
    data = _set(document.data, place, 0, value)
    covered = len(place)
    values = {at: found for at, found in document.values.items() if at[:covered] != place}
    keys = {at: found for at, found in document.keys.items() if at[:covered] != place}
    for length in range(1, covered + 1):
        values.setdefault(place[:length], mark)
        keys.setdefault(place[:length], mark)
    return Document(data=data, keys=keys, values=values)


def apply_override(data: Mapping[str, Any], path: str, text: str) -> dict[str, Any]:
    """Plain data with the field at ``path`` set to a value as typed after ``--set path=``, read as YAML.

    >>> apply_override({"plan": {"tp": 1}}, "plan.tp", "8")
    {'plan': {'tp': 8}}
    """
    return override(Document(data=dict(data)), path, read_scalar(text, f"--set {path}")).data


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data laid over other data as ``extends`` does it: mappings key by key, figures and all else replaced whole.

    >>> merge({"plan": {"tp": 1, "pp": 4}, "peak": {"value": 1, "source": "A"}}, {"plan": {"tp": 8}, "peak": {"value": 2}})
    {'plan': {'tp': 8, 'pp': 4}, 'peak': {'value': 2}}
    """
    return _merge_data(dict(below), dict(above), (), set())


def _chain(path: Path, folder: Path | None, below: tuple[Path, ...]) -> tuple[Link, ...]:
    """A file and all that it extends, the one that is extended first."""
    file = _shown(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise FileProblem("cannot be read", got=error.strerror, where=file, do="Check its permissions.") from None
    document = _parsed(file, raw)
    if "extends" not in document.data:
        return ((file, raw),)
    where = str(document.mark(("extends",)) or file)
    other = document.data["extends"]
    if not isinstance(other, str):
        rule = "must be the name of a preset or the path of a file"
        raise FileProblem(rule, got=Words("nothing") if other is None else other, where=where, path="extends", do="Name one.")
    try:
        target = find(other, folder, beside=path.parent)
    except InputError as error:
        raise error.at(where=where, path="extends") from None
    below = (*below, path.resolve())
    if target.resolve() in below:
        names = " -> ".join(link.name for link in (*below, target))
        rule = f"a file may not extend itself: {names}"
        raise FileProblem(rule, where=where, path="extends", do="Remove one of these extends.")
    return (*_chain(target, folder, below), (file, raw))


def _parsed(file: str, raw: bytes) -> Document:
    """What a file says; shared by all who read it, so that nobody may change it."""
    return read_yaml(raw, file) if len(raw) > SMALL_FILE else _parsed_once(file, raw)


@lru_cache(REMEMBERED)
def _parsed_once(file: str, raw: bytes) -> Document:
    return read_yaml(raw, file)


def _merged(chain: tuple[Link, ...]) -> Document:
    """The files of a chain laid over each other, as data of the caller's own."""
    merged: Document | None = None
    for file, raw in chain:
        document = _parsed(file, raw)
        data = deepcopy({key: value for key, value in document.data.items() if key != "extends"})
        document = Document(data=data, keys=document.keys, values=document.values)
        merged = _merge(merged, document) if merged else document
    assert merged is not None
    return merged


@lru_cache(REMEMBERED)
def _preset(spec: type[BaseModel], chain: tuple[Link, ...]) -> BaseModel:
    return build(_merged(chain), spec)


def _merge(below: Document, above: Document) -> Document:
    """The document ``above`` laid over the one it extends, marks and all."""
    keys, values = dict(below.keys), dict(below.values)
    replaced: set[Place] = set()
    data = _merge_data(below.data, above.data, (), replaced)
    lengths = sorted({len(at) for at in replaced})
    for marks in (keys, values):
        for at in [at for at in marks if any(at[:length] in replaced for length in lengths if length <= len(at))]:
            del marks[at]
    return Document(data=data, keys=keys | above.keys, values=values | above.values)


def _merge_data(below: dict[str, Any], above: dict[str, Any], place: Place, replaced: set[Place]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _is_figure(value):
            merged[key] = _merge_data(old, value, (*place, key), replaced)
        else:
            merged[key] = value
            replaced.add((*place, key))
    return merged


def _is_figure(data: Any) -> bool:
    return isinstance(data, dict) and "value" in data


def _inside(data: Any, place: Place) -> Any:
    for step in place:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _set(data: Any, place: Place, depth: int, value: Any) -> Any:
    if depth == len(place):
        return value
    step = place[depth]
    if isinstance(data, list):
        index = step if isinstance(step, int) else int(step) if step.isdigit() else None
        if index is None or index >= len(data):
            rule = f"{dotted(place[:depth])} is a list of {len(data)}"
            raise InputError(
                rule, got=str(step), do=f"Write a number from 0 to {len(data) - 1}.", path=dotted(place), where="--set"
            )
        return [_set(item, place, depth + 1, value) if i == index else item for i, item in enumerate(data)]
    if data is not None and not isinstance(data, dict):
        rule = f"{dotted(place[:depth])} has no fields, it is a single value"
        raise InputError(rule, got=data, do=f"Set {dotted(place[:depth])} itself.", path=dotted(place), where="--set")
    inside = data or {}
    return {**inside, str(step): _set(inside.get(str(step)), place, depth + 1, value)}


def _near_file(path: Path, presets: list[str]) -> str:
    beside = {item.stem: item.name for item in path.parent.iterdir() if item.suffix in _SUFFIXES} if path.parent.is_dir() else {}
    match = nearest(path.stem, [*beside, *presets])
    return f"Did you mean {beside.get(match, match)}?" if match else "Check the path."


def _shown(path: Path) -> str:
    """The path as a user can open it: from here if it lies below, whole otherwise."""
    whole = path.absolute()
    here = Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
