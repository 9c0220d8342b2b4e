"""Operator times against hand calculations and published kernel timings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

import topologies
from simulator.assumptions import Assumptions
from simulator.engine.chip import Conditions, Device, SegmentBook
from workloads.accounting.cores import Core, KeySpan
from workloads.accounting.ledger import Ledger
from workloads.accounting.sections import Section, Shard
from workloads.instructions import Compute, Kernel, Operator, Phase

HEADS, WIDTH = 48, 128


BENCHMARK = Conditions(burst=True, even=True)


def h100(conditions: Conditions = BENCHMARK, **changes: Any) -> Device:
    """An H100 as benchmarks run it, figures of the default replaced by field path."""
    chip = topologies.load("dgx-h100").chip
    stack = Assumptions.load("default").with_overrides(
        {f"chips.h100-sxm.{path.replace('__', '.')}": v for path, v in changes.items()}
    )
    return Device.of(chip, stack.of_chip(chip.name)[0], conditions)


def product(m: float, n: float, k: float, *, phase: Phase = Phase.FORWARD, groups: float = 1.0) -> Operator:
    kernel = Kernel.GROUPED_GEMM if groups > 1 else Kernel.GEMM
    moved = groups * 2.0 * (m * k + n * k + m * n)
    return Operator("product", "gemm", kernel, phase, 2.0 * groups * m * n * k, moved, m=m, n=n, k=k, groups=groups)


def attention(sequence_length: int, sequences: int) -> Section:
    """Causal attention of 48 heads of 128, on one rank."""
    tokens = float(sequences * sequence_length)
    ledger, core = Ledger("attention", Shard(tokens, sequence_length)), Core("core", HEADS, WIDTH, WIDTH, (KeySpan(),))
    ledger.core("attention", core, HEADS, tokens, keys=core.keys(sequence_length), keys_seen=2 * tokens * HEADS * WIDTH)
    return ledger.section()


@pytest.mark.parametrize(("sequence_length", "microseconds"), [(2048, 1631.26), (4096, 4643.46), (8192, 15308.16)])
def test_causal_backward_takes_as_long_as_measured(sequence_length: int, microseconds: float) -> None:
    """FlashAttention-3 on H100, 4 sequences (github.com/meta-pytorch/tritonbench/pull/1267): within 10%."""
    (backward,) = attention(sequence_length, 4).backward_input
    assert h100().time(backward).arithmetic == pytest.approx(microseconds * 1e-6, rel=0.10)


def test_a_fused_backward_executes_five_products_for_the_forward_s_two() -> None:
    """The model counts 2 x forward, the kernel runs 2.5 x: its published rate is over what it runs."""
    section, device = attention(8192, 1), h100()
    (backward,) = section.backward_input
    curve = device.efficiency.attention_backward
    rate = 989e12 * curve.ceiling.value * 8193 / (8193 + curve.half_sequence_causal.value)
    assert backward.flops == 2 * section.forward[0].flops
    assert device.time(backward).arithmetic == pytest.approx(2.5 * section.forward[0].flops / rate, rel=1e-3)


def test_a_large_product_takes_its_flops_over_the_achieved_rate() -> None:
    """8192 cubed in BF16, by hand: 2,048 tiles of 128 x 256 on 132 cores are 15.52 waves, a tenth of the gap to 16 lost."""
    operator = product(8192, 8192, 8192)
    loss = (2048 / 132 + 0.1 * (16 - 2048 / 132)) * 132 / 2048 * (8192 + 90) / 8192
    changes = {"gemm__bf16": 0.8, "gemm_tail": 0.1, "gemm_depth": 90, "gemm_small_tile": 35}
    assert h100(**changes).time(operator).arithmetic == pytest.approx(2 * 8192**3 / (0.8 * 989e12) * loss, rel=1e-12)


def test_a_step_runs_at_the_sustained_clock_and_a_burst_does_not() -> None:
    """The power limit takes the same share from products and attention, and nothing from memory or starts."""
    section = attention(4096, 1)
    for operator in (product(4096, 4096, 4096), *section.forward, *section.backward_input):
        step, burst = (h100(Conditions(burst=burst), sustained=0.9).time(operator) for burst in (False, True))
        assert step.arithmetic == pytest.approx(burst.arithmetic / 0.9, rel=1e-12)
        assert (step.memory, step.overhead) == (burst.memory, burst.overhead)


def test_uneven_experts_stick_out_of_their_tiles_and_even_ones_do_not() -> None:
    """Eight experts of 1,024 rows: exactly full tiles if even, half a tile more each on average if not."""
    operator = product(1024, 4096, 4096, groups=8.0)
    changes = {"gemm_tail": 0, "gemm_small_tile": 35}
    even, uneven = (h100(Conditions(even=even), **changes).time(operator).arithmetic for even in (True, False))
    assert uneven == pytest.approx(even * (1024 / 128 + 0.5) / (1024 / 128), rel=1e-12)


def test_weight_gradients_run_at_their_own_share() -> None:
    """In FP8 they are slower than the other products of the same shape; in BF16 as fast by default."""
    for precision, share in (("fp8", 0.8), ("bf16", 1.0)):
        forward = replace(product(4096, 4096, 4096), precision=precision)
        device = h100(weight_gradient__fp8=0.8)
        ratio = device.time(replace(forward, phase=Phase.BACKWARD_WEIGHT)).arithmetic / device.time(forward).arithmetic
        assert ratio == pytest.approx(1 / share, rel=1e-12)


def test_operands_in_cache_come_at_the_bandwidth_of_the_cache() -> None:
    """Benchmarks that repeat one product of few rows read its weights from L2."""
    operator = product(16, 4096, 4096)
    cached = h100(Conditions(operand_bandwidth=1e13)).time(operator)
    assert cached.memory == pytest.approx(operator.bytes_moved / 1e13)
    assert h100(operand_memory=0.9).time(operator).memory == pytest.approx(operator.bytes_moved / (0.9 * 3.35e12))


def test_attention_on_few_blocks_leaves_cores_idle() -> None:
    """One head of 128 queries is one block of 132 cores: its rate is that share of the full one."""
    whole = attention(8192, 1).forward[0]
    one = replace(whole, m=128.0, groups=1.0, flops=whole.flops / (HEADS * 64))
    assert h100().time(one).arithmetic == pytest.approx(h100().time(whole).arithmetic / (HEADS * 64) * 132, rel=1e-12)


def scores_in_blocks(sequence_length: int, window: int, block: int) -> int:
    """Query-key pairs in blocks that a causal mask, or a window along the diagonal, touches; counted one by one."""
    starts = range(0, sequence_length, block)
    touched = 0
    for queries in starts:
        for keys in starts:
            oldest = queries - window + 1 if window else 0
            if keys <= queries + block - 1 and keys + block - 1 >= max(oldest, 0):
                touched += 1
    return touched * block * block


@pytest.mark.parametrize(
    ("window", "block"), [(0, 512), (0, 2048), (128, 512), (128, 2048), (1024, 512), (1025, 512), (4096, 1024)]
)
def test_attention_in_whole_blocks_computes_every_block_that_its_mask_touches(window: int, block: int) -> None:
    """Against a count of the blocks; at the start of the sequence a window touches a block or two less, which is left out."""
    length = 8192
    span = KeySpan(limit=window)
    ledger, core = Ledger("attention", Shard(float(length), length)), Core("core", HEADS, WIDTH, WIDTH, (span,))
    ledger.core("attention", core, HEADS, length, keys=core.keys(length), keys_seen=0.0)
    (operator,) = ledger.section().forward
    device = h100(attention_block=block)
    computed = 4.0 * HEADS * WIDTH * scores_in_blocks(length, window, block)
    rate = 989e12 * device.efficiency.attention_forward.ceiling.value
    least, most = (
        computed / rate,
        4.0 * HEADS * WIDTH * (scores_in_blocks(length, window, block) + 2 * (window + block) * block) / rate,
    )
    assert operator.window == window
    assert device.time(operator).arithmetic >= least * (1 - 1e-3)
    assert device.time(operator).arithmetic <= (most if window else least * (1 + 1e-3))


@pytest.mark.parametrize("window", [1024, 4096, 8192, 10000])
def test_a_part_of_the_queries_computes_its_part_of_the_blocks(window: int) -> None:
    """Context parallelism leaves a rank an eighth of the queries, and of the time; never less than the scores that count."""
    length, ranks = 8192, 8
    core = Core("core", HEADS, WIDTH, WIDTH, (KeySpan(limit=window),))
    device, times = h100(attention_block=512, matrix_edge=128), []
    for cp in (1, ranks):
        ledger = Ledger("attention", Shard(float(length / cp), length, cp=cp))
        ledger.core("attention", core, HEADS, length / cp, keys=core.keys(length), keys_seen=0.0)
        (operator,) = ledger.section().forward
        times.append(device.time(operator).arithmetic)
        assert times[-1] > operator.flops / (989e12 * device.efficiency.attention_forward.ceiling.value)
    assert times[0] == pytest.approx(ranks * times[1], rel=1e-9)


def test_a_window_longer_than_the_sequence_is_none() -> None:
    """A window never costs more than the whole causal mask in the same blocks."""
    whole, windowed = (
        Operator(
            "attention",
            "core",
            Kernel.ATTENTION,
            Phase.FORWARD,
            1e12,
            0.0,
            m=4096.0,
            n=2048.5,
            k=128.0,
            groups=64.0,
            causal=True,
            window=window,
        )
        for window in (0, 4096)
    )
    device = h100(attention_block=512)
    assert device.time(windowed).arithmetic == pytest.approx(device.time(whole).arithmetic, rel=1e-3)


def test_a_systolic_array_works_on_whole_edges() -> None:
    """2,880 columns and rows of weights fill 3,072 of an edge of 256; heads of 128 leave half of it idle in their products,
    and what scores cost beside products stays: at a ceiling of 0.8, 1.25 of the products' time on whole arrays become 2.25."""
    wide = attention(8192, 1).forward[0]
    narrow = replace(wide, k=64.0)
    one, two = (h100(matrix_edge=edge, attention_forward__ceiling=0.8) for edge in (128, 256))
    assert two.time(wide).arithmetic == pytest.approx(2.25 / 1.25 * one.time(wide).arithmetic, rel=1e-12)
    assert one.time(narrow).arithmetic == pytest.approx(2 * one.time(wide).arithmetic, rel=1e-12)  # twice the scores a FLOP
    odd, full = product(8192, 2880, 2880), product(8192, 3072, 3072)
    device = h100(matrix_edge=256, gemm_tail=0)
    assert device.time(odd).arithmetic == pytest.approx(device.time(full).arithmetic, rel=1e-12)


def test_a_tile_that_two_groups_share_is_computed_for_each() -> None:
    """Eight groups of 2,560 rows in tiles of 512: 47 tiles for 40; of a weight gradient the rows are what is summed over."""
    uneven = Conditions(burst=True)
    plain, tiled = h100(uneven, gemm_tail=0), h100(uneven, gemm_tail=0, grouped_tile=512)
    for operator, apart in (
        (product(2560, 4096, 4096, groups=8), 47 / 40 / (1 + 0.5 * 128 / 2560)),
        (product(4096, 4096, 2560, groups=8, phase=Phase.BACKWARD_WEIGHT), 47 / 40),
    ):
        assert tiled.time(operator).arithmetic == pytest.approx(apart * plain.time(operator).arithmetic, rel=1e-2)
    dense = product(2560, 4096, 4096)
    assert tiled.time(dense).arithmetic == plain.time(dense).arithmetic


@pytest.mark.parametrize("system", ["dgx-h100", "gb200-nvl72", "tpu-v4", "tpu-v5e", "tpu-v7", "atlas-850e", "mi300x-8"])
@pytest.mark.parametrize("phase", [Phase.FORWARD, Phase.BACKWARD_WEIGHT])
def test_more_rows_of_experts_never_take_less_time(system: str, phase: Phase) -> None:
    """128 experts of 1 to 4,096 tokens each, whatever share of a tile they fill."""
    chip = topologies.load(system).chip
    device = Device.of(chip, Assumptions.load("default").of_chip(chip.name)[0])
    forward = phase is Phase.FORWARD
    times = [
        device.time(product(*((rows, 1536, 4096) if forward else (1536, 4096, rows)), groups=128, phase=phase)).arithmetic
        for rows in (1, 2, 5, 8, 16, 31, 64, 100, 128, 256, 500, 1024, 4096)
    ]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(times)), times


def test_rows_picked_by_index_move_at_their_share_of_the_memory_rate() -> None:
    """At a quarter a permutation takes four times as long, and a norm as long as ever."""
    moved, norm = (Operator("pass", component, Kernel.MEMORY, Phase.FORWARD, 0.0, 1e9) for component in ("permutation", "norm"))
    whole, quarter = h100(row_gather=1.0), h100(row_gather=0.25)
    assert quarter.time(moved).memory == pytest.approx(4 * whole.time(moved).memory, rel=1e-12)
    assert quarter.time(norm).memory == whole.time(norm).memory


def test_a_scan_keeps_its_share_of_a_product() -> None:
    """A chunk scan of 8 x 4,096 tokens, 80 heads of 64, state 128, takes 0.645 ms on H800, a product of its shape 0.45 of it.

    Source: TileLang, benchmark/mamba2/README.md.
    """
    chip = topologies.load("h800-8").chip
    device = Device.of(chip, Assumptions.load("default").of_chip(chip.name)[0])
    tokens, heads, head, state, chunk = 8 * 4096, 80, 64, 128, 256
    x, states = tokens * heads * head, tokens / chunk * heads * head * state
    moved = 4 * x + 2 * tokens * state + 4 * tokens * chunk + 2 * states
    scan = Operator(
        "scan_output", "state_scan", Kernel.GEMM, Phase.FORWARD, 2.0 * (state + chunk) * x, moved, "bf16",
        chunk, head, state + chunk, tokens / chunk * heads,
    )  # fmt: skip
    plain, passed = replace(scan, component="dense_ffn"), replace(scan, kernel=Kernel.MEMORY, flops=0.0)
    assert device.time(scan).total == pytest.approx(0.645e-3, rel=0.02)
    assert device.time(scan).arithmetic == pytest.approx(device.time(plain).arithmetic / 0.45)
    assert device.time(passed) == device.time(replace(passed, component="memory"))


def test_block_scales_have_a_rate_of_their_own_where_one_is_known() -> None:
    """On Blackwell MXFP8 runs below FP8; where no figure says so, as fast."""
    operators = [replace(product(8192, 8192, 8192), precision=precision) for precision in ("fp8", "mxfp8")]
    chip = topologies.load("gb300-nvl72").chip
    device = Device.of(chip, Assumptions.load("default").of_chip(chip.name)[0], BENCHMARK)
    slower, same = ([one.time(operator).arithmetic for operator in operators] for one in (device, h100()))
    assert slower[1] == pytest.approx(slower[0] * 0.78 / 0.74, rel=1e-12)
    assert same[1] == same[0]


@pytest.mark.parametrize("issue", [1, 40])
def test_a_run_lasts_as_long_as_the_host_takes_to_issue_it(issue: int) -> None:
    """Ten short kernels: at 1 us each the device is the slower one, at 40 us the host; what it adds is overhead."""
    kernel = Operator("pass", "norm", Kernel.MEMORY, Phase.FORWARD, 0.0, 1e6)
    device = h100(host_issue=f"{issue} us")
    segment, alone = SegmentBook(device)(Compute((kernel,) * 10)), device.time(kernel).total
    assert segment.total == pytest.approx(10 * max(alone, issue * 1e-6))
    assert segment.overhead == pytest.approx(segment.total - 10 * device.time(kernel).memory)


SPARSE = tuple(
    Operator("op", component, Kernel.MEMORY, Phase.FORWARD, 0.0, 1e3)
    for component in ("norm", "router", "permutation", "routed_experts")
)


@pytest.mark.parametrize(
    ("graphs", "seconds"),
    # Four kernels at 100 us; two of them, the rest captured at 1 us; all captured.
    [("none", 400e-6), ("partial", 202e-6), ("full", 4e-6)],
)
def test_captured_graphs_take_the_host_out_of_a_sparse_layer(graphs: str, seconds: float) -> None:
    """Permutation and experts depend on the data, and only whole iterations capture them."""
    device = replace(h100(sparse_issue="100 us", captured_issue="1 us"), graphs=graphs)
    assert device.issue(SPARSE) == pytest.approx(seconds)
    assert SegmentBook(device)(Compute(SPARSE)).total == pytest.approx(max(seconds, sum(device.time(op).total for op in SPARSE)))


def test_a_run_without_experts_is_issued_at_the_dense_pace() -> None:
    device = h100(sparse_issue="100 us", host_issue="7 us")
    assert device.issue(SPARSE[:1]) == pytest.approx(7e-6)
    assert device.issue(SPARSE[:2]) == pytest.approx(200e-6)


def test_fused_experts_have_a_pace_of_their_own() -> None:
    chip, stack = topologies.load("dgx-h100").chip, Assumptions.load("default")
    pace = stack.with_overrides({"pace.experts": 1.5, "pace.fused_experts": 1.2}).pace
    operator = replace(product(4096, 4096, 4096), component="routed_experts")
    times = [
        Device.of(chip, stack.of_chip(chip.name)[0], pace=pace, fused_experts=fused).time(operator).arithmetic
        for fused in (False, True)
    ]
    assert times[0] / times[1] == pytest.approx(1.5 / 1.2)


def test_the_pace_of_a_stack_stretches_every_operator_and_that_of_experts_theirs_once_more() -> None:
    """Arithmetic, memory and starts alike: the roofline keeps its shape."""
    chip, stack = topologies.load("dgx-h100").chip, Assumptions.load("default")
    paced = stack.with_overrides({"pace.compute": 1.2, "pace.experts": 1.5}).pace
    alone, slow = Device.of(chip, stack.of_chip(chip.name)[0]), Device.of(chip, stack.of_chip(chip.name)[0], pace=paced)
    for component, factor in (("dense_ffn", 1.2), ("routed_experts", 1.8)):
        operator = replace(product(4096, 4096, 4096), component=component)
        for part in ("arithmetic", "memory", "overhead"):
            assert getattr(slow.time(operator), part) == pytest.approx(factor * getattr(alone.time(operator), part))
