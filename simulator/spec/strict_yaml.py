"""YAML without its traps, and where in the file every value stands.

Read as text: ``010``, ``0x10``, ``1:30``, ``2026-11-21``, keys of any kind. Read as numbers: ``1e9`` too. Refused:
duplicate keys, tags, several documents, tabs, anything that is not UTF-8, and aliases that expand without end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from simulator.spec.document import Document, Mark, Place
from simulator.spec.errors import FileProblem, Words

LARGEST_FILE = 16 * 2**20
"""Bytes of a file we read; a table of expert loads for a whole model is well below."""
MOST_VALUES = 300_000
"""Values a file may have once its aliases are expanded."""
DEEPEST = 64
"""Levels of nesting."""
SHORT = 2000
"""Characters of a text that cannot nest deeply enough to do harm."""

_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with fewer words that are secretly something else."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml is optional
    """The same reading by libyaml, nine times faster; not every platform has it, and its complaints are poorer."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


_resolve("null", "~|null|Null|NULL|", "~nN")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))
_resolve("bool", "true|True|TRUE|yes|Yes|YES|on|On|ON", "tTyYoO")
_resolve("bool", "false|False|FALSE|no|No|NO|off|Off|OFF", "fFnNoO")
_resolve("int", "[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789")
_resolve(
    "float",
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+.0123456789",
)


def read_yaml(content: bytes, file: str) -> Document:
    """Parse the bytes of a file whose top level must be a mapping. Raises :class:`FileProblem` with the position."""
    node = _compose(_decode(content, file), file)
    if node is None:
        raise FileProblem("the file is empty", where=file, do="Write a mapping of keys to values.")
    document = Document(data={})
    if not isinstance(node, MappingNode):
        raise FileProblem(
            "the top level must be a mapping of keys to values",
            got=_text(node),
            where=str(_mark(node, file)),
            do="Write key: value.",
        )
    builder = _Builder(file, document)
    document.data.update(builder.value(node, ()))
    return document


def read_scalar(text: str, where: str) -> Any:
    """Parse a value typed on the command line: a scalar, a [list] or a {mapping}."""
    if not text.strip():
        return None
    node = _compose(text, where, inline=True)
    return None if node is None else _Builder(where, Document(data={})).value(node, ())


def _decode(content: bytes, file: str) -> str:
    if len(content) > LARGEST_FILE:
        raise FileProblem(
            "the file is too large", got=Words(f"more than {LARGEST_FILE // 2**20} MiB"), where=file, do="Is it the right file?"
        )
    if b"\0" in content:
        raise FileProblem("is not a text file", got=Words("a zero byte"), where=file, do="Save it as UTF-8 text.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise FileProblem(
            "is not UTF-8 text",
            got=Words(f"byte 0x{content[error.start]:02x}"),
            where=str(Mark(file, line, column)),
            do="Save it as UTF-8.",
        ) from None


def _compose(text: str, file: str, *, inline: bool = False) -> Node | None:
    """The node tree of one document; PyYAML's own complaints become ours."""
    try:
        if _is_shallow(text):
            return _single_node(_QuickLoader(text))
    except (yaml.YAMLError, ValueError):
        pass  # read it again below for the precise complaint
    try:
        return _single_node(_Loader(text))
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        where = file if inline else str(Mark(file, line, column))
        raise FileProblem(
            "has a character that text may not have", got=Words(f"U+{int(error.character):04X}"), where=where, do="Remove it."
        ) from None
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        where = file if inline or place is None else str(Mark(file, place.line + 1, place.column + 1))
        raise FileProblem(f"is not YAML: {_reason(error)}", where=where, do=_remedy(error)) from None
    except RecursionError:
        raise FileProblem("is nested too deeply", where=file, do=f"Keep it below {DEEPEST} levels.") from None


def _single_node(loader: Any) -> Node | None:
    try:
        node: Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _is_shallow(text: str) -> bool:
    """Whether libyaml may compose this: it recurses in C, and nesting beyond its stack would kill the process."""
    if len(text) <= SHORT:
        return True
    depth = 0
    for event in yaml.parse(text, Loader=_QuickLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    return f"{error.context}, {problem}" if error.context else problem


def _remedy(error: yaml.MarkedYAMLError) -> str:
    problem = f"{error.context} {error.problem}"
    if "'\\t'" in problem:
        return "Indent with spaces, not tabs."
    if "mapping values are not allowed" in problem or "could not find expected ':'" in problem:
        return "Check the indentation and the colon; put text that contains ': ' in quotes."
    if "another document" in problem:
        return "Keep one document to a file."
    if "undefined alias" in problem:
        return "Define the anchor first, or quote text that begins with *."
    return "Check the brackets, the quotes and the indentation."


class _Builder:
    """Nodes to plain values, noting every mark, within the limits."""

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self.document = document
        self.values = 0

    def value(self, node: Node, place: Place) -> Any:
        self.values += 1
        if self.values > MOST_VALUES:
            raise self._problem(
                node, f"has more than {MOST_VALUES} values once its aliases are expanded", do="Use fewer aliases."
            )
        if len(place) > DEEPEST:
            raise self._problem(
                node, "is nested too deeply", do=f"Keep it below {DEEPEST} levels; an alias may not contain itself."
            )
        self.document.values[place] = _mark(node, self.file)
        if isinstance(node, MappingNode):
            self._check_tag(node, "map")
            return {key: self.value(item, (*place, key)) for key, item in self._items(node, place)}
        if isinstance(node, SequenceNode):
            self._check_tag(node, "seq")
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _items(self, node: MappingNode, place: Place) -> Iterator[tuple[str, Node]]:
        seen: dict[str, Node] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._problem(key_node, "a key must be a word", do="Quote a key that begins with [ or {.")
            key = str(key_node.value)
            if key in seen:
                first = _mark(seen[key], self.file)
                raise self._problem(key_node, f"duplicate key {key}; it is already on line {first.line}", do="Keep one of them.")
            seen[key] = key_node
            self.document.keys[(*place, key)] = _mark(key_node, self.file)
            yield key, item

    def _scalar(self, node: Node) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        match kind:
            case "null":
                return None
            case "bool" if text.lower() in ("true", "yes", "on"):
                return True
            case "bool" if text.lower() in ("false", "no", "off"):
                return False
            case "int" | "float" if _NUMBER.fullmatch(text):
                number = _number(text)
                if number is not None:
                    return number
                raise self._problem(node, "the number is too large", got=text, do="Check its digits and its exponent.")
            case "float" if text.lower().lstrip("+-") in (".inf", ".nan"):
                raise self._problem(node, "must be a finite number", got=text, do="Write a number.")
            case "str" if _HALF_CHARACTER.search(text):
                raise self._problem(node, "has half a character (a lone surrogate)", do="Remove the escape.")
            case "str":
                return text
        raise self._problem(node, "tags are not read", got=node.tag, do="Write the value without the tag.")

    def _check_tag(self, node: Node, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self._problem(node, "tags are not read", got=node.tag, do="Write the value without the tag.")

    def _problem(self, node: Node, rule: str, *, do: str, got: Any = None) -> FileProblem:
        return FileProblem(rule, got=got, where=str(_mark(node, self.file)), do=do)


def _number(text: str) -> int | float | None:
    """The number; None for one beyond any float."""
    if abs(float(text.replace("_", ""))) > sys.float_info.max:
        return None
    return int(text.replace("_", "")) if re.fullmatch(r"[-+]?[0-9_]+", text) else float(text)


def _mark(node: Node, file: str) -> Mark:
    mark = node.start_mark
    return Mark(file) if mark is None else Mark(file, mark.line + 1, mark.column + 1)


def _text(node: Node) -> str:
    return Words("a list") if isinstance(node, SequenceNode) else str(node.value)


def write_yaml(data: Any) -> str:
    """Plain data as YAML text, keys in their order."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
