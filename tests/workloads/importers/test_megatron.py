"""Megatron-LM launches: the model, the training and the plan that their flags mean; what is not known is refused by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import workloads
from simulator.spec.errors import InputError, NotModelled, PlanError
from workloads.accounting import total_parameters
from workloads.importers.megatron import ImportedLaunch, import_launch


def _beside(name: str) -> Any:
    """A module of data that stands beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


launches, trainers = _beside("launches"), _beside("trainers")


def _import(text: str, folder: Path, **options: Any) -> ImportedLaunch:
    path = folder / "run.sh"
    path.write_text(text)
    return import_launch(str(path), **({"system": "dgx-h100"} | options))


def test_a_script_of_arrays_is_gpt3(tmp_path: Path) -> None:
    """Megatron's own style: the 175B preset's parameters but for the padded vocabulary, which tp 8 rounds up."""
    document = _import(launches.GPT3, tmp_path).document
    model, preset = workloads.load(document["model"]), workloads.load("gpt3-175b")
    assert model.vocab == 51200 == -(-50257 // 1024) * 1024
    assert total_parameters(model) - total_parameters(preset) == (51200 - preset.vocab) * 12288 + 12288 * (
        model.norm_bias - preset.norm_bias
    )
    assert document["cluster"] == {"system": "dgx-h100", "chips": 1024}
    assert document["training"] == {
        "sequence_length": 2048, "global_batch": 1536, "micro_batch": 1, "precision": "fp16", "optimizer": "adamw",
    }  # fmt: skip
    assert {key: document["plan"][key] for key in ("tp", "pp", "zero", "recompute", "sequence_parallel")} == {
        "tp": 8, "pp": 16, "zero": 0, "recompute": "none", "sequence_parallel": False,
    }  # fmt: skip


def test_a_command_inside_bash_c_is_v3(tmp_path: Path) -> None:
    """Flags inside one quoted command; DeepSeek-V3's parameters to the last, prediction block included."""
    imported = _import(launches.V3, tmp_path)
    document = imported.document
    model, preset = workloads.load(document["model"]), workloads.load("deepseek-v3")
    assert total_parameters(model, mtp=True) == total_parameters(preset, mtp=True)
    assert model.layer_shapes() == preset.layer_shapes()
    assert document["training"]["precision"] == "fp8"
    plan = document["plan"]
    assert (plan["pp"], plan["ep"], plan["etp"], plan["zero"], plan["dispatcher"]) == (16, 16, 1, 1, "deepep")
    assert imported.harmless.keys() == {"--lr"}


def test_flags_alone_are_mixtral(tmp_path: Path) -> None:
    """No script at all; chips per virtual stage become vpp, modules to recompute a list."""
    document = import_launch(launches.MIXTRAL, system="dgx-h100", chips=64).document
    assert total_parameters(workloads.load(document["model"])) == total_parameters(workloads.load("mixtral-8x7b"))
    plan = document["plan"]
    assert (plan["vpp"], plan["schedule"], plan["recompute_modules"]) == (4, "interleaved", ["core_attn", "moe_act"])
    with pytest.raises(InputError, match="--chips"):
        import_launch(launches.MIXTRAL, system="dgx-h100")


def test_arrays_without_a_launch_are_qwen3(tmp_path: Path) -> None:
    """A file that only defines flags, as collections of models keep them."""
    document = _import(launches.QWEN3, tmp_path, chips=16).document
    assert total_parameters(workloads.load(document["model"])) == total_parameters(workloads.load("qwen3-30b-a3b"))


def test_a_dump_of_arguments_is_llama(tmp_path: Path) -> None:
    """What the run printed: defaults are in it, so arguments that nobody knows change nothing."""
    document = _import(launches.dump(), tmp_path).document
    assert total_parameters(workloads.load(document["model"])) == total_parameters(workloads.load("llama3.1-70b"))
    plan = document["plan"]
    assert document["cluster"]["chips"] == 64
    assert (plan["tp"], plan["pp"], plan["cp"], plan["vpp"], plan["zero"]) == (4, 4, 2, 5, 1)
    assert plan["overlap"]["grad_reduce"] is True
    with pytest.raises(NotModelled, match="heterogeneous"):
        _import(launches.dump(heterogeneous_layers_config_path="layers.json"), tmp_path)


def test_the_environment_decides_only_what_it_is_told(tmp_path: Path) -> None:
    """${NNODES:-128} is its default and said so; --define wins over it."""
    imported = _import(launches.GPT3, tmp_path)
    assert imported.defaults == {"NNODES": "128"}
    assert _import(launches.GPT3, tmp_path, define={"NNODES": "192"}).document["cluster"]["chips"] == 1536


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("PP=$(nvidia-smi | wc -l)", "is the output of a command"),
        ("if [ $BIG ]; then PP=8; fi", r"is set in a branch that may not run \(line 1\)"),
        ("for PP in 1 2 4; do echo $PP; done", r"is set by a loop \(line 1\)"),
        ("test -e x && PP=4", r"is set in a branch that may not run \(line 1\)"),
        ("", "is not set in the script"),
    ],
)
def test_what_only_a_run_would_know_is_asked_for(line: str, why: str, tmp_path: Path) -> None:
    """A flag that matters and depends on the world is refused with the reason; --define answers."""
    text = f"{line}\npython pretrain_gpt.py {launches.MIXTRAL} --context-parallel-size $PP".replace("\n--", " --")
    with pytest.raises(PlanError, match=f"--context-parallel-size: needs .*, which {why}"):
        _import(text, tmp_path, chips=64)
    assert _import(text, tmp_path, chips=64, define={"PP": "2"}).document["plan"]["cp"] == 2


def test_words_that_nobody_knows_are_listed(tmp_path: Path) -> None:
    """$@ at the end of a launch may hold anything: it is a question in the account."""
    text = f"python pretrain_gpt.py {launches.MIXTRAL} $@ $EXTRA".replace("\n--", " --")
    assert _import(text, tmp_path, chips=64).questions == ("@", "EXTRA")


def test_a_flag_that_is_not_known_is_refused_until_ignored(tmp_path: Path) -> None:
    """With the nearest flag that is known; several are named at once."""
    text = launches.MIXTRAL + " --moe-router-topp 3 --new-thing"
    with pytest.raises(PlanError, match=r"--moe-router-topp: is not known .* The same for --new-thing\."):
        import_launch(text, system="dgx-h100", chips=64)
    ignored = import_launch(text, system="dgx-h100", chips=64, ignore=["--moe-router-topp", "new-thing"])
    assert ignored.ignored == ("--moe-router-topp", "--new-thing")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads_params", {"zero": 3}),
        (
            "--recompute-granularity full --recompute-method block --recompute-num-layers 1",
            {"recompute": "full", "recompute_method": "block", "recompute_layers": 1},
        ),
        (
            "--recompute-granularity full --recompute-method uniform --recompute-num-layers 2",
            {"recompute": "full", "recompute_method": "uniform", "recompute_layers": 2},
        ),
        (
            "--optimizer-cpu-offload --optimizer-offload-fraction 0.5 --overlap-cpu-optimizer-d2h-h2d",
            {"offload": {"optimizer": 0.5, "overlap": True}},
        ),
        (
            "--fine-grained-activation-offloading --offload-modules core_attn attn_proj",
            {"offload": {"activations": ["core_attn", "attn_proj"]}},
        ),
        ("--cpu-offloading-num-layers 4", {"offload": {"activations": ["activations"], "layers": 4}}),
        ("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1", {"recompute": "full"}),
        ("--overlap-moe-expert-parallel-comm", {"ep": True}),
        ("--tp-comm-overlap", {"tp": True}),
        ("--num-distributed-optimizer-instances 2", {"zero_group": 8}),
        (
            "--num-layers-per-virtual-pipeline-stage 4 --decoder-first-pipeline-num-layers 4"
            " --decoder-last-pipeline-num-layers 12",
            {"vpp": 2, "layout": [2, 4, 4, 6, 2, 4, 4, 6]},
        ),
        ("--no-position-embedding", {"kind": "gqa"}),
        ("--expert-tensor-parallel-size 2", {"etp": 2}),
        ("--use-tp-pp-dp-mapping", {"placement": "tp-cp-ep-pp-dp"}),
        ("--context-parallel-size 2 --cp-comm-type p2p", {"context_exchange": "ring"}),
        ("--context-parallel-size 2 --cp-comm-type a2a a2a", {"context_exchange": "all-to-all"}),
        (
            "--context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2",
            {"context_exchange": "all-to-all+ring", "context_heads": 2},
        ),
        ("--fp8-format hybrid", {"precision": "fp8"}),
        ("--fp8-format e4m3 --fp8-recipe mxfp8", {"precision": "mxfp8"}),
        ("--fp4-format e2m1", {"precision": "nvfp4"}),
        ("--optimizer dist_muon", {"optimizer": "muon"}),
        ("--qk-layernorm", {"qk_norm": "head"}),
        ("--window-size 127,0 --window-attn-skip-freq 2", {"window": 128, "window_pattern": ["local", "full"]}),
    ],
)
def test_a_flag_means(flags: str, expected: dict[str, Any]) -> None:
    """One flag, and the field of the scenario that it sets."""
    document = import_launch(launches.MIXTRAL, system="dgx-h100", chips=64, added=flags).document
    found = document["training"] | document["plan"] | document["plan"]["overlap"] | document["model"]["attention"]
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--cp-comm-type a2a p2p", "one for all layers"),
        (
            "--cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 4 1",
            "two sizes whose product is the context-parallel size 2",
        ),
    ],
)
def test_an_exchange_among_the_ranks_of_a_sequence_that_cannot_be_read_is_refused(flags: str, message: str) -> None:
    with pytest.raises((InputError, NotModelled), match=message):
        import_launch(launches.MIXTRAL, system="dgx-h100", chips=64, added=f"--context-parallel-size 2 {flags}")


EVEN = launches.MIXTRAL.replace("--num-layers-per-virtual-pipeline-stage 2", "")


@pytest.mark.parametrize(
    ("flags", "vpp", "layout"),
    [
        ("--pipeline-model-parallel-layout Et*3|(tt|tt,|)*2(t*10|)*2tL", 2, [3, 2, 2, 2, 2, 10, 10, 1]),
        ("--pipeline-model-parallel-layout Et*10|t*11|t*11|L", 1, [10, 11, 11, 0]),
        ("--mtp-num-layers 1 --pipeline-model-parallel-layout E|t*11|t*11|t*10mL", 1, [0, 11, 11, 10]),
        (
            "--num-layers 30 --num-layers-per-virtual-pipeline-stage 4 --account-for-embedding-in-pipeline-split"
            " --account-for-loss-in-pipeline-split",
            2,
            [3, 4, 4, 4, 4, 4, 4, 3],
        ),
        ("--num-layers 31 --account-for-loss-in-pipeline-split", 1, [8, 8, 8, 7]),
    ],
)
def test_stages_that_are_written_or_count_their_ends(flags: str, vpp: int, layout: list[int]) -> None:
    """Layers of every stage in the order that data visits them; embedding and loss may each count as a layer."""
    plan = import_launch(EVEN, system="dgx-h100", chips=64, added=flags).document["plan"]
    assert (plan["vpp"], plan["layout"]) == (vpp, layout)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("Et*31|t|t|L --decoder-last-pipeline-num-layers 1", "stands beside --pipeline-model-parallel-layout"),
        ("Et*28|t|t|tL", r"^--add --pipeline-model-parallel-layout: writes 31 layers"),
        ("Et*31|x|t|L", "parted by"),
        ("Et*31|t|L", "writes 3 stages, which 4 pipeline ranks"),
        ("Et*30|t|L|", "parted by"),
        ("Et*30|t|tmL|L", "parted by"),
        ("Et*30|t|t|mL", "must write an m for each of the 0 prediction blocks"),
        ("Et*30|t|tm|L --mtp-num-layers 1", "write the m in the last stage"),
        ("Et*30|t|t|L --mtp-num-layers 1", "must write an m for each of the 1"),
        ("E(t*999)*999|t|t|L", "writes 998003 layers, and the model has 32"),
    ],
)
def test_a_layout_that_is_written_wrongly_is_refused(flags: str, message: str) -> None:
    """Letters, layers, stages and prediction blocks must be those of the launch."""
    with pytest.raises((InputError, NotModelled), match=message):
        import_launch(EVEN, system="dgx-h100", chips=64, added=f"--pipeline-model-parallel-layout {flags}")


def test_a_dense_launch_asks_for_nothing_without_effect(tmp_path: Path) -> None:
    """A plan that was imported is answered under --strict: it names no dispatcher of experts that the model has not."""
    assert "dispatcher" not in _import(launches.GPT3, tmp_path).document["plan"]
    assert _import(launches.MIXTRAL, tmp_path, chips=64).document["plan"]["dispatcher"] == "alltoall"


def test_a_launcher_may_write_its_flags_with_equals(tmp_path: Path) -> None:
    """The training script behind --nnodes=4 is not its value."""
    text = f"torchrun --nproc_per_node=8 --nnodes=4 pretrain_gpt.py {launches.MIXTRAL}".replace("\n--", " --")
    assert _import(text, tmp_path).document["cluster"]["chips"] == 32


def test_a_branch_that_may_run_takes_nothing_of_what_it_adds_to(tmp_path: Path) -> None:
    """Flags that stand before it are read; what it may add is a question. Set anew, nothing is known, and the error says why."""
    flags = launches.MIXTRAL.replace("\n--", " --")
    for adds in ('OPTIONS="$OPTIONS --tp-comm-overlap"', 'OPTIONS="${OPTIONS} --x"', 'OPTIONS+=" --x"'):
        text = f'OPTIONS="{flags}"\nif [ $WANTED = 1 ]; then {adds}; fi\npython pretrain_gpt.py $OPTIONS'
        assert _import(text, tmp_path, chips=64).questions == ("what line 2 adds to OPTIONS",)
    arrays = f'A=({flags})\nif [ $WANTED = 1 ]; then A=("${{A[@]}}" --x); A+=(--y); fi\npython pretrain_gpt.py "${{A[@]}}"'
    assert _import(arrays, tmp_path, chips=64).document["plan"] == _import(text, tmp_path, chips=64).document["plan"]
    anew = f'OPTIONS="{flags}"\nif [ $WANTED = 1 ]; then OPTIONS=--x; fi\npython pretrain_gpt.py --bf16 --fp16 $OPTIONS'
    with pytest.raises(
        InputError, match=r"--num-layers is missing, and OPTIONS, which may hold it, is set in a branch .* --define"
    ):
        _import(anew, tmp_path, chips=64)
    assert _import(text, tmp_path, chips=64, define={"WANTED": "0"}).questions == ()


def test_without_swiglu_or_bias_flags_the_defaults_are_megatrons(tmp_path: Path) -> None:
    """4 x hidden, gelu, biases, learned positions, LayerNorm; SwiGLU narrows the default width to 2/3."""
    base = "--num-layers 2 --hidden-size 1024 --num-attention-heads 8 --vocab-size 1024 --max-position-embeddings 512 --fp16"
    run = f"{base} --seq-length 512 --micro-batch-size 1 --global-batch-size 8"
    model = import_launch(run, system="dgx-h100", chips=8).document["model"]
    assert model["ffn"] == {"width": 4096, "gated": False, "activation": "gelu", "bias": True}
    assert (model["learned_positions"], model["norm_bias"], model["tied_embeddings"]) == (512, True, True)
    assert (
        import_launch(run + " --squared-relu", system="dgx-h100", chips=8).document["model"]["ffn"]["activation"]
        == "squared-relu"
    )
    gated = import_launch(run + " --swiglu", system="dgx-h100", chips=8).document["model"]
    assert gated["ffn"]["width"] == 2688  # 4096 x 2/3 = 2730.7, down to a multiple of 64


@pytest.mark.parametrize(
    ("flags", "graphs"),
    [
        ("", None),
        ("--cuda-graph-impl none --cuda-graph-scope attn", None),
        ("--cuda-graph-impl transformer_engine --cuda-graph-scope attn moe_router moe_preprocess", "partial"),
        ("--cuda-graph-impl local --cuda-graph-scope full_iteration", "full"),
        ("--enable-cuda-graph", "partial"),  # of a mixture: whole layers but for what depends on the data
    ],
)
def test_captured_graphs_are_read(flags: str, graphs: str | None) -> None:
    document = import_launch(f"{launches.MIXTRAL} {flags}", system="dgx-h100", chips=64).document
    assert document["plan"].get("graphs") == graphs


def test_mindspeeds_own_flags_are_v3_on_dualpipe_v(tmp_path: Path) -> None:
    """512 ranks are 256 packages of two dies; layers that do nothing are none; experts lie over the tensor-parallel ranks too."""
    imported = _import(trainers.MINDSPEED_V3, tmp_path, system="cloudmatrix384", ranks_per_chip=2)
    document, plan = imported.document, imported.document["plan"]
    model, preset = workloads.load(document["model"]), workloads.load("deepseek-v3")
    assert total_parameters(model, mtp=True) == total_parameters(preset, mtp=True)
    assert model.layer_shapes() == preset.layer_shapes()
    assert document["cluster"]["chips"] == 256 and document["assumptions"] == "mindspeed"
    assert (plan["schedule"], plan["vpp"], plan["layout"]) == ("dualpipe-v", 2, [4] * 15 + [1])
    assert (plan["tp"], plan["ep"], plan["etp"], plan["dispatcher"], plan["overlap"]["ep"]) == (2, 32, 1, "alltoall", True)
    assert set(imported.not_simulated) == {"--mtp-mem-efficient-logits", "--swap-optimizer"}
    assert "--multi-latent-attention" not in imported.understood and "--multi-head-latent-attention" in imported.understood


MINDSPEED = """--use-fused-rmsnorm --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --group-query-attention
  --num-query-groups 8 --swiglu --normalization RMSNorm --position-embedding-type rope --disable-bias-linear --vocab-size 128256
  --untie-embeddings-and-output-weights --seq-length 32768 --micro-batch-size 1 --global-batch-size 64 --bf16"""


def _mindspeed(more: str) -> dict[str, Any]:
    return import_launch(f"{MINDSPEED} {more}", system="atlas-800t-a2", chips=64).document


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("megatron_cp_algo", {"context_exchange": "ring"}),
        ("ulysses_cp_algo", {"context_exchange": "all-to-all"}),
        ("hybrid_cp_algo --ulysses-degree-in-cp 4", {"context_exchange": "all-to-all+ring", "context_heads": 4}),
    ],
)
def test_mindspeeds_ways_of_sharing_a_sequence(algorithm: str, expected: dict[str, Any]) -> None:
    """A ring, an exchange of heads, or both; without context parallelism the flag says nothing."""
    plan = _mindspeed(f"--context-parallel-size 8 --context-parallel-algo {algorithm}")["plan"]
    assert expected.items() <= plan.items()
    assert "context_exchange" not in _mindspeed(f"--context-parallel-algo {algorithm}")["plan"]


def test_layers_of_stages_are_those_that_are_listed_or_filled_up() -> None:
    """--num-layer-list is a layout; layers that do nothing are taken out where they stand."""
    listed = _mindspeed("--pipeline-model-parallel-size 4 --num-layer-list 7,9,9,7")
    assert listed["plan"]["layout"] == [7, 9, 9, 7] and listed["model"]["layers"] == 32
    filled = _mindspeed("--pipeline-model-parallel-size 4 --noop-layers 0,30,31")
    assert filled["plan"]["layout"] == [7, 8, 8, 6] and filled["model"]["layers"] == 29


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("--noop-layers 40", PlanError, "must be some of the layers 0 to 31"),
        ("--noop-layers a", PlanError, "must be layers apart by commas"),
        ("--noop-layers 31 --pipeline-model-parallel-size 5", PlanError, "32 layers do not go evenly into 5 stages"),
        ("--num-layer-list 8,8 --pipeline-model-parallel-size 4", PlanError, "must give the layers of all 4 stages"),
        ("--schedules-method other", NotModelled, "--schedules-method other cannot be imported"),
        (
            "--context-parallel-size 2 --context-parallel-algo adaptive_cp_algo",
            NotModelled,
            "adaptive_cp_algo cannot be imported",
        ),
        ("--qk-nope-head-dim 64 --qk-head-dim 128", PlanError, "says otherwise than --qk-head-dim 128"),
    ],
)
def test_what_mindspeed_says_wrongly_is_refused(more: str, error: type[Exception], message: str) -> None:
    """By the flag that was written."""
    with pytest.raises(error, match=message):
        _mindspeed(more)


def test_a_script_whose_branches_are_chosen_by_its_arguments_is_read(tmp_path: Path) -> None:
    """Pai-Megatron-Patch: given what the command line would give, the branch of the model is read and the launch is eval's."""
    given = {"TP": "1", "PP": "8", "EP": "16", "MODEL_SIZE": "A37B", "PR": "bf16", "BATCH_SIZE": "1", "GLOBAL_BATCH_SIZE": "1024",
             "SEQ_LEN": "4096"}  # fmt: skip
    imported = _import(trainers.PAI_V3, tmp_path, chips=256, define=given, added="--vocab-size 128815 --disable-bias-linear")
    model = workloads.load(imported.document["model"])
    assert (model.layers, model.hidden, model.vocab) == (61, 7168, -(-(128815 + 467) // 128) * 128)
    assert model.moe is not None and (model.moe.experts, model.moe.top_k, model.moe.first_dense) == (256, 8, 3)
    assert model.mtp.depth == 1
    with pytest.raises(PlanError, match="needs NUM_LAYERS, which is set in a branch that may not run"):
        _import(trainers.PAI_V3, tmp_path, chips=256, define={key: given[key] for key in given if key != "MODEL_SIZE"})
