"""Programs: what ranks execute and send is what the model and the plan say, to the last byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

import workloads
from workloads.accounting import total_flops_per_token, total_parameters
from workloads.attention_kinds import GroupedQueryAttention
from workloads.fitting import stages_of
from workloads.groups import Groups
from workloads.instructions import Block, Communication, Compute, Phase, Program, RankProgram, Start, Wait
from workloads.memory import MemoryBudget, rank_memory
from workloads.model import FeedForward, MixtureOfExperts, Model
from workloads.pieces import Pieces, Recompute, copies_table, recompute_steps
from workloads.plan import Overlap, Plan, PlanDefaults, Training, resolve
from workloads.program import build_program, outlines
from workloads.resolved import ResolvedPlan

GIB = 2.0**30
DENSE = Model(
    name="dense", layers=4, hidden=1024, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=16, head_dim=64),
    ffn=FeedForward(width=4096, gated=False, activation="gelu"),
)  # fmt: skip
SPARSE = Model(
    name="sparse", layers=4, hidden=1024, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=8, head_dim=64),
    ffn=FeedForward(width=4096),
    moe=MixtureOfExperts(experts=16, top_k=4, width=512, shared_experts=1, first_dense=1),
)  # fmt: skip

LARGE: dict[str, tuple[Any, int, dict[str, Any], dict[str, Any], float]] = {
    "v4-pro": (
        "deepseek-v4-pro", 8192, {"sequence_length": 4096, "global_batch": 24576, "precision": "fp8", "optimizer": "muon"},
        {"pp": 16, "ep": 64, "schedule": "dualpipe", "zero": 1}, 125,
    ),
    "v3": (
        {"preset": "deepseek-v3", "mtp_depth": 1}, 2048, {"sequence_length": 4096, "global_batch": 15360, "precision": "fp8"},
        {"pp": 16, "ep": 64, "schedule": "dualpipe", "dispatcher": "deepep"}, 67,
    ),
    "v3-interleaved": (
        {"preset": "deepseek-v3", "mtp_depth": 1}, 256, {"sequence_length": 4096, "global_batch": 2048, "precision": "mxfp8"},
        {"pp": 4, "vpp": 4, "ep": 64, "overlap": Overlap(ep=True), "recompute": "none"}, 150,
    ),
    "405b": (
        "llama3.1-405b", 1024, {"sequence_length": 8192, "global_batch": 512},
        {"tp": 8, "pp": 16, "vpp": 8, "overlap": Overlap(tp=True)}, 67,
    ),
    "405b-context": (
        "llama3.1-405b", 1024, {"sequence_length": 131072, "global_batch": 32},
        {"tp": 8, "pp": 8, "cp": 16, "recompute": "full"}, 67,
    ),
    "70b-sharded": ("llama3.1-70b", 256, {"sequence_length": 8192, "global_batch": 512}, {"zero": 3}, 67),
    "mixtral": (
        "mixtral-8x22b", 128, {"sequence_length": 4096, "global_batch": 256},
        {"tp": 4, "pp": 4, "ep": 4, "etp": 2, "cp": 2, "zero": 2}, 67,
    ),
}  # fmt: skip


def built(
    model: Model, ranks: int, training: dict[str, Any], plan: dict[str, Any], capacity: float = 1e6,
    defaults: PlanDefaults | None = None,
) -> tuple[Model, ResolvedPlan, Program]:  # fmt: skip
    resolved = resolve(Plan(**plan), Training(**training), model, ranks, defaults)
    return model, resolved, build_program(model, resolved, Groups.of(resolved), MemoryBudget(capacity * GIB))


@cache
def large(name: str) -> tuple[Model, ResolvedPlan, Program]:
    model, ranks, training, plan, capacity = LARGE[name]
    return built(workloads.load(model), ranks, training, plan, capacity)


def small(model: Model = DENSE, ranks: int = 8, batch: int = 8, **plan: Any) -> tuple[Model, ResolvedPlan, Program]:
    training = {"sequence_length": 2048, "global_batch": batch} | plan.pop("training", {})
    return built(model, ranks, training, {"recompute": "none"} | plan)


def communications(block: Block) -> list[Communication]:
    return [step.communication for step in block.instructions if isinstance(step, Start)]


def executed(rank: RankProgram) -> Iterator[Block]:
    """Every block a rank runs in a step, in order, as the engine picks the variants."""
    works = [work for slot in rank.slots for work in slot]
    ends: dict[tuple[int, int, str], list[int]] = {}
    for index, work in enumerate(works):
        ends.setdefault((work.stage, work.direction, str(work.kind)), []).append(index)
    yield rank.prologue
    for index, work in enumerate(works):
        base = (work.stage, work.direction, str(work.kind))
        variant = "first" if index == ends[base][0] and (*base, "first") in rank.blocks else ""
        if not variant and index == ends[base][-1] and (*base, "last") in rank.blocks:
            variant = "last"
        yield rank.blocks[*base, variant]
    yield rank.epilogue


def sent(rank: RankProgram) -> Counter[tuple[str, str, str]]:
    """Payload bytes of a step by kind, collective and group."""
    total: Counter[tuple[str, str, str]] = Counter()
    for block in executed(rank):
        for step in communications(block):
            total[step.kind, step.collective, step.group] += step.payload  # type: ignore[assignment]
    return total


@pytest.mark.parametrize("name", LARGE)
def test_flops_executed_are_those_of_the_model(name: str) -> None:
    model, plan, program = large(name)
    assert program.model_flops == 3 * total_flops_per_token(model, plan.sequence_length) * plan.tokens
    useful = again = 0.0
    for rank in program.ranks:
        for block in executed(rank):
            for step in block.instructions:
                for operator in step.operators if isinstance(step, Compute) else ():
                    useful += operator.flops * (operator.phase not in (Phase.RECOMPUTE, Phase.OPTIMIZER))
                    again += operator.flops * (operator.phase is Phase.RECOMPUTE)
    per_stage = plan.ranks // plan.pp
    assert useful * per_stage == pytest.approx(program.model_flops, rel=1e-9)
    assert (useful + again) * per_stage == pytest.approx(program.hardware_flops, rel=1e-9)


@pytest.mark.parametrize("name", LARGE)
def test_parameters_over_all_ranks_are_those_of_the_model(name: str) -> None:
    """Every piece counted once: cut by tp, ep and etp, copied by dp and by DualPipe's mirror."""
    model, plan, program = large(name)
    pieces = Pieces(model, plan, Groups.of(plan), Recompute())
    total = 0.0
    for rank in range(plan.pp):
        for stage in stages_of(plan, rank):
            for piece in pieces.stages[stage]:
                own = piece.parameters
                cut = (own.dense - own.replicated) * plan.tp + own.replicated
                total += (cut + own.experts * plan.ep * plan.etp) / plan.directions
    table = model.vocab * model.hidden if copies_table(model, plan) else 0
    assert total - table == pytest.approx(total_parameters(model, mtp=True), rel=1e-12)
    assert program.parameters == total_parameters(model, mtp=True)


@pytest.mark.parametrize("name", LARGE)
def test_every_wait_has_its_start_and_every_start_is_waited_for(name: str) -> None:
    """Tokens left open by a block are closed by a later one; only the mirror of nothing stays open."""
    _, _, program = large(name)
    for rank in program.ranks:
        open_tokens: set[str] = set()
        for block in executed(rank):
            for step in block.instructions:
                if isinstance(step, Start):
                    assert step.token not in open_tokens
                    open_tokens.add(step.token)
                elif isinstance(step, Wait):
                    open_tokens.remove(step.token)
        assert not open_tokens


@pytest.mark.parametrize("name", LARGE)
def test_pipeline_ranks_of_one_group_send_the_same_in_the_same_order(name: str) -> None:
    """Mirrors and ends meet across pipeline ranks; each must find its partner doing the same."""
    _, plan, program = large(name)
    for group in ("pp_mirror", "pp_ends"):
        for rank in program.ranks:
            partner = program.ranks[plan.pp - 1 - rank.pp_rank]
            own, other = (
                [step for block in executed(each) for step in communications(block) if step.group == group]
                for each in (rank, partner)
            )
            assert own == other


@pytest.mark.parametrize("name", ["v4-pro", "v3", "v3-interleaved", "mixtral"])
def test_every_sparse_layer_dispatches_and_combines_twice_a_micro_batch(name: str) -> None:
    """Forward and backward, each there and back; recompute of whole layers once more."""
    model, plan, program = large(name)
    layers = sum(model.layer(index).moe for index in range(model.layers)) + model.mtp.depth * model.mtp_layer().moe
    found: Counter[str] = Counter()
    for rank in program.ranks:
        for block in executed(rank):
            found.update(step.collective for step in communications(block) if step.group == "ep")
    times = 3 if program.recompute == "full" else 2
    expected = layers * plan.micro_batches * times
    assert found == {"dispatch": expected, "combine": expected}


def test_v4_pro_dispatches_what_its_router_says() -> None:
    """4,096 tokens x 6 experts x 7,168 x 2 bytes there (all-to-all in bf16) and back."""
    _, _, program = large("v4-pro")
    block = program.ranks[3].blocks[3, 0, "F", ""]
    dispatch = next(step for step in communications(block) if step.collective == "dispatch")
    combine = next(step for step in communications(block) if step.collective == "combine")
    assert dispatch.payload == combine.payload == 4096 * 6 * 7168 * 2
    assert (dispatch.top_k, dispatch.max_domains, dispatch.deduplicate) == (6, 0, False)


def test_v3_dispatches_fp8_to_four_domains_and_returns_bf16() -> None:
    """One byte and its share of a scale there, two bytes back; group-limited routing; DeepEP sends one copy a domain."""
    _, _, program = large("v3")
    block = program.ranks[3].blocks[3, 0, "F", ""]
    dispatch = next(step for step in communications(block) if step.collective == "dispatch")
    combine = next(step for step in communications(block) if step.collective == "combine")
    assert dispatch.payload == 4096 * 8 * 7168 * (1 + 4 / 128) and combine.payload == 4096 * 8 * 7168 * 2
    assert (dispatch.top_k, dispatch.max_domains, dispatch.deduplicate) == (8, 4, True)


def test_shared_expert_and_expert_weight_gradients_run_while_tokens_travel() -> None:
    """Only with expert overlap: between Start and Wait of dispatch and of the gradient's combine."""

    def between(program: Program, kind: str, name: str) -> list[str]:
        inside = False
        found: list[str] = []
        for step in program.ranks[0].blocks[0, 0, kind, ""].instructions:
            if isinstance(step, Start) and step.communication.name == name:
                inside, found = True, []
            elif isinstance(step, Wait):
                inside = False
            elif inside and isinstance(step, Compute):
                found += [operator.name for operator in step.operators]
        return found

    _, _, beside = small(SPARSE, ep=4, overlap=Overlap(ep=True))
    _, _, apart = small(SPARSE, ep=4)
    assert "shared_up" in between(beside, "F", "dispatch") and not between(apart, "F", "dispatch")
    assert "expert_up_wgrad" in between(beside, "B", "gradient combine")
    assert not between(apart, "B", "gradient combine")


def test_sequence_parallel_layer_sends_what_megatron_does() -> None:
    """Forward: a gather and a reduce-scatter around attention and around the FFN; backward: the same, and each input once more.

    Beside its layers, this one stage gathers for the head (and again for its weights) and scatters the embedding.
    """
    _, _, program = small(tp=4, ranks=4, batch=1)
    buffer = 2048 * 1024 * 2.0
    rank = program.ranks[0]
    forward = Counter(step.collective for step in communications(rank.blocks[0, 0, "F", ""]))
    assert forward == {"all-gather": 2 * 4 + 1, "reduce-scatter": 2 * 4 + 1}
    backward = Counter(step.collective for step in communications(rank.blocks[0, 0, "B", ""]))
    assert backward == {"all-gather": 4 * 4 + 2, "reduce-scatter": 2 * 4 + 1}
    tp = [step for step in communications(rank.blocks[0, 0, "F", ""]) if step.kind == "tp"]
    assert {step.payload for step in tp} == {buffer} and {step.group for step in tp} == {"tp"}


def test_without_sequence_parallelism_sums_are_all_reduced() -> None:
    """Two a layer forward and two backward, one each for embedding and head."""
    _, _, program = small(tp=4, ranks=4, batch=1, sequence_parallel=False)
    for kind, expected in (("F", 2 * 4 + 1), ("B", 2 * 4 + 1)):
        found = Counter(step.collective for step in communications(program.ranks[0].blocks[0, 0, kind, ""]))
        assert found == {"all-reduce": expected}


def test_context_parallel_ranks_gather_keys_and_values_and_return_their_gradients() -> None:
    """Keys and values of all 2,048 tokens of 16 heads: 2048 x 2 x 1024 x 2 bytes a layer."""
    _, _, program = small(cp=4, ranks=4, batch=1)
    buffer = 2048 * 2 * 1024 * 2.0
    rank = program.ranks[0]
    cp = [step for step in communications(rank.blocks[0, 0, "F", ""]) if step.kind == "cp"]
    assert [(step.collective, step.payload) for step in cp] == [("all-gather", buffer)] * 4
    cp = [step for step in communications(rank.blocks[0, 0, "B", ""]) if step.kind == "cp"]
    assert Counter(step.collective for step in cp) == {"all-gather": 4, "reduce-scatter": 4}


def parameters_of(model: Model) -> float:
    return float(total_parameters(model))


def test_a_layout_moves_work_and_memory_between_stages() -> None:
    """All of one stage's layers on the other three: the same FLOPs in all, another share of them."""
    model = replace_layers(DENSE, 8)
    _, _, even = small(model, ranks=4, pp=4, batch=8)
    _, _, given = small(model, ranks=4, pp=4, batch=8, layout=(1, 3, 3, 1))
    assert given.hardware_flops == pytest.approx(even.hardware_flops)
    layer = parameters_of(replace_layers(DENSE, 2)) - parameters_of(replace_layers(DENSE, 1))
    for rank, more in enumerate((-1, 1, 1, -1)):
        moved = given.ranks[rank].memory.weights - even.ranks[rank].memory.weights
        assert moved == pytest.approx(2 * more * layer)


def test_experts_reduce_over_the_ranks_that_hold_them() -> None:
    """ep 4 on 8 ranks: the experts' gradients meet 2 ranks, all else 8."""
    _, _, program = small(SPARSE, ep=4)
    found = sent(program.ranks[0])
    experts = 3 * 16 * 3 * 1024 * 512 / 4
    dense = parameters_of(SPARSE) - experts * 4
    assert found["dp", "reduce-scatter", "expert_dp"] == pytest.approx(4 * experts)
    assert found["dp", "reduce-scatter", "dp_cp"] == pytest.approx(4 * dense)


def test_dualpipe_mirrors_share_what_zero_leaves_them() -> None:
    """Each rank holds 1/dp of two stages' gradients and swaps halves with its mirror."""
    _, plan, program = small(replace_layers(DENSE, 8), ranks=8, pp=4, batch=16, schedule="dualpipe")
    found = sent(program.ranks[0])
    held = sum(found[key] for key in found if key[1] == "reduce-scatter" and key[2] == "dp_cp")
    assert found["dp", "reduce-scatter", "pp_mirror"] == pytest.approx(held / plan.dp)
    assert found["dp", "all-gather", "pp_mirror"] == pytest.approx(held / plan.dp / 2)


def test_a_tied_table_is_summed_over_both_ends_of_the_pipeline() -> None:
    tied = DENSE.model_copy(update={"tied_embeddings": True})
    _, _, program = small(tied, ranks=4, pp=4, batch=8)
    for rank, expected in enumerate([True, False, False, True]):
        found = sent(program.ranks[rank])
        assert (found["dp", "all-reduce", "pp_ends"] == 32000 * 1024 * 4) == expected


def test_expert_tensor_parallel_ranks_gather_and_reduce_expert_tokens() -> None:
    """etp 2: every rank's 2048 / 2 tokens x 4 experts, of both ranks, x 1,024 x 2 bytes."""
    _, _, program = small(SPARSE, ranks=8, batch=4, tp=2, ep=4, etp=2)
    inner = [step for step in communications(program.ranks[0].blocks[0, 0, "F", ""]) if step.group == "etp"]
    assert Counter(step.collective for step in inner) == {"all-gather": 3, "reduce-scatter": 3}
    assert {step.payload for step in inner} == {2048 / 2 * 4 * 2 * 1024 * 2.0}


def test_a_boundary_carries_every_stream_of_a_rank_s_tokens() -> None:
    """V4's four streams of 7,168 for 4,096 tokens; 405B under tp 8 sends an eighth of its tokens."""
    assert large("v4-pro")[2].boundary_bytes == 4096 * 4 * 7168 * 2
    assert large("405b")[2].boundary_bytes == 8192 / 8 * 16384 * 2


def test_a_boundary_in_parts_is_sent_by_shares_and_gathered_by_every_stage_that_receives() -> None:
    """tp 2 on four stages: half of 2,048 x 1,024 x 2 bytes a rank; gathered whole but where nothing arrives."""
    training, plan = (
        {"sequence_length": 2048, "global_batch": 8},
        {"recompute": "none", "tp": 2, "pp": 4, "sequence_parallel": False},
    )
    parts = built(DENSE, 8, training, plan, defaults=PlanDefaults(boundary="in parts"))[2]
    whole = built(DENSE, 8, training, plan)[2]
    assert (parts.boundary_bytes, whole.boundary_bytes) == (2048 * 1024, 2048 * 1024 * 2)
    for rank, kind, gathers in [(0, "F", 0), (0, "B", 1), (1, "F", 1), (2, "B", 1), (3, "F", 1), (3, "B", 0)]:
        made, plain = (communications(program.ranks[rank].blocks[rank, 0, kind, ""]) for program in (parts, whole))
        more = list((Counter(made) - Counter(plain)).elements())
        assert [(step.collective, step.group, step.payload) for step in more] == [
            ("all-gather", "tp", 2048 * 1024 * 2.0)
        ] * gathers


def test_a_boundary_is_never_cut_again_where_the_sequence_is() -> None:
    """With sequence parallelism each tp rank has but its own tokens to send."""
    plan = {"recompute": "none", "tp": 2, "pp": 4}
    training = {"sequence_length": 2048, "global_batch": 8}
    parts = built(DENSE, 8, training, plan, defaults=PlanDefaults(boundary="in parts"))[2]
    assert parts == built(DENSE, 8, training, plan)[2]


def test_full_recompute_runs_every_layer_forward_once_more() -> None:
    """The layers' forward FLOPs again, the head's not."""
    _, plan, program = small(recompute="full")
    head = 2.0 * 1024 * 32000 * plan.tokens
    assert program.hardware_flops - program.model_flops == pytest.approx(program.model_flops / 3 - head, rel=1e-9)
    assert program.recompute == "full"


def test_selective_recompute_of_attention_repeats_the_attention_core_alone() -> None:
    _, plan, program = small(recompute="selective", recompute_modules=["core_attn"])
    core = 4 * (4.0 * 1024) * (2048 + 1) / 2 * plan.tokens
    assert program.hardware_flops - program.model_flops == pytest.approx(core, rel=1e-3)


def test_auto_takes_the_lightest_recompute_that_fits() -> None:
    """A budget that just holds one way takes it; a byte less takes a heavier one; nothing that fits takes the heaviest."""
    training, plan = {"sequence_length": 2048, "global_batch": 8, "micro_batch": 8, "precision": "fp8"}, {"zero": 0}
    resolved = resolve(Plan(**plan), Training(**training), DENSE, 1)
    needs: list[tuple[float, str]] = []
    for recompute in recompute_steps(resolved):
        pieces = Pieces(DENSE, resolved, Groups.of(resolved), recompute)
        need = rank_memory(DENSE, pieces, [0], outlines(resolved)[0]).total
        if not needs or need < needs[-1][0]:
            needs.append((need, str(recompute)))
    assert len(needs) >= 4 and needs[0][1] == "none" and needs[-1][1] == "full"
    for (need, name), (_, heavier) in pairwise(needs):
        assert built(DENSE, 1, training, plan, need / GIB)[2].recompute == name
        assert built(DENSE, 1, training, plan, (need - 1) / GIB)[2].recompute == heavier
    assert built(DENSE, 1, training, plan, 1e-3)[2].recompute == "full"


def test_repeats_of_tensor_parallel_ranks_are_executed_but_not_the_model_s() -> None:
    """Latent attention without sequence parallelism: down-projections run whole on every tp rank."""
    model = workloads.load({"preset": "deepseek-v3", "layers": 3, "mtp_depth": 0, "moe": None})
    _, _, program = built(model, 2, {"sequence_length": 2048, "global_batch": 1}, {"tp": 2, "sequence_parallel": False})
    assert program.hardware_flops > program.model_flops * 1.001


def replace_layers(model: Model, layers: int) -> Model:
    return model.model_copy(update={"layers": layers})


def test_blocks_are_the_same_for_any_number_of_micro_batches() -> None:
    """The step grows by its slots, not by its blocks."""
    _, _, few = small(pp=2, batch=8)
    _, _, many = small(pp=2, batch=64)
    assert few.ranks[0].blocks == many.ranks[0].blocks and len(few.ranks[0].slots) < len(many.ranks[0].slots)
    assert replace(few.ranks[0].memory, micro_batches_in_flight=0) == replace(many.ranks[0].memory, micro_batches_in_flight=0)
