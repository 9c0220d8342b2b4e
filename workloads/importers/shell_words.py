"""A bash script cut into statements and words, quotes kept, nothing expanded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_SEPARATORS = {"&&", "||", ";", "|", "&", "\n", ";;"}
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its segments with how each is quoted (plain, single, double); ``items``: of an array, ``NAME=(...)``."""

    segments: tuple[tuple[str, str], ...]
    items: tuple[Word, ...] | None = None

    @property
    def text(self) -> str:
        """The word as written, without quotes."""
        return "".join(text for text, _ in self.segments)

    def without(self, count: int) -> Word:
        """The word without its first ``count`` characters, which are not quoted."""
        first, *rest = self.segments
        return Word(((first[0][count:], first[1]), *rest))


@dataclass(frozen=True, slots=True)
class Statement:
    """A command and the line it begins on; ``conditional``: the ``&&`` or ``||`` that it stands behind."""

    line: int
    words: tuple[Word, ...]
    conditional: str = ""


def statements(text: str) -> Iterator[Statement]:
    """The statements of a script in their order."""
    words: list[Word] = []
    conditional, line = "", 1
    for token, at in _Lexer(text).tokens():
        if isinstance(token, Word):
            if not words:
                line = at
            words.append(token)
            continue
        if words:
            yield Statement(line, tuple(words), conditional)
            words = []
        conditional = token if token in ("&&", "||") else ""
    if words:
        yield Statement(line, tuple(words), conditional)


@dataclass(slots=True)
class _Lexer:
    text: str
    position: int = 0
    line: int = 1
    skips: list[str] = field(default_factory=list)  # here-documents that begin at the next line

    def tokens(self) -> Iterator[tuple[Word | str, int]]:
        while self.position < len(self.text):
            letter = self.text[self.position]
            if self.text.startswith("\\\n", self.position):
                self._step(2)
            elif letter == "\n":
                self._step(1)
                self._skip_documents()
                yield "\n", self.line
            elif letter in " \t\r":
                self._step(1)
            elif letter == "#":
                self._step(self._line_end() - self.position)
            elif match := _HEREDOC.match(self.text, self.position):
                self.skips.append(match.group(2))
                self._step(match.end() - self.position)
            elif letter in "<>":
                self._redirect()
            elif letter in ";|&()":
                yield self._operator(), self.line
            else:
                line = self.line
                yield self._word(), line

    def _step(self, count: int) -> None:
        self.line += self.text.count("\n", self.position, self.position + count)
        self.position += count

    def _line_end(self) -> int:
        end = self.text.find("\n", self.position)
        return len(self.text) if end < 0 else end

    def _skip_documents(self) -> None:
        for name in self.skips:
            while self.position < len(self.text):
                end = self._line_end()
                closing = self.text[self.position : end].strip() == name
                self._step(end + 1 - self.position if end < len(self.text) else end - self.position)
                if closing:
                    break
        self.skips.clear()

    def _redirect(self) -> None:
        """A redirection and its target, which no command sees."""
        while self.position < len(self.text) and self.text[self.position] in "<>&-0123456789":
            self._step(1)
        while self.position < len(self.text) and self.text[self.position] in " \t":
            self._step(1)
        if self.position < len(self.text) and self.text[self.position] not in "\n;|()":
            self._word()

    def _operator(self) -> str:
        double = self.text[self.position : self.position + 2]
        if double in _SEPARATORS:
            self._step(2)
            return double
        single = self.text[self.position]
        self._step(1)
        return ";" if single in "()" else single

    def _word(self) -> Word:
        segments: list[tuple[str, str]] = []
        plain = ""
        while self.position < len(self.text):
            letter = self.text[self.position]
            if self.text.startswith("\\\n", self.position):
                self._step(2)
                break
            if letter == "(" and plain.endswith("=") and not segments:
                return Word(((plain, "plain"),), self._array())
            if letter in " \t\r\n;|&()<>":
                if letter in "<>" and plain.isdigit():
                    plain = ""  # 2>&1
                break
            if letter in "'\"":
                segments.append((plain, "plain"))
                plain = ""
                segments.append(self._quoted(letter))
            elif letter == "\\":
                plain += self.text[self.position : self.position + 2]
                self._step(2)
            elif self.text.startswith(("$(", "${"), self.position):
                plain += self._balanced()
            elif letter == "`":
                end = self.text.find("`", self.position + 1) + 1 or len(self.text)
                plain += self.text[self.position : end]
                self._step(end - self.position)
            else:
                plain += letter
                self._step(1)
        segments.append((plain, "plain"))
        return Word(tuple(segment for segment in segments if segment[0] or segment[1] != "plain") or (("", "plain"),))

    def _array(self) -> tuple[Word, ...]:
        self._step(1)
        items: list[Word] = []
        while self.position < len(self.text) and self.text[self.position] != ")":
            letter = self.text[self.position]
            if letter in " \t\r\n" or self.text.startswith("\\\n", self.position):
                self._step(2 if letter == "\\" else 1)
            elif letter == "#":
                self._step(self._line_end() - self.position)
            elif letter in ";|&(<>":
                self._step(1)
            else:
                items.append(self._word())
        self._step(1)
        return tuple(items)

    def _quoted(self, quote: str) -> tuple[str, str]:
        start = self.position + 1
        end = start
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if quote == '"' and self.text[end] == "\\" else 1
        inside = self.text[start:end]
        self._step(end + 1 - self.position)
        return (inside.replace("\\\n", ""), "double") if quote == '"' else (inside, "single")

    def _balanced(self) -> str:
        """``${...}`` or ``$(...)`` as written."""
        opens = self.text[self.position + 1]
        closes = {"{": "}", "(": ")"}[opens]
        depth, end = 0, self.position + 1
        while end < len(self.text):
            depth += (self.text[end] == opens) - (self.text[end] == closes)
            end += 1
            if depth == 0:
                break
        found = self.text[self.position : end]
        self._step(end - self.position)
        return found
