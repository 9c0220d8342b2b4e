"""Scenario files that are wrong, each with what its one-line error must name: the rule, and where it makes sense the remedy."""

from __future__ import annotations

GOOD = """\
name: small
cluster: {system: atlas-950-superpod-8192, chips: 64}
model: {preset: deepseek-v4-flash, layers: 8}
training: {sequence_length: 4096, global_batch: 128, micro_batch: 1, precision: fp8, optimizer: muon}
plan: {pp: 4, ep: 8, schedule: dualpipe}
"""


def changed(old: str, new: str) -> str:
    """The good file with one text replaced."""
    assert old in GOOD
    return GOOD.replace(old, new)


#: name -> (file text, texts that the error must contain)
MALFORMED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "unknown top key": (changed("plan:", "paln:"), ("paln", "plan")),
    "unknown plan key": (changed("ep: 8", "eq: 8"), ("plan.eq", "ep")),
    "unknown training key": (changed("micro_batch", "microbatch"), ("training.microbatch", "micro_batch")),
    "unknown system": (changed("atlas-950-superpod-8192", "atlas-950-superpod-8129"), ("atlas-950-superpod-8192",)),
    "unknown model": (changed("deepseek-v4-flash", "deepseek-v4-flahs"), ("deepseek-v4-flash",)),
    "unknown assumptions": (GOOD + "assumptions: defalt\n", ("default",)),
    "missing training": (changed(GOOD.splitlines()[3] + "\n", ""), ("training",)),
    "missing system": (changed("system: atlas-950-superpod-8192, ", ""), ("cluster.system",)),
    "text for a number": (changed("pp: 4", "pp: four"), ("plan.pp",)),
    "a boolean for a number": (changed("pp: 4", "pp: on"), ("plan.pp",)),
    "a fraction of a stage": (changed("pp: 4", "pp: 4.5"), ("plan.pp",)),
    "a negative degree": (changed("pp: 4", "pp: -4"), ("plan.pp",)),
    "a huge number of chips": (changed("chips: 64", "chips: 99999999999999999999"), ("chips",)),
    "a huge batch": (changed("global_batch: 128", "global_batch: 10000000000000000000000"), ("global_batch",)),
    "a huge sequence": (changed("sequence_length: 4096", "sequence_length: 9999999999999"), ("sequence_length",)),
    "a degree that does not divide": (changed("pp: 4", "pp: 5"), ("64", "pp")),
    "experts that do not divide": (changed("ep: 8", "ep: 7"), ("ep",)),
    "an odd pipeline": (changed("pp: 4, ep: 8", "pp: 1, ep: 8"), ("dualpipe",)),
    "too few micro-batches": (changed("global_batch: 128", "global_batch: 64"), ("micro-batches",)),
    "a batch that does not divide": (changed("global_batch: 128", "global_batch: 100"), ("global_batch",)),
    "unknown schedule": (changed("dualpipe", "dualpip"), ("plan.schedule", "dualpipe")),
    "unknown router": (changed("micro_batch: 1,", "micro_batch: 1, router: zpif,"), ("training.router", "zipf")),
    "a router without its factor": (
        changed("micro_batch: 1,", "micro_batch: 1, router: hot-rank,"),
        ("training.router", "factor"),
    ),
    "a router with another's parameter": (
        changed("micro_batch: 1,", "micro_batch: 1, router: {kind: zipf, exponent: 1, factor: 2},"),
        ("training.router.factor", "exponent"),
    ),
    "a hotter rank than there are tokens": (
        changed("micro_batch: 1,", "micro_batch: 1, router: {kind: hot-rank, factor: 9},"),
        ("training.router.factor", "Lower factor to 8"),
    ),
    "more hot ranks than ranks": (
        changed("micro_batch: 1,", "micro_batch: 1, router: {kind: spread, factor: 1.5, ranks: 9},"),
        ("training.router.ranks", "8"),
    ),
    "a router table that is nowhere": (
        changed("micro_batch: 1,", "micro_batch: 1, router: {kind: table, file: nowhere.npy},"),
        ("training.router.file", "nowhere.npy"),
    ),
    "a router table that is a folder": (
        changed("micro_batch: 1,", "micro_batch: 1, router: {kind: table, file: .},"),
        ("training.router.file", "directory"),
    ),
    "unknown precision": (changed("precision: fp8", "precision: fp7"), ("training.precision", "fp8")),
    "a precision the chip has not": (changed("atlas-950-superpod-8192", "cloudmatrix384"), ("fp8", "bf16")),
    "too many chips": (changed("chips: 64", "chips: 600000"), ("chips",)),
    "chips that fill no box": (changed("chips: 64", "chips: 65"), ("65",)),
    "wrong unit in an override": (
        changed("chips: 64}", "chips: 64, set: {chip.memory_bandwidth: 3.2 TB}}"),
        ("chip.memory_bandwidth", "3.2 TB"),
    ),
    "bare number where a unit is due": (
        changed("chips: 64}", "chips: 64, set: {chip.memory_bandwidth: 3200000000000}}"),
        ("chip.memory_bandwidth",),
    ),
    "unknown override path": (
        changed("chips: 64}", "chips: 64, set: {chip.memory_bandwith: 3.2 TB/s}}"),
        ("memory_bandwidth",),
    ),
    "a chip faster than whole": (
        changed("chips: 64}", "chips: 64, faults: [{chip: 3, speed: 1.5}]}"),
        ("cluster.faults[0].speed: must be less than or equal to 1 (got 1.5)",),
    ),
    "a fault with a key misspelt": (
        changed("chips: 64}", "chips: 64, faults: [{switch: cabinet0.position0.switch0, capcity: 0.5}]}"),
        ("cluster.faults[0].capcity: unknown key capcity. Did you mean capacity?",),
    ),
    "duplicate key": (changed("pp: 4", "pp: 4, pp: 8"), ("pp",)),
    "broken YAML": (changed("plan: {", "plan: {{["), ("malformed.yaml:",)),
    "tab indentation": (GOOD + "network:\n\trouting: spray\n", ("malformed.yaml:",)),
    "not a mapping": ("- a\n- b\n", ("mapping",)),
    "empty": ("", ("empty",)),
    "binary garbage": (bytes(range(256)) * 8, ("malformed.yaml",)),
    "circular extends": ("extends: malformed.yaml\n" + GOOD, ("malformed.yaml",)),
    "extends nothing": ("extends: nowhere.yaml\n" + GOOD, ("nowhere.yaml",)),
    "a fault of no known kind": (changed("chips: 64}", "chips: 64, faults: [{rack: 3}]}"), ("faults",)),
    "unknown routing": (GOOD + "network: {routing: sprya}\n", ("spray",)),
    "layers beyond reason": (changed("layers: 8", "layers: 0"), ("layers",)),
    "sequence not divided by cp": (changed("pp: 4, ep: 8", "pp: 1, ep: 8, cp: 3"), ("cp",)),
}
