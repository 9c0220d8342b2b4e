"""As much of a bash script as can be read without running it: variables, arrays, and the words of its commands.

Understood: quotes, ``$NAME`` and ``${NAME:-default}``, arrays and ``"${NAME[@]}"``, ``+=``, whole-number arithmetic, continued
lines, comments, here-documents (skipped), branches whose condition compares words that are known. What depends on the world
(the environment, a command's output, which other branch of an ``if`` runs) stays unknown: a word that holds it carries a mark
(:data:`UNKNOWN`), and :attr:`Script.reasons` says why.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from workloads.importers.shell_tests import Branches, Truth, truth
from workloads.importers.shell_words import Statement, Word, statements

UNKNOWN = re.compile("\u27e6([^\u27e7]*)\u27e7")
"""Marks the name of what is not known inside a word."""

_BLANKS = re.compile("(?:\u27e6[^\u27e7]*\u27e7|\\S)+")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=")
_BRACES = re.compile(r"([A-Za-z_]\w*|\d+|[@*#])(\[[@*]\])?(?:(:?[-=+])(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*|\d|[@*#?]")
_OPENS = {"for", "while", "until", "case", "select"}
_CLOSES = {"fi", "done", "esac"}
_BEFORE = {"export", "local", "declare", "readonly", "typeset", "then", "do", "!", "time", "exec", "eval"}
_SAYS = {"echo", "printf", "cat"}

Value = str | list[str]


@dataclass(slots=True)
class Script:
    """A script that was read: its variables, the words of every command, and why what is not known is not known."""

    variables: dict[str, Value] = field(default_factory=dict)
    commands: list[tuple[int, list[str]]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)


def read_script(text: str, defined: Mapping[str, str] = {}) -> Script:
    r"""Read a script; ``defined`` are values of variables that a person gives, and win over the script's own.

    >>> read_script('A=(--tp 8)\ntorchrun run.py "${A[@]}" --pp $((2*2))').commands
    [(2, ['torchrun', 'run.py', '--tp', '8', '--pp', '4'])]
    """
    script = Script(variables=dict(defined))
    branches = Branches()
    for statement in statements(text):
        words = list(statement.words)
        if branches.condition and statement.conditional:
            branches.narrow(statement.conditional, _truth(script, words))
            continue
        branches.condition = False
        while words and words[0].text in (_OPENS | _CLOSES | _BEFORE | {"if", "elif", "else", "{", "}"}):
            _turn(script, branches, words, statement.line, defined)
        if len(words) == 1 and words[0].text == "":
            continue
        if branches.state is not False:
            open_ended = branches.state is None or bool(statement.conditional)
            _run(script, Statement(statement.line, tuple(words), statement.conditional), open_ended, defined)
    return script


def _turn(script: Script, branches: Branches, words: list[Word], line: int, defined: Mapping[str, str]) -> None:
    """Take one word that opens, turns or closes a block, and the condition behind it."""
    word = words.pop(0).text
    if word in ("if", "elif"):
        found = _truth(script, words)
        words.clear()
        branches.open(found, condition=True) if word == "if" else branches.next(found, condition=True)
    elif word == "else":
        branches.next(True, condition=False)
    elif word in _OPENS or word == "{":
        if word in ("for", "select") and words and words[0].text not in defined:
            _forget(script, words[0].text, line, "is set by a loop")
        if word != "{":
            words.clear()
        branches.open(None, condition=False)
    elif word in _CLOSES or word == "}":
        branches.close()


def _truth(script: Script, words: list[Word]) -> Truth:
    return truth([part for word in words for part in (_expand(script, word) or [""])])


def _run(script: Script, statement: Statement, branches: bool, defined: Mapping[str, str]) -> None:
    words = list(statement.words)
    assignments: list[tuple[re.Match[str], Word]] = []
    while words and (match := _ASSIGNMENT.match(words[0].text)):
        assignments.append((match, words.pop(0)))
    for match, word in assignments if not words else ():  # before a command they are for that command alone
        name = match.group(1)
        if name in defined:
            continue
        if branches:
            _perhaps(script, name, bool(match.group(2)), word, statement.line)
        else:
            _assign(script, name, bool(match.group(2)), word, len(match.group(0)))
    if words:
        expanded = [part for word in words for part in _expand(script, word)]
        if expanded and expanded[0] not in _SAYS:  # what a script says of its launch is none
            script.commands.append((statement.line, expanded))


def _perhaps(script: Script, name: str, append: bool, word: Word, line: int) -> None:
    """A branch that may run adds to a variable, which keeps what it held, or sets it anew, and then it is not known."""
    first = word.items[0].text if word.items else word.text.partition("=")[2]
    itself = re.match(rf"\$(?:{name}\b|\{{{name}(?:\[[@*]\])?\}})", first)
    before = script.variables.get(name)
    if before is None or not (append or itself):
        _forget(script, name, line, "is set in a branch that may not run")
        return
    more = _unknown(script, f"what line {line} adds to {name}", "is in a branch that may not run")
    script.variables[name] = [*before, more] if isinstance(before, list) else f"{before} {more}"


def _forget(script: Script, name: str, line: int, why: str) -> None:
    script.variables[name] = f"\u27e6{name}\u27e7"
    script.reasons[name] = f"{why} (line {line})"


def _assign(script: Script, name: str, append: bool, word: Word, skip: int) -> None:
    value: Value
    if word.items is not None:
        value = [part for item in word.items for part in _expand(script, item)]
    else:
        value = " ".join(_expand(script, word.without(skip), split=False))
    if append:
        before = script.variables.get(name, [] if isinstance(value, list) else "")
        if isinstance(value, list):
            value = (before if isinstance(before, list) else [before] if before else []) + value
        else:
            value = f"{' '.join(before) if isinstance(before, list) else before}{value}"
    script.variables[name] = value


def _expand(script: Script, word: Word, *, split: bool = True) -> list[str]:
    """The words that one word of the script becomes."""
    parts: list[str] = [""]
    literal = False
    for text, quote in word.segments:
        if quote == "single":
            parts[-1] += text
            literal = True
            continue
        literal = literal or quote == "double"
        for piece, value in _pieces(script, text):
            if value is None:
                parts[-1] += piece
            elif isinstance(value, list):
                items = value if quote == "double" else [part for item in value for part in _split(item)]
                parts[-1] += items[0] if items else ""
                parts += items[1:]
            elif quote == "double" or not split:
                parts[-1] += value
            else:
                items = _split(value) or [""]
                parts[-1] += items[0]
                parts += items[1:]
    return [part for part in parts if part or literal]


def _split(text: str) -> list[str]:
    """Split at blanks, but not inside the mark of something unknown."""
    return _BLANKS.findall(text)


def _pieces(script: Script, text: str) -> Iterator[tuple[str, Value | None]]:
    """Plain text, and what each ``$`` expands to."""
    position = 0
    while position < len(text):
        if text[position] == "\\" and position + 1 < len(text):
            yield text[position + 1], None
            position += 2
        elif text.startswith("$((", position):
            end = _closing(text, position)
            yield "", _arithmetic(script, text[position + 3 : end - 2])
            position = end
        elif text.startswith(("$(", "`"), position):
            end = len(text) if text[position] == "$" else text.find("`", position + 1) + 1 or len(text)
            end = _closing(text, position) if text[position] == "$" else end
            yield "", _unknown(script, text[position:end], "is the output of a command")
            position = end
        elif text.startswith("${", position):
            end = _closing(text, position, "{", "}")
            yield "", _braces(script, text[position + 2 : end - 1])
            position = end
        elif text[position] == "$" and (match := _NAME.match(text, position + 1)):
            yield "", _variable(script, match.group(0))
            position = match.end()
        else:
            yield text[position], None
            position += 1


def _closing(text: str, start: int, opens: str = "(", closes: str = ")") -> int:
    depth = 0
    for index in range(start + 1, len(text)):
        depth += (text[index] == opens) - (text[index] == closes)
        if depth == 0:
            return index + 1
    return len(text)


def _braces(script: Script, inside: str) -> Value:
    match = _BRACES.fullmatch(inside)
    if match is None:
        return _unknown(script, "${" + inside + "}", "uses an expansion that is not read")
    name, whole, kind, default = match.groups()
    known = script.variables.get(name)
    if kind is not None and "+" in kind:
        return _unknown(script, name, "depends on whether a variable is set")
    if known is None and kind is not None:
        plain = re.sub(r'(?<!\\)"', "", default)  # quotes of the default are no part of it
        value = " ".join(_expand(script, Word(((plain, "double"),)), split=False))
        script.defaults[name] = value
        return value
    found = _variable(script, name, whole=bool(whole))
    return " ".join(found) if whole == "[*]" and isinstance(found, list) else found


def _variable(script: Script, name: str, *, whole: bool = False) -> Value:
    value = script.variables.get(name)
    if value is None:
        return _unknown(script, name, "is not set in the script")
    if isinstance(value, list):
        return value if whole else (value[0] if value else "")
    return value


def _unknown(script: Script, name: str, why: str) -> str:
    shown = " ".join(name.split())[:60]
    script.reasons.setdefault(shown, why)
    return f"\u27e6{shown}\u27e7"


_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def _arithmetic(script: Script, text: str) -> str:
    """Whole-number arithmetic; bash divides towards zero, and sizes are not negative."""
    named = re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda found: str(_variable(script, found.group(1))), text)
    try:
        return str(_whole(ast.parse(named.replace("/", "//").strip(), mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError):
        return _unknown(script, f"$(({text}))", "is arithmetic over what is not known")


def _whole(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_whole(node.left), _whole(node.right))
    raise ValueError


def resplit(words: list[str]) -> list[str]:
    """Words of which one is a whole command (``bash -c "torchrun ..."``), with that one split."""
    found: list[str] = []
    for word in words:
        if " --" in word and ".py" in word:
            try:
                found += shlex.split(word)
            except ValueError:
                found += word.split()
        else:
            found.append(word)
    return found
