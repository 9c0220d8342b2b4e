"""How gaps of published tables are read: gaps only, and never unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.prepare import prepare
from simulator.questions.cases import read_cases
from simulator.scenario import Scenario

TRAINING = {"sequence_length": 4096, "global_batch": 32, "micro_batch": 1, "precision": "bf16"}


def read(
    folder: Path, stack: str, model: Any, system: str = "dgx-b200", chips: int = 8, quality: tuple[str, ...] = (),
    training: dict[str, Any] | None = None, **plan: Any,
) -> tuple[Scenario, tuple[str, ...]]:  # fmt: skip
    case = {
        "id": "one", "stack": stack, "quality": list(quality), "measured": {"step_time_s": 1.0},
        "scenario": {
            "cluster": {"system": system, "chips": chips}, "model": model,
            "training": TRAINING if training is None else training, "plan": plan,
        },
    }  # fmt: skip
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump({"cases": [case]}))
    return read_cases(path)[0].scenario()


CUT = {"preset": "deepseek-v3", "layers": 4}


@pytest.mark.parametrize(("plan", "peak"), [({"ep": 8}, 104.3), ({"ep": 4, "pp": 2}, 114.0)])
def test_four_layers_of_v3_as_simumax_ran_them_reach_the_peaks_it_printed(tmp_path: Path, plan: Any, peak: float) -> None:
    scenario, notes = read(tmp_path, "megatron-lm-simumax-v1.2", CUT, recompute="none", **plan)
    assert isinstance(scenario.model, dict)
    assert scenario.model == CUT | {"mtp_depth": 0, "moe.first_dense": 1}
    assert "model.mtp_depth as tables of megatron-lm-simumax are read" in notes
    ranks = prepare(scenario).program.ranks
    assert max(rank.memory.total for rank in ranks) / 2**30 == pytest.approx(peak, rel=0.03)


def test_what_a_source_prints_stays(tmp_path: Path) -> None:
    scenario, _ = read(tmp_path, "megatron-lm-simumax-v1.2", CUT | {"mtp_depth": 1})
    assert isinstance(scenario.model, dict)
    assert scenario.model["mtp_depth"] == 1


def test_whole_models_and_other_stacks_are_not_touched(tmp_path: Path) -> None:
    assert read(tmp_path, "megatron-lm-simumax-v1.2", "deepseek-v3")[0].model == "deepseek-v3"
    assert read(tmp_path, "megatron-bridge-26.02", CUT)[0].model == CUT


@pytest.mark.parametrize(
    ("stack", "system", "precision", "graphs", "overlap"),
    [
        ("megatron-bridge-25.09", "dgx-h100", "fp8", "none", True),  # DeepEP beside the other micro-batch
        ("megatron-bridge-26.04", "dgx-h100", "fp8", "none", False),  # HybridEP without
        ("megatron-bridge-26.04", "gb200-nvl72", "mxfp8", "partial", False),
        ("megatron-bridge-26.08", "gb200-nvl72", "mxfp8", "full", True),
    ],
)
def test_a_recipe_is_that_of_its_release_machine_and_precision(
    tmp_path: Path, stack: str, system: str, precision: str, graphs: str, overlap: bool
) -> None:
    given: dict[str, Any] = {"chips": 256, "training": TRAINING | {"precision": precision, "global_batch": 4096}}
    scenario, _ = read(tmp_path, stack, "deepseek-v3", system, tp=2, pp=8, ep=16, **given)
    found = prepare(scenario).plan
    assert (found.graphs, found.overlap.ep) == (graphs, overlap)
    assert found.fused_experts is (graphs == "full")


def test_what_is_inferred_says_so(tmp_path: Path) -> None:
    """Chunks of Mixtral stand in no table of its paper; fused experts of Qwen3 from 26.06 on stand in its recipes."""
    given: dict[str, Any] = {
        "system": "gb200-nvl72",
        "chips": 64,
        "training": TRAINING | {"precision": "mxfp8", "global_batch": 512},
    }
    scenario, notes = read(tmp_path, "megatron-bridge-26.06", "qwen3-30b-a3b", ep=8, **given)
    assert "plan.expert_kernels as tables of megatron-bridge-26.06 are read" in notes
    assert scenario.plan.overlap is not None
    assert scenario.plan.overlap.ep is True
    given = {"system": "dgx-h100", "chips": 128, "training": TRAINING | {"global_batch": 1024}}
    scenario, notes = read(tmp_path, "megatron-core-folding", "mixtral-8x22b", tp=2, pp=8, ep=4, **given)
    assert (scenario.plan.vpp, scenario.plan.schedule) == (7, "interleaved")
    assert "plan.vpp as tables of megatron-core-folding are read, inferred" in notes
    assert read(tmp_path, "megatron-core-folding", "mixtral-8x22b-g8t8", tp=2, pp=8, ep=8, **given)[0].plan.vpp is None


def test_tpu_recipes_make_again_what_they_say(tmp_path: Path) -> None:
    """Trillium's Llama-8B keeps the projections of attention in the host, its 405B the layer's input alone."""
    given: dict[str, Any] = {"training": TRAINING | {"sequence_length": 8192, "global_batch": 512, "micro_batch": 1}}
    for model, chips, kept in (
        ("llama3.1-8b", 256, ("out_proj", "query_proj", "key_proj", "value_proj")),
        ("llama3.1-405b", 512, ()),
    ):
        scenario, _ = read(
            tmp_path, "maxtext-tpu-recipes", model, "tpu-v6e", zero=3, recompute="selective",
            quality=["recompute_detail_unstated"], chips=chips, **given,
        )  # fmt: skip
        assert scenario.assumptions == "maxtext-wide-blocks"
        assert scenario.plan.recompute_modules == (f"all_except:{','.join(kept)}",)
        assert scenario.plan.offload == ("decoder_layer_input", *kept)


def test_what_hangs_on_a_choice_goes_with_it(tmp_path: Path) -> None:
    """A case that recomputes nothing takes no modules from the recipe, one of two stages no chunks of four."""
    given: dict[str, Any] = {"system": "dgx-h100", "chips": 64, "training": TRAINING | {"global_batch": 512}}
    scenario, _ = read(tmp_path, "megatron-bridge-25.09", "deepseek-v3", tp=2, pp=8, recompute="none", **given)
    assert (scenario.plan.recompute, scenario.plan.recompute_modules) == ("none", None)
    given = {"system": "gb300-nvl72", "chips": 64, "training": TRAINING | {"precision": "mxfp8", "global_batch": 512}}
    for stages, chunks in ((4, 5), (2, None)):
        scenario, _ = read(tmp_path, "megatron-bridge-26.02", "llama3.1-70b", pp=stages, **given)
        assert scenario.plan.vpp == chunks


def test_a_reading_may_hang_on_what_the_case_says(tmp_path: Path) -> None:
    """Llama-3 70B in bf16 on GB300 keeps thirty layers' activations in the host where it is fully sharded, and only there."""
    given: dict[str, Any] = {"system": "gb300-nvl72", "chips": 64, "training": TRAINING | {"global_batch": 64}}
    sharded, _ = read(tmp_path, "megatron-bridge-26.04", "llama3.1-70b", zero=3, **given)
    assert prepare(sharded).plan.offload.layers == 30
    assert read(tmp_path, "megatron-bridge-26.04", "llama3.1-70b", **given)[0].plan.offload is None


def test_sizes_by_chips_become_sizes_by_devices_where_a_case_says_so(tmp_path: Path) -> None:
    training = {"sequence_length": 8192, "global_batch": 512, "micro_batch": 8, "precision": "bf16"}
    given: dict[str, Any] = {"model": "gemma4-31b", "system": "tpu-v7-ironwood", "chips": 64, "training": training, "dp": 64}
    scenario, notes = read(tmp_path, "maxtext-tpu-recipes", quality=("sizes_in_chips_two_devices_per_chip",), **given)
    assert (scenario.plan.dp, scenario.training.micro_batch) == (128, 4)
    assert len([note for note in notes if "by chips" in note]) == 2
    sharded, notes = read(
        tmp_path, "maxtext-tpu-recipes", zero_group=16, quality=("sizes_in_chips_two_devices_per_chip",), **given
    )
    assert sharded.plan.zero_group == 32
    assert "plan.zero_group is given by chips: 32 by devices" in notes
    assert read(tmp_path, "maxtext-tpu-recipes", **given)[0].plan.dp == 64


def test_a_length_that_nobody_prints_is_filled_in_and_said(tmp_path: Path) -> None:
    scenario, notes = read(tmp_path, "mindspeed-pangu", "pangu-ultra-135b", "atlas-800t-a2", 8192, training={})
    found = prepare(scenario).plan
    assert (found.micro_batches, found.vpp, found.dp) == (16, 6, 128)
    assert "training.sequence_length as tables of mindspeed-pangu are read" in notes
