"""Every error a user can meet, as one tree; each is also a builtin, so that plain ``except ValueError`` works too.

::

    SupernodeError (Exception)                 exit 1
    |-- InputError (ValueError)                exit 2: what was typed or written is wrong, and here is what to do
    |   |-- UnitError                          a quantity without a unit, with an unknown one, or out of any range
    |   |-- FileProblem                        a file is missing, unreadable, not YAML, or extends itself
    |   |   `-- MissingPreset (LookupError)    no preset of that name
    |   |-- PlanError                          a parallel plan that cannot be laid on these ranks
    |   |-- TopologyError                      a system that is not a machine: a tier, a link or a route does not add up
    |   `-- ModelError                         a model whose dimensions contradict each other
    |-- NotModelled (NotImplementedError)      exit 3: asked for, legal, and not simulated
    |-- DoesNotFit (RuntimeError)              exit 3: the job needs more memory than a chip has
    `-- IdentityBroken (AssertionError)        exit 1: a law of the simulator failed; never the user's fault
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

LONGEST_GOT = 120
"""Characters of a refused value that a message repeats; the rest becomes ``...``."""


class Words(str):
    """What a message says about a refused value in our words, so without quotes."""

    __slots__ = ()


class SupernodeError(Exception):
    """The root: catch it to catch everything the simulator raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(SupernodeError, ValueError):
    """Something a user typed is wrong: where, which rule, what we got, what to do, in one line.

    ``where`` is ``file:line:column`` (or ``--set``), ``path`` the field (``plan.tp``), ``got`` the refused value as it
    should be read (a string is shown in quotes), ``do`` a full sentence. Parts left out are left out of the line.

    >>> print(InputError("must divide 1024 chips", got=96, do="Lower pp from 12 to 8.", path="plan.pp", where="a.yaml:3:7"))
    a.yaml:3:7 plan.pp: must divide 1024 chips (got 96). Lower pp from 12 to 8.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        rule: str,
        *,
        got: Any = None,
        do: str | None = None,
        path: str | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(rule)
        self.rule = rule
        self.got = got
        self.do = do
        self.path = path
        self.where = where

    def __str__(self) -> str:
        place = " ".join(part for part in (self.where, self.path) if part)
        line = f"{place}: {self.rule}" if place else self.rule
        if self.got is not None:
            line = f"{line} (got {quote(self.got)})"
        line = line if line.endswith(".") else f"{line}."
        return one_line(f"{line} {self.do}" if self.do else line)

    def at(self, *, where: str | None = None, path: str | None = None) -> Self:
        """The same error with its position filled in; what it knew already stays."""
        return type(self)(self.rule, got=self.got, do=self.do, path=self.path or path, where=self.where or where)

    def __reduce__(self) -> tuple[Callable[..., InputError], tuple[Any, ...]]:
        # Exceptions pickle by their positional arguments only; worker processes send ours back whole.
        return _rebuild, (type(self), self.rule, self.got, self.do, self.path, self.where)


class UnitError(InputError):
    """A quantity that has no unit, an unknown or ambiguous one, or a value that no machine has."""


class FileProblem(InputError):
    """A file that cannot be found, read, or understood as strict YAML."""


class MissingPreset(FileProblem, LookupError):
    """A name that is neither a preset nor a file."""


class PlanError(InputError):
    """A parallel plan that does not fit its ranks, its model or its schedule."""


class TopologyError(InputError):
    """A system whose tiers, links or routes do not make a machine."""


class ModelError(InputError):
    """A model whose dimensions contradict each other."""


class NotModelled(SupernodeError, NotImplementedError):
    """Legal and understood, but not simulated: refused under ``--strict``, a warning otherwise."""

    exit_code: ClassVar[int] = 3


class DoesNotFit(SupernodeError, RuntimeError):
    """The job needs more memory than a chip has."""

    exit_code: ClassVar[int] = 3


class IdentityBroken(SupernodeError, AssertionError):
    """A conservation law of the simulator failed; the answer must not be used."""


def one_line(text: str) -> str:
    r"""``text`` without line breaks or control characters.

    >>> one_line("two\n  lines\x00")
    'two lines?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def quote(value: Any) -> str:
    """A refused value as a message shows it: YAML's words for true, false and nothing, text in quotes, never long.

    >>> quote(True), quote("abc"), quote(3), quote({"tp": 1})
    ('true', "'abc'", '3', 'a mapping with tp')
    """
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, dict):
        return shorten("a mapping with " + ", ".join(map(str, value)) if value else "an empty mapping")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Words):
        return shorten(value)
    if isinstance(value, str):
        return f"'{shorten(value)}'"
    return shorten(str(value))


def shorten(text: str) -> str:
    """``text``, cut where a message would become unreadable."""
    return text if len(text) <= LONGEST_GOT else text[: LONGEST_GOT - 3] + "..."


def _rebuild(kind: type[InputError], rule: str, got: Any, do: str | None, path: str | None, where: str | None) -> InputError:
    return kind(rule, got=got, do=do, path=path, where=where)
