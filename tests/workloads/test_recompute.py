"""Recomputation of some layers and by policies: memory and work of every way, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.spec.errors import NotModelled, PlanError
from tests.workloads.test_memory import DENSE, HEAD, HIDDEN, LAYER, TOKENS, held, resolved
from workloads.attention_kinds import GroupedQueryAttention
from workloads.instructions import Compute, Phase
from workloads.memory import MemoryBudget
from workloads.model import FeedForward, Model
from workloads.plan import Plan, PlanDefaults, Training, resolve
from workloads.program import build_program

INPUT = 2 * TOKENS * HIDDEN
MAKING = LAYER - INPUT
GATED = Model(
    name="gated", layers=4, hidden=HIDDEN, vocab=32000,
    attention=GroupedQueryAttention(kind="gqa", heads=16, kv_heads=4, head_dim=64),
    ffn=FeedForward(width=3 * HIDDEN, gated=True, activation="swiglu"),
)  # fmt: skip


def again(model: Model, **settings: Any) -> dict[str, float]:
    """FLOPs made again in the step, by operator."""
    plan, groups = resolved(model, ranks=1, batch=1, **settings)
    (rank,) = build_program(model, plan, groups, MemoryBudget(1e18)).ranks
    found: dict[str, float] = {}
    for block, count in rank.executed():
        for step in block.instructions:
            for operator in step.operators if isinstance(step, Compute) else ():
                if operator.phase is Phase.RECOMPUTE:
                    found[operator.name] = found.get(operator.name, 0.0) + operator.flops * count
    return found


def total(**settings: Any) -> float:
    return sum(again(DENSE, **settings).values())


def test_block_makes_the_first_layers_of_a_stage_again_and_keeps_the_others() -> None:
    (rank,) = held(ranks=1, batch=1, recompute="full", recompute_layers=3)
    assert rank.activations == pytest.approx(3 * INPUT + 5 * LAYER + max(HEAD, MAKING - 5 * LAYER))
    assert total(recompute="full", recompute_layers=3) == pytest.approx(3 / 8 * total(recompute="full"))


def test_uniform_keeps_one_input_a_run_and_makes_a_run_at_a_time() -> None:
    """In runs of 4 the loss is the heaviest moment; in one run of 8 all eight layers in the making are."""
    (halves,) = held(ranks=1, batch=1, recompute="full", recompute_method="uniform", recompute_layers=4)
    assert halves.activations == pytest.approx(2 * INPUT + HEAD)
    (rank,) = held(ranks=1, batch=1, recompute="full", recompute_method="uniform", recompute_layers=8)
    assert rank.activations == pytest.approx(8 * LAYER)
    assert 4 * LAYER < HEAD < 8 * LAYER - INPUT
    assert total(recompute="full", recompute_method="uniform", recompute_layers=4) == total(recompute="full")


def test_every_second_layer_is_made_again() -> None:
    (rank,) = held(ranks=1, batch=1, recompute="full", recompute_method="every", recompute_layers=2)
    assert rank.activations == pytest.approx(4 * INPUT + 4 * LAYER + HEAD)
    half = {"recompute": "full", "recompute_method": "every", "recompute_layers": 2}
    assert total(**half) == pytest.approx(total(recompute="full") / 2)


def test_stages_may_differ() -> None:
    """Of two layers a stage, 2, 1, 0 and 0 are made again: the first rank holds four micro-batches of inputs alone."""
    ranks = held(ranks=4, pp=4, batch=16, recompute="full", recompute_layers=[2, 1, 0, 0])
    assert ranks[0].activations == pytest.approx(4 * 2 * INPUT + MAKING)
    assert ranks[1].activations == pytest.approx(3 * (INPUT + LAYER) + max(0.0, MAKING - LAYER))
    assert ranks[2].activations == pytest.approx(2 * 2 * LAYER)


def test_auto_layers_is_never_above_auto_and_fits_where_auto_does() -> None:
    """As little is made again as fits: between what one way keeps and the next one."""
    plan, groups = resolved(DENSE, ranks=1, batch=1, recompute="auto-layers")
    (none,), (full,) = held(ranks=1, batch=1), held(ranks=1, batch=1, recompute="full")
    seen = []
    for share in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0):
        room = full.total + share * (none.total - full.total)
        (rank,) = build_program(DENSE, plan, groups, MemoryBudget(room)).ranks
        coarse_plan, _ = resolved(DENSE, ranks=1, batch=1, recompute="auto")
        coarse = build_program(DENSE, coarse_plan, groups, MemoryBudget(room))
        fine = build_program(DENSE, plan, groups, MemoryBudget(room))
        assert rank.memory.total <= room * (1 + 1e-12)
        assert fine.hardware_flops <= coarse.hardware_flops * (1 + 1e-12)
        seen.append(fine.hardware_flops)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


KV = 4 * 64
NAMED = {
    "query_proj": 2 * 1024,
    "key_proj": 2 * KV,
    "value_proj": 2 * KV,
    "out_proj": 2 * HIDDEN,
    "context": 2 * 1024 + 4 * 16,
}
"""Bytes a token of what MaxText's names stand for in GATED."""


QKV = ("query_proj", "key_proj", "value_proj")


@pytest.mark.parametrize("kept", [(), QKV, ("out_proj",), ("query_proj", "context", "out_proj")])
def test_a_policy_keeps_the_inputs_of_layers_and_what_it_names(kept: tuple[str, ...]) -> None:
    rule = f"all_except:{','.join(kept)}"
    (rank,) = held(GATED, ranks=2, pp=2, batch=2, recompute="selective", recompute_modules=[rule])[:1]
    each = INPUT + TOKENS * sum(NAMED[name] for name in kept)
    (none,) = held(GATED, ranks=2, pp=2, batch=2)[:1]
    whole = none.activations / 4
    assert rank.activations == pytest.approx(2 * 2 * each + whole - each)


def test_a_policy_makes_again_what_the_gradients_read_and_no_more() -> None:
    """Nothing reads the product that ends an FFN; what is kept is not made again, attention only if its context is not kept."""
    everything = again(GATED, recompute="selective", recompute_modules=["all_except:"])
    assert set(everything) >= {"qkv", "attention", "output", "dense_up_gate", "dense_up_beside_gate"}
    assert "dense_down" not in everything
    kept = again(GATED, recompute="selective", recompute_modules=["maxtext:save_dot_with_context_except_mlp"])
    assert set(kept) & {"qkv", "queries", "keys", "values", "attention", "output"} == set()
    assert kept["dense_up_gate"] == everything["dense_up_gate"]
    queries = again(GATED, recompute="selective", recompute_modules=["all_except:key_proj,value_proj"])
    assert queries["queries"] == 2.0 * TOKENS * HIDDEN * 1024 * 4
    assert not {"keys", "values", "qkv"} & set(queries)


def test_results_that_nothing_reads_are_kept_only_when_named() -> None:
    (plain,) = held(GATED, ranks=2, pp=2, batch=2, recompute="selective", recompute_modules=["all_except:out_proj"])[:1]
    (named,) = held(GATED, ranks=2, pp=2, batch=2, recompute="selective", recompute_modules=["all_except:out_proj,mlpwo"])[:1]
    assert named.activations - plain.activations == pytest.approx((2 * 2 - 1) * INPUT)


def test_an_offloaded_policy_sends_what_it_names() -> None:
    (here,) = held(GATED, ranks=1, batch=1, recompute="selective", recompute_modules=["maxtext:save_qkv_proj"])
    (there,) = held(GATED, ranks=1, batch=1, recompute="selective", recompute_modules=["maxtext:qkv_proj_offloaded"])
    assert there.host == pytest.approx(4 * TOKENS * sum(NAMED[name] for name in ("query_proj", "key_proj", "value_proj")))
    assert here.activations - there.activations == pytest.approx(there.host)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recompute": "selective", "recompute_modules": ["all_except:qkv_prj"]}, "Did you mean qkv_proj"),
        ({"recompute": "selective", "recompute_modules": ["all_except:out_proj", "layernorm"]}, "stands alone"),
        ({"recompute": "none", "recompute_layers": 2}, "Set recompute to full or selective"),
        ({"recompute": "full", "recompute_layers": [1, 2]}, "Write 1 numbers, or one"),
        ({"recompute": "full", "recompute_method": "uniform", "recompute_layers": 0}, "at least 1"),
        ({"recompute": "full", "recompute_method": "block"}, "Give recompute_layers"),
        ({"recompute": "selective", "recompute_method": "uniform", "recompute_layers": 2}, "Set recompute to full"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolved(ranks=1, batch=1, **arguments)


def test_policies_are_refused_where_their_names_do_not_cover_a_layer() -> None:
    import workloads

    with pytest.raises(NotModelled, match="grouped-query"):
        resolved(
            workloads.load("deepseek-v3"), ranks=8, batch=8, recompute="selective", recompute_modules=["all_except:qkv_proj"]
        )


def test_a_compiler_leaves_out_of_a_whole_layer_what_no_gradient_reads() -> None:
    """Full recomputation without the FFN's last product: that of the policy that keeps nothing but inputs, and as much memory."""
    plan, groups = resolved(GATED, ranks=1, batch=1, recompute="full")
    training = Training(sequence_length=TOKENS, global_batch=1)
    compiled = resolve(Plan(recompute="full"), training, GATED, 1, PlanDefaults(full_recompute="what is read"))
    named = resolve(Plan(recompute_modules=("all_except:",)), training, GATED, 1)
    assert compiled == named
    (whole,), (less,) = (build_program(GATED, one, groups, MemoryBudget(1e18)).ranks for one in (plan, compiled))
    assert less.memory.activations == pytest.approx(whole.memory.activations)
    made = again(GATED, recompute="full")
    assert set(made) - set(again(GATED, recompute_modules=("all_except:",), recompute="selective")) >= {"dense_down"}
