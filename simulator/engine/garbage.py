"""How often Python looks for garbage: what a question lays out stays until it is answered, and events leave little behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects that are made before garbage is looked for. At Python's own 700 that takes a tenth of a step, at 50,000 a fifteenth of
#: one around faults; at this many it takes half of that, and 5 MiB more are left lying (measured).
YOUNG = 250_000


@contextmanager
def seldom() -> Iterator[None]:
    """Look for it less often inside. Whoever finds it so already, or not looked for at all, leaves it as it is."""
    young, *older = gc.get_threshold()
    changed = 0 < young < YOUNG
    if changed:
        gc.set_threshold(YOUNG, *older)
    try:
        yield
    finally:
        if changed:
            gc.set_threshold(young, *older)
