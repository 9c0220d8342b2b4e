"""Small machines for tests: each shape alone and the combinations that systems use."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.spec.files import make
from topologies.fabric import Fabric
from topologies.system import System

CHIP: dict[str, Any] = {
    "name": "chip",
    "title": "a chip",
    "vendor": "nobody",
    "compute_units": 10,
    "matrix_peak": {"bf16": "100 TFLOP/s", "fp8": "200 TFLOP/s"},
    "memory_capacity": "64 GB",
    "memory_bandwidth": "2 TB/s",
    "ports_bandwidth": "100 TB/s",
}
TWO_DIES = CHIP | {
    "ranks_per_chip": 2,
    "package": {"bandwidth": "270 GB/s", "latency": "0.2 us", "efficiency": 0.9},
}


def tier(shape: str, size: int, bandwidth: str = "56 GB/s", **more: Any) -> dict[str, Any]:
    return {"shape": shape, "size": size, "bandwidth": bandwidth, "latency": "1 us", "efficiency": 0.8, "medium": "copper"} | more


def dragonfly(size: int, **more: Any) -> dict[str, Any]:
    links = {"global_links": 2, "local_bandwidth": "20 GB/s", "global_bandwidth": "30 GB/s"}
    return tier("dragonfly", size, leaf_latency="0.4 us", **(links | more))


def machine(chip: dict[str, Any] = CHIP, **tiers: dict[str, Any]) -> System:
    named = {name.replace("_", "-"): fields for name, fields in tiers.items()}
    return make({"name": "machine", "title": "a machine", "chip": chip, "tiers": named}, System)


MACHINES: dict[str, System] = {
    "one switch": machine(box=tier("switch", 6, planes=3)),
    "mesh 4x4": machine(row=tier("mesh", 4), grid=tier("mesh", 4)),
    "mesh 2x3x4x2": machine(a=tier("mesh", 2), b=tier("mesh", 3), c=tier("mesh", 4), d=tier("mesh", 2)),
    "boards, cabinets, pod": machine(
        board=tier("mesh", 3), cabinet=tier("switch", 4, scope="aligned", planes=2), pod=tier("switch", 5, planes=3)
    ),
    "mesh under aligned switches": machine(
        board=tier("mesh", 3), cabinet=tier("switch", 4, scope="aligned"), row=tier("mesh", 3, latency="2 us")
    ),
    "two-level Clos": machine(pod=tier("clos", 12, leaf=4, spines=3, planes=2)),
    "two-level Clos of dies": machine(
        TWO_DIES, pod=tier("clos", 12, leaf=4, leaf_name="node", spines=3, planes=2, leaf_latency="0.5 us")
    ),
    "three-level Clos": machine(fabric=tier("clos", 24, leaf=4, spines=2, planes=2, pod=8, cores=3)),
    "Clos over cabinets": machine(
        board=tier("mesh", 2),
        cabinet=tier("switch", 3, scope="aligned"),
        pod=tier("switch", 2),
        scale=tier("clos", 4, leaf=6, pod=12, spines=2, cores=2, scale_out=True),
    ),
    "Clos of whole boxes": machine(
        box=tier("switch", 3), scale=tier("clos", 8, leaf=6, pod=12, spines=2, cores=2, scale_out=True)
    ),
    "rails, shared spine": machine(
        box=tier("switch", 4, planes=2), rails=tier("rails", 6, leaf=2, spines=3, shared_spine=True, scale_out=True)
    ),
    "rails, a plane each": machine(box=tier("switch", 4), rails=tier("rails", 6, leaf=3, spines=2, scale_out=True)),
    "rails over a mesh": machine(box=tier("mesh", 4), rails=tier("rails", 6, leaf=3, spines=2, scale_out=True)),
    "torus 4x3": machine(x_side=tier("torus", 4), y_side=tier("torus", 3, "28 GB/s")),
    "torus 4x2x6": machine(pod=tier("torus", 48, "60 GB/s", sides="4x2x6")),
    "torus of dies over a Clos": machine(
        TWO_DIES, pod=tier("torus", 12, sides="3x4"), scale=tier("clos", 3, leaf=12, spines=2, scale_out=True)
    ),
    "boards in a torus": machine(board=tier("mesh", 3), pod=tier("torus", 10, "60 GB/s", sides="5x2")),
    "dragonfly": machine(fly=dragonfly(40, leaf=2, pod=8)),
    "dragonfly over nodes": machine(node=tier("switch", 2), fly=dragonfly(12, leaf=4, pod=8, global_links=3, scale_out=True)),
    "rails in two planes": machine(box=tier("switch", 4), rails=tier("rails", 6, leaf=3, spines=2, planes=2, scale_out=True)),
    "rails in two planes, shared spines": machine(
        box=tier("switch", 2), rails=tier("rails", 6, leaf=2, spines=3, planes=2, shared_spine=True, scale_out=True)
    ),
    "UB-Mesh": machine(
        x=tier("mesh", 3), y=tier("mesh", 2), z=tier("mesh", 2), w=tier("mesh", 2), pods=tier("clos", 2, leaf=6, spines=2)
    ),
    "rails over a Clos of dies": machine(
        TWO_DIES, pod=tier("clos", 6, leaf=2, spines=2, planes=2), rails=tier("rails", 4, leaf=2, spines=2, scale_out=True)
    ),
}


def whole(name: str, routing: str = "spray") -> Fabric:
    """All chips of a machine."""
    system = MACHINES[name]
    return system.fabric(system.max_chips, routing=routing)


def loads(fabric: Fabric) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What every link carries when every device sends one byte to every other [B]."""
    total = np.zeros(len(fabric.tail))
    for source in range(fabric.ranks):
        for target in range(fabric.ranks):
            route = fabric.router(source, target)
            np.add.at(total, route.links, route.fraction)
    return total


def tier_loads(fabric: Fabric, total: np.ndarray[Any, np.dtype[np.float64]], name: str) -> list[float]:
    """The distinct loads on a tier's links."""
    number = [tier.name for tier in fabric.tiers].index(name)
    return sorted(set(np.round(total[fabric.link_tier == number], 9).tolist()))
