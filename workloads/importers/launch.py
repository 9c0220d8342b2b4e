"""Where the flags of a Megatron-LM run are written: a launch script, a line of flags, or the dump of its arguments.

A dump lists all arguments with their defaults, under their Python names (``num_layers ..... 32``); a launch gives flags. Both
become :class:`Flags` under the Python names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simulator.spec.errors import InputError, PlanError
from simulator.spec.near import nearest
from workloads.importers.megatron_flags import HARMLESS, NOT_SIMULATED
from workloads.importers.shell import UNKNOWN, Script, read_script, resplit

_DUMPED = re.compile(r"^(?:\[[^\]]*\]:?)?\s*([a-z][a-z0-9_]*) \.{2,} ?(.*)$", re.MULTILINE)
_LAUNCHER = {"nnodes": "nnodes", "nproc_per_node": "nproc_per_node", "num_nodes": "nnodes", "nproc": "nproc_per_node"}
_FEWEST_DUMPED = 20


@dataclass(slots=True)
class Flags:
    """The flags of one run. ``values``: Python name -> its words; ``dumped``: all arguments are there, defaults included."""

    file: str
    values: dict[str, list[str]]
    lines: dict[str, int] = field(default_factory=dict)
    launcher: dict[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    dumped: bool = False
    read: dict[str, None] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # Megatron-LM's name -> the one that was written instead

    def has(self, name: str) -> bool:
        """Whether the flag was given (a dump: and is neither None nor False)."""
        self.read.setdefault(name)
        if name not in self.values:
            return False
        return not self.dumped or self.values[name] not in (["None"], ["False"], [])

    def text(self, name: str, default: str | None = None) -> str:
        """The flag's one word."""
        if not self.has(name):
            if default is None:
                raise self._missing(name)
            return default
        words = self.values[name]
        if len(words) != 1:
            raise self.refuse(name, "takes one value", f"Write {self.flag(name)} VALUE.")
        unknown = UNKNOWN.search(words[0])
        if unknown:
            known = self.reasons.get(unknown.group(1), "is not known")
            named = re.fullmatch(r"[A-Za-z_]\w*", unknown.group(1))
            do = f"Give it with --define {unknown.group(1)}=VALUE." if named else f'Give it with --add "{self.flag(name)} VALUE".'
            raise PlanError(f"needs {unknown.group(1)}, which {known}", do=do, path=self.flag(name), where=self._where(name))
        return words[0]

    def whole(self, name: str, default: int | None = None) -> int:
        """The flag's whole number of at least 1."""
        word = self.text(name, None if default is None else str(default))
        if not re.fullmatch(r"0*[1-9]\d*", word):
            raise self.refuse(name, "must be a whole number of at least 1", "Correct it.")
        return int(word)

    def word(self, name: str, known: Sequence[str], default: str) -> str:
        """The flag's one word of those that Megatron-LM takes; another is never taken for one of them."""
        word = self.text(name, default)
        if word not in known:
            raise self.refuse(name, f"must be one of {', '.join(known)}", "Correct it; others are not simulated.")
        return word

    def refuse(self, name: str, rule: str, do: str) -> PlanError:
        """The error about one flag."""
        got = " ".join(self.values.get(name, [])) or None
        return PlanError(rule, got=got, do=do, path=self.flag(name), where=self._where(name))

    def _missing(self, name: str) -> InputError:
        """A flag is not there; words of the launch that nobody knows may hold it."""
        marked = [mark for words in self.values.values() for word in words for mark in UNKNOWN.findall(word)]
        may = next((word for word in (*self.questions, *marked) if word in self.reasons), None)
        if may is None:
            return InputError(f"{self.flag(name)} is missing", do="Add it with --add.", where=self.file)
        return InputError(
            f"{self.flag(name)} is missing, and {may}, which may hold it, {self.reasons[may]}",
            do="Say with --define what the script's variables are, or add the flag with --add.",
            where=self.file,
        )

    def check_all_read(self, ignore: Iterable[str]) -> None:
        """Refuse the first flag that nobody read and that is not known to be harmless."""
        told = {name.lstrip("-").replace("-", "_") for name in ignore}
        unread = [name for name in self.values if name not in {*self.read, *HARMLESS, *NOT_SIMULATED, *told}]
        if self.dumped or not unread:
            return
        first, more = unread[0], unread[1:]
        close = nearest(first, [*self.read, *NOT_SIMULATED])
        hint = f" Did you mean {self.flag(close)}?" if close and close not in self.values else ""
        also = f" The same for {', '.join(map(self.flag, more))}." if more else ""
        raise self.refuse(first, "is not known and may change the step", f"If not, add --ignore {self.flag(first)}.{hint}{also}")

    def flag(self, name: str) -> str:
        """A Python name as it is written in a launch."""
        return name if self.dumped else "--" + name.replace("_", "-")

    def _where(self, name: str) -> str:
        line = self.lines.get(name)
        return self.file if line is None else f"{self.file}:{line}" if line else "--add"


def read_flags(text: str, file: str, *, defined: Mapping[str, str] = {}, added: str = "") -> Flags:
    """Flags from the text of a script, a dump, or flags alone; ``added`` are more flags, as if at the end of the launch."""
    dumped = _DUMPED.findall(text)
    if len(dumped) >= _FEWEST_DUMPED:
        flags = Flags(file, {name: _dumped_words(value) for name, value in dumped}, dumped=True)
    elif text.lstrip().startswith("--"):  # flags without a command, on as many lines as they like
        flags = Flags(file, {})
        _take(flags, _words(text, file), 1)
    else:
        script = read_script(text, defined)
        line, words = _launch(script, file)
        flags = Flags(file, {}, reasons=script.reasons, defaults=script.defaults)
        _take(flags, words, line)
    if added:
        _take(flags, _words(added, "--add"), 0)
    return flags


def _words(text: str, file: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError("the quotes of these flags do not match", got=str(error), do="Close them.", where=file) from None


def _dumped_words(value: str) -> list[str]:
    value = value.strip()
    if value.startswith("[") and value.endswith("]"):
        return [part.strip(" '\"") for part in value[1:-1].split(",") if part.strip()]
    return [value] if value else []


def _launch(script: Script, file: str) -> tuple[int, list[str]]:
    """The one command that trains; a file of flags alone, or of arrays of flags, counts as one."""
    found = []
    for line, command in script.commands:
        words = resplit(command)
        starts = any(word.endswith(".py") or word == "-m" for word in words) or words[0].startswith("--")
        if starts and sum(word.startswith("--") for word in words) > 1:
            found.append((line, words))
    trains = [launch for launch in found if any(word.split("=")[0].startswith("--num-layers") for word in launch[1])] or found
    if len(trains) > 1 and any(words != trains[0][1] for _, words in trains):
        lines = ", ".join(str(line) for line, _ in trains)
        raise InputError(f"several commands start a run (lines {lines})", do="Leave one of them in the file.", where=file)
    if trains:
        return trains[0]
    arrays = [word for value in script.variables.values() for word in _flags_of(value)]
    if not arrays:
        raise InputError(
            "no launch of a .py with flags, no array of flags and no dump of arguments is in this file",
            do="Name the script that starts the training, or the log that begins with its arguments.",
            where=file,
        )
    return 1, arrays


def _flags_of(value: str | list[str]) -> list[str]:
    words = value.split() if isinstance(value, str) else value
    return words if words and words[0].startswith("--") else []


def _take(flags: Flags, words: list[str], line: int) -> None:
    """Sort words into flags and their values; what stands before the training script belongs to the launcher."""
    scripts = [index for index, word in enumerate(words) if word.endswith(".py")]
    modules = [index + 1 for index, word in enumerate(words[:-1]) if word == "-m"]
    start = max([*scripts[:1], *modules[:1]], default=-1) + 1
    name = ""
    for index, word in enumerate(words):
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if index < start:
                flags.launcher[_LAUNCHER.get(name, name)] = value
                name = "" if equals else name  # --nnodes=8 has its value; the word behind it is another's
                continue
            flags.values[name] = [value] if equals else []
            flags.lines[name] = line
        elif index < start:
            if name:
                flags.launcher[_LAUNCHER.get(name, name)] = word
                name = ""
        elif UNKNOWN.fullmatch(word) and (not name or flags.values[name]):
            flags.questions.append(UNKNOWN.sub(r"\1", word))
        elif name:
            flags.values[name].append(word)
