"""Workloads: a model under a plan makes a program. Knows nothing of machines, nor of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.model import Model

__all__ = ["load"]


def load(model: str | Path | Mapping[str, Any]) -> Model:
    """A model by the name of its preset, the path of its file, or a mapping (see :func:`workloads.loading.load_model`).

    >>> load("llama3.1-405b").layers
    126
    """
    from workloads.loading import load_model  # imported late: whoever needs the instructions alone does not pay for it

    return load_model(model)
