"""What one link carried over a step, by name: utilisation as a step function of time, split by who sends."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.network.contract import LinkClass
from simulator.network.fold import Fold
from simulator.network.sheets import SATURATED
from simulator.network.usage import SECONDS, Usage
from simulator.spec.errors import FileProblem
from topologies.fabric import Floats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class LinkTimeline:
    """One link of the machine over one step of ``step_time_s``.

    Utilisation is wire bytes over raw ``capacity`` [B/s]: ``utilisation[i]`` from ``time_s[i]`` [s] until the next time (the
    last until the end of the step), of which ``by_kind[kind][i]`` is sent by tp, cp, ep, dp or pp; the kinds sum to the whole.
    ``alike``: links that symmetry makes identical to this one, itself included; 0 where nothing of the step crosses it.
    """

    link: str
    tier: str
    capacity: float
    alike: int
    step_time_s: float
    time_s: Floats
    utilisation: Floats
    by_kind: Mapping[str, Floats]

    @property
    def seconds(self) -> Floats:
        """How long each of the values holds [s]."""
        return np.diff(self.time_s, append=max(self.step_time_s, float(self.time_s[-1])))

    @property
    def mean(self) -> float:
        """Average utilisation over the step."""
        return float(self.utilisation @ self.seconds) / self.step_time_s

    @property
    def peak(self) -> float:
        """The highest utilisation."""
        return float(self.utilisation.max())

    @property
    def saturated_s(self) -> float:
        """Seconds above 95%."""
        return float(self.seconds[self.utilisation > SATURATED].sum())

    @property
    def first_saturated_s(self) -> float | None:
        """When it first was above 95% [s]; None if never."""
        high = np.flatnonzero(self.utilisation > SATURATED)
        return float(self.time_s[high[0]]) if len(high) else None

    @property
    def wire_bytes(self) -> dict[str, float]:
        """Bytes on this link by who sent them, headers included."""
        return {kind: float(value @ self.seconds) * self.capacity for kind, value in self.by_kind.items()}

    def rows(self) -> list[dict[str, float]]:
        """One row a value: start, end [s], utilisation, and the part of each kind."""
        ends = self.time_s + self.seconds
        columns = {"start_s": self.time_s, "end_s": ends, "utilisation": self.utilisation, **self.by_kind}
        return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_csv(self) -> str:
        """The rows as comma-separated text with a header line."""
        text = io.StringIO()
        rows = self.rows()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "link": self.link,
            "tier": self.tier,
            "capacity_bytes_per_s": self.capacity,
            "alike": self.alike,
            "mean": self.mean,
            "peak": self.peak,
            "saturated_s": self.saturated_s,
            "first_saturated_s": self.first_saturated_s,
            "wire_bytes": self.wire_bytes,
            "steps": self.rows(),
        }

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame (needs the ``frames`` extra)."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def summary(self) -> str:
        """Two lines: how full, and who filled it."""
        first = "never" if self.first_saturated_s is None else f"first at {self.first_saturated_s:.6g} s"
        sent = ", ".join(f"{kind} {amount / 1e9:.3f} GB" for kind, amount in self.wire_bytes.items()) or "nothing"
        return (
            f"link {self.link} ({self.tier}, {self.capacity / 1e9:g} GB/s, one of {self.alike} alike): "
            f"mean {self.mean:.1%}, peak {self.peak:.1%}, above 95% for {self.saturated_s:.6g} s ({first})\n"
            f"on the wire: {sent}"
        )


class LinkBook:
    """The timelines of all links of one step, worked out when asked for; it stays in the process that ran the step."""

    def __init__(self, run: tuple[Fold, Usage] | None, step: float) -> None:
        self._run = run
        self._step = step

    def __reduce__(self) -> tuple[type[LinkBook], tuple[None, float]]:
        return LinkBook, (None, self._step)

    def link(self, name: str) -> LinkTimeline:
        """The link of this name: ``tail->head``, or ``device ports out`` (``in``) for the pooled limit of a device's ports."""
        folding, usage = self._open()
        found = folding.link_named(name)
        if found.link_class is None:
            return LinkTimeline(name.strip(), found.tier, found.capacity, 0, self._step, np.zeros(1), np.zeros(1), {})
        return self._timeline(name.strip(), found.capacity, found.link_class, usage)

    def links(self) -> tuple[LinkTimeline, ...]:
        """One link of each class that carried anything, as its class names it."""
        _, usage = self._open()
        found = (self._timeline(each.example, each.capacity, each, usage) for each in usage.link_classes)
        return tuple(each for each in found if each.utilisation.any())

    def _open(self) -> tuple[Fold, Usage]:
        if self._run is None:
            raise FileProblem(
                "the timelines of links stay with the run", do="simulate the scenario again in this process and ask its result."
            )
        return self._run

    def _timeline(self, name: str, capacity: float, link_class: LinkClass, usage: Usage) -> LinkTimeline:
        """``capacity`` is the link's own: more than that of a class whose weakest link it is not."""
        time, by_kind = usage.steps_by_kind(link_class.key)
        moments = time * SECONDS
        idle = [0.0] if time[0] > 0 else []  # nothing was sent before
        seconds: Floats = np.concatenate((idle, moments)).astype(np.float64)
        own: dict[str, Floats] = {
            kind: np.concatenate((idle, value)) * (link_class.capacity / capacity) for kind, value in by_kind.items()
        }
        total: Floats = sum(own.values(), np.zeros(len(seconds)))
        return LinkTimeline(name, link_class.tier, capacity, link_class.size, self._step, seconds, total, own)
