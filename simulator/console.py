"""What verbs take and show besides their answers: words as they were typed, a progress bar on stderr, facts in columns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.questions.explain import Fact


def typed() -> list[str]:
    """The words of the command line; a whole text of flags (``"--num-layers 32 --bf16"``) is marked as no option of ours."""
    words = sys.argv[1:]
    return [f" {word}" if word.startswith("--") and " " in word and "=" not in word.split()[0] else word for word in words]


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr while work runs; nothing if stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _fraction, _text: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=1.0)
        yield lambda fraction, text: bars.update(task, completed=fraction, description=text)


def print_facts(facts: list[Fact]) -> None:
    """One line a number: where it stands, value and range, how it is known, source."""
    width = max((len(fact.path) for fact in facts), default=0)
    for fact in facts:
        span = f" ({fact.low or fact.value} to {fact.high or fact.value})" if fact.low or fact.high else ""
        known = f"{fact.kind}, {fact.check}" if fact.check else fact.kind
        source = f"; {fact.source} {fact.url or ''}".rstrip() if fact.source else ""
        note = f" [{fact.note}]" if fact.note else ""
        print(f"{fact.path:{width}s}  {fact.value}{span}  {known}{source}{note}")
