"""A schedule of one's own: what every pipeline rank runs, written as a table.

A row is a rank, its words in the order it runs them. ``F3`` is the forward of micro-batch 3, ``B3`` its whole backward, ``I3``
and ``W3`` the backward's halves for inputs and for weights; ``F3.1`` runs on the rank's second chunk. ``3F0`` names the model
stage itself, as PyTorch's tables do, and then the rows say which rank holds which stage. ``F5+B1`` runs both at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulator.spec.base import Spec
from simulator.spec.errors import FileProblem, PlanError, Words
from workloads.instructions import Slot, Work, WorkKind
from workloads.schedules.layout import Owners, laid_round, v_shaped
from workloads.timetable import check_order

PATH = "plan.schedule"
WORD = re.compile(r"(?P<stage>\d+)?(?P<kind>[FBIW])(?P<micro_batch>\d+)(?:\.(?P<chunk>\d+))?")
OVERLAPPED = re.compile(r"\((?P<works>[^()]*)\)OVERLAP_F_B")
"""How PyTorch writes a forward and a backward that run at once: (0F5;7B1)OVERLAP_F_B."""
GRAMMAR = "Write F, B, I or W with a micro-batch, as F3, F3.1 on the second chunk, 3F0 for stage 3, or F5+B1 for two at once."


class ScheduleTable(Spec):
    """A table as a scenario gives it: ``rows`` in place, or a text ``file`` with a line per pipeline rank.

    ``layout`` says where chunks lie that are not named by their stage: round (chunk c of rank r is stage c pp + r) or v (every
    other chunk the other way round).
    """

    rows: tuple[str, ...] | None = None
    file: str | None = None
    layout: Literal["round", "v"] = "round"


@dataclass(frozen=True, slots=True)
class TableOrder:
    """A table that was read and checked: the slots of every rank, and who holds which stage."""

    order: tuple[tuple[Slot, ...], ...]
    owners: Owners
    vpp: int
    micro_batches: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """One word: a kind of work on a micro-batch, and the stage or the chunk it names."""

    kind: WorkKind
    micro_batch: int
    stage: int | None
    chunk: int


def read_table(table: ScheduleTable, pp: int) -> TableOrder:
    """The order that a table means on ``pp`` pipeline ranks, checked by playing it.

    Raises PlanError for a word that is none, work that is missing or there twice, work that waits for ever, and a stage
    on two ranks; FileProblem if the file cannot be read.
    """
    rows = _rows(table)
    if len(rows) != pp:
        raise PlanError(
            f"a schedule's table has a row for each of the pp = {pp} pipeline ranks", got=len(rows),
            do="Add or drop rows, or change pp.", path=PATH,
        )  # fmt: skip
    cells = [[_slot(word, rank) for word in _words(row)] for rank, row in enumerate(rows)]
    flat = [(rank, cell) for rank, row in enumerate(cells) for slot in row for cell in slot]
    owner = _owners(flat, pp, table.layout)
    order = tuple(tuple(tuple(_work(cell, rank, owner) for cell in slot) for slot in row) for rank, row in enumerate(cells))
    micro_batches = 1 + max(cell.micro_batch for _, cell in flat)
    try:
        check_order(order, (owner,), micro_batches)
    except PlanError as error:
        raise error.at(path=PATH) from None
    return TableOrder(order, (owner,), len(owner) // pp, micro_batches)


def _rows(table: ScheduleTable) -> Sequence[str]:
    if (table.rows is None) == (table.file is None):
        raise PlanError("a schedule's table is given as rows or as a file", do="Give one of them.", path=PATH)
    if table.rows is not None:
        return table.rows
    assert table.file is not None
    try:
        text = Path(table.file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise FileProblem("a schedule's table cannot be read", got=table.file, do=f"{reason}.", path=f"{PATH}.file") from None
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _words(row: str) -> list[str]:
    """The words of a row; blanks and commas part them, and an empty cell is a rank that does nothing for a while."""
    return [word for word in re.split(r"[\s,]+", row) if word]


def _slot(word: str, rank: int) -> tuple[_Cell, ...]:
    overlapped = OVERLAPPED.fullmatch(word)
    parts = overlapped["works"].split(";") if overlapped else word.split("+")
    cells = tuple(_cell(part, word, rank) for part in parts)
    kinds = sorted(cell.kind for cell in cells)
    if len(cells) > 1 and kinds not in ([WorkKind.B, WorkKind.F], [WorkKind.F, WorkKind.I]):
        raise PlanError(
            "a forward and a backward can run at once, and no other works", got=Words(f"{word} on rank {rank}"),
            do="Write them one after the other.", path=PATH,
        )  # fmt: skip
    return tuple(sorted(cells, key=lambda cell: cell.kind is not WorkKind.F))


def _cell(part: str, word: str, rank: int) -> _Cell:
    found = WORD.fullmatch(part)
    if found is None or (found["stage"] and found["chunk"]):
        raise PlanError("no such work in a schedule", got=Words(f"{word} on rank {rank}"), do=GRAMMAR, path=PATH)
    stage = int(found["stage"]) if found["stage"] else None
    return _Cell(WorkKind(found["kind"]), int(found["micro_batch"]), stage, int(found["chunk"] or 0))


def _owners(cells: Iterable[tuple[int, _Cell]], pp: int, layout: str) -> tuple[int, ...]:
    """Stage -> rank: as the rows say where they name stages, else laid by chunks."""
    cells = list(cells)
    named = {cell.stage is not None for _, cell in cells}
    if len(named) != 1:
        both = "words that name a stage and words that name a chunk do not mix" if named else "a schedule's table is empty"
        raise PlanError(both, do=GRAMMAR, path=PATH)
    if named == {False}:
        vpp = 1 + max(cell.chunk for _, cell in cells)
        return v_shaped(pp, vpp) if layout == "v" else laid_round(pp, vpp)
    ranks: dict[int, set[int]] = {}
    for rank, cell in cells:
        assert cell.stage is not None
        ranks.setdefault(cell.stage, set()).add(rank)
    stages = max(ranks) + 1
    for stage in range(stages):
        if len(ranks.get(stage, ())) != 1:
            got = f"stage {stage} on {len(ranks.get(stage, ()))} of them"
            raise PlanError("every stage runs on one pipeline rank", got=Words(got), do="Correct its rows.", path=PATH)
    owner = tuple(min(ranks[stage]) for stage in range(stages))
    uneven = [rank for rank in range(pp) if owner.count(rank) * pp != stages]
    if uneven:
        raise PlanError(
            "all pipeline ranks hold equally many stages",
            got=Words(f"{owner.count(uneven[0])} of {stages} on rank {uneven[0]} of {pp}"), do="Move stages.", path=PATH,
        )  # fmt: skip
    return owner


def _work(cell: _Cell, rank: int, owner: tuple[int, ...]) -> Work:
    if cell.stage is not None:
        return Work(cell.kind, cell.stage, cell.micro_batch)
    own = [stage for stage, holder in enumerate(owner) if holder == rank]
    return Work(cell.kind, own[cell.chunk], cell.micro_batch)
