"""Forward FLOPs a token against tables computed by hand from the configurations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workloads
from workloads.accounting import forward_flops_per_token, total_flops_per_token
from workloads.accounting.cores import KeySpan

LENGTHS = (4096, 8192, 65536, 1048576)

# GFLOP a token at 4K, 8K, 64K and 1M tokens, averaged over the sequence. compressor: both kinds together.
V4_PRO_AVERAGE = {
    "attention_projections": (36.587, 36.587, 36.587, 36.587),
    "compressor": (1.336, 1.336, 1.336, 1.336),
    "indexer_projections": (1.003, 1.003, 1.003, 1.003),
    "indexer_scores": (0.252, 0.503, 4.026, 64.424),
    "core_attention_csa": (5.016, 7.038, 8.807, 9.044),
    "core_attention_hca": (1.150, 1.288, 3.116, 34.322),
    "routed_experts": (48.356, 48.356, 48.356, 48.356),
    "shared_expert": (8.059, 8.059, 8.059, 8.059),
    "router": (0.336, 0.336, 0.336, 0.336),
    "hyper_connections": (0.210, 0.210, 0.210, 0.210),
    "lm_head": (1.853, 1.853, 1.853, 1.853),
    "total": (104.157, 106.569, 113.689, 205.530),
    "mtp": (3.622, 3.622, 3.623, 3.623),
}
V4_PRO_LAST = {
    "indexer_scores": (0.503, 1.007, 8.053, 128.849),
    "core_attention_csa": (9.060, 9.060, 9.060, 9.060),
    "core_attention_hca": (1.300, 1.560, 5.201, 67.612),
    "total": (108.603, 109.367, 120.054, 303.261),
    "mtp": (3.623, 3.623, 3.623, 3.623),
}
V4_FLASH_AVERAGE = {
    "attention_projections": (9.198, 9.198, 9.198, 9.198),
    "compressor": (0.520, 0.520, 0.520, 0.520),
    "indexer_projections": (0.451, 0.451, 0.451, 0.451),
    "indexer_scores": (0.176, 0.352, 2.818, 45.097),
    "core_attention_csa": (1.403, 1.583, 1.739, 1.760),
    "core_attention_hca": (0.371, 0.416, 1.005, 11.072),
    "core_attention_swa": (0.033, 0.033, 0.034, 0.034),
    "routed_experts": (12.986, 12.986, 12.986, 12.986),
    "shared_expert": (2.164, 2.164, 2.164, 2.164),
    "router": (0.090, 0.090, 0.090, 0.090),
    "hyper_connections": (0.085, 0.085, 0.085, 0.085),
    "lm_head": (1.059, 1.059, 1.059, 1.059),
    "total": (28.537, 28.937, 32.149, 84.516),
    "mtp": (1.711, 1.711, 1.711, 1.711),
}
V4_FLASH_LAST = {
    "indexer_scores": (0.352, 0.705, 5.637, 90.194),
    "core_attention_csa": (1.762, 1.762, 1.762, 1.762),
    "core_attention_hca": (0.419, 0.503, 1.678, 21.810),
    "core_attention_swa": (0.034, 0.034, 0.034, 0.034),
    "total": (29.120, 29.556, 35.663, 140.353),
    "mtp": (1.711, 1.711, 1.711, 1.711),
}
TABLES = {
    ("deepseek-v4-pro", False): V4_PRO_AVERAGE,
    ("deepseek-v4-pro", True): V4_PRO_LAST,
    ("deepseek-v4-flash", False): V4_FLASH_AVERAGE,
    ("deepseek-v4-flash", True): V4_FLASH_LAST,
}


@pytest.mark.parametrize("column", range(4), ids=["4K", "8K", "64K", "1M"])
@pytest.mark.parametrize(("name", "last"), TABLES, ids=str)
def test_v4_table(name: str, last: bool, column: int) -> None:
    """DeepSeek-V4's forward GFLOP a token, by component, to the printed three decimals."""
    model = workloads.load(name)
    found = forward_flops_per_token(model, LENGTHS[column], last=last)
    found["compressor"] = found.pop("compressor_csa") + found.pop("compressor_hca")
    found["total"] = total_flops_per_token(model, LENGTHS[column], last=last, mtp=False)
    for component, row in TABLES[name, last].items():
        assert round(found[component] / 1e9, 3) == row[column], component


def test_405b_by_hand() -> None:
    """A dense model takes two FLOPs a weight but the embedding's, and 4 x heads x d x (S + 1) / 2 a layer."""
    model = workloads.load("llama3.1-405b")
    weights = 405_853_388_800 - 128256 * 16384 - (2 * 126 + 1) * 16384
    attention = 126 * 4 * 128 * 128 * (8192 + 1) / 2
    assert total_flops_per_token(model, 8192) == pytest.approx(2 * weights + attention, rel=1e-12)


def test_sliding_window_lowers_attention() -> None:
    """Half of gpt-oss's layers see 128 tokens, so their cores stop growing with the sequence."""
    model = workloads.load("gpt-oss-120b")
    short, long = (forward_flops_per_token(model, length) for length in (4096, 65536))
    assert long["core_attention_local"] == pytest.approx(short["core_attention_local"], rel=0.02)
    assert long["core_attention"] == pytest.approx(16 * short["core_attention"], rel=1e-3)


@given(
    length=st.integers(1, 600),
    ratio=st.integers(1, 9),
    limit=st.integers(0, 300),
)
def test_key_spans_count_every_token(length: int, ratio: int, limit: int) -> None:
    """The closed form of the causal average equals counting token by token."""
    counted = [min(t // ratio, limit) if limit else t // ratio for t in range(1, length + 1)]
    span = KeySpan(ratio, limit)
    assert span.average(length) == pytest.approx(sum(counted) / length, rel=1e-12, abs=1e-12)
    assert span.last(length) == counted[-1]


@given(length=st.integers(1, 600), chunk=st.integers(1, 300))
def test_chunks_count_every_token(length: int, chunk: int) -> None:
    """In chunked attention a token sees its own chunk up to itself."""
    counted = [(t - 1) % chunk + 1 for t in range(1, length + 1)]
    span = KeySpan(limit=chunk, chunked=True)
    assert span.average(length) == pytest.approx(sum(counted) / length, rel=1e-12)
    assert span.last(length) == counted[-1]
