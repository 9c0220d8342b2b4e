"""Context parallelism by exchange of heads: bytes as the paper counts them, the same FLOPs, and what each rank keeps."""

from __future__ import annotations

from typing import Any

import pytest

import workloads
from simulator.spec.errors import NotModelled, PlanError
from workloads.accounting.sections import SavedTensor, Section
from workloads.attention_kinds import GroupedQueryAttention
from workloads.groups import Groups
from workloads.instructions import Communication, Compute, Kernel, Operator, Phase, Program, Start
from workloads.memory import MemoryBudget
from workloads.model import FeedForward, Model
from workloads.pieces import Pieces, Recompute
from workloads.plan import Plan, PlanDefaults, Training, resolve
from workloads.program import build_program
from workloads.resolved import ResolvedPlan

LENGTH = 8192
HIDDEN = 1024


def model(kv_heads: int = 16, layers: int = 2, heads: int = 16) -> Model:
    return Model(
        name="dense", layers=layers, hidden=HIDDEN, vocab=32000,
        attention=GroupedQueryAttention(kind="gqa", heads=heads, kv_heads=kv_heads, head_dim=64),
        ffn=FeedForward(width=4096, gated=False, activation="gelu"),
    )  # fmt: skip


def plan_of(one: Model, ranks: int = 8, **plan: Any) -> ResolvedPlan:
    training = Training(sequence_length=LENGTH, global_batch=ranks, **plan.pop("training", {}))
    return resolve(Plan(**{"recompute": "none", "cp": 8} | plan), training, one, ranks, PlanDefaults())


def program_of(one: Model, ranks: int = 8, **plan: Any) -> Program:
    resolved = plan_of(one, ranks, **plan)
    return build_program(one, resolved, Groups.of(resolved), MemoryBudget(1e15))


def exchanges(program: Program, kind: str) -> list[Communication]:
    block = program.ranks[0].blocks[0, 0, kind, ""]
    found = [step.communication for step in block.instructions if isinstance(step, Start)]
    return [communication for communication in found if communication.kind == "cp"]


def kernels(program: Program, kind: str = "F") -> list[Operator]:
    block = program.ranks[0].blocks[0, 0, kind, ""]
    found = [operator for step in block.instructions if isinstance(step, Compute) for operator in step.operators]
    return [operator for operator in found if operator.kernel is Kernel.ATTENTION]


def core(one: Model, **plan: Any) -> Section:
    resolved = plan_of(one, **plan)
    pieces = Pieces(one, resolved, Groups.of(resolved), Recompute())
    return pieces.stages[0][1].layer.sections["attention_core"]


def test_a_rank_sends_what_the_paper_counts() -> None:
    """DeepSpeed Ulysses, 3.2: messages of 3 N h and N h elements a layer over P ranks, each of which sends 4 N h / P of them."""
    for ranks in (2, 4, 8):
        found = exchanges(program_of(model(layers=1), ranks, cp=ranks, context_exchange="all-to-all"), "F")
        assert [(each.collective, each.group) for each in found] == [("all-to-all", "cp_heads")] * 2
        assert sum(each.payload for each in found) == 4 * LENGTH * HIDDEN / ranks * 2.0
        back = exchanges(program_of(model(layers=1), ranks, cp=ranks, context_exchange="all-to-all"), "B")
        assert [each.payload for each in back] == [each.payload for each in reversed(found)]


def test_few_key_value_heads_travel_as_few() -> None:
    """Grouped queries: N / P tokens of 16 query heads and 2 x 8 key and value heads out, 16 heads of outputs back."""
    inward, outward = exchanges(program_of(model(kv_heads=8, layers=1), context_exchange="all-to-all"), "F")
    assert inward.payload == LENGTH / 8 * (16 + 2 * 8) * 64 * 2.0
    assert outward.payload == LENGTH / 8 * 16 * 64 * 2.0


def test_fewer_key_value_heads_than_ranks_are_repeated() -> None:
    """2 heads over 8 ranks: each is sent 4 times, so 2 x 8 travel and each rank reads one, as it does of 8 heads."""
    program = program_of(model(kv_heads=2, layers=1), context_exchange="all-to-all")
    inward, outward = exchanges(program, "F")
    assert inward.payload == LENGTH / 8 * (16 + 2 * 8) * 64 * 2.0
    assert outward.payload == LENGTH / 8 * 16 * 64 * 2.0
    assert [each.payload for each in exchanges(program, "B")] == [outward.payload, inward.payload]
    eight = program_of(model(kv_heads=8, layers=1), context_exchange="all-to-all")
    assert kernels(program) == kernels(eight) and kernels(program, "B") == kernels(eight, "B")


def test_repeated_heads_are_copied_and_kept() -> None:
    """A pass that reads 2 x 2 heads and writes 2 x 8, its mirror that sums them; keys and values of 8 heads are kept."""
    resolved = plan_of(model(kv_heads=2), context_exchange="all-to-all")
    inside = Pieces(model(kv_heads=2), resolved, Groups.of(resolved), Recompute()).stages[0][1].layer.sections["attention_in"]
    copy = next(operator for operator in inside.forward if operator.name == "repeated_keys")
    assert copy.bytes_moved == LENGTH / 8 * 2 * (2 + 8) * 64 * 2.0 and copy.flops == 0.0
    summed = [operator for operator in inside.backward_input if operator.name == "repeated_keys_backward"]
    assert [operator.bytes_moved for operator in summed] == [copy.bytes_moved]
    kept = {saved.name: saved.bytes for saved in inside.saved}
    assert kept["keys"] == kept["values"] == LENGTH / 8 * 8 * 64 * 2.0
    ring = plan_of(model(kv_heads=2))
    plain = Pieces(model(kv_heads=2), ring, Groups.of(ring), Recompute()).stages[0][1].layer.sections["attention_in"]
    assert {saved.name: saved.bytes for saved in plain.saved}["keys"] == LENGTH / 8 * 2 * 64 * 2.0


def test_a_ring_of_groups_with_repeated_heads_goes_round_with_one_each() -> None:
    """2 heads, 4 ranks exchange and 2 go round: the ring carries the one repeated head of a rank."""
    ring = exchanges(program_of(model(kv_heads=2, layers=1), context_exchange="all-to-all+ring", context_heads=4), "F")[1]
    assert (ring.collective, ring.payload) == ("all-gather", LENGTH * 2 * 64 * 2.0)


def test_a_ring_of_groups_carries_as_many_times_less() -> None:
    """all-to-all+ring on 2 x 4: a ring of 4 ranks gathers all tokens of half the heads; alone it gathers all of both halves."""
    ring = exchanges(program_of(model(layers=1)), "F")
    assert [(each.collective, each.group) for each in ring] == [("all-gather", "cp")]
    mixed = exchanges(program_of(model(layers=1), context_exchange="all-to-all+ring", context_heads=2), "F")
    assert [(each.collective, each.group) for each in mixed] == [
        ("all-to-all", "cp_heads"), ("all-gather", "cp_ring"), ("all-to-all", "cp_heads"),
    ]  # fmt: skip
    assert mixed[1].payload == ring[0].payload / 2 == LENGTH * 2 * HIDDEN * 2.0 / 2
    back = exchanges(program_of(model(layers=1), context_exchange="all-to-all+ring", context_heads=2), "B")
    assert [each.collective for each in back] == ["all-to-all", "all-gather", "reduce-scatter", "all-to-all"]


@pytest.mark.parametrize("kv_heads", [16, 8])
@pytest.mark.parametrize(
    "plan", [{"context_exchange": "all-to-all"}, {"context_exchange": "all-to-all+ring", "context_heads": 4}]
)
def test_the_kernel_does_the_same_work_on_other_sides(kv_heads: int, plan: dict[str, Any]) -> None:
    """As many FLOPs as in a ring, from more queries of fewer heads; a program has the model's (checked as it is built)."""
    ring, heads = program_of(model(kv_heads)), program_of(model(kv_heads), **plan)
    for one, other in zip(kernels(ring) + kernels(ring, "B"), kernels(heads) + kernels(heads, "B"), strict=True):
        assert one.flops == other.flops and one.n == other.n and one.m * one.groups == other.m * other.groups
        assert other.m > one.m and other.bytes_moved < one.bytes_moved  # keys of fewer heads are read
    assert ring.hardware_flops == heads.hardware_flops


def test_a_whole_exchange_runs_the_kernel_of_a_rank_that_has_those_heads_alone() -> None:
    """cp 8 by exchange of 16 heads: the kernel of cp 1 under tp 8, operator for operator."""
    heads = program_of(model(layers=1), context_exchange="all-to-all")
    tensor = program_of(model(layers=1), cp=1, tp=8)
    assert kernels(heads) == kernels(tensor) and kernels(heads, "B") == kernels(tensor, "B")


def test_the_exchanged_output_is_kept_beside_the_kernels_own() -> None:
    """16-bit: N / P tokens of the hidden width more than a ring keeps; recomputing the core drops the kernel's, not this one."""
    ring, heads = core(model()), core(model(), context_exchange="all-to-all")
    more = LENGTH / 8 * HIDDEN * 2.0
    assert heads.saved_bytes() - ring.saved_bytes() == more
    assert SavedTensor("exchanged_output", more, "context") in heads.saved
    assert heads.saved_bytes({"core_attn"}) == more == ring.saved_bytes({"core_attn"})


@pytest.mark.parametrize(
    ("plan", "again"),
    [
        ({}, ["all-gather"]),
        ({"context_exchange": "all-to-all"}, ["all-to-all", "all-to-all"]),
        ({"context_exchange": "all-to-all+ring", "context_heads": 2}, ["all-to-all", "all-gather", "all-to-all"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("recompute", [{"recompute": "full"}, {"recompute": "selective", "recompute_modules": ("core_attn",)}])
def test_recomputing_the_core_exchanges_again(plan: dict[str, Any], again: list[str], recompute: dict[str, Any]) -> None:
    """What the forward pass brought together is not kept, so the backward pass of each layer begins with it."""
    plain = [each.collective for each in exchanges(program_of(model(layers=1), **plan), "B")]
    program = program_of(model(layers=1), **plan, **recompute)
    assert [each.collective for each in exchanges(program, "B")] == again + plain
    assert sum(operator.phase is Phase.RECOMPUTE for operator in kernels(program, "B")) == 1


def test_latent_attention_exchanges_what_its_heads_made() -> None:
    """DeepSeek-V3's 128 heads of 192 (queries, keys) and 128 (values): 512 elements a token and head out, 128 back."""
    one = workloads.load({"preset": "deepseek-v3", "layers": 4, "mtp_depth": 0})
    inward, outward = exchanges(program_of(one, 8, context_exchange="all-to-all"), "F")[:2]
    assert inward.payload == LENGTH / 8 * 128 * (192 + 192 + 128) * 2.0
    assert outward.payload == LENGTH / 8 * 128 * 128 * 2.0


def test_whole_sequences_may_be_unfused() -> None:
    """Scores in memory need whole sequences on a rank, which an exchange of heads gives: 2 heads of 16, S x S scores each."""
    found = core(model(), context_exchange="all-to-all", attention="unfused")
    scores = next(operator for operator in found.forward if operator.name == "scores")
    assert (scores.groups, scores.m, scores.n) == (2.0, LENGTH, LENGTH)
    with pytest.raises(NotModelled, match="unfused attention"):
        core(model(), context_exchange="all-to-all+ring", context_heads=4, attention="unfused")


@pytest.mark.parametrize(
    ("one", "plan", "message"),
    [
        (model(kv_heads=6, heads=24), {"context_exchange": "all-to-all"},
         "plan.context_exchange: tp*context_heads = 1*8 ranks must divide the 6 key-value heads, whose heads they share out, or"
         " be a multiple of them (got 8). Set context_exchange to all-to-all+ring with context_heads 2, or lower tp."),
        (model(), {"context_exchange": "all-to-all", "cp": 32, "ranks": 32},
         "plan.context_exchange: tp*context_heads = 1*32 ranks must divide the 16 attention heads, whose heads they share out"
         " (got 32). Set context_exchange to all-to-all+ring with context_heads 16, or lower tp."),
        (model(), {"context_exchange": "all-to-all+ring"},
         "plan.context_heads: all-to-all+ring needs context_heads, how many of the cp ranks exchange heads. Set it to a divisor"
         " of 8."),
        (model(), {"context_exchange": "all-to-all+ring", "context_heads": 3},
         "plan.context_heads: context_heads must divide cp = 8 (got 3). Lower context_heads from 3 to 2."),
        (model(), {"context_exchange": "ring", "context_heads": 2},
         "plan.context_heads: ring makes context_heads 1 (got 2). Leave it out, or set context_exchange to all-to-all+ring."),
    ],
    ids=str,
)  # fmt: skip
def test_heads_that_cannot_be_shared_out_are_refused_with_what_can(one: Model, plan: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        plan_of(one, plan.pop("ranks", 8), **plan)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["deepseek-v4-flash", "deepseek-v3.2"])
def test_attention_that_selects_keys_for_all_heads_is_refused(name: str) -> None:
    with pytest.raises(NotModelled, match="all heads together"):
        plan_of(workloads.load(name), context_exchange="all-to-all")


def test_a_stack_may_exchange_heads_unasked_and_a_plan_may_say_otherwise() -> None:
    usual = PlanDefaults(context_exchange="all-to-all")
    training = Training(sequence_length=LENGTH, global_batch=8)
    assert resolve(Plan(cp=8), training, model(), 8, usual).context_heads == 8
    asked = resolve(Plan(cp=8, context_exchange="ring"), training, model(), 8, usual)
    assert asked.context_heads == 1 and asked.overlap.cp
    alone = resolve(Plan(context_exchange="ring"), training, model(), 8, usual)
    assert "context_exchange ring has no effect: cp is 1." in alone.warnings
