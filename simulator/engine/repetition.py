"""Rounds of a step that were not simulated because they are the one before them again: when each thing of it happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Repetition:
    """All that began from ``since`` to ``until`` [ps] happened ``times`` more times, in a row; all else later.

    ``micro_batches``: by how much their numbers grow from one time to the next.
    """

    since: int
    until: int
    times: int
    micro_batches: int

    @property
    def period(self) -> int:
        """Ticks from one time to the next."""
        return self.until - self.since

    @property
    def left_out(self) -> int:
        """Ticks of the step that were not simulated."""
        return self.times * self.period

    def spread(self, starts: Ints) -> tuple[Ints, Ints]:
        """What began at ``starts``, as it was in the whole step: places in ``starts``, and how many periods later each was.

        >>> places, turns = Repetition(since=10, until=20, times=2, micro_batches=1).spread(np.array([5, 12, 21]))
        >>> places.tolist(), turns.tolist()
        ([0, 1, 1, 1, 2], [0, 0, 1, 2, 2])
        """
        before, after = np.flatnonzero(starts < self.until), np.flatnonzero(starts >= self.until)
        again = np.flatnonzero((starts >= self.since) & (starts < self.until))
        turns = np.arange(1, self.times + 1)
        places = np.concatenate((before, np.tile(again, self.times), after))
        late = np.concatenate((np.zeros_like(before), np.repeat(turns, len(again)), np.full_like(after, self.times)))
        return places, late

    def moments(self, starts: Ints) -> Ints:
        """The moments at which something began that began at ``starts`` before anything was repeated."""
        places, late = self.spread(starts)
        moments: Ints = starts[places] + late * self.period
        return moments
