"""What a simulation answers: the result contract (JSON keys), and the recorded columns behind its figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from simulator.engine.recorder import Recording
from simulator.link_timelines import LinkBook, LinkTimeline
from simulator.spec.errors import FileProblem

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from simulator.memory_book import MemoryBook
    from simulator.memory_timeline import MemoryTimeline

SCHEMA = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Breakdown(_Part):
    """Where one step's time goes on the average rank [s]; the parts sum to the step."""

    arithmetic: float
    memory_stall: float
    interference: float
    exposed_ep: float
    exposed_tp: float
    exposed_cp: float
    exposed_dp: float
    exposed_pp: float
    exposed_host: float = 0.0
    pipeline_bubble: float
    optimizer: float
    straggler_wait: float
    overhead: float

    def total(self) -> float:
        """Sum of the parts [s]."""
        return float(sum(self.model_dump().values()))


class StageMemoryResult(_Part):
    """Peak memory of one pipeline rank, by part [GiB per chip]."""

    pp_rank: int
    total_gib: float
    weights_gib: float
    gradients_gib: float
    optimizer_gib: float
    activations_gib: float
    buffers_gib: float
    micro_batches_in_flight: float
    host_gib: float = 0.0


class MemoryResult(_Part):
    """Does it fit, and what fills it. ``parts`` are those of the fullest pipeline rank [GiB per chip].

    ``host_gib_per_chip`` is what the fullest one keeps in its host, ``host_usable_gib_per_chip`` a chip's
    share of the host's memory.
    """

    peak_gib_per_chip: float
    capacity_gib_per_chip: float
    usable_gib_per_chip: float
    fits: bool
    recompute: str
    parts: dict[str, float]
    stages: tuple[StageMemoryResult, ...]
    host_gib_per_chip: float = 0.0
    host_usable_gib_per_chip: float | None = None


class TierUse(_Part):
    """How the links of one tier were used over the step, over all its links."""

    mean_utilisation: float
    peak_utilisation: float
    saturated_s: float  # seconds during which its busiest link class ran above 95%
    capacity_bytes_per_s: float
    links: int
    payload_bytes: dict[str, float]  # by who sent them: ep, tp, dp, pp, cp; a byte counts on every link it crosses
    wire_bytes: dict[str, float]  # the same with headers: payload over the tier's efficiency


class NetworkResult(_Part):
    """The links: use per tier, what saturates first, how each operation was answered."""

    tiers: dict[str, TierUse]
    first_to_saturate: str | None
    first_saturation_s: float | None
    busiest_link: str | None
    sent_bytes: dict[str, float]  # payload injected by all ranks, by kind
    rung: str
    rungs: dict[str, str]


class RouterResult(_Part):
    """How unequally experts were loaded. ``rank_factor``: copies of the busiest rank over the mean of its group, averaged over
    layers and micro-batches (``worst_rank_factor``: the worst of them); ``expert_factor``: the same of what the busiest expert is
    sent. ``dropped_share``: of the copies that were routed, those that found no room; ``padding_share``: of a rank's tokens,
    those that were not routed. ``classes``: ranks of a group that differ. ``expert_copies``: copies of experts in a group's spare
    places, averaged over layers.
    """

    kind: str
    rank_factor: float
    worst_rank_factor: float
    expert_factor: float
    dropped_share: float
    padding_share: float
    classes: int
    expert_copies: float = 0.0


class Bounds(_Part):
    """No schedule can beat these [s]: the busiest rank's FLOPs, its HBM bytes, the busiest link's bytes, over their rates."""

    compute_s: float
    memory_s: float
    network_s: float

    @property
    def best(self) -> float:
        return max(self.compute_s, self.memory_s, self.network_s)


class Simulation(_Part):
    """What the answer cost."""

    wall_s: float
    cpu_s: float
    peak_rss_mib: float
    events: int
    rank_classes: int
    link_classes: int
    flow_classes: int
    ranks: int
    reused: bool = False
    """Whether the answer was known and nothing was simulated."""


class Result(_Part):
    """The answer to one scenario. Attributes are the JSON keys; figures and traces come from the recorded columns."""

    schema_: int = SCHEMA
    name: str
    step_time_s: float
    tokens_per_s: float
    tokens_per_s_per_chip: float
    model_tflops_per_chip: float
    mfu: float
    mfu_peak_tflops: float
    hfu: float
    breakdown_s: Breakdown
    memory: MemoryResult
    network: NetworkResult
    router: RouterResult | None = None
    bounds: Bounds
    warnings: tuple[str, ...]
    scenario: dict[str, Any]
    version: str
    fingerprint: str
    simulation: Simulation
    _recording: Recording | None = PrivateAttr(default=None)
    _links: LinkBook | None = PrivateAttr(default=None)
    _memory: Any = PrivateAttr(default=None)  # a MemoryBook, which stands above results

    @property
    def recording(self) -> Recording:
        """The recorded spans and counters; a result loaded from a file has none, nor one that was not to be recorded."""
        if self._recording is None:
            raise FileProblem(
                "a result loaded from a file, or simulated with record=False, holds no timeline",
                do="run the scenario again to draw its timeline or write its trace.",
            )
        return self._recording

    @property
    def has_recording(self) -> bool:
        return self._recording is not None

    def with_recording(self, recording: Recording, links: LinkBook | None = None, memory: MemoryBook | None = None) -> Result:
        """Attach the columns of the run, what its links carried and what its ranks held (kept out of the JSON)."""
        self._recording = recording
        self._links = links
        self._memory = memory
        return self

    def memory_over_time(self) -> tuple[MemoryTimeline, ...]:
        """What every pipeline rank holds over the step, by part; FileProblem for a result that was loaded from a file."""
        if self._memory is None:
            raise FileProblem(
                "a result loaded from a file holds no memory over time", do="run the scenario again and ask its result."
            )
        book: MemoryBook = self._memory
        return book.timelines()

    def save_memory(self, path: str | Path) -> None:
        """Write it: as CSV where the name ends so, else as JSON."""
        from simulator.memory_timeline import as_text

        Path(path).write_text(as_text(self.memory_over_time(), table=str(path).endswith(".csv")), encoding="utf-8")

    @property
    def has_memory_over_time(self) -> bool:
        return self._memory is not None

    def link(self, name: str) -> LinkTimeline:
        """What one link carried over the step: utilisation over time by who sends, mean, peak, seconds above 95%.

        ``tail->head`` as in faults and as ``network.busiest_link`` names it, or ``device ports out`` (``in``) for the
        pooled limit of a device. TopologyError for a name that no link has; FileProblem for a result that was loaded from a file.
        """
        return self._link_book().link(name)

    def links(self) -> tuple[LinkTimeline, ...]:
        """The same for one link of every class of identical links that carried anything."""
        return self._link_book().links()

    def _link_book(self) -> LinkBook:
        if self._links is None:
            raise FileProblem(
                "a result loaded from a file holds no timelines of links", do="run the scenario again and ask its result."
            )
        return self._links

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain data; key ``schema`` first."""
        data = self.model_dump(mode="json")
        return {"schema": data.pop("schema_"), **data}

    def to_json(self) -> str:
        import json

        return json.dumps(self.to_dict(), indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the JSON document."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read a saved result. Raises FileProblem for anything that is not one."""
        import json

        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(data, Mapping):
                raise ValueError("not a JSON object")
            return cls(**{"schema_" if key == "schema" else key: value for key, value in data.items()})
        except (OSError, ValueError) as problem:
            raise FileProblem(
                "this file is not a result of ours",
                where=str(path),
                got=str(problem).splitlines()[0],
                do="pass a file written by `supernode run --json`.",
            ) from None

    def summary(self) -> str:
        """A few lines a planner understands."""
        from simulator.report.table import summary

        return summary(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row a breakdown part: seconds and share (needs the ``frames`` extra)."""
        import pandas as pd

        seconds = self.breakdown_s.model_dump()
        return pd.DataFrame(
            {
                "part": list(seconds),
                "seconds": list(seconds.values()),
                "share": [value / self.step_time_s for value in seconds.values()],
            }
        )

    def report(self, path: str | Path) -> None:
        """Write the self-contained HTML report."""
        from simulator.report.page import write_report

        write_report(self, Path(path))

    def trace(self, path: str | Path) -> None:
        """Write a Perfetto trace (gzip JSON)."""
        from simulator.report.perfetto import write_trace

        write_trace(self, Path(path))

    def figure(self, name: str) -> go.Figure:
        """One figure of the report by name: "breakdown", "pipeline" or "memory"."""
        from simulator.report.figures import figure

        return figure(self, name)
