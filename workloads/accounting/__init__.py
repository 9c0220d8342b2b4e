"""Parameters, FLOPs, bytes and memory of a model, one file an operator family.

What the program builder uses is named here; the families (attention, mla, compressed, dense, experts, hyper_connections, head,
optimizer) state their formulas in their own files.
"""

from __future__ import annotations

from workloads.accounting.flops import forward_flops_per_token, layer_flops, total_flops_per_token
from workloads.accounting.head import embedding_section, head_section, mtp_sections
from workloads.accounting.layer import Matrix, layer_input_bytes, layer_matrices, layer_parameters, layer_sections
from workloads.accounting.optimizer import StateBytes, newton_schulz_flops, optimizer_operators, optimizer_state_bytes
from workloads.accounting.parameters import (
    active_parameters,
    embedding_parameters,
    head_parameters,
    mtp_block_parameters,
    parameters,
    shape_parameters,
    total_parameters,
)
from workloads.accounting.precision import element_bytes, is_quantised
from workloads.accounting.sections import (
    POLICY_PATHS,
    RECOMPUTE_MODULES,
    SECTION_ORDER,
    LayerParameters,
    SavedTensor,
    Section,
    Shard,
)

__all__ = [
    "POLICY_PATHS",
    "RECOMPUTE_MODULES",
    "SECTION_ORDER",
    "LayerParameters",
    "Matrix",
    "SavedTensor",
    "Section",
    "Shard",
    "StateBytes",
    "active_parameters",
    "element_bytes",
    "embedding_parameters",
    "embedding_section",
    "forward_flops_per_token",
    "head_parameters",
    "head_section",
    "is_quantised",
    "layer_flops",
    "layer_input_bytes",
    "layer_matrices",
    "layer_parameters",
    "layer_sections",
    "mtp_block_parameters",
    "mtp_sections",
    "newton_schulz_flops",
    "optimizer_operators",
    "optimizer_state_bytes",
    "parameters",
    "shape_parameters",
    "total_flops_per_token",
    "total_parameters",
]
