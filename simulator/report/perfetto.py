"""A run as a trace in the Chrome JSON format, which ui.perfetto.dev and chrome://tracing open.

A process a rank class, a thread a lane (a second one where two works of a slot run side by side), counter tracks for the
utilisation of every link class. Timestamps are microseconds with three decimals, so whole nanoseconds.
Format: "Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
Leaves out: what the recording leaves out (works inside a rank class are those of its representative).
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.engine.recorder import LANES, LinkSeries, Recording
from simulator.engine.spans import Spans
from simulator.results import Result

Ints = npt.NDArray[np.int64]
PICOSECONDS_PER_NANOSECOND = 1000
CALLED = {
    "slot": "schedule",
    "compute": "compute",
    "tp": "tensor parallel",
    "cp": "context parallel",
    "ep": "expert parallel",
    "dp": "data parallel",
    "pp": "pipeline transfer",
    "idle": "compute idle, by cause",
    "to_host": "copies to the host",
    "host_update": "update by the host",
    "from_host": "copies from the host",
}


def write_trace(result: Result, path: str | Path) -> None:
    """Write the trace; gzipped where the name ends in ``.gz``. The same run gives the same bytes.

    Raises FileProblem for a result without a recording, OSError where the file cannot be written.
    """
    recording, path = result.recording, Path(path)
    with path.open("wb") as file:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) if path.suffix == ".gz" else file
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text:
            text.write('{"displayTimeUnit":"ms","otherData":')
            text.write(_dump({"name": result.name, "version": result.version, "fingerprint": result.fingerprint}))
            text.write(',"traceEvents":[\n')
            separator = ""
            for event in events(recording):
                text.write(separator + event)
                separator = ",\n"
            text.write("\n]}\n")


def events(recording: Recording) -> Iterator[str]:
    """Every event as one JSON object: names of processes and threads first, then spans and counters in order of time."""
    threads = _threads(recording.spans)
    yield from _names(recording, threads)
    spans = recording.spans
    moments = [spans.start, *(series.time for series in recording.links)]
    lengths = [spans.end - spans.start, *(np.zeros_like(series.time) for series in recording.links)]
    source = np.repeat(np.arange(len(moments)), [len(times) for times in moments])
    position = np.concatenate([np.arange(len(times)) for times in moments])
    # An enclosing span comes before what it encloses; of one moment, the counters come last.
    order = np.lexsort((source, -np.concatenate(lengths), np.concatenate(moments)))
    span = _span_writer(spans, threads)
    counters = [_counter_writer(series, _links_process(recording)) for series in recording.links]
    for number, index in zip(source[order].tolist(), position[order].tolist(), strict=True):
        yield span(index) if number == 0 else counters[number - 1](index)


def _threads(spans: Spans) -> Ints:
    """The thread of every span: its lane, or its lane's next thread where an earlier span of the lane still runs.

    Thread ``lane + len(LANES) * n`` is the n-th of a lane; spans of one thread never overlap.
    """
    thread = spans.lane.copy()
    free: dict[tuple[int, int], list[int]] = {}
    order = np.lexsort((spans.end, spans.start))
    columns = (
        spans.rank_class[order].tolist(),
        spans.lane[order].tolist(),
        spans.start[order].tolist(),
        spans.end[order].tolist(),
    )
    for index, rank, lane, start, end in zip(order.tolist(), *columns, strict=True):
        ends = free.setdefault((rank, lane), [])
        number = next((number for number, busy_until in enumerate(ends) if busy_until <= start), len(ends))
        ends[number : number + 1] = [end]
        thread[index] = lane + len(LANES) * number
    return thread


def _names(recording: Recording, threads: Ints) -> Iterator[str]:
    for rank in recording.ranks:
        several = f" × {rank.size:,} ranks" if rank.size > 1 else ""
        yield _metadata("process_name", rank.key, 0, {"name": rank.label + several})
        yield _metadata("process_sort_index", rank.key, 0, {"sort_index": rank.pp_rank})
        for thread in np.unique(threads[recording.spans.rank_class == rank.key]).tolist():
            number, lane = divmod(thread, len(LANES))
            beside = f" {number + 1}" if number else ""
            yield _metadata("thread_name", rank.key, thread, {"name": CALLED[LANES[lane]] + beside})
            yield _metadata("thread_sort_index", rank.key, thread, {"sort_index": 100 * lane + number})
    if recording.links:
        process = _links_process(recording)
        yield _metadata("process_name", process, 0, {"name": "links: utilisation [%]"})
        yield _metadata("process_sort_index", process, 0, {"sort_index": 1 + max(rank.pp_rank for rank in recording.ranks)})


def _links_process(recording: Recording) -> int:
    """The process number of the counters, next to those of the rank classes."""
    return 1 + max(rank.key for rank in recording.ranks)


def _metadata(name: str, process: int, thread: int, args: dict[str, Any]) -> str:
    return _dump({"ph": "M", "name": name, "pid": process, "tid": thread, "ts": 0, "args": args})


def _span_writer(spans: Spans, threads: Ints) -> Callable[[int], str]:
    """Writes a span by its index. Both ends are rounded down to nanoseconds, so that neighbours still touch."""
    names = [_dump(name) for name in spans.names]
    start, end = spans.start // PICOSECONDS_PER_NANOSECOND, spans.end // PICOSECONDS_PER_NANOSECOND
    columns = [column.tolist() for column in (spans.name, spans.lane, spans.rank_class, threads, start, end - start)]

    def write(index: int) -> str:
        name, lane, rank, thread, begin, lasted = (column[index] for column in columns)
        return (
            f'{{"ph":"X","name":{names[name]},"cat":"{LANES[lane]}","pid":{rank},"tid":{thread},'
            f'"ts":{_micro(begin)},"dur":{_micro(lasted)}}}'
        )

    return write


def _counter_writer(series: LinkSeries, process: int) -> Callable[[int], str]:
    name = _dump(f"{series.tier}: {series.link}")
    time, value = (series.time // PICOSECONDS_PER_NANOSECOND).tolist(), series.value.tolist()

    def write(index: int) -> str:
        used = f'{{"%":{100 * value[index]:.4g}}}'
        return f'{{"ph":"C","name":{name},"pid":{process},"tid":0,"ts":{_micro(time[index])},"args":{used}}}'

    return write


def _micro(nanoseconds: int) -> str:
    """Nanoseconds as microseconds, exactly.

    >>> _micro(1_234_567), _micro(20)
    ('1234.567', '0.020')
    """
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
