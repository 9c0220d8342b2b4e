"""Memory by pipeline rank and part, as text."""

from __future__ import annotations

from simulator.results import MemoryResult

PARTS = ("weights", "gradients", "optimizer", "activations", "buffers")


def host_line(memory: MemoryResult) -> list[str]:
    """What is kept in the host, against a chip's share of it where that is known; nothing if nothing is."""
    if memory.host_gib_per_chip <= 0.0:
        return []
    share = memory.host_usable_gib_per_chip
    of = f" of {share:.0f} GiB" if share is not None else " GiB"
    return [f"In the host, per chip: {memory.host_gib_per_chip:.2f}{of}"]


def memory_table(memory: MemoryResult) -> str:
    """A line a pipeline rank [GiB per chip], then the peak against what can be used."""
    head = f"{'pipeline rank':<14}{'total':>10}" + "".join(f"{part:>13}" for part in PARTS) + f"{'in flight':>11}"
    lines = [head, f"{'':<14}{'GiB':>10}" + "".join(f"{'GiB':>13}" for _ in PARTS) + f"{'batches':>11}"]
    for stage in memory.stages:
        values = "".join(f"{getattr(stage, part + '_gib'):>13.2f}" for part in PARTS)
        lines.append(f"{stage.pp_rank:<14}{stage.total_gib:>10.2f}{values}{stage.micro_batches_in_flight:>11.0f}")
    word = "fits" if memory.fits else "does not fit"
    lines.append("")
    lines.append(
        f"{word}: {memory.peak_gib_per_chip:.2f} of {memory.usable_gib_per_chip:.2f} GiB usable per chip "
        f"(capacity {memory.capacity_gib_per_chip:.2f} GiB), recomputing {memory.recompute}"
    )
    return "\n".join([*lines, *host_line(memory)]) + "\n"
