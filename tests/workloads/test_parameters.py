"""Parameter counts against published configurations, per component and in total."""

from __future__ import annotations

import pytest

import workloads
from workloads.accounting import (
    active_parameters,
    layer_matrices,
    layer_parameters,
    parameters,
    shape_parameters,
    total_parameters,
)
from workloads.accounting.parameters import embedding_parameters, head_parameters, mtp_block_parameters
from workloads.loading import model_presets

V4_PRO = {
    "attention_projections": 18_293_589_632,
    "compressor_csa": 440_540_160,
    "compressor_hca": 229_588_480,
    "indexer": 501_384_960,
    "routed_experts": 1_547_396_186_112,
    "shared_expert": 4_029_677_568,
    "router": 167_925_504,
    "hyper_connections": 84_069_603,
    "block_norms": 881_664,
    "embedding": 926_679_040,
    "lm_head": 926_679_040,
    "mtp": 25_840_145_979,
}
V4_FLASH = {
    "attention_projections": 4_599_123_136,
    "compressor_csa": 176_257_536,
    "compressor_hca": 85_207_040,
    "indexer": 225_730_176,
    "routed_experts": 277_025_390_592,
    "shared_expert": 1_082_130_432,
    "router": 45_099_008,
    "hyper_connections": 33_884_439,
    "block_norms": 356_352,
    "embedding": 529_530_880,
    "lm_head": 529_530_880,
    "mtp": 6_610_048_891,
}

# Totals of the main model summed from each configuration's matrices, embeddings and one norm weight a sublayer.
TOTALS = {
    "deepseek-v4-pro": 1_572_997_201_763,
    "deepseek-v4-flash": 284_332_240_471,
    "qwen3-next-80b-a3b": 79_674_292_992,
    "kimi-linear-48b-a3b": 49_122_681_728,
    "nemotron-h-56b": 56_324_350_464,
    "nemotron-3-nano-30b-a3b": 31_577_940_288,
    "granite-4-h-small": 32_207_337_984,
    "deepseek-v3": 671_026_404_352,
    "deepseek-v3.2": 671_877_929_216,
    "kimi-k2": 1_026_408_209_408,
    "pangu-ultra-moe-718b": 719_092_830_720,
    "pangu-pro-moe-72b": 71_988_188_160,
    "pangu-ultra-135b": 133_879_001_088,
    "qwen3-235b-a22b": 235_093_634_560,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen2-57b-a14b": 57_408_558_592,
    "llama3.1-405b": 405_853_388_800,
    "llama3.1-70b": 70_553_706_496,
    "llama3.1-8b": 8_030_261_248,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_630_071_296,
    "gpt-oss-120b": 116_829_149_760,
    "gpt3-175b": 174_615_834_624,
    "megatron-22b": 22_074_267_648,
    "megatron-175b": 174_615_834_624,
    "mt-nlg-530b": 529_600_798_720,
    "megatron-1t": 1_008_038_732_800,
    "megascale-530b": 529_862_942_720,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "gpt3-5b": 5_051_224_064,
    "gpt3-20b": 20_262_008_832,
    "nemotron-3-8b": 8_539_869_184,
    "nemotron-3-22b": 21_265_618_944,
    "nemotron-4-15b": 15_628_376_064,
    "nemotron-4-340b": 341_025_638_400,
    "grok-1": 315_684_034_560,
    "llama4-maverick": 400_711_848_960,
    "llama4-scout": 107_769_861_120,
    "mistral-7b": 7_241_732_096,
    "gemma3-12b": 11_765_395_200,
    "gemma4-31b": 30_696_664_320,
    "gemma4-26b": 25_232_613_120,
    "gpt-oss-20b": 20_914_754_880,
    "internlm-7b": 7_321_423_872,
    "mpt-125m": 125_310_720,
    "mpt-350m": 355_984_384,
    "mpt-760m": 760_468_992,
    "mpt-1b": 1_315_948_544,
    "mpt-3b": 2_651_834_880,
    "mpt-7b": 6_658_854_912,
    "mpt-13b": 12_853_949_440,
    "mpt-30b": 29_975_206_912,
    "mpt-70b": 64_862_429_184,
    "sc21-1.7b": 1_652_228_352,
    "sc21-3.6b": 3_562_165_248,
    "sc21-7.5b": 7_467_782_144,
    "sc21-18.4b": 18_449_750_016,
    "sc21-39.1b": 39_096_033_280,
    "sc21-76.1b": 76_050_728_960,
    "sc21-145.6b": 145_622_249_472,
    "sc21-310.1b": 310_130_524_160,
    "mlm-1.7b": 1_744_930_816,
    "mlm-7.1b": 7_113_789_440,
    "mlm-16b": 16_106_526_720,
    "mlm-32b": 31_474_752_512,
    "mlm-70b": 69_794_603_008,
    "mlm-119b": 118_449_039_360,
    "mlm-177b": 177_169_772_544,
    "mlm-314b": 313_535_774_720,
    "mlm-462b": 461_444_696_064,
    "megascale-175b": 174_773_121_024,
    "maxtext-16b": 15_831_666_688,
    "maxtext-32b": 31_663_333_376,
    "maxtext-64b": 62_802_370_560,
    "maxtext-128b": 125_079_396_352,
    "maxtext-256b": 250_158_792_704,
    "maxtext-512b": 499_268_993_024,
    "maxtext-1024b": 997_485_199_360,
    "maxtext-v4-22b": 22_137_083_904,
    "maxtext-v4-52b": 52_326_838_272,
    "palm-540b": 540_358_649_856,
    "bloom-176b": 176_247_228_416,
    "telechat2-115b": 113_281_343_488,
    "mixtral-8x22b-g8t8": 140_649_338_880,
    "llama3-8x70b": 465_159_069_696,
    "moonlight-16b-a3b": 15_960_108_544,
    "deepseek-v2": 235_741_434_880,
    "glm-5.2": 743_376_995_328,
    "qwen3-8b": 8_190_735_360,
    "olmo2-32b": 32_233_903_104,
    "olmo3-32b": 32_233_145_344,
}

# What those sums leave out and the models have: vectors, each a few thousand of 10^9 parameters.
VECTORS = {
    "pangu-ultra-moe-718b": (61 * 2 * 7680, "sandwich norms"),
    "pangu-ultra-135b": (94 * 2 * 12288, "sandwich norms"),
    "gemma3-12b": (48 * (2 * 3840 + 2 * 256), "sandwich norms, norms of queries and keys"),
    "gpt-oss-120b": (36 * (128 + 64), "router biases and sinks"),
    "gpt-oss-20b": (24 * (32 + 64), "router biases and sinks"),
    "palm-540b": (-118 * 18432, "one norm for both sublayers of a parallel block"),
    "bloom-176b": (3 * 14336, "bias of the final norm, norm of the embedding"),
    "olmo2-32b": (64 * (5120 + 1024 - 2 * 128), "norms of queries and keys over their full width"),
    "olmo3-32b": (64 * (5120 + 1024 - 2 * 128), "norms of queries and keys over their full width"),
}
FINAL_NORM_BIAS = ("gpt3", "megatron", "mt-nlg", "megascale", "mpt", "sc21")


@pytest.mark.parametrize(("name", "table"), [("deepseek-v4-pro", V4_PRO), ("deepseek-v4-flash", V4_FLASH)])
def test_v4_components(name: str, table: dict[str, int]) -> None:
    """Every component of DeepSeek-V4 has exactly the parameters its config gives by hand."""
    assert parameters(workloads.load(name)) == table


@pytest.mark.parametrize(
    ("name", "main", "with_mtp"),
    [
        ("deepseek-v4-pro", 1_572_997_201_763, 1_598_837_347_742),
        ("deepseek-v4-flash", 284_332_240_471, 290_942_289_362),
        ("deepseek-v3", 671_026_404_352, None),
        ("llama3.1-405b", 405_853_388_800, 405_853_388_800),
    ],
)
def test_totals_of_the_main_jobs(name: str, main: int, with_mtp: int | None) -> None:
    """The totals people check first."""
    model = workloads.load(name)
    assert total_parameters(model) == main
    assert with_mtp is None or total_parameters(model, mtp=True) == with_mtp


def test_v4_layers() -> None:
    """One layer of V4-Pro: attention, compressors, indexer, an expert, hyper-connections and router."""
    model = workloads.load("deepseek-v4-pro")
    hca, csa = shape_parameters(model, model.layer(3)), shape_parameters(model, model.layer(4))
    assert model.layer(3).attention == "hca"
    assert model.layer(4).attention == "csa"
    assert hca["attention_projections"] == 299_894_912
    assert (csa["compressor_csa"], hca["compressor_hca"], csa["indexer"]) == (14_684_672, 7_406_080, 16_712_832)
    assert csa["routed_experts"] == 384 * 66_060_288
    assert csa["hyper_connections"] == 1_376_310
    assert csa["router"] == 2_752_512 + 384


def test_hash_routed_layers_have_no_router_bias() -> None:
    """The first three layers of V4 choose experts by token id and store no bias."""
    model = workloads.load("deepseek-v4-pro")
    assert model.layer(2).hash_routed
    assert not model.layer(3).hash_routed
    assert shape_parameters(model, model.layer(2))["router"] == 7168 * 384


@pytest.mark.parametrize("name", sorted(TOTALS))
def test_total_of_every_preset(name: str) -> None:
    """Every preset sums to its published configuration, and to the vectors that a sum of matrices leaves out."""
    model = workloads.load(name)
    vectors = VECTORS.get(name, (0, ""))[0]
    if name.startswith(FINAL_NORM_BIAS):
        vectors += model.hidden
    assert total_parameters(model) == TOTALS[name] + vectors


def test_every_preset_is_in_the_table() -> None:
    """No preset escapes the check of its total."""
    assert set(model_presets()) == set(TOTALS)


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("deepseek-v4-pro", 48_852_402_019),
        ("deepseek-v4-flash", 13_270_101_591),
        ("deepseek-v3", 36_625_603_584),
        ("kimi-k2", 31_687_072_768),
        ("mixtral-8x7b", 12_748_853_248),
        ("qwen3-235b-a22b", 21_568_433_664),
        ("grok-1", 83_755_800_576),
        ("llama4-maverick", 16_150_205_440),
    ],
)
def test_active_parameters(name: str, active: int) -> None:
    """Active parameters exclude idle experts and the input embedding."""
    assert active_parameters(workloads.load(name)) == active


@pytest.mark.parametrize("name", sorted(TOTALS))
def test_cuts_hold_all_parameters(name: str) -> None:
    """What a plan may cut (sharded, replicated, experts) adds up to the components, with prediction blocks."""
    model = workloads.load(name)
    pieces = [layer_parameters(model, shape) for shape in model.layer_shapes()]
    pieces += [embedding_parameters(model), head_parameters(model)]
    pieces += [mtp_block_parameters(model)] * model.mtp.depth
    assert sum(piece.total for piece in pieces) == total_parameters(model, mtp=True)


def test_matrices_are_nearly_all_of_a_layer() -> None:
    """What Muon works on is a layer's parameters but its vectors."""
    model = workloads.load("llama3.1-405b")
    shape = model.layer(0)
    elements = sum(matrix.rows * matrix.columns * matrix.count for matrix in layer_matrices(model, shape))
    assert elements == layer_parameters(model, shape).total - 2 * 16384
