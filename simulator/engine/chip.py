"""How long one operator takes on a chip: a roofline with achieved ceilings, a depth loss and a fixed start per kernel.

    time = max(arithmetic, memory) + launches x start
    GEMM:         arithmetic = FLOPs / (peak x efficiency) x (K + k0) / K
    grouped GEMM: the same at ``grouped_gemm`` of the rate, each group's rows padded by half a tile on average
    attention:    arithmetic = FLOPs / (peak x ceiling x S / (S + s0)), of its backward pass 5/4 x that
    memory:       memory = bytes / (bandwidth x efficiency), for every operator

Which forms fit published micro-benchmarks, and how well, is in docs/operators.md.
Leaves out: tile and wave quantisation of single GEMMs, cache reuse between operators, clocks that sag under load.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from simulator.assumptions import ChipEfficiency, figure_of
from simulator.engine.segments import OperatorTime, Segment
from topologies.parts import Chip
from workloads.instructions import Compute, Kernel, Operator, Phase

#: A fused backward runs five matrix products for the forward's two (it makes the scores again), the model counts four.
#: Published rates are over the five.
BACKWARD_EXECUTES = 5 / 4
SMALL_HEAD = 64
FULL_HEAD = 128


@dataclass(frozen=True, slots=True)
class Device:
    """One rank's share of a chip under a software stack: achieved rates in SI units."""

    peak: dict[str, float]  # dense matrix peak by precision [FLOP/s]
    memory_bandwidth: float  # achieved [B/s]
    raw_memory_bandwidth: float  # data sheet [B/s]
    efficiency: ChipEfficiency

    @classmethod
    def of(cls, chip: Chip, efficiency: ChipEfficiency) -> Device:
        """Share the chip's figures over its ranks."""
        share = 1.0 / chip.ranks_per_chip
        bandwidth = chip.memory_bandwidth.value * share
        return cls(
            peak={name: figure.value * share for name, figure in chip.matrix_peak.items()},
            memory_bandwidth=bandwidth * efficiency.memory.value,
            raw_memory_bandwidth=bandwidth,
            efficiency=efficiency,
        )

    def slowed(self, speed: float) -> Device:
        """The device with a fraction of its compute and memory rates left; the start of a kernel takes as long as ever."""
        if speed == 1.0:
            return self
        return replace(
            self,
            peak={name: peak * speed for name, peak in self.peak.items()},
            memory_bandwidth=self.memory_bandwidth * speed,
            raw_memory_bandwidth=self.raw_memory_bandwidth * speed,
        )

    def rate(self, precision: str) -> float:
        """Sustained GEMM rate for a precision [FLOP/s]."""
        key = precision_key(precision)
        return self.peak[key] * figure_of(self.efficiency.gemm, key, "GEMM efficiency")

    def time(self, operator: Operator) -> OperatorTime:
        """Arithmetic, memory and launch seconds of an operator alone on the device."""
        memory = operator.bytes_moved / self.memory_bandwidth
        overhead = operator.launches * self.efficiency.kernel_start.value
        return OperatorTime(self._arithmetic(operator), memory, overhead)

    def _arithmetic(self, operator: Operator) -> float:
        if operator.flops == 0:
            return 0.0
        if operator.kernel is Kernel.ATTENTION:
            return operator.flops * (BACKWARD_EXECUTES if _is_backward(operator) else 1.0) / self._attention_rate(operator)
        rate = self.rate(operator.precision)
        if operator.k > 0:
            rate *= operator.k / (operator.k + self.efficiency.gemm_depth.value)
        if operator.kernel is Kernel.GROUPED_GEMM:
            rate *= self.efficiency.grouped_gemm.value
            if operator.m > 0:
                rate *= operator.m / (operator.m + self.efficiency.grouped_tile.value / 2)
        return operator.flops / rate

    def _attention_rate(self, operator: Operator) -> float:
        curve = self.efficiency.attention_backward if _is_backward(operator) else self.efficiency.attention_forward
        rate = self.peak[precision_key(operator.precision)] * curve.ceiling.value
        if 0 < operator.k < FULL_HEAD:
            small = self.efficiency.attention_small_head.value
            rate *= small + (1 - small) * max(0.0, operator.k - SMALL_HEAD) / (FULL_HEAD - SMALL_HEAD)
        # A causal query sees half of the sequence on average; its curve is measured against the whole.
        keys = 2 * operator.n if operator.causal else operator.n
        half = curve.half_sequence_causal if operator.causal else curve.half_sequence
        if keys > 0:
            rate *= keys / (keys + half.value)
        return rate


def _is_backward(operator: Operator) -> bool:
    return operator.phase in (Phase.BACKWARD_INPUT, Phase.BACKWARD_WEIGHT)


def precision_key(precision: str) -> str:
    """The row of a chip's peak table that a precision runs at.

    >>> precision_key("mxfp8"), precision_key("fp16"), precision_key("nvfp4")
    ('fp8', 'bf16', 'fp4')
    """
    if precision in ("bf16", "fp16"):
        return "bf16"
    return {"mxfp8": "fp8", "mxfp4": "fp4", "nvfp4": "fp4", "fp32": "bf16"}.get(precision, precision)


class SegmentBook:
    """Segments of a device, one for each distinct run of operators."""

    def __init__(self, device: Device) -> None:
        self._time = lru_cache(maxsize=None)(device.time)
        self._segments: dict[tuple[Operator, ...], Segment] = {}
        self._by_identity: dict[int, Segment] = {}

    def __call__(self, compute: Compute) -> Segment:
        segment = self._by_identity.get(id(compute))
        if segment is None:
            segment = self._segments.get(compute.operators)
            if segment is None:
                segment = self._make(compute)
                self._segments[compute.operators] = segment
            self._by_identity[id(compute)] = segment
        return segment

    def _make(self, compute: Compute) -> Segment:
        times = [self._time(operator) for operator in compute.operators]
        return Segment(_name(compute, times), times)


def _name(compute: Compute, times: list[OperatorTime]) -> str:
    """Named after the component that takes most of its time."""
    seconds: dict[str, float] = {}
    for operator, time in zip(compute.operators, times, strict=True):
        label = f"{operator.component} ({operator.phase.value.replace('_', ' ')})"
        seconds[label] = seconds.get(label, 0.0) + time.total
    return max(seconds, key=lambda label: seconds[label]) if seconds else "nothing"
