"""From the name of a software stack to its assumptions: the preset of its release family.

A stack is written with its release (``megatron-bridge-26.08``); a preset is named after the family that behaves alike
(``megatron-bridge``). The longest preset name that the stack begins with, up to a dash or a dot, is its family.
"""

from __future__ import annotations

from collections.abc import Iterable

from simulator.assumptions import PRESETS
from simulator.spec.files import preset_names

FALLBACK = "default"
"""Assumptions of a stack nobody described; whoever uses them says so."""


def assumptions_of(stack: str | None) -> tuple[str, bool]:
    """The preset of a stack's family, and whether there is one."""
    family = family_of(stack or "", preset_names(PRESETS))
    return (family, True) if family else (FALLBACK, stack == FALLBACK)


def family_of(stack: str, families: Iterable[str]) -> str | None:
    """The longest of ``families`` that ``stack`` begins with at a dash or a dot.

    >>> family_of("megatron-bridge-26.08", ["megatron", "megatron-bridge", "megatron-bridge-2"])
    'megatron-bridge'
    >>> family_of("megatronium", ["megatron"]) is None
    True
    """
    fitting = [name for name in families if stack == name or stack.startswith((f"{name}-", f"{name}."))]
    return max(fitting, key=len, default=None)
