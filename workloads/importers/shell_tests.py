"""Which branch of a script's ``if`` runs, as far as its condition is a comparison of words that are known.

Understood: ``[ A = B ]``, ``!=``, ``-eq`` ``-ne`` ``-gt`` ``-ge`` ``-lt`` ``-le``, ``-z``, ``-n``, in single or double brackets,
joined by ``&&`` and ``||``. Any other command, and a word that is not known, leaves the branch open.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Truth = bool | None
"""True, False, or None where only a run would tell."""

_WHOLE: dict[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq, "-ne": operator.ne, "-gt": operator.gt, "-ge": operator.ge, "-lt": operator.lt, "-le": operator.le,
}  # fmt: skip
_CLOSING = {"[": "]", "[[": "]]"}


def truth(words: Sequence[str]) -> Truth:
    """Whether a command that compares words succeeds; words that are not known carry a mark.

    >>> truth(["[", "bf16", "=", "fp8", "]"]), truth(["[[", "-n", "x", "]]"]), truth(["grep", "x"])
    (False, True, None)
    """
    if not words or _CLOSING.get(words[0]) != words[-1] or any("\u27e6" in word for word in words):
        return None
    match list(words[1:-1]):
        case ["!", *rest]:
            inside = truth(["[", *rest, "]"])
            return None if inside is None else not inside
        case ["-z", word]:
            return word == ""
        case ["-n", word]:
            return word != ""
        case [word]:
            return word != ""
        case [one, "=" | "==", other]:
            return None if "*" in other else one == other
        case [one, "!=", other]:
            return None if "*" in other else one != other
        case [one, sign, other] if sign in _WHOLE and one.lstrip("-").isdecimal() and other.lstrip("-").isdecimal():
            return _WHOLE[sign](int(one), int(other))
    return None


def joined(first: Truth, sign: str, second: Truth) -> Truth:
    """``first && second`` or ``first || second``."""
    if sign == "&&":
        return False if first is False or second is False else None if None in (first, second) else True
    return True if first is True or second is True else None if None in (first, second) else False


@dataclass(slots=True)
class Branches:
    """The branches that a statement stands in: each is running, not running, or open."""

    frames: list[list[Truth]] = field(default_factory=list)  # of each: this branch, and whether an earlier one ran
    condition: bool = False  # the words until ``then`` are a condition

    @property
    def state(self) -> Truth:
        """Whether what comes next runs."""
        states = [frame[0] for frame in self.frames]
        return False if False in states else None if None in states else True

    def open(self, found: Truth, *, condition: bool) -> None:
        """A block begins: with a condition, or one of which nothing is known."""
        self.frames.append([found, False])
        self.condition = condition

    def narrow(self, sign: str, found: Truth) -> None:
        """The condition goes on behind ``&&`` or ``||``."""
        frame = self.frames[-1]
        mine = joined(frame[0], sign, found)
        frame[0] = mine if frame[1] is False else joined(mine, "&&", None if frame[1] is None else False)

    def next(self, found: Truth, *, condition: bool) -> None:
        """``elif`` with its condition, or ``else`` (true if it is reached)."""
        if not self.frames:
            return
        frame = self.frames[-1]
        before = joined(frame[0], "||", frame[1])
        frame[:] = [False if before is True else found if before is False else joined(found, "&&", None), before]
        self.condition = condition

    def close(self) -> None:
        """The block ends."""
        if self.frames:
            self.frames.pop()
        self.condition = False
