"""Which known word a mistyped one most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_LIST = 12
"""Known names that a message lists in full; of more, it shows this many."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to ``word``: the same but for capitals, or else by spelling; None if nothing is close.

    >>> nearest("gib", ["GB", "GiB"]), nearest("dualpip", ["1f1b", "dualpipe"]), nearest("xyz", ["GB"])
    ('GiB', 'dualpipe', None)
    """
    names = list(known)
    for name in names:
        if name.casefold() == word.casefold():
            return name
    plain = {name.casefold().replace("-", "_"): name for name in names}
    close = get_close_matches(word.casefold().replace("-", "_"), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def suggest(word: str, known: Iterable[str], what: str) -> str:
    """The sentence that helps: the nearest name, or the names there are. ``what`` is their plural ("presets").

    >>> suggest("dualpip", ["1f1b", "dualpipe"], "schedules")
    'Did you mean dualpipe?'
    >>> suggest("xyz", ["1f1b", "dualpipe"], "schedules")
    'Known schedules: 1f1b, dualpipe.'
    """
    names = list(known)
    match = nearest(word, names)
    if match is not None:
        return f"Did you mean {match}?"
    if not names:
        return f"There are no {what}."
    more = "" if len(names) <= LONGEST_LIST else f" and {len(names) - LONGEST_LIST} more"
    return f"Known {what}: {', '.join(names[:LONGEST_LIST])}{more}."
