"""Lines of instructions: what is merged, what waits for what."""

from __future__ import annotations

from workloads.chain import Chain
from workloads.instructions import Communication, Compute, Kernel, Operator, Phase, Start, Wait

FIRST, SECOND, THIRD = (Operator(name, "x", Kernel.GEMM, Phase.FORWARD, 1.0, 1.0) for name in ("a", "b", "c"))
GATHER = Communication("gather", "tp", "all-gather", "tp", 8.0)
REDUCE = Communication("reduce", "tp", "reduce-scatter", "tp", 8.0)


def test_neighbouring_operators_become_one_compute() -> None:
    chain = Chain()
    chain.run([FIRST])
    chain.run([SECOND])
    chain.exchange(GATHER)
    chain.run([THIRD])
    assert chain.block("x").instructions == (
        Compute((FIRST, SECOND)), Start(GATHER, "t0"), Wait("t0"), Compute((THIRD,)),
    )  # fmt: skip


def test_nothing_to_send_leaves_no_trace() -> None:
    chain = Chain()
    chain.run([FIRST])
    chain.exchange(None)
    chain.wait(())
    chain.run([])
    chain.run([SECOND])
    assert chain.block("x").instructions == (Compute((FIRST, SECOND)),)


def test_overlap_computes_between_start_and_wait() -> None:
    beside, apart = Chain(), Chain()
    beside.run_beside([FIRST], [GATHER, REDUCE], overlap=True)
    apart.run_beside([FIRST], [GATHER, REDUCE], overlap=False)
    assert beside.block("x").instructions == (
        Start(GATHER, "t0"), Start(REDUCE, "t1"), Compute((FIRST,)), Wait("t0"), Wait("t1"),
    )  # fmt: skip
    assert apart.block("x").instructions == (
        Start(GATHER, "t0"), Wait("t0"), Start(REDUCE, "t1"), Wait("t1"), Compute((FIRST,)),
    )  # fmt: skip


def test_a_pipelined_section_hides_behind_its_products_only() -> None:
    """Norm, product, core, product: the gather waits for the norm and runs beside the first, the reduce beside the last."""
    norm, core = (Operator(name, "x", Kernel.MEMORY, Phase.FORWARD, 0.0, 1.0) for name in ("norm", "core"))
    chain = Chain()
    chain.run_pipelined([norm, FIRST, SECOND, core, THIRD], GATHER, REDUCE)
    assert chain.block("x").instructions == (
        Compute((norm,)), Start(GATHER, "t0"), Compute((FIRST, SECOND)), Wait("t0"),
        Compute((core,)), Start(REDUCE, "t1"), Compute((THIRD,)), Wait("t1"),
    )  # fmt: skip
    alone = Chain()
    alone.run_pipelined([norm, FIRST, core], GATHER, REDUCE)
    assert alone.block("x").instructions == (
        Compute((norm,)), Start(GATHER, "t0"), Start(REDUCE, "t1"), Compute((FIRST,)), Wait("t0"), Wait("t1"), Compute((core,)),
    )  # fmt: skip
    nothing = Chain()
    nothing.run_pipelined([norm, FIRST, core, THIRD], None)
    assert nothing.block("x").instructions == (Compute((norm, FIRST, core, THIRD)),)


def test_a_named_token_can_be_waited_for_elsewhere() -> None:
    chain = Chain()
    assert chain.start(GATHER, "parameters 3") == ("parameters 3",)
    assert chain.block("x").instructions == (Start(GATHER, "parameters 3"),)
