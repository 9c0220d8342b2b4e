"""The schedule of a pipeline rank as numbers: which blocks each slot runs, what it waits for and what it sends where.

Mail is numbered over the whole step, so what one stage sends and another waits for is the same number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, pairwise

import numpy as np

from simulator.engine.rank import Rank, cell_name
from simulator.engine.repetition import Ints
from workloads.instructions import Block, Compute, HostWork, Instruction, Program, RankProgram, Start, Wait, Work, WorkKind
from workloads.outline import Outline, as_met

Sort = tuple[str, int, int]
"""Mail without its micro-batch: "F" or "B", stage, direction."""

Columns = tuple[Ints, Ints, Ints]

NONE = -1
"""In place of the number of mail."""

HERE = -1
"""In place of the pipeline rank that mail goes to: the next stage is on the same one."""

_Script = tuple[tuple[Instruction, ...], list[tuple[int, str]]]
_Told = tuple[tuple[tuple[Instruction, ...], ...], tuple[tuple[int, int, str], ...]]


class Scene:
    """Blocks side by side. ``awaits``: tokens that were begun before them; ``leaves`` under way what they began."""

    __slots__ = ("_told", "awaits", "blocks", "leaves")

    def __init__(self, *blocks: Block) -> None:
        self.blocks = blocks
        self.awaits: list[str] = []
        self.leaves: list[str] = []
        self._told: _Told | None = None
        for block in blocks:
            pending: dict[str, None] = {}
            for step in block.instructions:
                if isinstance(step, Start | HostWork):
                    if isinstance(step, HostWork) and step.after and step.after not in pending:
                        self.awaits.append(step.after)
                    pending[step.token] = None
                elif isinstance(step, Wait):
                    if step.token in pending:
                        del pending[step.token]
                    else:
                        self.awaits.append(step.token)
            self.leaves += pending

    @property
    def is_closed(self) -> bool:
        """Whether it waits for all that it starts, and for nothing else."""
        return not self.awaits and not self.leaves

    @property
    def scripts(self) -> tuple[tuple[Instruction, ...], ...]:
        """What each block does whatever its tokens are called, without what waits for others than its own."""
        return self._tell()[0]

    @property
    def pauses(self) -> tuple[tuple[int, int, str], ...]:
        """Where it waits for something else: block, instructions of its script before that, token."""
        return self._tell()[1]

    def _tell(self) -> _Told:
        if self._told is None:
            scripts, pauses = [], []
            for place, block in enumerate(self.blocks):
                script, at = _script_of(block)
                scripts.append(script)
                pauses += [(place, *pause) for pause in at]
            self._told = tuple(scripts), tuple(pauses)
        return self._told


_SCRIPTS: dict[int, tuple[Block, _Script]] = {}
"""By the identity of blocks, which are held so that it stays theirs: a program of another batch runs the same ones."""

MOST_SCRIPTS = 2048


def _script_of(block: Block) -> _Script:
    found = _SCRIPTS.get(id(block))
    if found is None:
        if len(_SCRIPTS) >= MOST_SCRIPTS:
            _SCRIPTS.clear()
        found = _SCRIPTS[id(block)] = block, _script(block)
    return found[1]


def _script(block: Block) -> _Script:
    """The instructions of a block, its tokens numbered; and where it waits for what others began."""
    script: list[Instruction] = []
    pauses: list[tuple[int, str]] = []
    names: dict[str, str] = {}  # of what it began and has not waited for
    begun = count()
    for step in block.instructions:
        if isinstance(step, Start | HostWork):
            after = step.after if isinstance(step, HostWork) else ""
            if after and after not in names:
                pauses.append((len(script), after))
            named = replace(step, token=str(next(begun)))
            if isinstance(named, HostWork):
                named = replace(named, after=names.get(after, ""))
            script.append(named)
            names[step.token] = named.token
        elif isinstance(step, Compute):
            script.append(step)
        elif step.token in names:
            script.append(Wait(names.pop(step.token)))
        else:
            pauses.append((len(script), step.token))
    return tuple(script), pauses


@dataclass(frozen=True, slots=True)
class Cell:
    """Works of one kind, stage and direction. ``need`` and ``mail``: the numbers of what they wait for and of what they send, for
    micro-batch 0; None for none. ``target``: the pipeline rank that it goes to. ``comes`` and ``goes``: the same mail as a post
    knows it, without its micro-batch.

    ``special``: the block of the first and of the last micro-batch.
    """

    name: str
    need: int | None
    target: int
    mail: int | None
    mail_name: str
    comes: Sort | None = None
    goes: Sort | None = None
    special: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Itinerary:
    """One pipeline rank. Of each slot ``scene``, a place in ``scenes``. ``outline``: its works as columns, of these ``cells``."""

    scenes: tuple[Scene, ...]
    cells: tuple[Cell, ...]
    scene: list[int]
    outline: Outline

    @cached_property
    def works(self) -> list[tuple[tuple[int, int], ...]]:
        """Of each slot, for each work a place in ``cells`` and its micro-batch."""
        pairs = list(zip(self.outline.cell.tolist(), self.outline.batch.tolist(), strict=True))
        return [tuple(pairs[first:end]) for first, end in pairwise(self.firsts)]

    @cached_property
    def firsts(self) -> list[int]:
        """The place of the first work of each slot among all works, and how many there are."""
        return [*self.outline.first.tolist(), len(self.outline.works)]

    @cached_property
    def needs(self) -> list[int]:
        """The mail that each work waits for; NONE where it waits for nothing."""
        return self._mail([cell.need for cell in self.cells])

    @cached_property
    def mails(self) -> list[int]:
        """The mail that each work sends; NONE where it sends nothing."""
        return self._mail([cell.mail for cell in self.cells])

    @cached_property
    def targets(self) -> list[int]:
        """The pipeline rank that each work sends to, or HERE."""
        found: list[int] = np.array([cell.target for cell in self.cells], dtype=np.int64)[self.outline.cell].tolist()
        return found

    def _mail(self, of_cells: list[int | None]) -> list[int]:
        first = np.array([NONE if mail is None else mail for mail in of_cells], dtype=np.int64)[self.outline.cell]
        numbers: list[int] = np.where(first == NONE, NONE, first + self.outline.batch).tolist()
        return numbers

    def columns(self, chain: int) -> Columns:
        """Slots that have a work at this place, and of each such work its cell and its micro-batch."""
        outline = self.outline
        slot: Ints = np.flatnonzero(outline.lengths > chain)
        at = outline.first[slot] + chain
        return slot, outline.cell[at], outline.batch[at]


_KEPT: deque[tuple[RankProgram, Program, Itinerary]] = deque(maxlen=64)
"""Those that were written last: programs are kept as well, and who asks about the same one asks for the same schedule."""


def itinerary(rank: Rank) -> Itinerary:
    """The schedule of a rank."""
    mine, whole = rank.program, rank.world.program
    for program, of, found in tuple(_KEPT):  # others may ask meanwhile, on other threads
        if program is mine and of is whole:
            return found
    written = _Writer(rank).written()
    _KEPT.append((mine, whole, written))
    return written


class _Writer:
    """Writes the itinerary of one rank."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._blocks: list[Block] = []
        self._numbers: dict[int, int] = {}  # of blocks, by identity

    def written(self) -> Itinerary:
        """All slots."""
        outline = self._rank.program.outline
        cells = tuple([self._cell(outline.works[first]) for first, _ in outline.ends.values()])
        block = self._block_of_works(outline, cells)
        key = np.zeros(len(outline.first), dtype=np.int64)
        for place in range(int(outline.lengths.max(initial=0))):
            some = outline.lengths > place
            key *= len(self._blocks) + 1
            key[some] += block[outline.first[some] + place] + 1
        firsts, scene = as_met(key)
        ends = np.append(outline.first[1:], len(outline.works))
        met = zip(outline.first[firsts].tolist(), ends[firsts].tolist(), strict=True)
        scenes = tuple([Scene(*[self._blocks[number] for number in block[first:end].tolist()]) for first, end in met])
        return Itinerary(scenes, cells, scene.tolist(), outline)

    def _block_of_works(self, outline: Outline, cells: Sequence[Cell]) -> Ints:
        """The number of each work's block: that of its cell under its micro-batch's pattern, or a special one."""
        some, which = outline.sorts(self._rank.program.patterns)
        plain = [self._number(self._rank.plain_block(work)) for work in some]
        block: Ints = np.array(plain, dtype=np.int64)[which]
        for place, cell in enumerate(cells):
            mine = np.flatnonzero(outline.cell == place)
            for batch, number in cell.special.items():
                block[mine[outline.batch[mine] == batch]] = number
        return block

    def _cell(self, work: Work) -> Cell:
        rank, program = self._rank, self._rank.world.program
        before, after = rank.neighbour(work, ahead=False), rank.neighbour(work, ahead=True)
        letter = "F" if work.kind is WorkKind.F else "B"
        target, name = HERE, ""
        if after is not None:
            target = program.rank_of[work.direction][after]
            name = f"{letter}{{}} to stage {after}"
        cell = Cell(
            name=cell_name(work.kind, work.stage, work.direction),
            need=None if before is None else self._mail(work, work.stage),
            target=HERE if target == rank.program.pp_rank else target,
            mail=None if after is None else self._mail(work, after),
            mail_name=name,
            comes=None if before is None else (letter, work.stage, work.direction),
            goes=None if after is None else (letter, after, work.direction),
        )
        for end in rank.ends(work):
            cell.special[end.micro_batch] = self._number(rank.block(end))
        return cell

    def _number(self, block: Block) -> int:
        number = self._numbers.get(id(block))
        if number is None:
            number = self._numbers[id(block)] = len(self._blocks)
            self._blocks.append(block)
        return number

    def _mail(self, work: Work, stage: int) -> int:
        """The number of what comes to a stage for such a work, of micro-batch 0."""
        program = self._rank.world.program
        stages = len(program.rank_of[work.direction])
        forward = work.kind is WorkKind.F
        return ((2 * work.direction + forward) * stages + stage) * program.micro_batches
