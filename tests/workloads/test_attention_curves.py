"""Which curve an attention kernel's rate follows: one causal mask over the sequence, or collected keys."""

from __future__ import annotations

import pytest

import workloads
from workloads.accounting import Shard, layer_sections
from workloads.instructions import Kernel


@pytest.mark.parametrize(
    ("model", "layer", "causal"),
    [("llama3.1-8b", 0, True), ("deepseek-v3", 5, True), ("deepseek-v4-pro", 3, False), ("deepseek-v4-pro", 0, False)],
)
def test_compressed_attention_collects_its_keys(model: str, layer: int, causal: bool) -> None:
    """A triangle of scores is causal; compressed entries beside a window are not. Indexers score a triangle."""
    loaded = workloads.load(model)
    shard = Shard(
        tokens=4096, sequence_length=4096, cp=1, tp=1, sequence_parallel=False, ep=1, etp=1, precision="bf16",
        expert_tokens=4096, local_experts=1,
    )  # fmt: skip
    sections = layer_sections(loaded, loaded.layer(layer), shard)
    kernels = [step for section in sections.values() for step in section.forward if step.kernel is Kernel.ATTENTION]
    assert {step.causal for step in kernels if step.name == "attention"} == {causal}
    assert all(step.causal for step in kernels if step.name == "indexer_scores")
