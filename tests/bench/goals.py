"""What the network is meant to cost, row by row, and what it costs here: ``python tests/bench/goals.py [word ...]``.

Every row runs in a fresh process. *First* is its first answer with the fabric built, *warm* the best of three to forty more to
the same question asked anew, as many as take three seconds (only the fabric is kept: faults, classes, routes and rates are made
again), both in CPU seconds; *memory* is the peak of the process [MiB]. *Cold* rows are a process from its start, imports
included. A word picks the rows that have it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import topologies  # noqa: E402
from simulator import collective  # noqa: E402
from simulator.network.blocks import Blocks  # noqa: E402
from simulator.network.drain import drain  # noqa: E402
from simulator.network.fold import Fold  # noqa: E402
from simulator.network.maxmin import Loads, Solver, max_min  # noqa: E402
from simulator.network.phase import Phase  # noqa: E402
from simulator.spec.files import make  # noqa: E402
from topologies.fabric import Fabric  # noqa: E402
from topologies.naming import link_name  # noqa: E402
from topologies.system import System  # noqa: E402
from workloads.instructions import Communication  # noqa: E402

PAYLOAD = "64 MiB"


@dataclass(frozen=True, slots=True)
class Row:
    """``prepare()`` builds what may be kept and returns the question; goals in seconds of CPU and MiB, None for no goal."""

    name: str
    prepare: Callable[[], Callable[[], Any]]
    seconds: float | None
    mebibytes: float | None = None


def _tier(shape: str, size: int, bandwidth: str, **more: Any) -> dict[str, Any]:
    return {"shape": shape, "size": size, "bandwidth": bandwidth, "latency": "1 us", "efficiency": 0.8, "medium": "copper"} | more


def _machine(**tiers: dict[str, Any]) -> System:
    return make({"name": "machine", "title": "a machine", "chip": "h100-sxm", "tiers": tiers}, System)


MACHINES: dict[str, Callable[[], System]] = {
    "mesh 8x8x8x16": lambda: _machine(
        board=_tier("mesh", 8, "7 GB/s"),
        cabinet=_tier("mesh", 8, "7 GB/s"),
        row=_tier("mesh", 8, "7 GB/s"),
        hall=_tier("mesh", 16, "15 GB/s"),
    ),
    "torus 32x16x16": lambda: _machine(pod=_tier("torus", 8192, "60 GB/s", sides="32x16x16")),
}


def _fabric(system: str, chips: int, chips_per_domain: int | None = None) -> Fabric:
    made = MACHINES[system]() if system in MACHINES else topologies.load(system)
    return made.fabric(chips, chips_per_domain)


def all_to_all(
    system: str, chips: int, fault: str = "", group: int | None = None, per_domain: int | None = None
) -> Callable[[], Any]:
    """One all-to-all by all chips through the public function. A fault is of the busiest link, or of two links or a chip."""
    fabric = _fabric(system, chips, per_domain)
    faults = _faults(fabric, fault)
    return partial(collective, fabric, "all-to-all", bytes=PAYLOAD, faults=faults, group_size=group)


def _faults(fabric: Fabric, fault: str) -> tuple[dict[str, Any], ...]:
    if not fault:
        return ()
    if fault == "slow chip":
        return ({"chip": 17, "speed": 0.5},)
    busiest = collective(fabric, "all-to-all", bytes=PAYLOAD).busiest_link
    others = [link_name(fabric, len(fabric.tail) * part // 7) for part in (5, 3)]
    named = [busiest, *others][: {"two at half": 2, "three at half": 3}.get(fault, 1)]
    return tuple({"link": link, "capacity": 0.0 if fault == "dead" else 0.5} for link in named)


def every_end(system: str, chips: int, fault: str, limit: int | None = None) -> Callable[[], Any]:
    """The ends of all flows, not the last one alone: fault, fold, routes and every event of the drain."""
    fabric = _fabric(system, chips)
    faults = _faults(fabric, fault)

    def ask() -> int:
        broken = fabric.with_faults(faults) if faults else fabric
        fold = Fold(broken, Blocks(chips, chips), **({"flow_limit": limit} if limit else {}))
        exchange = Communication("", "collective", "all-to-all", "group", 2.0**26)
        phases = {id(made): made.phases for made in (fold.collective(each.key, exchange) for each in fold.rank_classes)}
        flows = Phase.joined([phase for made in phases.values() for phase in made])
        return len(set(drain(flows, fold.link_classes)[1]))

    return ask


def unfolded(flows: int, links: int, solver: Solver) -> Callable[[], Any]:
    """Max-min rates of flows over five random links each."""
    rng = np.random.default_rng(0)
    pairs = np.unique(np.repeat(np.arange(flows), 5) * links + rng.integers(0, links, 5 * flows))
    loads = Loads(pairs // links, pairs % links, np.ones(len(pairs)), flows, links)
    capacity = rng.uniform(1.0, 10.0, links)
    return partial(max_min, loads, capacity, solver=solver)


def process(code: str) -> Callable[[], Any]:
    """A whole process, from its start."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


COLD = "from simulator import collective; collective('{system}', 'all-to-all', chips={chips}, bytes='64 MiB')"

FAMILIES: dict[str, tuple[str, int, int | None]] = {
    "Atlas 950": ("atlas-950-superpod-8192", 8192, None),
    "Atlas 960": ("atlas-960", 15488, None),
    "Atlas 850E": ("atlas-850e", 8192, None),
    "UB-Mesh": ("ub-mesh", 8192, None),
    "CloudMatrix384 x 22": ("cloudmatrix384", 8448, None),
    "NVL72 x 108": ("gb200-nvl72", 7776, 72),
    "DGX H100 rails": ("dgx-h100", 8192, None),
    "HPN 7": ("hpn7", 8192, None),
    "H800 in planes": ("h800-mpft", 8192, None),
    "MI300X rails": ("mi300x-8", 8192, None),
    "B200 on a Clos": ("b200-8-efa", 8192, None),
    "TPU v4, 2 pods": ("tpu-v4", 8192, None),
    "TPU v5e, 32 pods": ("tpu-v5e", 8192, None),
    "TPU v5p": ("tpu-v5p", 8192, None),
    "TPU v7": ("tpu-v7", 9216, None),
    "Frontier": ("mi250x-frontier", 8192, None),
}


def rows() -> list[Row]:
    """All rows, in the order of the document."""
    mesh, torus = ("mesh 8x8x8x16", 8192), ("torus 32x16x16", 8192)
    found = [
        Row("mesh 8x8x8x16", partial(all_to_all, *mesh), 5e-3, 160),
        Row("mesh 8x8x8x16, one link at half", partial(all_to_all, *mesh, "half"), 15e-3),
        Row("mesh 8x8x8x16, one link at half, every end", partial(every_end, *mesh, "half"), 15e-3),
        Row("mesh 8x8x8x16, one link dead", partial(all_to_all, *mesh, "dead"), 30e-3),
        Row("mesh 8x8x8x16, one link dead, every end", partial(every_end, *mesh, "dead"), 30e-3),
        Row("mesh 8x8x8x16, a slow chip", partial(all_to_all, *mesh, "slow chip"), None),
        Row("mesh 8x8x8x16, two links at half", partial(all_to_all, *mesh, "two at half"), 0.8, 500),
        Row("mesh 8x8x8x16, two links at half, every end", partial(every_end, *mesh, "two at half"), 0.8, 500),
        Row("mesh 8x8x8x16, three links at half, last end", partial(all_to_all, *mesh, "three at half"), 10e-3, 500),
        Row("mesh 8x8x8x16, 128 groups of 64, one link at half", partial(all_to_all, *mesh, "half", 64), 5e-3),
        Row("torus 32x16x16", partial(all_to_all, *torus), 0.3, 250),
        Row("torus 32x16x16, one link at half", partial(all_to_all, *torus, "half"), 0.6, 250),
        Row("torus 32x16x16, one link dead", partial(all_to_all, *torus, "dead"), 0.6, 250),
    ]
    for name, (system, chips, each) in FAMILIES.items():
        goal, faulty = (10e-3, 20e-3) if name in ("NVL72 x 108", "CloudMatrix384 x 22") else (0.3, 0.6)
        found.append(Row(name, partial(all_to_all, system, chips, per_domain=each), goal, 250))
        for fault in ("half", "dead"):
            title = f"{name}, one link {'at half' if fault == 'half' else fault}"
            found.append(Row(title, partial(all_to_all, system, chips, fault, per_domain=each), faulty, 250))
    for title, system, each in (("Atlas 950", "atlas-950-superpod-8192", None), ("NVL72, 64 a rack", "gb200-nvl72", 64)):
        for chips in (64, 512, 4096, 8192, 16384, 65536):
            ask = partial(all_to_all, system, chips, per_domain=each)
            found.append(Row(f"growth: {chips:,} chips of {title}", ask, None))
    solvers: tuple[tuple[Solver, int, float], ...] = (
        ("numpy", 10**5, 0.2),
        ("numpy", 10**6, 4.0),
        ("numba", 10**5, 60e-3),
        ("numba", 10**6, 1.2),
    )
    for solver, flows, goal in solvers:
        for shared in (10, 2):
            title = f"unfolded: {flows:,} flows, {flows // shared:,} links, {solver}"
            found.append(Row(title, partial(unfolded, flows, flows // shared, solver), goal))
    code = COLD.format(system="atlas-950-superpod-8192", chips=8192)
    found.append(Row("cold: Atlas 950, process and imports", lambda: process(code), 1.2, 160))
    return found


def measure(row: Row) -> dict[str, float]:
    """First and best warm CPU seconds and peak memory of a row, in this process."""
    question = row.prepare()
    children = row.name.startswith("cold")
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF

    def spent() -> float:
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    times = []
    for asked in range(41):
        if sum(times) > (3.0 if asked > 3 else 20.0):
            break
        before = spent()
        question()
        times.append(spent() - before)
    peak = resource.getrusage(who).ru_maxrss / 1024
    return {"first": times[0], "warm": min(times[1:] or times), "memory": peak}


def measured_apart(row: Row) -> dict[str, float] | str:
    """The same in a process of its own; what went wrong, in words, if it did."""
    command = [sys.executable, __file__, "--one", row.name]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    except subprocess.TimeoutExpired:
        return "more than 170 s"
    if run.returncode:
        return run.stderr.strip().splitlines()[-1][:110]
    found: dict[str, float] = json.loads(run.stdout)
    return found


def verdict(row: Row, found: dict[str, float]) -> str:
    """Whether the goals are reached, and which is not."""
    missed = [
        word
        for word, goal, value in (("time", row.seconds, found["warm"]), ("memory", row.mebibytes, found["memory"]))
        if goal is not None and value > goal
    ]
    return "" if row.seconds is None else f"not: {', '.join(missed)}" if missed else "reached"


def show(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


def main(words: list[str]) -> None:
    if words[:1] == ["--one"]:
        chosen = [row for row in rows() if row.name == words[1]]
        if not chosen:
            sys.exit(f"no row is called {words[1]}")
        print(json.dumps(measure(chosen[0])))
        return
    print("| row | goal | first | warm | memory | |\n|---|---|---|---|---|---|")
    for row in rows():
        if words and not any(word in row.name for word in words):
            continue
        found = measured_apart(row)
        goal = "" if row.seconds is None else f"{show(row.seconds)}" + (f", {row.mebibytes:.0f} MiB" if row.mebibytes else "")
        if isinstance(found, str):
            print(f"| {row.name} | {goal} | | | | {found} |", flush=True)
        else:
            cells = (show(found["first"]), show(found["warm"]), f"{found['memory']:.0f} MiB", verdict(row, found))
            print(f"| {row.name} | {goal} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
