"""A table of token counts by layer, micro-batch and expert, as a file.

Either ``.npy`` (an array [layers, micro-batches, experts]) or YAML and JSON of the same nesting under ``tokens``. Counts have any
unit: each row of experts is divided by its sum. One layer holds for all sparse layers, one micro-batch for all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.spec.base import Spec
from simulator.spec.errors import FileProblem, PlanError
from simulator.spec.files import read_spec
from workloads.model import Model
from workloads.popularity import Floats

PATH = "training.router.file"


class TokenTable(Spec):
    """``tokens``: by layer, by micro-batch, by expert; prediction blocks come after the layers."""

    tokens: list[list[list[float]]]


def read_table(path: str, model: Model, micro_batches: int) -> Floats:
    """Shares of the copies [layers or 1, micro-batches or 1, experts].

    Raises FileProblem for what is no such file, PlanError for a table of another model or plan.
    """
    counts = _counts(Path(path))
    assert model.moe is not None
    sparse = sum(shape.moe for shape in model.layer_shapes()) + model.mtp.depth * model.mtp_layer().moe
    wanted = (("layers", (1, sparse)), ("micro-batches", (1, micro_batches)), ("experts", (model.moe.experts,)))
    for axis, (name, allowed) in enumerate(wanted):
        if counts.shape[axis] not in allowed:
            sizes = " or ".join(str(size) for size in dict.fromkeys(allowed))
            raise PlanError(
                f"a router table of this job has {sizes} {name}", got=counts.shape[axis], do=f"Change {path}.", path=PATH
            )
    with np.errstate(over="ignore"):
        totals = counts.sum(axis=2, keepdims=True)
    if not np.all(np.isfinite(totals)) or np.any(counts < 0) or np.any(totals <= 0):
        raise PlanError(
            "a router table holds counts of 0 or more, some of them above 0 in every row", do=f"Check {path}.", path=PATH
        )
    shares: Floats = counts / totals
    top_k = model.moe.top_k
    most = np.unravel_index(int(np.argmax(shares)), shares.shape)
    if shares[most] > (1.0 + 1e-9) / top_k:
        layer, micro_batch, expert = (int(place) for place in most)
        raise PlanError(
            f"expert {expert} (from 0) of layer {layer} and micro-batch {micro_batch} is chosen more than once by a token: each"
            f" chooses {top_k} different experts, so a share is at most {1 / top_k:.4g}",
            got=f"{float(shares[most]):.4g}", do=f"Check {path}.", path=PATH,
        )  # fmt: skip
    return shares


def _counts(path: Path) -> Floats:
    if path.suffix != ".npy":
        try:
            rows = read_spec(str(path), TokenTable).tokens
        except FileProblem as problem:
            raise problem.at(path=PATH) from None  # a file that is none, or no text, has no line to point at
        if len({len(micro) for micro in rows}) > 1 or len({len(row) for micro in rows for row in micro}) > 1:
            raise PlanError("rows of a router table are of one length", do=f"Check {path}.", path=PATH)
        found = np.array(rows, dtype=np.float64)
    else:
        try:
            found = np.load(path, allow_pickle=False)
            if found.dtype.kind not in "biuf":
                raise ValueError(f"an array of {found.dtype}")
            found = found.astype(np.float64)
        except (OSError, ValueError, EOFError) as problem:
            raise FileProblem(
                "this is no array that can be read", got=str(problem).splitlines()[0], do="Save one with numpy.save.", path=PATH
            ) from None  # fmt: skip
    if found.ndim != 3:
        raise PlanError(
            "a router table has layers, micro-batches and experts", got=f"{found.ndim} axes", do=f"Check {path}.", path=PATH
        )
    return found
