"""How long one operator takes on a chip: a roofline with achieved ceilings, shape losses and a fixed start per kernel.

    time = max(arithmetic, memory) + starts
    GEMM:         arithmetic = FLOPs / (peak x gemm x sustained) x loss(m, n, k)          (tiles.py)
                  of weight gradients at ``weight_gradient`` of that rate; systolic arrays work on whole edges of n and k
    grouped GEMM: the same over all groups, rows of uneven size, at ``grouped_gemm`` of the rate; one group is a GEMM
    attention:    arithmetic = FLOPs / (peak x ceiling x S / (S + s0) x sustained), of its backward pass 5/4 x that;
                  in known blocks, the share of the computed scores that a mask keeps stands for S / (S + s0)
    memory:       bytes / (bandwidth x share); the share of operands of matrix products is one of its own

Which forms fit published micro-benchmarks, and how well, is in docs/operators.md.
Leaves out: cache reuse between operators; clocks as a function of time (``sustained`` is where they settle).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from simulator.assumptions import AttentionCurve, ChipEfficiency, HostUse, Pace, figure_of
from simulator.engine.host import NO_HOST, HostRates
from simulator.engine.segments import OperatorTime, Segment
from simulator.engine.tiles import TileCosts, shape_loss
from topologies.parts import Chip
from workloads.instructions import Compute, Kernel, Operator, Phase

#: A fused backward runs five matrix products for the forward's two (it makes the scores again), the model counts four.
#: Published rates are over the five.
BACKWARD_EXECUTES = 5 / 4
SMALL_HEAD = 64
OF_EXPERTS = ("router", "permutation", "routed_experts")  # components of the accounting that serve routed experts
SCORES_ALONE = "indexer_scores"  # no exponentials, no second product
SCAN = "state_scan"
"""The component of kernels that hand a state on; those that multiply are written in Triton and the like."""
BY_INDEX = "permutation"  # of these, rows are picked and put by index
DYNAMIC = ("permutation", "routed_experts")  # of these, shapes depend on the data: partial graphs leave them out
FULL_HEAD = 128
LARGE_HEAD = 160
QUERY_BLOCK = 128  # queries that one core of a fused attention kernel works on


@dataclass(frozen=True, slots=True)
class Conditions:
    """How operators are run. The default is a training step: chip warm, cache cold, experts with uneven rows.

    ``burst``: so short a run that no power limit acts. ``even``: every group has the same number of rows.
    ``operand_bandwidth``: at which operands of matrix products come, if they stay in cache between repetitions [B/s].
    """

    burst: bool = False
    even: bool = False
    operand_bandwidth: float = 0.0


TRAINING = Conditions()


@dataclass(frozen=True, slots=True)
class Device:
    """One rank's share of a chip under a software stack: achieved rates in SI units."""

    peak: dict[str, float]  # dense matrix peak by precision [FLOP/s]
    memory_bandwidth: float  # achieved [B/s]
    raw_memory_bandwidth: float  # data sheet [B/s]
    cores: float
    efficiency: ChipEfficiency
    conditions: Conditions = TRAINING
    pace: float = 1.0  # time of an operator in a step over that of its kernels alone, on the slowest of the ranks
    expert_pace: float = 1.0  # of operators that serve routed experts, once more
    pass_pace: float = 1.0  # of operators that only pass over memory, once more
    host: HostRates = NO_HOST
    graphs: str = "none"  # which kernels the host issues as captured graphs (workloads.plan.Plan)

    @classmethod
    def of(
        cls,
        chip: Chip,
        efficiency: ChipEfficiency,
        conditions: Conditions = TRAINING,
        pace: Pace | None = None,
        host: HostUse | None = None,
        graphs: str = "none",
        fused_experts: bool = False,
        slowest: float = 1.0,
    ) -> Device:
        """Share the chip's figures over its ranks; ``pace`` None is that of kernels alone.

        ``slowest``: time of the rank that is simulated over that of a typical one (:mod:`simulator.engine.slowest`).
        """
        share = 1.0 / chip.ranks_per_chip
        left = 1.0 - efficiency.reserved_cores.value
        bandwidth = chip.memory_bandwidth.value * share
        return cls(
            peak={name: figure.value * share * left for name, figure in chip.matrix_peak.items()},
            memory_bandwidth=bandwidth * efficiency.memory.value,
            raw_memory_bandwidth=bandwidth,
            cores=chip.compute_units.value * share * left,
            efficiency=efficiency,
            conditions=conditions,
            pace=(pace.compute.value if pace else 1.0) * slowest,
            expert_pace=(pace.fused_experts if fused_experts else pace.experts).value if pace else 1.0,
            pass_pace=pace.passes.value if pace else 1.0,
            host=HostRates.of(chip, host),
            graphs=graphs,
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
        """GEMM rate of a shape without losses, for a precision [FLOP/s]."""
        key = precision_key(precision)
        share = figure_of(self.efficiency.gemm, precision if precision in self.efficiency.gemm else key, "GEMM efficiency")
        return self.peak[key] * share * self._clock

    def time(self, operator: Operator) -> OperatorTime:
        """Arithmetic, memory and launch seconds of an operator with no communication beside it."""
        pace = self.pace * (self.expert_pace if operator.component in OF_EXPERTS else 1.0)
        if operator.kernel is Kernel.MEMORY and operator.phase is not Phase.OPTIMIZER:
            pace *= self.pass_pace
        overhead = operator.launches * self._start(operator)
        work = pace / self.efficiency.scan.value if operator.component == SCAN and _is_product(operator) else pace
        return OperatorTime(self._arithmetic(operator) * work, self._memory(operator) * work, overhead * pace)

    def issue(self, operators: tuple[Operator, ...]) -> float:
        """What the host takes to issue the kernels of a run [s]."""
        launches = sum(operator.launches for operator in operators)
        sparse = any(operator.component in OF_EXPERTS for operator in operators)
        eager = (self.efficiency.sparse_issue if sparse else self.efficiency.host_issue).value
        if self.graphs == "none":
            return launches * eager
        outside = 0
        if self.graphs == "partial":
            outside = sum(operator.launches for operator in operators if operator.component in DYNAMIC)
        return outside * eager + (launches - outside) * self.efficiency.captured_issue.value

    @property
    def _clock(self) -> float:
        """Share of its short-run arithmetic rate that the chip keeps under these conditions."""
        return 1.0 if self.conditions.burst else self.efficiency.sustained.value

    def _start(self, operator: Operator) -> float:
        """Start and drain of one kernel [s]."""
        if _is_product(operator):
            return figure_of(self.efficiency.gemm_start, precision_key(operator.precision), "start of a GEMM")
        return self.efficiency.kernel_start.value

    def _memory(self, operator: Operator) -> float:
        if not _is_product(operator):
            picked = self.efficiency.row_gather.value if operator.component == BY_INDEX else 1.0
            return operator.bytes_moved / (self.memory_bandwidth * picked)
        bandwidth = self.conditions.operand_bandwidth
        return operator.bytes_moved / (bandwidth or self.raw_memory_bandwidth * self.efficiency.operand_memory.value)

    def _arithmetic(self, operator: Operator) -> float:
        if operator.flops == 0:
            return 0.0
        if operator.kernel is Kernel.ATTENTION:
            return operator.flops * (BACKWARD_EXECUTES if _is_backward(operator) else 1.0) / self._attention_rate(operator)
        return operator.flops / self.rate(operator.precision) * self._product_loss(operator)

    def _product_loss(self, operator: Operator) -> float:
        """Time of a matrix product over that at ``rate``."""
        efficiency, loss = self.efficiency, 1.0
        if operator.phase is Phase.BACKWARD_WEIGHT:
            loss /= figure_of(efficiency.weight_gradient, precision_key(operator.precision), "weight-gradient efficiency")
        grouped = operator.kernel is Kernel.GROUPED_GEMM and operator.groups > 1
        if grouped:
            loss /= efficiency.grouped_gemm.value
        if min(operator.m, operator.n, operator.k, operator.groups) <= 0:
            return loss
        costs = TileCosts(self.cores, efficiency.gemm_tail.value, efficiency.gemm_small_tile.value, efficiency.gemm_depth.value)
        # The rows of a weight gradient are those of the weight: uneven groups sum over uneven depths there.
        ragged = grouped and not self.conditions.even
        ragged = ragged and operator.phase is not Phase.BACKWARD_WEIGHT
        rows, depth, groups = operator.m, operator.k, operator.groups
        tile = efficiency.grouped_tile.value if grouped and not self.conditions.even else 0.0
        if tile:  # groups end inside tiles, and a tile that two of them share is computed for each: one product of more rows
            again = tile * max(groups - 1, 0)
            if operator.phase is Phase.BACKWARD_WEIGHT:
                depth += again / groups
                loss *= depth / operator.k
            else:
                rows, groups = groups * rows + again, 1
                loss *= rows / (operator.groups * operator.m)
            ragged = False
        columns, edge = operator.n, self.efficiency.matrix_edge.value
        if edge:  # weights fill whole arrays
            whole = edge * ceil(columns / edge), edge * ceil(depth / edge)
            loss *= whole[0] * whole[1] / (columns * depth)
            columns, depth = whole
        return loss * float(shape_loss(rows, columns, depth, groups, costs, ragged=ragged))

    def _attention_rate(self, operator: Operator) -> float:
        curve = self.efficiency.attention_backward if _is_backward(operator) else self.efficiency.attention_forward
        rate = self.peak[precision_key(operator.precision)] * curve.ceiling.value * self._clock
        if precision_key(operator.precision) == "fp8" and operator.component != SCORES_ALONE:
            rate *= curve.eight_bits.value
        edge = self.efficiency.matrix_edge.value
        if edge and operator.k > 0:
            # Scores cost what they cost beside the products of a head of 128; only the products fill whole arrays.
            ceiling = curve.ceiling.value
            rate /= ceiling * (edge * ceil(operator.k / edge) / operator.k + (1 / ceiling - 1) * FULL_HEAD / operator.k)
        elif 0 < operator.k < FULL_HEAD:
            small = self.efficiency.attention_small_head.value
            rate *= small + (1 - small) * max(0.0, operator.k - SMALL_HEAD) / (FULL_HEAD - SMALL_HEAD)
        if operator.k > FULL_HEAD and not edge:
            rate *= 1 - (1 - curve.large_head.value) * min(1.0, (operator.k - FULL_HEAD) / (LARGE_HEAD - FULL_HEAD))
        # A causal query sees half of the sequence on average; its curve is measured against the whole.
        keys = 2 * operator.n if operator.causal else operator.n
        if keys > 0:
            rate *= self._useful_share(operator, keys, curve)
        # Backward kernels cut keys where forward ones cut queries; either way a block is one core's.
        blocks = operator.groups * max(operator.m, keys if _is_backward(operator) else 0.0) / QUERY_BLOCK
        return rate * min(1.0, blocks / self.cores) if blocks > 0 else rate

    def _useful_share(self, operator: Operator, keys: float, curve: AttentionCurve) -> float:
        """Share of its rate that a kernel keeps over so many keys: by its curve, or by the blocks that its mask touches."""
        block = min(self.efficiency.attention_block.value, operator.m) if operator.causal else 0.0
        if not block:
            half = curve.half_sequence_causal if operator.causal else curve.half_sequence
            return keys / (keys + half.value)
        # Along the diagonal half of each block is in vain; a window lies in one block of keys more than it is long.
        computed = operator.n + block / 2
        if operator.window:
            computed = min((_sequence(operator) + block) / 2, block * (ceil((operator.window - 1) / block) + 1))
        return operator.n / computed


def _sequence(operator: Operator) -> float:
    """The length of a sequence seen through a window [tokens]: n = w - w (w - 1) / 2 S; a rank may hold the queries of a part."""
    window, keys = operator.window, operator.n
    return 2 * keys - 1 if 2 * keys - 1 <= window else window * (window - 1) / (2 * (window - keys))


def _is_backward(operator: Operator) -> bool:
    return operator.phase in (Phase.BACKWARD_INPUT, Phase.BACKWARD_WEIGHT)


def _is_product(operator: Operator) -> bool:
    return operator.kernel in (Kernel.GEMM, Kernel.GROUPED_GEMM)


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
        self._issue = device.issue
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
        name = _name(compute, times)
        return Segment(name, _as_issued(times, self._issue(compute.operators)))


def _as_issued(times: list[OperatorTime], host: float) -> list[OperatorTime]:
    """A run that the host takes ``host`` seconds to issue lasts no less: what is missing counts as launch overhead."""
    behind = host - sum(time.total for time in times)
    if behind <= 0:
        return times
    each = behind / len(times)
    return [replace(time, overhead=time.overhead + each) for time in times]


def _name(compute: Compute, times: list[OperatorTime]) -> str:
    """Named after the component that takes most of its time."""
    seconds: dict[str, float] = {}
    for operator, time in zip(compute.operators, times, strict=True):
        label = f"{operator.component} ({operator.phase.value.replace('_', ' ')})"
        seconds[label] = seconds.get(label, 0.0) + time.total
    return max(seconds, key=lambda label: seconds[label]) if seconds else "nothing"
