"""The words and numbers that tables, figures and pages share: what a part is called, how a quantity is written."""

from __future__ import annotations

import math
from enum import StrEnum

from simulator.results import Result, TierUse

SECONDS_PER_DAY = 86_400.0
TRILLION = 1e12


class Family(StrEnum):
    """What kind of remedy a part of the step calls for."""

    COMPUTING = "computing"
    CHIP = "held up inside the chip"
    COMMUNICATION = "communication not hidden"
    WAITING = "waiting for other ranks"


#: Every part of the breakdown: its label and its family.
PARTS: dict[str, tuple[str, Family]] = {
    "arithmetic": ("arithmetic", Family.COMPUTING),
    "optimizer": ("optimizer", Family.COMPUTING),
    "memory_stall": ("memory stall (HBM)", Family.CHIP),
    "interference": ("interference", Family.CHIP),
    "overhead": ("launch overhead", Family.CHIP),
    "exposed_ep": ("exposed expert parallel", Family.COMMUNICATION),
    "exposed_tp": ("exposed tensor parallel", Family.COMMUNICATION),
    "exposed_cp": ("exposed context parallel", Family.COMMUNICATION),
    "exposed_dp": ("exposed data parallel", Family.COMMUNICATION),
    "exposed_pp": ("exposed pipeline transfer", Family.COMMUNICATION),
    "exposed_host": ("exposed copies and work of the host", Family.COMMUNICATION),
    "pipeline_bubble": ("pipeline bubble", Family.WAITING),
    "straggler_wait": ("straggler wait", Family.WAITING),
}

#: Units of time as an axis names them.
UNITS = {"s": "seconds", "ms": "milliseconds", "µs": "microseconds", "ns": "nanoseconds"}

#: Parts of a rank's memory, in the order they are shown.
MEMORY_PARTS = ("weights", "gradients", "optimizer", "activations", "buffers")

#: How the transfer times of an operation were found.
RUNGS = {
    "exact": "max-min fair sharing of every link at every moment, the same as with every flow by itself",
    "makespan-only": "the end of the operation is exact if it runs alone; who gets how much meanwhile is not resolved",
    "approximate": "an estimate, not a solution of the network model",
}


def label(part: str) -> str:
    """What a part of the breakdown, or a cause of idle time, is called."""
    return PARTS[part][0] if part in PARTS else part.replace("_", " ")


def significant(value: float, digits: int = 3) -> str:
    """A number with this many significant digits and thousands separators, never in powers of ten.

    >>> significant(1234.5), significant(0.01234), significant(99.96)
    ('1,234', '0.0123', '100')
    """
    if not math.isfinite(value):
        return "unlimited" if value > 0 else "unknown"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(12.344), duration(0.0021), duration(0.0)
    ('12.34 s', '2.10 ms', '0 s')
    """
    if seconds == 0:
        return "0 s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if abs(seconds) >= 0.9995 * scale:
            return f"{significant(seconds / scale, 4 if unit == 's' else 3)} {unit}"
    return f"{significant(seconds * 1e9)} ns"


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which durations up to this one are best written side by side, and its length [s].

    >>> unit_of(12.3), unit_of(0.8)
    (('s', 1.0), ('ms', 0.001))
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * scale:
            return unit, scale
    return "ns", 1e-9


def volume(amount: float, per: str = "") -> str:
    """Bytes in decimal units, as network people count them.

    >>> volume(4.2e12), volume(56e9, per="/s")
    ('4.20 TB', '56.0 GB/s')
    """
    for unit, scale in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= 0.9995 * scale:
            return f"{significant(amount / scale)} {unit}{per}"
    return f"{significant(amount)} B{per}"


def count(value: float) -> str:
    """A rate or a number of things; millions and more are abbreviated.

    >>> count(8_163_456), count(996.4), count(8192)
    ('8.16 M', '996', '8,192')
    """
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)} {unit}"
    return f"{value:,.0f}" if value >= 100 else significant(value)


def percent(fraction: float) -> str:
    """A share; what is there and would round to nothing says so.

    >>> percent(0.4151), percent(0.0004), percent(0.0)
    ('41.5 %', '<0.1 %', '0 %')
    """
    if fraction == 0:
        return "0 %"
    return "<0.1 %" if 0 < fraction < 0.0005 else f"{100 * fraction:.1f} %"


def days_per_trillion_tokens(result: Result) -> float:
    """How long a trillion tokens take at this pace, with nothing going wrong [days]."""
    return TRILLION / result.tokens_per_s / SECONDS_PER_DAY


def chips(result: Result) -> int:
    """How many chips the job runs on."""
    return round(result.tokens_per_s / result.tokens_per_s_per_chip)


def setting(result: Result) -> str:
    """The job in one line: chips, system, how it is split, schedule, precision. Leaves out what the scenario leaves open."""
    scenario = result.scenario
    cluster, plan = scenario.get("cluster") or {}, scenario.get("plan") or {}
    training = scenario.get("training") or {}
    words = [f"{chips(result):,} chips"]
    if isinstance(cluster.get("system"), str):
        words[0] += f" of {cluster['system']}"
    words += [f"{axis} {plan[axis]}" for axis in ("tp", "pp", "vpp", "cp", "ep", "etp") if (plan.get(axis) or 1) != 1]
    if plan.get("schedule"):
        words.append(plan["schedule"] if isinstance(plan["schedule"], str) else "schedule of its own")
    words += [str(training[key]) for key in ("precision",) if training.get(key)]
    if training.get("global_batch") and training.get("sequence_length"):
        words.append(f"{training['global_batch']:,} × {training['sequence_length']:,} tokens a step")
    return " · ".join(words)


def tightest_bound(result: Result) -> str:
    """Which of the three bounds is the highest: compute, memory or network."""
    bounds = result.bounds
    named = {"compute": bounds.compute_s, "memory": bounds.memory_s, "network": bounds.network_s}
    return max(named, key=lambda name: named[name])


def by_saturation(result: Result) -> list[tuple[str, TierUse]]:
    """The tiers, the one with the longest saturated links first, then by mean use."""
    return sorted(result.network.tiers.items(), key=lambda item: (-item[1].saturated_s, -item[1].mean_utilisation))


def senders(use: TierUse, most: int | None = None) -> str:
    """Who sent the bytes on a tier, most first. Payload; wire bytes, and said so, where only those are known (pooled ports)."""
    amounts, unit = (use.payload_bytes, "") if use.payload_bytes else (use.wire_bytes, " on the wire")
    sent = sorted(((kind, amount) for kind, amount in amounts.items() if amount > 0), key=lambda item: -item[1])
    return ", ".join(f"{kind} {volume(amount)}" for kind, amount in sent[:most]) + unit if sent else "nobody"
