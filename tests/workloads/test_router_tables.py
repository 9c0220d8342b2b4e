"""A router table that is none is refused in a line that names its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workloads
from simulator.spec.errors import InputError
from workloads.router_table import read_table

EVEN = np.ones((1, 1, 256))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (EVEN[0], "layers, micro-batches and experts"),
        (EVEN * np.nan, "counts of 0 or more"),
        (EVEN * 1e308, "counts of 0 or more"),
        (EVEN * 0.0, "counts of 0 or more"),
        (EVEN.astype(complex), "no array that can be read .* complex"),
        (np.zeros((1, 1, 256), dtype=[("a", "i4"), ("b", "f4")]), "no array that can be read"),
        (np.array([{}], dtype=object), "no array that can be read"),
        (EVEN[:0], "1 or 8 layers"),
    ],
)
def test_an_array_of_something_else(array: Any, message: str, tmp_path: Path) -> None:
    """Of other axes, of numbers whose sum is none, of things that are no numbers."""
    np.save(tmp_path / "table.npy", array, allow_pickle=True)
    _is_refused(tmp_path / "table.npy", message)


@pytest.mark.parametrize("name", ["empty.npy", "empty.yaml", "nowhere.npy", "folder.yaml"])
def test_a_file_that_is_none(name: str, tmp_path: Path) -> None:
    """An empty file is not the end of what a person types."""
    (tmp_path / "folder.yaml").mkdir()
    if name.startswith("empty"):
        (tmp_path / name).touch()
    _is_refused(tmp_path / name, None)


def _is_refused(path: Path, message: str | None) -> None:
    model = workloads.load({"preset": "deepseek-v4-flash", "layers": 8, "mtp_depth": 0})
    with pytest.raises(InputError, match=message) as caught:
        read_table(str(path), model, 4)
    assert caught.value.path == "training.router.file" or caught.value.where
